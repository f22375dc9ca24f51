//! One run by REST: its history page by page; its fields came with the listing.

use std::cell::RefCell;

use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::destination::Destination;
use crate::error::Error;
use crate::records::lineage::Digest;
use crate::run::{RunEnd, RunSink};
use crate::state::RunEntry;

use super::Rest;
use super::cycles::CycleDetector;

/// How one pass over a history ended.
enum Pass {
    Complete,
    Deleted,
    /// What was read before is not in the history any more.
    Rewound,
}

/// Reads one run.
pub(super) struct RunReader<'s, 'a, X, D> {
    pub(super) rest: &'s Rest,
    pub(super) client: &'s Client<'a, X, D>,
    pub(super) sink: RunSink<'s>,
    pub(super) wants_history: bool,
}

impl<X: Exchange, D: Destination> RunReader<'_, '_, X, D> {
    /// Reads the run and sends what has changed since it was `known`.
    pub(super) async fn read(mut self, known: Option<RunEntry>) -> Result<RunEnd, Error> {
        let Some(row) = self.sink.listed.row.take() else {
            return Err(Error::Internal("a listing without rows".to_owned()));
        };
        if !self.wants_history {
            self.sink.begin(known.as_ref());
            self.sink.keep_history();
            return self.sink.finish(row);
        }
        let mut resume = known.filter(|known| known.last.is_some() && known.digest.is_some() && known.rows > 0);
        loop {
            self.sink.begin(resume.as_ref());
            match self.pass(resume.as_ref()).await? {
                Pass::Deleted => return Ok(RunEnd::Gone),
                Pass::Rewound => {
                    self.sink.say_rewound();
                    resume = None;
                }
                Pass::Complete => return self.sink.finish(row),
            }
        }
    }

    async fn pass(&mut self, resume: Option<&RunEntry>) -> Result<Pass, Error> {
        // Rows before the last known one are read and recognised, but not sent again.
        let known = resume.map_or(0, |known| known.rows - 1);
        self.sink.entry.rows = 0;
        let mut digest = Digest::EMPTY;
        let mut cycles = CycleDetector::default();
        let mut url = self.rest.history_url(&self.sink.listed.id);
        loop {
            let position = i64::try_from(self.sink.entry.rows).unwrap_or(i64::MAX);
            let RunSink { history, listed, .. } = &mut self.sink;
            let history = RefCell::new(history);
            let page = self.rest.history(self.client, &listed.id, &url, &history, position).await?;
            let Some(next) = page else {
                return Ok(Pass::Deleted);
            };
            let rows = self.sink.history.rows().len();
            let content = self.sink.history.rows().fold(Digest::EMPTY, |digest, row| digest.with(row.hash));
            let going_round = cycles.visit(&url, rows == 0).and_then(|()| match rows {
                0 => Ok(()),
                _ => cycles.content(content.0),
            });
            going_round
                .map_err(|why| Error::upstream(format!("reading the history of run {}: {why}", self.sink.listed.id)))?;
            let first = self.sink.entry.rows;
            for (number, row) in (first..).zip(self.sink.history.rows()) {
                if let Some(resume) = resume.filter(|_| number == known) {
                    let same_past = resume.digest.as_deref() == Some(&hexadecimal(digest));
                    let row = self.sink.history.row_with_points((number - first) as usize);
                    let same_row = resume.last.as_ref().zip(row).is_some_and(|(tail, row)| tail.recognises(&row));
                    if !same_past || !same_row {
                        return Ok(Pass::Rewound);
                    }
                }
                self.sink.entry.digest = Some(hexadecimal(digest));
                digest = digest.with(row.hash);
            }
            let last = rows.checked_sub(1).and_then(|last| self.sink.history.row_with_points(last));
            let skipped = known.saturating_sub(first).min(rows as u64);
            self.sink.history.drop_first(skipped as usize);
            let kept = rows - skipped as usize;
            self.sink.entry.rows += skipped;
            if let Some(last) = last {
                self.sink.remember(&last);
            }
            if kept > 0 {
                self.sink.account_for_page(kept)?;
            } else {
                self.sink.history.clear_rows();
            }
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(if self.sink.entry.rows < known + u64::from(resume.is_some()) { Pass::Rewound } else { Pass::Complete })
    }
}

fn hexadecimal(digest: Digest) -> String {
    format!("{:016x}", digest.0)
}
