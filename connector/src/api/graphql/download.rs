//! The bytes of a file behind a signed URL. The key is never sent along, redirects are not followed, and no more is asked for than is
//! needed: a small file comes with one request, of a large one first the end, which says where the rest is.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::try_join_all;
use history_parquet::Broken;
use history_parquet::footer::{Footer, TRAILER_BYTES, footer_length};
use history_parquet::group::{AHEAD_BYTES, Ranges, ReadError};

use crate::api::client::{BODY_LIMIT, Client, Failure, RequestError};
use crate::api::exchange::{Exchange, Method, Request, Response};
use crate::api::url;
use crate::destination::Destination;
use crate::error::Error;

/// How much of a file's end is asked for first. Most footers are far shorter; many files are.
const FIRST_BYTES: u64 = 1 << 20;
/// Ranges with a smaller gap between them are asked for as one.
const GAP_BYTES: u64 = 64 << 10;
/// One request asks for no more than this, unless a single range is longer.
const MOST_BYTES: u64 = 8 << 20;

/// A file that is read by ranges.
pub struct RemoteFile<'c, 'a, X, D> {
    client: &'c Client<'a, X, D>,
    url: RefCell<String>,
    size: u64,
    /// What came with the first request, and where it begins.
    kept: Bytes,
    kept_at: u64,
    /// What came with the last request, and where it begins.
    ahead: RefCell<(u64, Bytes)>,
}

enum Answer {
    /// A part, and the size of the whole.
    Part(Bytes, u64),
    /// The whole.
    Whole(Bytes),
    Gone(u16),
    Broken(String),
}

impl<'c, 'a, X: Exchange, D: Destination> RemoteFile<'c, 'a, X, D> {
    /// Asks for the file's end and reads its footer. `keep`: so many bytes may be kept for later.
    pub async fn open(client: &'c Client<'a, X, D>, link: &str, keep: usize) -> Result<(Self, Footer), ReadError> {
        let url = url::download(link).map_err(Broken::new)?;
        let (end, size) = match ask(client, &url, &format!("bytes=-{FIRST_BYTES}"), BODY_LIMIT).await {
            Ok(Answer::Part(bytes, size)) => (bytes, size),
            Ok(Answer::Whole(bytes)) => {
                let size = bytes.len() as u64;
                (bytes, size)
            }
            // Servers that do not know suffix ranges may answer with the whole file, or refuse.
            Ok(Answer::Gone(400 | 416)) | Err(Asked::TooLarge) => {
                let size = match ask(client, &url, "bytes=0-0", BODY_LIMIT).await {
                    Ok(Answer::Part(_, size)) => size,
                    other => return Err(unexpected(other)),
                };
                let first = size.saturating_sub(FIRST_BYTES);
                match ask(client, &url, &format!("bytes={first}-{}", size.saturating_sub(1)), BODY_LIMIT).await {
                    Ok(Answer::Part(bytes, _)) => (bytes, size),
                    other => return Err(unexpected(other)),
                }
            }
            other => return Err(unexpected(other)),
        };
        let file = Self {
            client,
            url: RefCell::new(url),
            size,
            kept_at: size.saturating_sub(end.len() as u64),
            kept: end,
            ahead: RefCell::default(),
        };
        let footer = file.footer().await?;
        Ok((file.keeping(keep), footer))
    }

    async fn footer(&self) -> Result<Footer, ReadError> {
        let trailer = self.kept.len().saturating_sub(TRAILER_BYTES);
        let length = footer_length(self.kept.slice(trailer..).as_ref(), self.size)?;
        let end = self.size - TRAILER_BYTES as u64;
        let range = end - length as u64..end;
        let bytes = self.read(std::slice::from_ref(&range)).await?;
        let bytes = bytes.first().map(Bytes::as_ref).unwrap_or_default();
        Ok(Footer::parse(bytes, self.size)?)
    }

    /// Lets go of what was read already where it is more than may be kept.
    fn keeping(mut self, keep: usize) -> Self {
        if self.kept.len() > keep {
            (self.kept, self.kept_at) = (Bytes::new(), self.size);
        }
        self
    }

    /// How much was kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// What names the file, whatever its signature.
    pub fn name(&self) -> String {
        crate::api::url::shown(&self.url.borrow()).to_owned()
    }

    /// Takes a URL with a new signature.
    pub fn renew(&self, link: &str) -> Result<(), Broken> {
        *self.url.borrow_mut() = url::download(link).map_err(Broken::new)?;
        Ok(())
    }

    fn kept_part(&self, range: &Range<u64>) -> Option<Bytes> {
        let (at, bytes) = &*self.ahead.borrow();
        cut(self.kept_at, &self.kept, range).or_else(|| cut(*at, bytes, range))
    }

    async fn part(&self, range: Range<u64>) -> Result<(Range<u64>, Bytes), ReadError> {
        let url = self.url.borrow().clone();
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        // A server that ignores ranges sends the whole file.
        let limit = length.max(BODY_LIMIT);
        match ask(self.client, &url, &header, limit).await {
            Ok(Answer::Part(bytes, size)) if bytes.len() == length && size == self.size => Ok((range, bytes)),
            Ok(Answer::Whole(bytes)) if bytes.len() as u64 == self.size => {
                let part = bytes.slice(range.start as usize..range.end as usize);
                Ok((range, part))
            }
            Ok(Answer::Part(..) | Answer::Whole(_)) => Err(Broken::new("the file changed while it was read").into()),
            other => Err(unexpected(other)),
        }
    }
}

impl<X: Exchange, D: Destination> Ranges for RemoteFile<'_, '_, X, D> {
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        if ranges.iter().any(|range| range.start > range.end || range.end > self.size) {
            return Err(Broken::new("a column lies outside of the file").into());
        }
        let mut missing: Vec<Range<u64>> =
            ranges.iter().filter(|range| !range.is_empty() && self.kept_part(range).is_none()).cloned().collect();
        missing.sort_by_key(|range| range.start);
        let mut missing = joined(missing);
        let one = matches!(missing.as_slice(), [range] if range.end - range.start < AHEAD_BYTES);
        if let Some(range) = missing.first_mut().filter(|_| one) {
            range.end = (range.start + AHEAD_BYTES).min(self.kept_at).max(range.end);
        }
        let parts = try_join_all(missing.into_iter().map(|range| self.part(range))).await?;
        let find = |range: &Range<u64>| {
            if range.is_empty() {
                return Some(Bytes::new());
            }
            let part = || parts.iter().find_map(|(whole, bytes)| cut(whole.start, bytes, range));
            self.kept_part(range).or_else(part)
        };
        let found: Option<Vec<Bytes>> = ranges.iter().map(find).collect();
        // Columns keep their own hold on what they have; of what is no more needed nothing is kept.
        if let Some((range, bytes)) = parts.first() {
            self.ahead.replace(if one { (range.start, bytes.clone()) } else { Default::default() });
        }
        found.ok_or_else(|| Broken::new("bytes are missing").into())
    }
}

/// The bytes of a range, if it lies within `bytes`, which begin at `at`.
fn cut(at: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let start = usize::try_from(range.start.checked_sub(at)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(at)?).ok()?;
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// Sorted ranges, those near each other as one.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last)
                if range.start <= last.end.saturating_add(GAP_BYTES)
                    && (range.end <= last.end || range.end - last.start <= MOST_BYTES) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

enum Asked {
    TooLarge,
    Denied(String),
    Failed(Error),
}

fn unexpected(answer: Result<Answer, Asked>) -> ReadError {
    match answer {
        Ok(Answer::Gone(status)) => ReadError::Gone(status),
        Ok(Answer::Broken(why)) => Broken::new(why).into(),
        Ok(Answer::Part(..) | Answer::Whole(_)) => Broken::new("the server does not answer ranges").into(),
        Err(Asked::TooLarge) => {
            Broken::new("the server does not answer ranges, and the file is too large to come whole").into()
        }
        Err(Asked::Denied(why)) => ReadError::Denied(why),
        Err(Asked::Failed(error)) => ReadError::Failed(error.to_string()),
    }
}

async fn ask<X: Exchange, D: Destination>(
    client: &Client<'_, X, D>,
    url: &str,
    range: &str,
    limit: usize,
) -> Result<Answer, Asked> {
    // Nothing else: the URL's signature is all that the server needs, and the key is not for it.
    let request = Request {
        method: Method::Get,
        url: url.to_owned(),
        headers: vec![("range", range.to_owned())],
        body: Vec::new(),
    };
    let result = client.take(&request, "downloading an exported history", limit, answer).await;
    result.map_err(|error| match error {
        RequestError::TooLarge(_) => Asked::TooLarge,
        RequestError::Denied(error) => Asked::Denied(error.to_string()),
        RequestError::Failed(error) => Asked::Failed(error),
    })
}

fn answer(response: &mut Response) -> Result<Answer, Failure> {
    Ok(match response.status {
        200 => Answer::Whole(std::mem::take(&mut response.body).into()),
        206 => {
            let range = response.header("content-range").and_then(content_range);
            match range {
                Some((part, size)) if part.end - part.start == response.body.len() as u64 => {
                    Answer::Part(std::mem::take(&mut response.body).into(), size)
                }
                Some(_) => return Err(Failure::malformed(206, "it is cut short")),
                None => Answer::Broken("the server's answer is not the range that was asked for".to_owned()),
            }
        }
        status @ 300..=399 => Answer::Broken(format!("HTTP {status}, a redirect, which is not followed")),
        status => Answer::Gone(status),
    })
}

/// `bytes 0-499/1234`.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.trim().parse().ok()?, last.trim().parse().ok()?, size.trim().parse().ok()?);
    (first <= last && last < size).then_some((first..last + 1, size))
}
