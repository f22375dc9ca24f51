//! Compressed bodies, decoded on their way to the guest.
//!
//! A server may echo the key that it was sent, and may do so compressed, where nobody would find it: so the host decodes, then
//! looks ([`crate::http::mask`]). It also decodes several times as fast as a guest can. The guest sees a response that was never
//! compressed, whether it asked for gzip itself or not, and what it may receive is counted after decoding: a few bytes can
//! hold gigabytes. Never more than one piece is decoded ahead.
//!
//! The decoding is `flate2`'s; here is the way from a body of frames to its reader and back, with limits and trailers. Measured beside it was
//! `async-compression`, whose decoder reads a stream: as fast (0.8 to 1.0 GB/s of processor time each, on steps of a history), the same
//! answers to what is cut short, damaged, empty or followed by something else, six crates more, and some 25 lines fewer, since errors and
//! trailers then have to be carried around a stream that knows neither.

use std::io::{self, BufRead, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::body::{Body, Frame};
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::http::body::limited::OnLimit;

/// Bytes that are decoded at once.
const PIECE: usize = 128 << 10;

/// How a body is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// Once, and whole.
    Gzip,
    /// In a way that is not decoded here; or it is a part of something compressed.
    Other(String),
}

impl Coding {
    /// What a response's head says.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONTENT_ENCODING).into_iter();
        let text = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",");
        let codings = text.split(',').map(str::trim);
        let codings: Vec<&str> = codings.filter(|coding| !matches!(*coding, "" | "identity")).collect();
        let gzip = |coding: &str| coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip");
        match codings.as_slice() {
            [] => Self::Identity,
            [coding] if gzip(coding) && status != StatusCode::PARTIAL_CONTENT => Self::Gzip,
            _ => Self::Other(elt_support::printable::cut(&text, 100).into()),
        }
    }
}

/// Has a request ask for nothing that could not be decoded here.
pub(crate) fn narrow(headers: &mut HeaderMap) {
    let asked = headers.get_all(header::ACCEPT_ENCODING);
    let gzip = asked.iter().any(|value| value.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"gzip")));
    if headers.remove(header::ACCEPT_ENCODING).is_some() {
        let coding = if gzip { "gzip" } else { "identity" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
    }
}

/// What came and is not decoded yet.
#[derive(Default)]
struct Feed {
    bytes: Bytes,
    ended: bool,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.bytes.is_empty() && !self.ended {
            true => Err(ErrorKind::WouldBlock.into()),
            false => Ok(&self.bytes),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.advance(amount.min(self.bytes.len()));
    }
}

impl Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}

/// A gzip body, decoded.
pub(crate) struct GzipBody {
    incoming: WasiBody,
    decoder: MultiGzDecoder<Feed>,
    /// Room for what is decoded.
    piece: BytesMut,
    /// Decoded bytes that may still come.
    left: u64,
    most: u64,
    on_limit: OnLimit,
    trailers: Option<Frame<Bytes>>,
    ended: bool,
}

impl GzipBody {
    /// Decodes `incoming`. `on_limit` is called when it holds more than `most` bytes.
    pub(crate) fn new(incoming: WasiBody, most: u64, on_limit: OnLimit) -> Self {
        Self {
            incoming,
            decoder: MultiGzDecoder::new(Feed::default()),
            piece: BytesMut::new(),
            left: most,
            most,
            on_limit,
            trailers: None,
            ended: false,
        }
    }

    /// Decodes until the piece is full, nothing more has come, or all is done. Returns how much was decoded.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, WasiError>> {
        let mut filled = 0;
        while filled < self.piece.len() {
            match self.decoder.read(&mut self.piece[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(length) => filled += length,
                Err(why) if why.kind() == ErrorKind::WouldBlock => match Pin::new(&mut self.incoming).poll_frame(cx) {
                    Poll::Ready(frame) => self.feed(frame.transpose()?),
                    Poll::Pending if filled == 0 => return Poll::Pending,
                    Poll::Pending => break,
                },
                Err(_) => return Poll::Ready(Err(WasiError::HttpResponseContentCoding(Some("gzip".into())))),
            }
        }
        Poll::Ready(Ok(filled))
    }

    /// Takes what came; `None` is the end.
    fn feed(&mut self, frame: Option<Frame<Bytes>>) {
        let feed = self.decoder.get_mut();
        match frame.map(Frame::into_data) {
            Some(Ok(bytes)) => feed.bytes = bytes,
            Some(Err(trailers)) => {
                feed.ended = true;
                self.trailers = Some(trailers);
            }
            None => feed.ended = true,
        }
    }

    fn too_large(&mut self) -> WasiError {
        self.left = 0;
        self.ended = true;
        (self.on_limit)();
        WasiError::HttpResponseBodySize(Some(self.most))
    }
}

impl Body for GzipBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(this.trailers.take().map(Ok));
        }
        if this.piece.is_empty() {
            this.piece = BytesMut::zeroed(PIECE);
        }
        let filled = match this.poll_piece(cx) {
            Poll::Ready(Ok(filled)) => filled,
            Poll::Ready(Err(why)) => {
                this.ended = true;
                return Poll::Ready(Some(Err(why)));
            }
            Poll::Pending => return Poll::Pending,
        };
        if filled == 0 {
            // Only the end brings nothing.
            return Poll::Ready(this.trailers.take().map(Ok));
        }
        match this.left.checked_sub(filled as u64) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Some(Err(this.too_large()))),
        }
        Poll::Ready(Some(Ok(Frame::data(this.piece.split_to(filled).freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use flate2::{Compression, write::GzEncoder};
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn body(parts: impl IntoIterator<Item = Vec<u8>>) -> WasiBody {
        let parts: Vec<_> = parts.into_iter().map(|part| Ok(Frame::data(Bytes::from(part)))).collect();
        StreamBody::new(stream::iter(parts)).boxed_unsync()
    }

    fn quiet() -> OnLimit {
        Arc::new(|| {})
    }

    async fn decoded(parts: impl IntoIterator<Item = Vec<u8>>) -> Result<Bytes, WasiError> {
        GzipBody::new(body(parts), 1 << 20, quiet()).collect().await.map(|whole| whole.to_bytes())
    }

    #[tokio::test]
    async fn a_body_is_the_same_wherever_its_parts_break() {
        let text = b"a text, a text, a text, and another".repeat(3);
        let packed = gzip(&text);
        for cut in 0..=packed.len() {
            let (first, second) = packed.split_at(cut);
            assert_eq!(decoded([first.to_vec(), Vec::new(), second.to_vec()]).await.unwrap(), text, "{cut}");
        }
        assert_eq!(decoded(packed.iter().map(|byte| vec![*byte])).await.unwrap(), text);
    }

    #[tokio::test]
    async fn a_body_that_ends_too_early_or_was_damaged_is_an_error() {
        let packed = gzip(b"a text, and another");
        for length in 1..packed.len() {
            let result = decoded([packed[..length].to_vec()]).await;
            assert!(matches!(result, Err(WasiError::HttpResponseContentCoding(_))), "{length}: {result:?}");
        }
        for place in [0, 12, packed.len() - 1] {
            let mut damaged = packed.clone();
            damaged[place] ^= 0x55;
            assert!(decoded([damaged]).await.is_err(), "{place}");
        }
        assert!(decoded([packed.clone(), b"garbage".to_vec()]).await.is_err());
        assert!(decoded([]).await.is_err(), "nothing is no gzip");
    }

    #[tokio::test]
    async fn an_error_on_the_way_is_passed_on() {
        let parts = VecDeque::from([Ok(Frame::data(Bytes::from(gzip(b"text")))), Err(WasiError::ConnectionTerminated)]);
        let broken = StreamBody::new(stream::iter(parts)).boxed_unsync();
        let result = GzipBody::new(broken, 100, quiet()).collect().await;
        assert!(matches!(result, Err(WasiError::ConnectionTerminated)));
    }

    #[tokio::test]
    async fn trailers_come_after_the_last_byte() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", HeaderValue::from_static("1"));
        let parts = [Ok(Frame::data(Bytes::from(gzip(b"text")))), Ok(Frame::trailers(trailers.clone()))];
        let whole = GzipBody::new(StreamBody::new(stream::iter(parts)).boxed_unsync(), 100, quiet()).collect().await;
        let whole = whole.unwrap();
        assert_eq!(whole.trailers(), Some(&trailers));
        assert_eq!(whole.to_bytes(), "text");
    }

    #[tokio::test]
    async fn a_bomb_of_one_member_or_of_many_is_stopped_at_the_limit() {
        let (large, member) = (gzip(&vec![b' '; 50 << 20]), gzip(&vec![b' '; 100_000]));
        let many = member.repeat(1000);
        for bomb in [large, many] {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = calls.clone();
            let on_limit: OnLimit = Arc::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            });
            let mut body = GzipBody::new(body([bomb]), 1 << 20, on_limit);
            let mut received = 0;
            let error = loop {
                match body.frame().await.unwrap() {
                    Ok(frame) => {
                        let part = frame.into_data().unwrap();
                        assert!(part.len() <= PIECE);
                        received += part.len();
                    }
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, WasiError::HttpResponseBodySize(Some(1_048_576))), "{error:?}");
            assert!(received <= 1 << 20, "{received}");
            assert_eq!(calls.load(Ordering::Relaxed), 1);
            assert!(body.frame().await.is_none(), "nothing comes after it");
        }
    }

    #[test]
    fn only_one_whole_gzip_coding_is_decoded() {
        let coding = |status: u16, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            Coding::of(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let other = |text: &str| Coding::Other(text.into());
        assert_eq!(coding(200, &[]), Coding::Identity);
        assert_eq!(coding(200, &["identity"]), Coding::Identity);
        assert_eq!(coding(200, &["gzip"]), Coding::Gzip);
        assert_eq!(coding(500, &[" X-GZip , identity"]), Coding::Gzip);
        assert_eq!(coding(206, &["gzip"]), other("gzip"));
        assert_eq!(coding(200, &["br"]), other("br"));
        assert_eq!(coding(200, &["gzip, gzip"]), other("gzip, gzip"));
        assert_eq!(coding(200, &["gzip", "zstd"]), other("gzip,zstd"));
    }

    #[test]
    fn nothing_is_asked_for_that_could_not_be_decoded() {
        let narrowed = |asked: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(asked.map(|asked| (header::ACCEPT_ENCODING, HeaderValue::from_static(asked))));
            narrow(&mut headers);
            headers.get(header::ACCEPT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(narrowed(None), None);
        assert_eq!(narrowed(Some("gzip")).unwrap(), "gzip");
        assert_eq!(narrowed(Some("br, GZIP;q=0.5, *")).unwrap(), "gzip");
        assert_eq!(narrowed(Some("zstd, br")).unwrap(), "identity");
    }
}
