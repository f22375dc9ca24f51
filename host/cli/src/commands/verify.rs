//! `verify`: what the destination holds beside what W&B holds.

use std::fmt::Write;
use std::sync::Arc;

use elt_host::{Error, Level};
use elt_support::printable::escape_control;
use elt_verify::{Differences, Finding, RowKey, Verification};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::args::{Format, SandboxArgs, VerifyArgs};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::console::Console;
use crate::output::table::{self, Heading};
use crate::output::units::{counted, grouped};
use crate::output::{self, json, report};
use crate::run::{self, Runner};
use crate::wandb::{advice, configuration};

/// Rows of the table for people.
const MOST_SHOWN: usize = 50;

/// Verifies. As JSON, a failure too is an object on standard output.
pub(crate) async fn run(args: &VerifyArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> anyhow::Result<Exit> {
    let verified = verify(args, sandbox, console).await;
    if let Err(error) = &verified
        && !matches!(error, Error::Interrupted)
    {
        report::error(console, error);
    }
    console.flush();
    output::print(&match (args.query.format, &verified) {
        (Format::Text, Ok(verification)) => text(verification),
        (Format::Text, Err(_)) => String::new(),
        (Format::Json, _) => json::line(&object(&verified)),
    })?;
    Ok(match &verified {
        Err(error) => error.into(),
        Ok(verification) if verification.is_ok() => Exit::Ok,
        Ok(_) => Exit::Partial,
    })
}

async fn verify(args: &VerifyArgs, sandbox: &SandboxArgs, console: &Arc<Console>) -> Result<Verification, Error> {
    let token = interrupt::watch(console, "stopping")
        .map_err(|error| Error::Internal(format!("signals can't be received: {error}")))?;
    let mut configuration = configuration::load(args.query.config.config.as_deref(), console)?;
    // What becomes of deleted runs says nothing about what they hold.
    configuration.values.remove("deletes");
    let destination = run::parse(&args.destination.destination)?;
    let runner = Runner::load(sandbox, console, &configuration.base_url)?;
    console.log(Level::Info, format!("Comparing {destination} with W&B; nothing is written"));
    console.start_progress();
    let verified = runner.verify(configuration.values, destination, &token).await;
    console.end_progress();
    verified.map_err(|error| advice::explain(error, &configuration.base_url, &configuration.key_source))
}

fn text(verification: &Verification) -> String {
    let mut text = String::new();
    let rows: Vec<Vec<String>> = verification.findings.iter().take(MOST_SHOWN).map(|(id, it)| row(id, it)).collect();
    if !rows.is_empty() {
        let headings =
            [Heading::Left("run"), Heading::Left("result"), Heading::Right("rows"), Heading::Left("first difference")];
        text += &table::render(&headings, &rows);
        let more = verification.findings.len().saturating_sub(MOST_SHOWN);
        if more > 0 {
            // Writing to a string can't fail.
            writeln!(text, "and {} more; --format json lists all", grouped(more as u64)).ok();
        }
        text.push('\n');
    }
    text + &sentences(verification)
}

fn row(id: &str, finding: &Finding) -> Vec<String> {
    let (rows, first) = match finding {
        Finding::Behind(differences) | Finding::Different(differences) => {
            (grouped(differences.rows()), differences.first.as_ref().map(shown).unwrap_or_default())
        }
        Finding::Unchecked(reason) => (String::new(), reason.clone()),
        Finding::Missing | Finding::Deleted => Default::default(),
    };
    vec![id.to_owned(), label(finding).to_owned(), rows, first]
}

fn label(finding: &Finding) -> &'static str {
    match finding {
        Finding::Unchecked(_) => "not checked",
        Finding::Deleted => "deleted at W&B",
        Finding::Different(Differences { changed_since: true, .. }) => "different, and changed",
        other => other.name(),
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

fn sentences(verification: &Verification) -> String {
    let unit = if verification.unit.is_empty() { "run" } else { &verification.unit };
    let mut text = format!(
        "Verified {}: {} equal",
        counted(verification.items, &escape_control(unit)),
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
        write!(text, "; {} deleted at W&B, in the destination only", grouped(deleted)).ok();
    }
    text.push('\n');
    if verification.count("missing") + verification.count("behind") > 0 {
        text += "A sync brings what is missing or behind.\n";
    }
    if !verification.lost.is_empty() {
        let names = verification.lost.iter().map(|table| format!("`{}`", table.name)).collect::<Vec<_>>().join(", ");
        writeln!(text, "The destination has lost {names}, or a part of it: the next sync reads again what is at W&B.")
            .ok();
    } else if verification.count("different") > 0 {
        text +=
            "What is different may need a sync with --full-refresh: others read again only what has changed at W&B.\n";
    }
    text
}

/// What `--format json` prints. Scripts rely on these names.
#[derive(Serialize)]
struct Object<'a> {
    status: &'static str,
    runs: Runs,
    equal_rows: u64,
    lost_tables: Vec<&'a str>,
    findings: Vec<JsonFinding<'a>>,
    requests: u64,
    retries: u64,
    seconds: f64,
    error: Option<String>,
    error_kind: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Runs {
    verified: u64,
    equal: u64,
    missing: u64,
    behind: u64,
    different: u64,
    unchecked: u64,
    deleted: u64,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    run: &'a str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<JsonRows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<JsonPlace<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_since_last_sync: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
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

fn object(verified: &Result<Verification, Error>) -> Object<'_> {
    let verification = verified.as_ref().ok();
    let error = verified.as_ref().err();
    let status = match verified {
        Ok(verification) if verification.is_ok() => "ok",
        Ok(_) => "unverified",
        Err(Error::Interrupted) => "interrupted",
        Err(_) => "failed",
    };
    Object {
        status,
        runs: verification.map(runs).unwrap_or_default(),
        equal_rows: verification.map_or(0, |verification| verification.equal_rows),
        lost_tables: verification.into_iter().flat_map(|it| &it.lost).map(|table| table.name.as_str()).collect(),
        findings: verification.into_iter().flat_map(|it| &it.findings).map(|(id, it)| finding(id, it)).collect(),
        requests: verification.map_or(0, |verification| verification.requests),
        retries: verification.map_or(0, |verification| verification.retries),
        seconds: verification.map_or(0.0, |verification| verification.elapsed.as_millis() as f64 / 1000.0),
        error: error.map(Error::to_string),
        error_kind: error.map(|error| error.kind().name()),
    }
}

fn runs(verification: &Verification) -> Runs {
    Runs {
        verified: verification.items,
        equal: verification.equal,
        missing: verification.count("missing"),
        behind: verification.count("behind"),
        different: verification.count("different"),
        unchecked: verification.count("unchecked"),
        deleted: verification.count("deleted"),
    }
}

fn finding<'a>(id: &'a str, finding: &'a Finding) -> JsonFinding<'a> {
    let differences = match finding {
        Finding::Behind(differences) | Finding::Different(differences) => Some(differences),
        _ => None,
    };
    let rows = |&Differences { missing, extra, altered, .. }: &Differences| JsonRows { missing, extra, altered };
    JsonFinding {
        run: id,
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
            unit: "run".into(),
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
        insta::assert_snapshot!(text(&verification()), @r"
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
        assert_eq!(text(&equal), "Verified 1 run: 1 equal\n");
    }

    #[test]
    fn a_long_list_is_cut_for_people() {
        let findings = (0..60).map(|n| (format!("run{n:02}"), Finding::Missing)).collect();
        let text = text(&Verification { findings, ..verification() });
        assert!(text.contains("run49") && !text.contains("run50") && text.contains("and 10 more"), "{text}");
    }

    #[test]
    fn programs_see_one_object() {
        insta::assert_snapshot!(json::line(&object(&Ok(verification()))), @r#"
        {"status":"unverified","runs":{"verified":48,"equal":44,"missing":1,"behind":1,"different":1,"unchecked":1,"deleted":1},"equal_rows":31204,"lost_tables":[],"findings":[{"run":"a","result":"missing"},{"run":"b","result":"behind","rows":{"missing":1200,"extra":0,"altered":0},"changed_since_last_sync":true},{"run":"c","result":"different","rows":{"missing":1,"extra":0,"altered":2},"first":{"table":"metrics","key":{"step":17,"metric_name":"val\u009b/loss"}},"changed_since_last_sync":true},{"run":"d","result":"unchecked","reason":"502 five times"},{"run":"e","result":"deleted"}],"requests":130,"retries":3,"seconds":4.25,"error":null,"error_kind":null}
        "#);
        insta::assert_snapshot!(json::line(&object(&Err(Error::Destination("it is gone".into())))), @r#"
        {"status":"failed","runs":{"verified":0,"equal":0,"missing":0,"behind":0,"different":0,"unchecked":0,"deleted":0},"equal_rows":0,"lost_tables":[],"findings":[],"requests":0,"retries":0,"seconds":0.0,"error":"it is gone","error_kind":"destination"}
        "#);
    }
}
