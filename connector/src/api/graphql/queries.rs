//! The texts of the questions.

use std::fmt::Write as _;

use crate::tables::FIELDS;

use super::Include;

/// The fields of a listing. A change in any of them makes a run a changed one.
const LISTED: &str = "id name displayName state createdAt updatedAt heartbeatAt historyLineCount tags notes group jobType sweepName \
    user { username }";

/// What a run's fields come with: which run it is, and how many rows it has.
const BESIDE_FIELDS: &str = "name historyLineCount";

const HISTORY_FIELD: &str = "history(minStep: $minStep, maxStep: $maxStep, samples: $samples)";
const EXPORT_FIELD: &str = "parquetHistory(liveKeys: $liveKeys) { parquetUrls }";

const OF_PROJECT: &str = "$entity: String!, $project: String!";
const PROJECT: &str = "project(name: $project, entityName: $entity)";

/// The name of the question that [`together`] asks.
pub(super) const TOGETHER: &str = "RunsTogether";

pub(super) const VIEWER: &str = "query Viewer { viewer { username entity } }";

/// A page of runs.
pub(super) fn runs() -> String {
    format!(
        "query Runs({OF_PROJECT}, $cursor: String, $perPage: Int) {{ {PROJECT} {{ \
         runs(after: $cursor, first: $perPage, order: \"+created_at\") {{ edges {{ node {{ {LISTED} }} }} \
         pageInfo {{ endCursor hasNextPage }} }} }} }}"
    )
}

/// A run's fields and what is wanted beside them: the name of the question, and its text.
pub(super) fn run(include: Include) -> (&'static str, String) {
    let (name, variables, beside) = match include {
        Include::Nothing => ("Run", "", String::new()),
        Include::History(_) => (
            "RunAndHistory",
            ", $minStep: Int64!, $maxStep: Int64!, $samples: Int!",
            format!(" historyKeys {HISTORY_FIELD}"),
        ),
        Include::Export => ("RunAndExport", ", $liveKeys: [String!]!", format!(" historyKeys {EXPORT_FIELD}")),
    };
    (name, of_run(name, variables, &format!("{BESIDE_FIELDS} {FIELDS}{beside}")))
}

/// Where the exported parts of a run's history are.
pub(super) fn export() -> String {
    of_run("Export", ", $liveKeys: [String!]!", EXPORT_FIELD)
}

/// A part of a run's history.
pub(super) fn history() -> String {
    of_run("History", ", $minStep: Int64!, $maxStep: Int64!, $samples: Int!", HISTORY_FIELD)
}

/// How many runs there are.
pub(super) fn run_count() -> String {
    format!("query RunCount({OF_PROJECT}) {{ {PROJECT} {{ runCount }} }}")
}

/// Whether a run is there.
pub(super) fn has_run() -> String {
    of_run("HasRun", "", "name")
}

fn of_run(name: &str, variables: &str, fields: &str) -> String {
    format!("query {name}({OF_PROJECT}, $run: String!{variables}) {{ {PROJECT} {{ run(name: $run) {{ {fields} }} }} }}")
}

/// What the answer calls the run of that number.
pub(super) fn alias(number: usize) -> String {
    format!("r{number}")
}

/// Many runs in one question: the fields of each and what is wanted beside them. Its variables are `run`, `from`, `to` and `samples`, each
/// with the number of the run. Exported histories are not asked for so.
pub(super) fn together(includes: impl Iterator<Item = Include>) -> String {
    let (mut variables, mut fields) = (String::new(), String::new());
    for (number, include) in includes.enumerate() {
        let alias = alias(number);
        // Writing to a text does not fail.
        let _ = write!(variables, ", $run{number}: String!");
        let _ = write!(fields, " {alias}: run(name: $run{number}) {{ {BESIDE_FIELDS} {FIELDS}");
        if let Include::History(_) = include {
            let _ = write!(variables, ", $from{number}: Int64!, $to{number}: Int64!, $samples{number}: Int!");
            let _ = write!(
                fields,
                " historyKeys history(minStep: $from{number}, maxStep: $to{number}, samples: $samples{number})"
            );
        }
        fields.push_str(" }");
    }
    format!("query {TOGETHER}({OF_PROJECT}{variables}) {{ {PROJECT} {{{fields} }} }}")
}

/// Which of many runs are there. Its variables are `run` with the number of each.
pub(super) fn have_runs(runs: usize) -> String {
    let (mut variables, mut fields) = (String::new(), String::new());
    for number in 0..runs {
        let _ = write!(variables, ", $run{number}: String!");
        let _ = write!(fields, " {}: run(name: $run{number}) {{ name }}", alias(number));
    }
    format!("query HaveRuns({OF_PROJECT}{variables}) {{ {PROJECT} {{{fields} }} }}")
}
