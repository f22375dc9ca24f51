//! One HTTP answer: status, `Retry-After`, `content-encoding` and body; and ranges of a file.

use std::io::Read;
use std::time::Duration;

use wandb_connector::api::client::{Client, Failure};
use wandb_connector::api::exchange::{Method, Request, Response};
use wandb_connector::api::graphql::download::RemoteFile;

use crate::parquet::check_footer;
use crate::rows::Sink;
use crate::server::{BASE_URL, Server, attempt, drive, response};

/// What one answer may be, decompressed.
const LIMIT: usize = 1 << 20;
/// The longest wait that a server is granted, and what is added so that clients do not come back together.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const JITTER: Duration = Duration::from_millis(250);

/// An answer is taken, refused, or waited after; never for longer than a minute, and never for less than was asked.
pub fn http_answer(text: &[u8]) {
    let given = response(text);
    let (server, sink) = (Server::once(given.clone()), Sink::default());
    let client = Client::new(&server, &sink, 1);
    let request = Request { method: Method::Get, url: format!("{BASE_URL}/x"), headers: Vec::new(), body: Vec::new() };
    let mut taken = None;
    let result = attempt(client.send(&request, "asking", LIMIT, |response: &Response| {
        taken = Some(response.body.clone());
        Ok::<_, Failure>(())
    }));
    let encoding = given.header("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let plain = matches!(encoding.as_str(), "" | "identity");
    if let Some(body) = &taken {
        assert!(matches!(result, Some(Ok(()))) && body.len() <= LIMIT);
        assert!(!again(given.status), "HTTP {} was taken", given.status);
        let expected = if plain { given.body.clone() } else { decompressed(&given.body) };
        assert_eq!(*body, expected);
    }
    let Some(wait) = server.slept().first().copied() else {
        assert!(result.is_some(), "it waits for nothing");
        return;
    };
    assert!(result.is_none() && taken.is_none() && wait <= LONGEST_WAIT + JITTER, "{wait:?}");
    if !again(given.status) {
        return;
    }
    match given.header("retry-after").map(|asked| asked.trim().parse::<u64>()) {
        Some(Ok(asked)) => assert!(wait >= Duration::from_secs(asked).min(LONGEST_WAIT), "{wait:?} after {asked}"),
        Some(Err(_)) => {}
        None => assert!(wait >= Duration::from_millis(750) && wait <= Duration::from_millis(1250), "{wait:?}"),
    }
}

fn again(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 506..)
}

/// Member after member, by a reader that knows of no limit but the number of bytes that it reads.
fn decompressed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(body).take(LIMIT as u64 + 1).read_to_end(&mut out).expect("it was taken");
    out
}

/// The first answers to the question for a file: ranges, whole files, redirects, nonsense.
pub fn parquet_download(text: &[u8]) {
    let (server, sink) = (Server::scripted(text, 16), Sink::default());
    let client = Client::new(&server, &sink, 1);
    let opened = drive(RemoteFile::open(&client, "https://storage.example/0.parquet?signature=x", LIMIT));
    let opened = opened.expect("an answer to every question");
    assert!(server.asked() <= 16);
    if let Ok((file, footer)) = opened {
        assert!(file.kept() <= LIMIT);
        assert!(!file.name().contains("signature"));
        check_footer(&footer, u64::MAX);
    }
}
