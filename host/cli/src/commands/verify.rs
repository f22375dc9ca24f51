//! `verify`: what the destination holds beside what its source holds.

use std::fmt::Write;
use std::sync::Arc;

use elt_host::component::annotations::ItemNames;
use elt_host::{CancellationToken, Error, Level};
use elt_support::printable::escape_control;
use elt_verify::{Differences, Finding, RowKey, Verification};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::args::{Format, SandboxArgs, VerifyArgs};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::console::Console;
use crate::output::table::{self, Heading};
use crate::output::units::grouped;
use crate::output::vocabulary::{Vocabulary, member};
use crate::output::{self, json, report};
use crate::run::{self, Runner};
use crate::wandb::configuration;

/// Rows of the table for people.
const MOST_SHOWN: usize = 50;

/// Verifies. As JSON, a failure too is an object on standard output.
pub(crate) async fn run(args: &VerifyArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let token = interrupt::watch(console, "stopping")
        .map_err(|error| Error::Internal(format!("signals can't be received: {error}")));
    let begun = token.and_then(|token| Ok((token, Runner::load(sandbox, console)?)));
    let (verified, vocabulary) = match begun {
        Ok((token, mut runner)) => {
            let vocabulary = runner.vocabulary().await;
            (verify(args, sandbox, console, &mut runner, &vocabulary, &token).await, vocabulary)
        }
        Err(error) => (Err(error), Vocabulary::of(None, sandbox.component.is_none())),
    };
    if let Err(error) = &verified
        && !matches!(error, Error::Interrupted)
    {
        report::error(console, error);
    }
    console.flush();
    output::print(&match (args.query.format, &verified) {
        (Format::Text, Ok(verification)) => text(verification, &vocabulary.source),
        (Format::Text, Err(_)) => String::new(),
        (Format::Json, _) => json::line(&object(&verified, &vocabulary.items)),
    })?;
    Ok(match &verified {
        Err(error) => error.into(),
        Ok(verification) if verification.is_ok() => Exit::Ok,
        Ok(_) => Exit::Partial,
    })
}

async fn verify(
    args: &VerifyArgs,
    sandbox: &SandboxArgs,
    console: &Arc<Console>,
    runner: &mut Runner,
    vocabulary: &Vocabulary,
    token: &CancellationToken,
) -> Result<Verification, Error> {
    let mut configuration = configuration::load(args.query.config.config.as_deref(), sandbox, console)?;
    // What becomes of deleted items says nothing about what they hold.
    if let Some(key) = runner.spec().await?.deletes() {
        configuration.values.remove(key);
    }
    let destination = run::parse(&args.destination.destination)?;
    runner.allow_downloads(&configuration.values).await?;
    console.log(Level::Info, format!("Comparing {destination} with {}; nothing is written", vocabulary.source));
    console.start_progress();
    let verified = runner.verify(std::mem::take(&mut configuration.values), destination, token).await;
    console.end_progress();
    verified.map_err(|error| configuration.explain(error))
}

/// For people, who know the source as `source`.
fn text(verification: &Verification, source: &str) -> String {
    let mut text = String::new();
    let rows: Vec<Vec<String>> =
        verification.findings.iter().take(MOST_SHOWN).map(|(id, it)| row(id, it, source)).collect();
    if !rows.is_empty() {
        let headings = [
            Heading::Left(&verification.units.0),
            Heading::Left("result"),
            Heading::Right("rows"),
            Heading::Left("first difference"),
        ];
        text += &table::render(&headings, &rows);
        let more = verification.findings.len().saturating_sub(MOST_SHOWN);
        if more > 0 {
            // Writing to a string can't fail.
            writeln!(text, "and {} more; --format json lists all", grouped(more as u64)).ok();
        }
        text.push('\n');
    }
    text + &sentences(verification, source)
}

fn row(id: &str, finding: &Finding, source: &str) -> Vec<String> {
    let (rows, first) = match finding {
        Finding::Behind(differences) | Finding::Different(differences) => {
            (grouped(differences.rows()), differences.first.as_ref().map(shown).unwrap_or_default())
        }
        Finding::Unchecked(reason) => (String::new(), reason.clone()),
        Finding::Missing | Finding::Deleted => Default::default(),
    };
    vec![id.to_owned(), label(finding, source), rows, first]
}

fn label(finding: &Finding, source: &str) -> String {
    match finding {
        Finding::Unchecked(_) => "not checked".into(),
        Finding::Deleted => format!("deleted at {source}"),
        Finding::Different(Differences { changed_since: true, .. }) => "different, and changed".into(),
        other => other.name().into(),
    }
}

/// `metrics 17 val/loss`
fn shown(place: &RowKey) -> String {
    let part = |(_, value): &(String, Value)| match value {
        Value::String(text) => format!(" {text}"),
        other => format!(" {other}"),
    };
    format!("{}{}", place.table, place.key.iter().map(part).collect::<String>())
}

fn sentences(verification: &Verification, source: &str) -> String {
    let (one, several) = &verification.units;
    let mut text = format!(
        "Verified {} {}: {} equal",
        grouped(verification.items),
        escape_control(if verification.items == 1 { one } else { several }),
        grouped(verification.equal)
    );
    for (name, label) in
        [("missing", "missing"), ("behind", "behind"), ("different", "different"), ("unchecked", "not checked")]
    {
        let count = verification.count(name);
        if count > 0 {
            write!(text, ", {} {label}", grouped(count)).ok();
        }
    }
    let deleted = verification.count("deleted");
    if deleted > 0 {
        write!(text, "; {} deleted at {source}, in the destination only", grouped(deleted)).ok();
    }
    text.push('\n');
    if verification.count("missing") + verification.count("behind") > 0 {
        text += "A sync brings what is missing or behind.\n";
    }
    if !verification.lost.is_empty() {
        let names = verification.lost.iter().map(|table| format!("`{}`", table.name)).collect::<Vec<_>>().join(", ");
        writeln!(
            text,
            "The destination has lost {names}, or a part of it: the next sync reads again what is at {source}."
        )
        .ok();
    } else if verification.count("different") > 0 {
        let what = "What is different may need a sync with --full-refresh: others read again only what has changed at";
        writeln!(text, "{what} {source}.").ok();
    }
    text
}

/// The members of the JSON object that are called the same whatever the component.
const MEMBERS: [&str; 9] =
    ["status", "equal_rows", "lost_tables", "findings", "requests", "retries", "seconds", "error", "error_kind"];
/// Those of a finding.
const FINDING_MEMBERS: [&str; 5] = ["result", "rows", "first", "changed_since_last_sync", "reason"];

/// What `--format json` prints. Scripts rely on these names: those of [`MEMBERS`], and the names of the items.
struct Object<'a> {
    verified: &'a Result<Verification, Error>,
    /// One item, and several; before anything was verified, what the component calls them.
    units: (&'a str, &'a str),
}

#[derive(Default, Serialize)]
struct Counts {
    verified: u64,
    equal: u64,
    missing: u64,
    behind: u64,
    different: u64,
    unchecked: u64,
    deleted: u64,
}

/// What the item is called, what it is, and the rest.
struct JsonFinding<'a>(&'a str, &'a str, Found<'a>);

impl Serialize for JsonFinding<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(unit, id, found) = self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry(&member(unit, &FINDING_MEMBERS, "item"), id)?;
        object.serialize_entry("result", found.result)?;
        if let Some(rows) = &found.rows {
            object.serialize_entry("rows", rows)?;
        }
        if let Some(first) = &found.first {
            object.serialize_entry("first", first)?;
        }
        if let Some(changed) = found.changed_since_last_sync {
            object.serialize_entry("changed_since_last_sync", &changed)?;
        }
        if let Some(reason) = found.reason {
            object.serialize_entry("reason", reason)?;
        }
        object.end()
    }
}

struct Found<'a> {
    result: &'static str,
    rows: Option<JsonRows>,
    first: Option<JsonPlace<'a>>,
    changed_since_last_sync: Option<bool>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonRows {
    missing: u64,
    extra: u64,
    altered: u64,
}

#[derive(Serialize)]
struct JsonPlace<'a> {
    table: &'a str,
    key: JsonKey<'a>,
}

struct JsonKey<'a>(&'a [(String, Value)]);

impl Serialize for JsonKey<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn object<'a>(verified: &'a Result<Verification, Error>, names: &'a ItemNames) -> Object<'a> {
    let units = match verified {
        Ok(Verification { units: (one, several), .. }) => (one.as_str(), several.as_str()),
        Err(_) => (names.singular.as_str(), names.plural.as_str()),
    };
    Object { verified, units }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { verified, units: (one, several) } = self;
        let (verification, error) = (verified.as_ref().ok(), verified.as_ref().err());
        let status = match verified {
            Ok(verification) if verification.is_ok() => "ok",
            Ok(_) => "unverified",
            Err(Error::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        let none = Verification::default();
        let shown = verification.unwrap_or(&none);
        let lost: Vec<&str> = shown.lost.iter().map(|table| table.name.as_str()).collect();
        let findings: Vec<_> = shown.findings.iter().map(|(id, it)| JsonFinding(one, id, finding(it))).collect();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("status", status)?;
        object.serialize_entry(&member(several, &MEMBERS, "items"), &counts(shown))?;
        object.serialize_entry("equal_rows", &shown.equal_rows)?;
        object.serialize_entry("lost_tables", &lost)?;
        object.serialize_entry("findings", &findings)?;
        object.serialize_entry("requests", &shown.requests)?;
        object.serialize_entry("retries", &shown.retries)?;
        object.serialize_entry("seconds", &(shown.elapsed.as_millis() as f64 / 1000.0))?;
        object.serialize_entry("error", &error.map(Error::to_string))?;
        object.serialize_entry("error_kind", &error.map(|error| error.kind().name()))?;
        object.end()
    }
}

fn counts(verification: &Verification) -> Counts {
    Counts {
        verified: verification.items,
        equal: verification.equal,
        missing: verification.count("missing"),
        behind: verification.count("behind"),
        different: verification.count("different"),
        unchecked: verification.count("unchecked"),
        deleted: verification.count("deleted"),
    }
}

fn finding(finding: &Finding) -> Found<'_> {
    let differences = match finding {
        Finding::Behind(differences) | Finding::Different(differences) => Some(differences),
        _ => None,
    };
    let rows = |&Differences { missing, extra, altered, .. }: &Differences| JsonRows { missing, extra, altered };
    Found {
        result: finding.name(),
        rows: differences.map(rows),
        first: differences
            .and_then(|differences| differences.first.as_ref())
            .map(|place| JsonPlace { table: &place.table, key: JsonKey(&place.key) }),
        changed_since_last_sync: differences.map(|differences| differences.changed_since),
        reason: match finding {
            Finding::Unchecked(reason) => Some(reason),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn runs() -> ItemNames {
        ItemNames::of_unit("run")
    }

    fn verification() -> Verification {
        let key = vec![("step".to_owned(), Value::from(17)), ("metric_name".to_owned(), Value::from("val\u{9b}/loss"))];
        let first = Some(RowKey { table: "metrics".into(), key });
        let differences = Differences { missing: 1, extra: 0, altered: 2, first, changed_since: true };
        let behind = Differences { missing: 1200, first: None, changed_since: true, ..Differences::default() };
        let findings = [
            ("a", Finding::Missing),
            ("b", Finding::Behind(behind)),
            ("c", Finding::Different(differences)),
            ("d", Finding::Unchecked("502 five times".into())),
            ("e", Finding::Deleted),
        ];
        Verification {
            units: ("run".into(), "runs".into()),
            items: 48,
            equal: 44,
            equal_rows: 31_204,
            findings: findings.map(|(id, finding)| (id.to_owned(), finding)).into(),
            lost: Vec::new(),
            requests: 130,
            retries: 3,
            elapsed: Duration::from_millis(4_250),
        }
    }

    #[test]
    fn people_see_what_is_not_equal_and_a_sentence() {
        insta::assert_snapshot!(text(&verification(), "W&B"), @r"
        run | result                 |  rows | first difference
        ----+------------------------+-------+--------------------------
        a   | missing                |       |
        b   | behind                 | 1,200 |
        c   | different, and changed |     3 | metrics 17 val\u{9b}/loss
        d   | not checked            |       | 502 five times
        e   | deleted at W&B         |       |

        Verified 48 runs: 44 equal, 1 missing, 1 behind, 1 different, 1 not checked; 1 deleted at W&B, in the destination only
        A sync brings what is missing or behind.
        What is different may need a sync with --full-refresh: others read again only what has changed at W&B.
        ");
        let equal = Verification { findings: Default::default(), items: 1, equal: 1, ..verification() };
        assert_eq!(text(&equal, "W&B"), "Verified 1 run: 1 equal\n");
    }

    #[test]
    fn a_long_list_is_cut_for_people() {
        let findings = (0..60).map(|n| (format!("run{n:02}"), Finding::Missing)).collect();
        let text = text(&Verification { findings, ..verification() }, "W&B");
        assert!(text.contains("run49") && !text.contains("run50") && text.contains("and 10 more"), "{text}");
    }

    #[test]
    fn programs_see_one_object() {
        insta::assert_snapshot!(json::line(&object(&Ok(verification()), &runs())), @r#"
        {"status":"unverified","runs":{"verified":48,"equal":44,"missing":1,"behind":1,"different":1,"unchecked":1,"deleted":1},"equal_rows":31204,"lost_tables":[],"findings":[{"run":"a","result":"missing"},{"run":"b","result":"behind","rows":{"missing":1200,"extra":0,"altered":0},"changed_since_last_sync":true},{"run":"c","result":"different","rows":{"missing":1,"extra":0,"altered":2},"first":{"table":"metrics","key":{"step":17,"metric_name":"val\u009b/loss"}},"changed_since_last_sync":true},{"run":"d","result":"unchecked","reason":"502 five times"},{"run":"e","result":"deleted"}],"requests":130,"retries":3,"seconds":4.25,"error":null,"error_kind":null}
        "#);
        insta::assert_snapshot!(json::line(&object(&Err(Error::Destination("it is gone".into())), &runs())), @r#"
        {"status":"failed","runs":{"verified":0,"equal":0,"missing":0,"behind":0,"different":0,"unchecked":0,"deleted":0},"equal_rows":0,"lost_tables":[],"findings":[],"requests":0,"retries":0,"seconds":0.0,"error":"it is gone","error_kind":"destination"}
        "#);
    }
}
