//! The object store: exported histories behind signed URLs.
//!
//! A URL works without the API key and only with its signature, as at the store W&B uses. It answers ranges.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderValue, RANGE};
use http::{Response, StatusCode};

use super::export;
use super::history::History;
use super::http::{Answer, encode_part, error, query_value, with_type};
use super::options::ParquetOptions;
use super::project::Run;
use super::random::Random;
use super::server::{Request, Shared};

/// Files already written, by the history they come from and their rows.
#[derive(Default)]
pub(crate) struct Storage {
    files: Mutex<HashMap<String, (Arc<History>, Bytes)>>,
}

impl Storage {
    /// Signed URLs of a run's exported files.
    pub(crate) fn urls(&self, shared: &Shared, base: &str, entity: &str, project: &str, run: &Run) -> Vec<String> {
        let options = &shared.options.parquet;
        let rows = exported(options, run);
        let per_file = options.rows_per_file.max(1);
        let mut urls: Vec<String> = (0..rows.div_ceil(per_file))
            .map(|file| {
                let (from, to) = (file * per_file, ((file + 1) * per_file).min(rows));
                let path = format!(
                    "/_storage/parquet/{}/{}/{}/{from}-{to}.parquet",
                    encode_part(entity),
                    encode_part(project),
                    encode_part(&run.id)
                );
                format!("{base}{path}?X-Expires=3600&X-Sig={}", sign(&path))
            })
            .collect();
        if options.shuffle {
            let mut random = Random::new(shared.next_sampling());
            for i in (1..urls.len()).rev() {
                urls.swap(i, random.below(i + 1));
            }
        }
        urls
    }

    /// The first row that is live.
    pub(crate) fn live_rows(&self, options: &ParquetOptions, run: &Run) -> usize {
        let exported = exported(options, run);
        if exported == run.history.len() { exported } else { exported.saturating_sub(options.overlap) }
    }

    fn file(&self, shared: &Shared, path: &str, run: &Run, from: usize, to: usize) -> Option<Bytes> {
        let key = path.to_owned();
        let lock = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((history, bytes)) = lock().get(&key)
            && Arc::ptr_eq(history, &run.history)
        {
            return Some(bytes.clone());
        }
        let bytes: Bytes = export::parquet(&run.history, from, to, shared.options.parquet.codec)?.into();
        lock().insert(key, (run.history.clone(), bytes.clone()));
        Some(bytes)
    }
}

fn exported(options: &ParquetOptions, run: &Run) -> usize {
    if options.enabled { run.exported_rows.min(run.history.len()) } else { 0 }
}

/// The signature of a path.
fn sign(path: &str) -> String {
    let mut hasher = DefaultHasher::new();
    ("the store's secret", path).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Answers `GET /_storage/parquet/{entity}/{project}/{run}/{from}-{to}.parquet`.
pub(crate) fn answer(shared: &Shared, request: &Request, parts: &[&str]) -> Answer {
    let path = request.uri.path();
    if query_value(request.query(), "X-Sig").as_deref() != Some(&sign(path)) {
        return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
    }
    let not_found = || error(StatusCode::NOT_FOUND, "NoSuchKey");
    let ["_storage", "parquet", entity, project, id, file] = parts else {
        return not_found();
    };
    let rows = file.strip_suffix(".parquet").and_then(|rows| rows.split_once('-'));
    let Some((Ok(from), Ok(to))) = rows.map(|(from, to)| (from.parse(), to.parse())) else {
        return not_found();
    };
    let Some(run) = shared.world().run(entity, project, id) else {
        return not_found();
    };
    match shared.storage.file(shared, path, &run, from, to) {
        Some(bytes) => ranged(request, bytes),
        None => not_found(),
    }
}

/// The bytes, or the range of them that was asked for.
fn ranged(request: &Request, bytes: Bytes) -> Answer {
    let total = bytes.len();
    let asked = request.headers.get(RANGE).and_then(|it| it.to_str().ok()).and_then(|it| it.strip_prefix("bytes="));
    let mut answer = match asked.and_then(|range| range.split_once('-')) {
        None => with_type(StatusCode::OK, "application/octet-stream", bytes),
        Some((first, last)) => match range(first, last, total) {
            Some((first, last)) => {
                let part = bytes.slice(first..=last);
                let mut answer = with_type(StatusCode::PARTIAL_CONTENT, "application/octet-stream", part);
                set_range(&mut answer, &format!("bytes {first}-{last}/{total}"));
                answer
            }
            None => {
                let mut answer = error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
                set_range(&mut answer, &format!("bytes */{total}"));
                answer
            }
        },
    };
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

fn set_range(answer: &mut Response<Bytes>, range: &str) {
    if let Ok(value) = HeaderValue::from_str(range) {
        answer.headers_mut().insert(CONTENT_RANGE, value);
    }
}

/// First and last byte of `first-last`, `first-` or `-suffix`.
fn range(first: &str, last: &str, total: usize) -> Option<(usize, usize)> {
    let end = total.checked_sub(1)?;
    let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => (first, end),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 => (total.saturating_sub(suffix), end),
        _ => return None,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (first, last, expected) in [
            ("0", "0", Some((0, 0))),
            ("2", "", Some((2, 9))),
            ("", "4", Some((6, 9))),
            ("", "40", Some((0, 9))),
            ("5", "100", Some((5, 9))),
            ("10", "12", None),
            ("", "0", None),
        ] {
            assert_eq!(range(first, last, 10), expected, "{first}-{last}");
        }
    }
}
