//! A program that embeds the host sees a sync, its requests and its commits in the tree of its own spans.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument as _, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::server::{Server, answer};
use crate::support::{KEY, Script};

#[derive(Debug, Clone)]
struct Recorded {
    metadata: &'static Metadata<'static>,
    parent: Option<Id>,
    fields: BTreeMap<String, String>,
    /// It is over when there is none.
    handles: usize,
}

/// Remembers every span of the process, in the order in which they began.
#[derive(Clone, Default)]
struct Recorder {
    spans: Arc<Mutex<Vec<Recorded>>>,
}

thread_local! {
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Recorder {
    /// The only one of the process: spans begin on many threads.
    fn global() -> &'static Self {
        static GLOBAL: OnceLock<Recorder> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            let recorder = Self::default();
            tracing::subscriber::set_global_default(recorder.clone()).unwrap();
            recorder
        })
    }

    fn with<R>(&self, id: &Id, act: impl FnOnce(&mut Recorded) -> R) -> R {
        act(&mut self.spans.lock().unwrap()[usize::try_from(id.into_u64()).unwrap() - 1])
    }

    /// The host's spans in another one. Wasmtime's own, one for each call of an import, are in them too.
    fn children(&self, parent: &Id) -> Vec<(Id, Recorded)> {
        let spans = self.spans.lock().unwrap();
        let numbered = spans.iter().zip(1..).map(|(span, number)| (Id::from_u64(number), span.clone()));
        numbered
            .filter(|(_, span)| span.parent.as_ref() == Some(parent) && span.metadata.target().starts_with("elt_host"))
            .collect()
    }
}

fn entered() -> Option<Id> {
    ENTERED.with_borrow(|entered| entered.last().cloned())
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let parent = if span.is_contextual() { entered() } else { span.parent().cloned() };
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        let mut spans = self.spans.lock().unwrap();
        spans.push(Recorded { metadata: span.metadata(), parent, fields, handles: 1 });
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |span| values.record(&mut Fields(&mut span.fields)));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.clone()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|other| other == id) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.with(id, |span| span.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.with(&id, |span| {
            span.handles -= 1;
            span.handles == 0
        })
    }

    fn current_span(&self) -> Current {
        entered().map_or_else(Current::none, |id| Current::new(id.clone(), self.with(&id, |span| span.metadata)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_is_a_span_in_that_of_its_caller_and_its_requests_and_commits_are_spans_in_it() {
    let recorder = Recorder::global();
    let server = Server::start(|path| match path.starts_with("/missing") {
        true => answer("404 Not Found", ""),
        false => answer("200 OK", "fine"),
    })
    .await;
    let missing = format!("{}/missing?signature=abc", server.url());
    let steps = json!([["get", server.url()], ["get", missing], ["rows", 0, 5], ["checkpoint", {"a": "1"}]]);
    let script = Script::new(steps).with("base_url", json!(server.url()));
    let own = tracing::info_span!("the embedder's own");
    let run = script.run().instrument(own.clone()).await;
    assert_eq!(run.error(), "");

    let syncs = recorder.children(&own.id().unwrap());
    let [(id, sync)] = syncs.as_slice() else { panic!("{syncs:?}") };
    assert_eq!((sync.metadata.name(), sync.handles), ("sync", 0));
    let field = |span: &Recorded, name: &str| span.fields.get(name).cloned().unwrap_or_default();
    let ended = ["sync.outcome", "sync.rows", "sync.requests", "sync.checkpoints"].map(|name| field(sync, name));
    assert_eq!(ended, ["ok", "5", "2", "1"]);
    let inside: Vec<_> = recorder.children(id).into_iter().map(|(_, span)| span).collect();
    let named = |name: &str| inside.iter().filter(|span| span.metadata.name() == name).collect::<Vec<_>>();
    let (requests, commits) = (named("request"), named("commit"));
    assert_eq!((inside.len(), requests.len(), commits.len()), (3, 2, 1), "{inside:?}");
    assert!(inside.iter().all(|span| span.handles == 0), "{inside:?}");
    let statuses: Vec<_> = requests.iter().map(|span| field(span, "http.response.status_code")).collect();
    assert_eq!(statuses, ["200", "404"]);
    assert_eq!(
        (field(requests[0], "http.request.method"), field(requests[0], "server.address")),
        ("GET".into(), "127.0.0.1".into())
    );
    assert_eq!(field(commits[0], "commit.rows"), "5");
    let everything = format!("{sync:?} {inside:?}");
    assert!(!everything.contains("signature") && !everything.contains(KEY), "{everything}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_span_of_a_sync_that_fails_says_of_what_kind_the_error_is() {
    let recorder = Recorder::global();
    let own = tracing::info_span!("the embedder's own");
    let script = Script::new(json!([["rows", 0, 5], ["checkpoint", {}]])).failing("the disk is full");
    let run = script.run().instrument(own.clone()).await;
    assert!(run.error().contains("the disk is full"));
    let syncs = recorder.children(&own.id().unwrap());
    let fields = &syncs[0].1.fields;
    assert_eq!((fields["sync.outcome"].as_str(), fields["error.type"].as_str()), ("destination", "destination"));
}
