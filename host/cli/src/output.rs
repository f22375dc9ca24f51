//! Standard output: what was asked for, and nothing else.

use std::io::{self, Write};

/// Writes `text`. A reader that has gone away (`… | head`) is no failure: it has what it wanted.
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
