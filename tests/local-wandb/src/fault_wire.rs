//! How each fault looks on the wire.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::connection::ConnectionControl;
use super::faults::Fault;
use super::http::{Answer, Body, full, json, with_type};
use super::json::Json;
use super::server::gzip;

/// Long enough for bytes already written to leave before the connection is cut.
const FLUSH: Duration = Duration::from_millis(30);

impl Fault {
    /// What happens before the true answer is made: `Some` replaces it, an error cuts the connection.
    pub(crate) async fn before(&self, connection: &ConnectionControl) -> io::Result<Option<Answer>> {
        Ok(Some(match self {
            Fault::ResetBefore => {
                connection.reset();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Fault::Stall(wait) => {
                tokio::time::sleep(*wait).await;
                return Ok(None);
            }
            Fault::Hold(gate) => {
                // No permit is ever added.
                drop(gate.acquire().await);
                return Ok(None);
            }
            Fault::Status(status, headers, body) => {
                let mut answer = json(StatusCode::from_u16(*status).unwrap_or_default(), body.clone());
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                        answer.headers_mut().insert(name, value);
                    }
                }
                answer
            }
            Fault::Body(content_type, body) => {
                let mut answer = with_type(StatusCode::OK, "application/json", body.clone());
                if let Ok(value) = HeaderValue::from_str(content_type) {
                    answer.headers_mut().insert(http::header::CONTENT_TYPE, value);
                }
                answer
            }
            Fault::Redirect(status, url) => {
                let mut answer = json(StatusCode::from_u16(*status).unwrap_or(StatusCode::FOUND), "");
                if let Ok(value) = HeaderValue::from_str(url) {
                    answer.headers_mut().insert(LOCATION, value);
                }
                answer
            }
            Fault::Errors(errors) => json(StatusCode::OK, format!("{{\"data\":null,\"errors\":{errors}}}")),
            Fault::GzipBomb(bytes) => {
                let mut answer = json(StatusCode::OK, gzip(&vec![b' '; *bytes]));
                answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                answer
            }
            Fault::DeepJson(depth) => {
                json(StatusCode::OK, format!("{{\"x\":{}{}}}", "[".repeat(*depth), "]".repeat(*depth)))
            }
            _ => return Ok(None),
        }))
    }

    /// The answer with what the fault changes in its JSON.
    fn changed(&self, answer: Answer, own_url: &str) -> Answer {
        let entry = match self {
            Fault::HideRun(id) => Some((id, Entry::Hidden)),
            Fault::OddEntry(id, text) => Some((id, Entry::Run(text.clone()))),
            Fault::OddEdge(id, text) => Some((id, Entry::Edge(text.clone()))),
            _ => None,
        };
        if let Some((id, entry)) = entry {
            return answer.map(|body| {
                let text = String::from_utf8_lossy(&body).into_owned();
                let Ok(mut page) = Json::parse(&text) else { return Bytes::from(text) };
                change_entry(&mut page, id, &entry);
                Bytes::from(page.to_string())
            });
        }
        if let Fault::RunError(id, error) | Fault::SpreadRunError(id, error) = self {
            return answer.map(|body| {
                let text = String::from_utf8_lossy(&body).into_owned();
                let (Ok(mut answer), Ok(error)) = (Json::parse(&text), Json::parse(error)) else {
                    return Bytes::from(text);
                };
                spoil_run(&mut answer, id, error, matches!(self, Fault::SpreadRunError(..)));
                Bytes::from(answer.to_string())
            });
        }
        let (empty, next) = match self {
            Fault::CutBody(bytes) => {
                let (parts, body) = answer.into_parts();
                return Response::from_parts(parts, body.slice(..body.len().min(*bytes)));
            }
            Fault::ErrorsBesideData(errors) => {
                return answer.map(|body| {
                    let text = String::from_utf8_lossy(&body);
                    let members = text.trim_start().strip_prefix('{').unwrap_or("}");
                    Bytes::from(format!("{{\"errors\":{errors},{members}"))
                });
            }
            Fault::Next(url) => (false, url.clone()),
            Fault::Cycle => (false, own_url.to_owned()),
            Fault::EndlessPages => (false, unique(own_url)),
            Fault::EndlessEmptyPages | Fault::EndlessHiddenPages => (true, unique(own_url)),
            _ => return answer,
        };
        answer.map(|body| {
            let text = String::from_utf8_lossy(&body).into_owned();
            match Json::parse(&text) {
                Ok(mut page) => {
                    let cursor = match self {
                        Fault::Cycle => "YXJyYXljb25uZWN0aW9uOjA=".to_owned(),
                        Fault::EndlessPages | Fault::EndlessEmptyPages => unique_cursor(),
                        Fault::EndlessHiddenPages => BASE64.encode(format!("arrayconnection:{}", 1_000_000 + serial())),
                        _ => next.clone(),
                    };
                    turn_page(&mut page, empty, &next, &cursor);
                    if let (Json::Object(members), true) =
                        (&mut page, text.contains("\"runs\":") || text.contains("\"history\":"))
                    {
                        // A REST page names its next one at the top.
                        if !members.iter().any(|(key, _)| key == "data" || key == "nextUrl") {
                            members.push(("nextUrl".to_owned(), Json::String(next.clone())));
                        }
                    }
                    Bytes::from(page.to_string())
                }
                Err(_) => Bytes::from(text),
            }
        })
    }
}

/// A number that was not given before.
fn serial() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A URL that was not seen before.
fn unique(url: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}again={}", serial())
}

/// A cursor that was not seen before, to a place that was: its zeros are as many as never before.
fn unique_cursor() -> String {
    BASE64.encode(format!("arrayconnection:{}", "0".repeat(1 + serial())))
}

/// What becomes of a run's entry in a page.
enum Entry {
    Hidden,
    Run(String),
    Edge(String),
}

/// Changes a run's entry in every list of a page: of runs (REST) or of edges (GraphQL).
fn change_entry(value: &mut Json, id: &str, entry: &Entry) {
    let is_it = |run: &Json, key: &str| matches!(run.get(key), Some(Json::String(text)) if text == id);
    let parsed = |text: &str| Json::parse(text).unwrap_or(Json::Null);
    match value {
        Json::Object(members) => {
            for (key, member) in members {
                let (list, is_edges) = match (key.as_str(), &mut *member) {
                    ("runs", Json::Array(list)) => (list, false),
                    ("edges", Json::Array(list)) => (list, true),
                    (_, it) => {
                        change_entry(it, id, entry);
                        continue;
                    }
                };
                let at = list.iter().position(|item| match is_edges {
                    true => item.get("node").is_some_and(|node| is_it(node, "name")),
                    false => is_it(item, "id"),
                });
                match (at, entry) {
                    (None, _) => {}
                    (Some(at), Entry::Hidden) => drop(list.remove(at)),
                    (Some(at), Entry::Run(text)) if is_edges => {
                        list[at] = Json::Object(vec![("node".to_owned(), parsed(text))]);
                    }
                    (Some(at), Entry::Run(text) | Entry::Edge(text)) => list[at] = parsed(text),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| change_entry(item, id, entry)),
        _ => {}
    }
}

/// Puts null where an answer holds a run, or where it holds the project, and an error beside it that names the run's place. A run that an
/// answer holds alone need not say its name.
fn spoil_run(answer: &mut Json, id: &str, error: Json, spreads: bool) {
    let Json::Object(members) = answer else { return };
    let data = members.iter_mut().find(|(key, _)| key == "data");
    let Some((_, Json::Object(data))) = data else { return };
    let Some((_, project)) = data.iter_mut().find(|(key, _)| key == "project") else { return };
    let Json::Object(parts) = project else { return };
    let is_it = |key: &str, run: &Json| match run.get("name") {
        Some(Json::String(name)) => name == id,
        _ => key == "run",
    };
    let Some((place, run)) = parts.iter_mut().find(|(key, run)| is_it(key, run)) else { return };
    let path = Json::Array(vec![Json::String("project".to_owned()), Json::String(place.clone())]);
    *run = Json::Null;
    if spreads {
        *project = Json::Null;
    }
    let Json::Object(mut error) = error else { return };
    error.push(("path".to_owned(), path));
    members.push(("errors".to_owned(), Json::Array(vec![Json::Object(error)])));
}

/// Rewrites every next pointer in a page, and empties its lists when asked to.
fn turn_page(value: &mut Json, empty: bool, next_url: &str, cursor: &str) {
    match value {
        Json::Object(members) => {
            for (key, member) in members {
                match (key.as_str(), &mut *member) {
                    ("nextUrl", it) => *it = Json::String(next_url.to_owned()),
                    ("hasNextPage", it) => *it = Json::Bool(true),
                    ("endCursor", it) => *it = Json::String(cursor.to_owned()),
                    ("runs" | "history" | "edges", Json::Array(items)) if empty => items.clear(),
                    (_, it) => turn_page(it, empty, next_url, cursor),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| turn_page(item, empty, next_url, cursor)),
        _ => {}
    }
}

/// Sends an answer as the fault wants it sent. `own_url` of cyclic pages is the request's.
pub(crate) fn send(fault: Fault, answer: Answer, connection: Arc<ConnectionControl>, own_url: &str) -> Response<Body> {
    let answer = fault.changed(answer, own_url);
    let (mut parts, body) = answer.into_parts();
    let declare = |parts: &mut http::response::Parts, length: u64| {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    };
    let steps = match fault {
        Fault::ResetAfter(bytes) => {
            declare(&mut parts, body.len() as u64);
            vec![Step::Send(body.slice(..bytes.min(body.len()))), Step::Wait(FLUSH), Step::Cut { reset: true }]
        }
        Fault::Truncate(bytes) => {
            declare(&mut parts, body.len() as u64);
            let end = bytes.min(body.len().saturating_sub(1));
            vec![Step::Send(body.slice(..end)), Step::Wait(FLUSH), Step::Cut { reset: false }]
        }
        Fault::ContentLength(length) => {
            declare(&mut parts, length);
            vec![Step::Send(body), Step::Wait(FLUSH)]
        }
        Fault::StallAfter(bytes, wait) => {
            let at = bytes.min(body.len());
            vec![Step::Send(body.slice(..at)), Step::Wait(wait), Step::Send(body.slice(at..))]
        }
        Fault::Drip(bytes, every) => {
            let chunks = body.chunks(bytes.max(1)).map(Bytes::copy_from_slice);
            chunks.flat_map(|chunk| [Step::Wait(every), Step::Send(chunk)]).collect()
        }
        _ => return Response::from_parts(parts, full(body)),
    };
    Response::from_parts(parts, stepwise(steps, connection))
}

/// One step of sending a body.
enum Step {
    Send(Bytes),
    Wait(Duration),
    Cut { reset: bool },
}

fn stepwise(steps: Vec<Step>, connection: Arc<ConnectionControl>) -> Body {
    let state = (steps.into_iter(), connection);
    let frames = stream::unfold(state, |(mut steps, connection)| async move {
        loop {
            match steps.next()? {
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Send(bytes) if bytes.is_empty() => {}
                Step::Send(bytes) => return Some((Ok(Frame::data(bytes)), (steps, connection))),
                Step::Cut { reset } => {
                    if reset {
                        connection.reset();
                    }
                    return Some((Err(io::ErrorKind::ConnectionReset.into()), (steps, connection)));
                }
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(fault: &Fault, body: &str) -> String {
        let answer = fault.changed(json(StatusCode::OK, body.to_owned()), "http://h/p");
        String::from_utf8(answer.into_body().to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_last_page_gets_a_next_one() {
        let next = Fault::Next("http://evil.test/".to_owned());
        assert_eq!(changed(&next, r#"{"runs":[1]}"#), r#"{"runs":[1],"nextUrl":"http://evil.test/"}"#);
        assert_eq!(changed(&Fault::Cycle, r#"{"history":[]}"#), r#"{"history":[],"nextUrl":"http://h/p"}"#);
    }

    #[test]
    fn a_hidden_run_is_left_out_of_lists_alone() {
        let hide = Fault::HideRun("b".to_owned());
        assert_eq!(changed(&hide, r#"{"runs":[{"id":"a"},{"id":"b"}]}"#), r#"{"runs":[{"id":"a"}]}"#);
        let edges = r#"{"data":{"runs":{"edges":[{"node":{"name":"b"}},{"node":{"name":"c"}}]}}}"#;
        assert_eq!(changed(&hide, edges), r#"{"data":{"runs":{"edges":[{"node":{"name":"c"}}]}}}"#);
        assert_eq!(changed(&hide, r#"{"data":{"run":{"name":"b"}}}"#), r#"{"data":{"run":{"name":"b"}}}"#);
    }

    #[test]
    fn an_odd_entry_stands_where_the_run_was() {
        let entry = Fault::OddEntry("b".to_owned(), r#"{"id":7}"#.to_owned());
        assert_eq!(changed(&entry, r#"{"runs":[{"id":"a"},{"id":"b"}]}"#), r#"{"runs":[{"id":"a"},{"id":7}]}"#);
        let edges = r#"{"edges":[{"node":{"name":"b"},"cursor":"x"}]}"#;
        assert_eq!(changed(&entry, edges), r#"{"edges":[{"node":{"id":7}}]}"#);
        assert_eq!(changed(&Fault::OddEdge("b".to_owned(), "null".to_owned()), edges), r#"{"edges":[null]}"#);
    }

    #[test]
    fn an_error_names_one_run_of_many() {
        let many = r#"{"data":{"project":{"r0":{"name":"a"},"r1":{"name":"b"}}}}"#;
        let error = |spreads: bool| match spreads {
            false => Fault::RunError("b".to_owned(), r#"{"message":"no"}"#.to_owned()),
            true => Fault::SpreadRunError("b".to_owned(), r#"{"message":"no"}"#.to_owned()),
        };
        let told = r#""errors":[{"message":"no","path":["project","r1"]}]"#;
        assert_eq!(
            changed(&error(false), many),
            format!(r#"{{"data":{{"project":{{"r0":{{"name":"a"}},"r1":null}}}},{told}}}"#)
        );
        assert_eq!(changed(&error(true), many), format!(r#"{{"data":{{"project":null}},{told}}}"#));
        let alone = r#"{"data":{"project":{"run":{"history":[]}}}}"#;
        assert!(changed(&error(false), alone).contains(r#"{"run":null}"#));
    }

    #[test]
    fn errors_stand_beside_data() {
        let fault = Fault::ErrorsBesideData(r#"["no"]"#.to_owned());
        assert_eq!(changed(&fault, r#"{"data":{}}"#), r#"{"errors":["no"],"data":{}}"#);
    }
}
