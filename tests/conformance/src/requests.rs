//! `wasi:http`, against the kit's server.

use crate::bindings::wasi::http::types::ErrorCode;
use crate::bindings::wasi::io::poll::poll;
use crate::exchange::{Answer, Asked, Timeouts, ask};
use crate::say;

const PATIENT: Timeouts = (10_000, 30_000);
/// How many requests the server answers only when all of them are there.
const TOGETHER: usize = 16;

/// What `source.check` says.
pub(crate) fn check(base_url: &str) -> Result<String, String> {
    get(&format!("{base_url}/hello"))?.text()
}

pub(crate) fn act(base_url: &str) {
    let cases: [(&str, fn(&str) -> Result<String, String>); 14] = [
        ("a request", |url| get(&format!("{url}/echo?a=%20b&a=c"))?.text()),
        ("a request with a body", |url| post(&format!("{url}/echo"), b"some bytes")),
        ("a request with a large body", |url| post(&format!("{url}/echo"), &vec![7; 1 << 20])),
        ("headers", headers),
        ("an error status", |url| status(&get(&format!("{url}/missing"))?)),
        ("a redirect is not followed", |url| status(&get(&format!("{url}/redirect"))?)),
        ("a compressed body", compressed),
        ("a large body", large),
        ("requests in flight together", together),
        ("a body arrives while it is sent", halves),
        ("a body that nobody reads", |url| get(&format!("{url}/large")).map(|_| "dropped".to_owned())),
        ("a body that breaks off", |url| Ok(failed(get(&format!("{url}/cut"))?.rest()))),
        ("no answer within the first-byte timeout", silent),
        ("a slow answer, longer than the connect timeout", |url| {
            ask(&format!("{url}/slow"), None, (300, 30_000))?.answer().map_err(shown)?.text()
        }),
    ];
    for (name, case) in cases {
        let (Ok(text) | Err(text)) = case(base_url);
        say(&format!("{name}: {text}"));
    }
    // A port that nobody listens on: an error, whatever the host calls it.
    let nobody = ask("http://127.0.0.1:1/", None, PATIENT).and_then(|asked| asked.answer().map_err(shown));
    say(&format!("nobody listens: {}", failed(nobody)));
}

fn get(url: &str) -> Result<Answer, String> {
    ask(url, None, PATIENT)?.answer().map_err(shown)
}

fn post(url: &str, body: &[u8]) -> Result<String, String> {
    ask(url, Some(body), PATIENT)?.answer().map_err(shown)?.text()
}

fn shown(code: ErrorCode) -> String {
    format!("{code:?}")
}

fn failed<T>(result: Result<T, String>) -> String {
    if result.is_ok() { "no error".into() } else { "an error".into() }
}

fn status(answer: &Answer) -> Result<String, String> {
    Ok(answer.status().to_string())
}

fn headers(url: &str) -> Result<String, String> {
    let answer = get(&format!("{url}/headers"))?;
    // Hosts may join values of one name with a comma.
    Ok(format!("{} and {}", answer.header("x-one").join("|"), answer.header("x-two").join(", ")))
}

/// A host may decode a body, if it takes the header away with the coding.
fn compressed(url: &str) -> Result<String, String> {
    let answer = get(&format!("{url}/gzip"))?;
    let coding = answer.header("content-encoding").concat();
    let body = answer.rest()?;
    Ok(match (coding.as_str(), body.as_slice()) {
        ("gzip", [0x1f, 0x8b, ..]) | ("", b"zipped") => "is what its head says".to_owned(),
        _ => format!("{coding:?}, {} bytes that begin with {:x?}", body.len(), body.get(..2).unwrap_or_default()),
    })
}

fn large(url: &str) -> Result<String, String> {
    let body = get(&format!("{url}/large"))?.rest()?;
    let sum = body.iter().zip(1_u64..).fold(0_u64, |sum, (byte, place)| sum.wrapping_add(place * u64::from(*byte)));
    Ok(format!("{} bytes, sum {sum}", body.len()))
}

/// The server answers when the last of them has arrived: a host that sends one after the other never gets there.
fn together(url: &str) -> Result<String, String> {
    let mut asked: Vec<Asked> =
        (0..TOGETHER).map(|_| ask(&format!("{url}/together"), None, PATIENT)).collect::<Result<_, _>>()?;
    let mut answered = 0;
    while !asked.is_empty() {
        let pollables: Vec<_> = asked.iter().map(Asked::subscribe).collect();
        let mut ready = poll(&pollables.iter().collect::<Vec<_>>());
        drop(pollables);
        ready.sort_unstable();
        for index in ready.into_iter().rev() {
            let answer = asked.remove(index as usize).answer().map_err(shown)?;
            answered += usize::from(answer.status() == 200 && answer.text()? == "together");
        }
    }
    Ok(answered.to_string())
}

/// The server sends the second half when it is asked for, on another connection, after the first was read.
fn halves(url: &str) -> Result<String, String> {
    let answer = get(&format!("{url}/halves"))?;
    let mut first = Vec::new();
    while first.len() < b"first, ".len() {
        first.extend(answer.read()?.ok_or("it ended")?);
    }
    get(&format!("{url}/release"))?.text()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&first), answer.text()?))
}

fn silent(url: &str) -> Result<String, String> {
    use ErrorCode::{ConnectionReadTimeout, ConnectionTimeout, HttpResponseTimeout};
    match ask(&format!("{url}/silent"), None, (10_000, 300))?.answer() {
        Ok(answer) => status(&answer),
        Err(ConnectionReadTimeout | ConnectionTimeout | HttpResponseTimeout) => Ok("a timeout".into()),
        Err(other) => Ok(shown(other)),
    }
}
