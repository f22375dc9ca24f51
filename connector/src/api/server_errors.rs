//! What W&B answers instead of what it was asked for, and what follows from it.
//!
//! An answer refuses by its status, by GraphQL `errors` (objects, or bare texts), or by a body `{"error": …}`. What it means is told by
//! the status, else by `extensions.code`. Where there is a `path` but no code, the question was understood and something on the way to
//! the answer failed, which may pass. Only where there is none of these do the message's words decide (see [`words`](super::words)).
//!
//! What a refusal costs does not depend on what it means, but on what was asked for: a refused listing ends the sync, a refused run is
//! left out of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::client::{Failure, refusal};
use crate::api::exchange::Response;
use crate::error::Error;

use super::words::{self, Meaning};

/// Errors of one answer that are looked at.
const MOST: usize = 1000;
/// Characters of a message that are shown, of all errors together.
const SHOWN: usize = 300;
/// Characters of one message that are looked at.
const LONGEST: usize = 2000;

/// A part of the place in the answer that an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(u64),
    Other,
}

/// One error.
#[derive(Debug, Default)]
struct ServerError {
    message: String,
    path: Option<Vec<Step>>,
    code: Option<String>,
}

impl ServerError {
    fn of(value: &Value) -> Self {
        let cut = |text: &str| text.chars().take(LONGEST).collect::<String>();
        let Value::Object(members) = value else {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Self { message: cut(&text), ..Self::default() };
        };
        let member = |name: &str| members.get(name).filter(|it| !it.is_null());
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let code = member("extensions").and_then(|it| it.get("code")).or(member("code")).and_then(text);
        let message = member("message").or(member("error")).and_then(text);
        let step = |step: &Value| match step {
            Value::String(field) => Step::Field(cut(field)),
            other => other.as_u64().map_or(Step::Other, Step::Index),
        };
        let path = member("path").and_then(Value::as_array).filter(|path| !path.is_empty());
        Self {
            message: cut(&message.unwrap_or_else(|| value.to_string())),
            path: path.map(|path| path.iter().take(16).map(step).collect()),
            code,
        }
    }

    fn meaning(&self, names: &[&str]) -> Meaning {
        match (&self.code, &self.path) {
            (Some(code), _) => of_code(code),
            (None, Some(_)) => Meaning::Passing,
            (None, None) => words::meaning(&self.message, names),
        }
    }

    /// The part of the project that this is about.
    fn alias(&self) -> Option<&str> {
        match self.path.as_deref()? {
            [Step::Field(project), Step::Field(alias), ..] if project == "project" => Some(alias),
            _ => None,
        }
    }

    /// The entry of a listing that this is about.
    fn entry(&self) -> Option<usize> {
        match self.path.as_deref()? {
            [Step::Field(project), Step::Field(runs), Step::Field(edges), Step::Index(at), ..]
                if project == "project" && runs == "runs" && edges == "edges" =>
            {
                usize::try_from(*at).ok()
            }
            _ => None,
        }
    }
}

/// Codes are W&B's own, those of GraphQL servers at large, and numbers like HTTP's.
fn of_code(code: &str) -> Meaning {
    let code = code.trim().to_ascii_uppercase().replace(['-', ' '], "_");
    match code.as_str() {
        "401" | "UNAUTHENTICATED" | "UNAUTHORIZED" | "AUTHENTICATION_ERROR" | "NOT_LOGGED_IN" => Meaning::SignedOut,
        "403" | "FORBIDDEN" | "PERMISSION_ERROR" | "PERMISSION_DENIED" | "ACCESS_DENIED" => Meaning::Forbidden,
        "404" | "NOT_FOUND" | "NOT_FOUND_ERROR" => Meaning::Absent,
        "GRAPHQL_VALIDATION_FAILED"
        | "GRAPHQL_PARSE_FAILED"
        | "VALIDATION_ERROR"
        | "BAD_USER_INPUT"
        | "BAD_REQUEST" => Meaning::BadQuestion,
        "408" | "429" => Meaning::Passing,
        number if number.len() == 3 && number.starts_with('4') && number.bytes().all(|it| it.is_ascii_digit()) => {
            Meaning::BadQuestion
        }
        _ => Meaning::Passing,
    }
}

/// The errors of an answer.
#[derive(Debug, Default)]
pub(super) struct ServerErrors(Vec<ServerError>);

impl ServerErrors {
    /// What stands in `errors`, usually a list, or else in `error`.
    pub(super) fn new(errors: Option<&RawValue>, error: Option<&RawValue>) -> Self {
        let errors_said = Self(errors.map(|errors| read(errors.get())).unwrap_or_default());
        match error {
            Some(error) if errors_said.is_empty() && !matches!(error.get(), "false" | "\"\"" | "{}") => {
                Self(read(error.get()))
            }
            _ => errors_said,
        }
    }

    /// What a body that holds nothing else says is wrong; none where it says nothing.
    pub(super) fn of_body(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow, default)]
            errors: Option<&'a RawValue>,
            #[serde(borrow, default)]
            error: Option<&'a RawValue>,
        }
        let body = serde_json::from_slice::<Body<'_>>(body);
        body.map(|body| Self::new(body.errors, body.error)).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with single entries of a listing, where nothing else is wrong: the entry's position, and the message.
    pub(super) fn of_entries(&self) -> Option<Vec<(usize, String)>> {
        // Of so many errors not all were looked at.
        let errors_said = Some(&self.0).filter(|errors_said| !errors_said.is_empty() && errors_said.len() < MOST)?;
        errors_said.iter().map(|it| Some((it.entry()?, shown(&it.message)))).collect()
    }

    /// The parts of the project that errors name by their paths, as a joint question calls them. None: there is an error about something else.
    pub(super) fn of_aliases(&self) -> Option<BTreeSet<&str>> {
        // Of so many errors not all were looked at.
        let errors_said = Some(&self.0).filter(|errors_said| errors_said.len() < MOST)?;
        errors_said.iter().map(ServerError::alias).collect()
    }

    /// The strongest of what they mean.
    fn meaning(&self, names: &[&str]) -> Meaning {
        self.0.iter().map(|it| it.meaning(names)).min().unwrap_or(Meaning::Passing)
    }

    fn has_permission_error(&self) -> bool {
        self.0.iter().any(|it| it.code.as_deref() == Some("PERMISSION_ERROR"))
    }
}

impl fmt::Display for ServerErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<&str> = self.0.iter().take(SHOWN).map(|it| it.message.as_str()).collect();
        f.write_str(&shown(&messages.join("; ")))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn read(text: &str) -> Vec<ServerError> {
    match serde_json::from_str::<Bounded>(text) {
        Ok(Bounded(errors_said)) => errors_said,
        // One error without a list, or what is no valid text inside the list.
        Err(_) => vec![serde_json::from_str(text).map_or_else(
            |_| ServerError { message: text.chars().take(LONGEST).collect(), ..ServerError::default() },
            |value| ServerError::of(&value),
        )],
    }
}

/// The first errors of a list, however long that is.
struct Bounded(Vec<ServerError>);

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Bounded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of errors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bounded, A::Error> {
                let mut errors_said = Vec::new();
                while errors_said.len() < MOST
                    && let Some(value) = list.next_element::<Value>()?
                {
                    errors_said.push(ServerError::of(&value));
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Bounded(errors_said))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About<'a> {
    /// The project's listing, or the key: a refusal ends the sync.
    Project,
    /// The run of this id: a refusal costs that run.
    Run(&'a str),
    /// Several runs: a refusal shows nothing of any of them.
    Runs,
}

/// What an answer leaves open, for another question to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ambiguity {
    /// The code says that something is not permitted, which it also does where nobody is signed in.
    Key,
    /// There was no project in the answer.
    Project,
}

/// A question to W&B, as far as a refusal of it is told and judged.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// What it is, for messages: `listing runs`.
    pub(super) what: String,
    about: About<'a>,
    entity: &'a str,
    project: &'a str,
    /// It asks for more of what W&B has answered before.
    pub(super) goes_on: bool,
    /// What the last answer left open.
    pub(super) doubt: Cell<Option<Ambiguity>>,
}

impl<'a> Question<'a> {
    pub(super) fn new(what: impl Into<String>, about: About<'a>, entity: &'a str, project: &'a str) -> Self {
        Self { what: what.into(), about, entity, project, goes_on: false, doubt: Cell::new(None) }
    }

    pub(super) fn is_about_project(&self) -> bool {
        self.about == About::Project
    }

    /// The run that it is about.
    pub(super) fn run(&self) -> Option<&'a str> {
        match self.about {
            About::Project | About::Runs => None,
            About::Run(run) => Some(run),
        }
    }

    fn hint(&self) -> String {
        format!("project {}/{}", self.entity, self.project)
    }

    /// What a status that no retry cures means, with what the body says of it.
    pub(super) fn refusal(&self, response: &Response, errors_said: &ServerErrors) -> Option<Error> {
        let what = &self.what;
        let said = if errors_said.is_empty() { String::new() } else { format!(": {errors_said}") };
        Some(match (refusal(response, what, &self.hint())?, self.about) {
            (Error::Upstream { status, message }, _) => Error::Upstream { status, message: message + &said },
            (error, About::Project) => error,
            (Error::Authentication(_), _) => Error::Authentication(format!("{what}: HTTP 401{said}")),
            (Error::Permission(_), _) => Error::Permission(format!("{what}: HTTP 403{said}")),
            (Error::NotFound(_), _) => Error::NotFound(format!("{what}: HTTP 404{said}")),
            (other, _) => other,
        })
    }

    /// What errors in an answer of another status mean.
    pub(super) fn failure(&self, status: u16, errors_said: &ServerErrors) -> Failure {
        let run = self.run().unwrap_or_default();
        let message = format!("{}: W&B says: {errors_said}", self.what);
        let advice = |advice: String| match self.about {
            About::Project => format!("{message}; {advice}"),
            About::Run(_) | About::Runs => message.clone(),
        };
        Failure::Final(match errors_said.meaning(&[self.entity, self.project, run]) {
            Meaning::SignedOut => Error::Authentication(advice("check the API key, or get a new one".to_owned())),
            Meaning::Forbidden => {
                self.doubt.set(errors_said.has_permission_error().then_some(Ambiguity::Key));
                Error::Permission(advice(format!("ask the owner of {} for access", self.hint())))
            }
            Meaning::BadQuestion => Error::Upstream { status: Some(status), message },
            Meaning::Absent => Error::NotFound(message),
            Meaning::Passing => {
                let reason = format!("W&B says: {errors_said}");
                return Failure::Again { status: Some(status), reason, wait: None };
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NAMES: [&str; 3] = ["acme", "forbidden-planet", "r1"];

    fn of_body(body: &Value) -> ServerErrors {
        ServerErrors::of_body(body.to_string().as_bytes())
    }

    #[test]
    fn a_code_decides_before_a_path_and_a_path_before_words() {
        let path = json!(["project", "run", "history"]);
        for (body, expected) in [
            (json!({"errors": [{"message": "x", "extensions": {"code": "PERMISSION_ERROR"}}]}), Meaning::Forbidden),
            (
                json!({"errors": [{"message": "not found", "path": path, "extensions": {"code": "PERMISSION_ERROR"}}]}),
                Meaning::Forbidden,
            ),
            (
                json!({"errors": [{"message": "permission denied", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}),
                Meaning::Passing,
            ),
            (
                json!({"errors": [{"message": "permission denied", "extensions": {"code": "SOMETHING_NEW"}}]}),
                Meaning::Passing,
            ),
            (
                json!({"errors": [{"message": "x", "extensions": {"code": "graphql-validation-failed"}}]}),
                Meaning::BadQuestion,
            ),
            (json!({"errors": [{"message": "x", "extensions": {"code": 404}}]}), Meaning::Absent),
            (json!({"errors": [{"message": "x", "extensions": {"code": "413"}}]}), Meaning::BadQuestion),
            (json!({"errors": [{"message": "permission denied", "extensions": {"code": 503}}]}), Meaning::Passing),
            (json!({"errors": [{"message": "permission denied", "path": path}]}), Meaning::Passing),
            (json!({"errors": [{"message": "permission denied", "path": [], "extensions": null}]}), Meaning::Forbidden),
            (json!({"errors": ["permission denied"]}), Meaning::Forbidden),
            (json!({"errors": "permission denied"}), Meaning::Forbidden),
            (json!({"errors": {"message": "run not found"}}), Meaning::Absent),
            (json!({"errors": [{"message": "it broke"}, "user is not logged in"]}), Meaning::SignedOut),
            (json!({"error": "run not found"}), Meaning::Absent),
            (json!({"error": {"message": "permission denied"}}), Meaning::Forbidden),
            (json!({"error": {"message": "x", "code": 401}}), Meaning::SignedOut),
            (json!({"errors": [], "error": "internal"}), Meaning::Passing),
            (json!({"errors": [7, null, [], {}]}), Meaning::Passing),
        ] {
            let errors_said = of_body(&body);
            assert!(!errors_said.is_empty(), "{body}");
            assert_eq!(errors_said.meaning(&NAMES), expected, "{body}");
        }
        for body in [json!({"errors": [], "error": null}), json!({"data": {}}), json!([]), json!({"error": ""})] {
            assert!(of_body(&body).is_empty(), "{body}");
        }
        assert!(ServerErrors::of_body(b"<html>").is_empty());
    }

    #[test]
    fn what_a_refusal_costs_depends_on_what_was_asked_for() {
        let error = |about, body: Value| match Question::new("x", about, "acme", "demo").failure(200, &of_body(&body)) {
            Failure::Final(error) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let body = || json!({"errors": [{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]});
        assert!(error(About::Project, body()).contains("check the API key"));
        assert_eq!(error(About::Run("r1"), body()), "x: W&B says: no");
    }

    #[test]
    fn errors_about_entries_are_told_from_errors_about_the_listing() {
        let entry = |at: usize| json!({"message": "odd", "path": ["project", "runs", "edges", at, "node", "user"]});
        let of_entries = |errors: Value| of_body(&json!({"errors": errors})).of_entries();
        assert_eq!(of_entries(json!([entry(3), entry(5)])), Some(vec![(3, "odd".to_owned()), (5, "odd".to_owned())]));
        assert_eq!(of_entries(json!([entry(3), {"message": "x", "path": ["project", "runs"]}])), None);
        assert_eq!(of_entries(json!([entry(3), "x"])), None);
        assert_eq!(of_entries(json!([])), None);
        assert_eq!(of_entries(Value::from(vec![entry(1); MOST + 5])), None);
    }

    #[test]
    fn errors_about_single_runs_of_many_are_told_from_others() {
        let of_run = |alias: &str| json!({"message": "odd", "path": ["project", alias, "history"]});
        let said = |errors: Value| {
            let errors_said = of_body(&json!({"errors": errors}));
            errors_said.of_aliases().map(|aliases| aliases.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(said(json!([])), Some(Vec::new()));
        assert_eq!(
            said(json!([of_run("r3"), of_run("r0"), of_run("r3")])),
            Some(vec!["r0".to_owned(), "r3".to_owned()])
        );
        for other in [
            json!("x"),
            json!({"message": "x"}),
            json!({"message": "x", "path": ["project"]}),
            json!({"message": "x", "path": ["viewer", "r0"]}),
        ] {
            assert_eq!(said(json!([of_run("r3"), other])), None);
        }
        assert_eq!(said(Value::from(vec![of_run("r0"); MOST + 5])), None);
    }

    proptest! {
        #[test]
        fn names_change_nothing_where_there_is_a_code_or_a_path(message in ".{0,40}", entity in ".{0,12}", project in ".{0,12}", run in ".{0,12}") {
            for (error, expected) in [
                (json!({"message": message, "extensions": {"code": "NOT_FOUND"}}), Meaning::Absent),
                (json!({"message": message, "path": ["project", "run", run]}), Meaning::Passing),
            ] {
                prop_assert_eq!(of_body(&json!({"errors": [error]})).meaning(&[&entity, &project, &run]), expected);
            }
        }

        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = ServerErrors::of_body(&body).to_string();
        }
    }
}
