//! One run by REST: its history page by page; its fields came with the listing.

use std::cell::RefCell;

use crate::api::CycleDetector;
use crate::api::exchange::Exchange;
use crate::api::rest::Rest;
use crate::destination::Destination;
use crate::error::Error;
use crate::records::lineage::Digest;
use crate::sync::state::RunEntry;

use super::reader::{Pass, RunEnd, RunReader};

impl<X: Exchange, D: Destination> RunReader<'_, '_, X, D> {
    pub(super) async fn read_rest(mut self, rest: &Rest, known: Option<RunEntry>) -> Result<RunEnd, Error> {
        let Some(row) = self.listed.row.take() else {
            return Err(Error::Internal("a listing without rows".to_owned()));
        };
        if !self.sync.config.wants_history() {
            self.begin(known.as_ref());
            self.replace = false;
            return self.finish(row);
        }
        let mut resume = known.filter(|known| known.last.is_some() && known.digest.is_some() && known.rows > 0);
        loop {
            self.begin(resume.as_ref());
            match self.pass_rest(rest, resume.as_ref()).await? {
                Pass::Deleted => return Ok(RunEnd::Gone),
                Pass::Rewound | Pass::Short | Pass::Stale => {
                    self.say_rewound();
                    resume = None;
                }
                Pass::Complete => return self.finish(row),
            }
        }
    }

    async fn pass_rest(&mut self, rest: &Rest, resume: Option<&RunEntry>) -> Result<Pass, Error> {
        // Rows before the last known one are read and recognised, but not sent again.
        let known = resume.map_or(0, |known| known.rows - 1);
        self.entry.rows = 0;
        let mut digest = Digest::EMPTY;
        let mut cycles = CycleDetector::default();
        let mut url = rest.history_url(&self.listed.id);
        loop {
            let position = i64::try_from(self.entry.rows).unwrap_or(i64::MAX);
            let history = RefCell::new(&mut self.history);
            let page = rest.history(&self.sync.client, &self.listed.id, &url, &history, position).await?;
            let Some(next) = page else {
                return Ok(Pass::Deleted);
            };
            let rows = self.history.rows().len();
            let content = self.history.rows().fold(Digest::EMPTY, |digest, row| digest.with(row.hash));
            let going_round = cycles.visit(&url, rows == 0).and_then(|()| match rows {
                0 => Ok(()),
                _ => cycles.content(content.0),
            });
            going_round
                .map_err(|why| Error::upstream(format!("reading the history of run {}: {why}", self.listed.id)))?;
            let first = self.entry.rows;
            for (number, row) in (first..).zip(self.history.rows()) {
                if let Some(resume) = resume.filter(|_| number == known) {
                    let same_past = resume.digest.as_deref() == Some(&hexadecimal(digest));
                    let row = self.history.row_with_points((number - first) as usize);
                    let same_row = resume.last.as_ref().zip(row).is_some_and(|(tail, row)| tail.recognises(&row));
                    if !same_past || !same_row {
                        return Ok(Pass::Rewound);
                    }
                }
                self.entry.digest = Some(hexadecimal(digest));
                digest = digest.with(row.hash);
            }
            let last = rows.checked_sub(1).and_then(|last| self.history.row_with_points(last));
            let skipped = known.saturating_sub(first).min(rows as u64);
            self.history.drop_first(skipped as usize);
            let kept = rows - skipped as usize;
            self.entry.rows += skipped;
            if let Some(last) = last {
                self.remember(&last);
            }
            if kept > 0 {
                self.account_for_page(kept)?;
            } else {
                self.history.clear_rows();
            }
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(if self.entry.rows < known + u64::from(resume.is_some()) { Pass::Rewound } else { Pass::Complete })
    }
}

fn hexadecimal(digest: Digest) -> String {
    format!("{:016x}", digest.0)
}
