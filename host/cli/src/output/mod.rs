//! What people and programs read: the log and the progress on standard error, answers on standard output.

pub(crate) mod cells;
pub(crate) mod console;
pub(crate) mod json;
mod progress;
pub(crate) mod report;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod units;
pub(crate) mod vocabulary;

use std::io::{self, Write};

/// Writes `text` to standard output, where what was asked for goes and nothing else. A reader that has gone away (`… | head`) is no failure: it has what it wanted.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stream = io::stdout().lock();
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("the output can't be written"))
        }
        _ => Ok(()),
    }
}
