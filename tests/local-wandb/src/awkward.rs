//! A project of every awkward value that W&B was seen to send, each in a run named after it.

use std::sync::Arc;

use super::clock::{SECOND, START, TimestampStyle};
use super::history::History;
use super::project::{Project, Run, STATES};

/// The run ids that need percent-encoding in paths.
pub const AWKWARD_IDS: [&str; 3] = ["a/b c", "50%-ü?x=1&y#z", "..%2F+plus"];

/// The project.
pub fn awkward() -> Project {
    let mut runs = Vec::new();
    runs.extend(STATES.iter().map(|state| {
        let mut run =
            Run::new(format!("state-{state}")).with_history([r#"{"_step":0,"_timestamp":1750000000.0,"loss":0.5}"#]);
        run.state = (*state).to_owned();
        run
    }));
    runs.extend(histories().into_iter().map(|(id, lines)| Run::new(id).with_history(lines)));
    runs.extend(
        AWKWARD_IDS.iter().map(|id| Run::new(*id).with_history([r#"{"_step":0,"loss":1}"#, r#"{"_step":1,"loss":2}"#])),
    );
    runs.extend(fields());
    runs.extend(times());
    Project::new(runs)
}

/// Histories, by what is awkward about them.
fn histories() -> Vec<(&'static str, Vec<String>)> {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    vec![
        (
            "nonfinite",
            lines(&[
                r#"{"_step":0,"_timestamp":1750000000.5,"bare":NaN,"up":Infinity,"down":-Infinity}"#,
                r#"{"_step":1,"_timestamp":1750000001.5,"bare":"NaN","up":"Infinity","down":"-Infinity"}"#,
                r#"{"_step":2,"_timestamp":1750000002.5,"bare":1,"list":[1,NaN,Infinity,-Infinity,"NaN"]}"#,
            ]),
        ),
        (
            "integers",
            lines(&[
                r#"{"_step":0,"exact":9007199254740991,"big":9007199254740993,"negative":-9007199254740995}"#,
                r#"{"_step":1,"big":18446744073709551615,"negative":-9223372036854775809}"#,
                r#"{"_step":2,"big":123456789012345678901234567890,"float":1.0,"exponent":1.5e-7,"tiny":5e-324}"#,
                r#"{"_step":3,"digits":0.1000000000000000055511151231257827,"large":1.7976931348623157e+308,"zero":-0.0}"#,
            ]),
        ),
        (
            "timestamps",
            lines(&[
                r#"{"_step":0,"_timestamp":1.795404379055351e+09,"a":1}"#,
                r#"{"_step":1,"_timestamp":1795404379055,"a":2}"#,
                r#"{"_step":2,"_timestamp":1.795404379055351e+12,"a":3}"#,
                r#"{"_step":3,"_timestamp":1750000000,"a":4}"#,
                r#"{"_step":4,"a":5}"#,
                r#"{"_step":5,"_timestamp":null,"a":6}"#,
                r#"{"_step":6,"_timestamp":0,"a":7}"#,
            ]),
        ),
        (
            "no-steps",
            lines(&[
                r#"{"_timestamp":1750000000.25,"a":1}"#,
                r#"{"_timestamp":1750000001.25,"a":2}"#,
                r#"{"a":3,"b":4}"#,
            ]),
        ),
        ("some-steps", lines(&[r#"{"_step":0,"a":1}"#, r#"{"a":2}"#, r#"{"_step":2,"a":3}"#])),
        (
            "nested",
            lines(&[
                r#"{"_step":0,"nested":{"y":{"z":2},"x":1,"s":"text","empty":{},"none":null,"list":[1,{"a":2}]}}"#,
                r#"{"_step":1,"empty":{},"nested":{}}"#,
                r#"{"_step":2,"nested":{"x":true,"y":NaN}}"#,
                r#"{"_step":3,"_wandb":{"x":1},"_runtime":12.5,"system":{"_step":7,"_timestamp":8}}"#,
            ]),
        ),
        (
            "keys",
            lines(&[
                r#"{"_step":0,"a.b":1,"a/b":2,"val/acc":0.5,"with space":3,"ünï🦊":4,"quo\"te":5,"back\\slash":6,"new\nline":7}"#,
                r#"{"_step":1,"_custom":8,"__":9,"a..b":10,".":11}"#,
            ]),
        ),
        (
            "collisions",
            lines(&[
                r#"{"_step":0,"a.b":1,"a":{"b":2}}"#,
                r#"{"_step":1,"a":{"b":3},"a.b":4}"#,
                r#"{"_step":2,"a":{"b":"text"},"a.b":5}"#,
                r#"{"_step":3,"a.b":6,"a":{"b":[1]}}"#,
            ]),
        ),
        (
            "media",
            lines(&[
                r#"{"_step":0,"img":{"width":4,"height":4,"caption":"c","_type":"image-file","sha256":"d6325bd2","size":69,"path":"media/images/img_4.png","format":"png"}}"#,
                r#"{"_step":1,"hist":{"_type":"histogram","values":[1,2,3],"bins":[0,1,2,3]},"nested":{"table":{"_type":"table-file","ncols":2,"nrows":1}}}"#,
                r#"{"_step":2,"hist":{"_type":"histogram","values":[0.1000000000000000055511151231257827],"bins":[0,1e400]}}"#,
            ]),
        ),
        (
            "types",
            lines(&[
                r#"{"_step":0,"m":1,"s":"stríng 🦊","b":true,"list":[1,2,3],"none":null,"empty_list":[],"empty_text":""}"#,
                r#"{"_step":1,"m":"now text","b":false}"#,
                r#"{"_step":2,"m":{"now":"nested"}}"#,
                r#"{"_step":3,"m":[1,"list",null,{"a":{}}]}"#,
                r#"{"_step":4,"m":true}"#,
                r#"{"_step":5,"m":2.5}"#,
                r#"{"_step":6}"#,
                r#"{"_step":7,"none":null}"#,
            ]),
        ),
        (
            "characters",
            lines(&[
                r#"{"_step":0,"control":"\u0001\u0002\t\n\r\u001b[31mred","nul":"a\u0000b","surrogates":"\ud83e\udd8a","solidus":"\/"}"#,
                r#"{"_step":1,"quotes":"\"'`\\","bidi":"\u202eevil","separator":"\u2028"}"#,
            ]),
        ),
        (
            "half-surrogates",
            lines(&[
                r#"{"_step":0,"text":"a\ud83eb","list":["\udd8a\ud83e",{"\uD800":1}],"key\udfff":1,"pair":"\\ud83e\ud83e\udd8a"}"#,
                r#"{"_step":1,"media":{"_type":"html-file","\ud800":"\udfff"},"nested":{"\ud83e":{"text":"\ud83e"}}}"#,
            ]),
        ),
        ("deep", vec![deep_row(100)]),
        (
            "sparse",
            lines(&[
                r#"{"_step":0,"loss":3}"#,
                r#"{"_step":1000,"loss":2}"#,
                r#"{"_step":2147483648,"loss":1}"#,
                r#"{"_step":2147483649,"loss":0}"#,
            ]),
        ),
        ("starts-late", lines(&[r#"{"_step":500000,"loss":3}"#, r#"{"_step":500001,"loss":2}"#])),
        ("empty", Vec::new()),
        (
            "many-rows",
            (0..2500)
                .map(|step| format!(r#"{{"_step":{step},"_timestamp":{}.5,"i":{step}}}"#, 1_750_000_000 + step))
                .collect(),
        ),
        ("white-space", lines(&[r#" { "_step" : 0 , "a" : 1 , "b" : [ 1 , 2 ] } "#])),
        ("completed-later", lines(&[r#"{"_step":0,"a":1}"#, r#"{"_step":1,"a":2}"#])),
    ]
}

/// A row nested so deep, and a list as deep.
fn deep_row(depth: usize) -> String {
    let object = format!("{}1{}", r#"{"d":"#.repeat(depth), "}".repeat(depth));
    let list = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    format!(r#"{{"_step":0,"object":{object},"list":{list}}}"#)
}

/// Runs whose own fields are awkward.
fn fields() -> Vec<Run> {
    let run = |id: &str, change: fn(&mut Run)| {
        let mut run = Run::new(id).with_history([r#"{"_step":0,"a":1}"#]);
        change(&mut run);
        run
    };
    vec![
        run("no-user", |run| run.user = None),
        run("no-name", |run| run.display_name = None),
        run("odd-name", |run| {
            run.display_name = Some("tab\tnew\nline \u{1b}[31m nul\u{0} quote\" 🦊 \u{202e}".to_owned())
        }),
        run("null-fields", |run| {
            run.tags = None;
            run.config = None;
            run.summary = None;
            run.notes = None;
        }),
        run("absent-fields", |run| {
            run.tags = None;
            run.config = None;
            run.summary = None;
            run.omit_nulls = true;
        }),
        run("odd-tags", |run| {
            run.tags = Some(["", "a,b", "ünï", "\"quoted\"", "new\nline"].map(str::to_owned).to_vec())
        }),
        run("digits", |run| {
            run.config = Some(
                concat!(
                    r#"{"long":{"value":0.1000000000000000055511151231257827,"desc":null},"huge":{"value":1e400},"#,
                    r#""integer":{"value":123456789012345678901234567890},"float":{"value":1.0},"exponent":{"value":1E-05},"#,
                    r#""_wandb":{"value":{"cli_version":"0.31.0","t":{"1":[1,5,53]}}},"wandb_version":1}"#
                )
                .to_owned(),
            );
            run.summary = Some(r#"{"_step":0,"long":0.1000000000000000055511151231257827,"huge":-1e400}"#.to_owned());
        }),
        run("half-surrogates-fields", |run| {
            run.config = Some(r#"{"\ud800":{"value":"\udfff","desc":null},"list":{"value":["\ud83e"]}}"#.to_owned());
            run.summary = Some(r#"{"\ud83e":1,"text":"\udd8a\ud83e\udd8a"}"#.to_owned());
        }),
        run("nonfinite-fields", |run| {
            run.config = Some(r#"{"nan":{"value":NaN},"list":{"value":[Infinity,-Infinity,"NaN"]}}"#.to_owned());
            run.summary = Some(r#"{"loss":NaN,"up":Infinity,"down":"-Infinity","_wandb":{"runtime":1}}"#.to_owned());
        }),
        run("config-shapes", |run| {
            run.config = Some(
                concat!(
                    r#"{"grid":{"value":{"value":1,"desc":"inner"}},"null":{"value":null,"desc":"none"},"bare":7,"#,
                    r#""text":{"value":"a\u0000b\u001f"},"nested":{"value":{"a":{"b":[{},[]]}}},"no_value":{"desc":"only"},"#,
                    r#""dotted.key":{"value":true},"ünï":{"value":"🦊"}}"#
                )
                .to_owned(),
            );
        }),
    ]
}

/// Runs whose times are awkward: each spelling, ties, and no `updatedAt`.
fn times() -> Vec<Run> {
    let styles = [
        ("time-bare", TimestampStyle::Bare),
        ("time-zulu", TimestampStyle::Zulu),
        ("time-fraction", TimestampStyle::Fraction),
        ("time-bare-fraction", TimestampStyle::BareFraction),
    ];
    let mut runs: Vec<Run> = styles
        .into_iter()
        .map(|(id, style)| {
            let mut run = Run::new(id);
            run.timestamps = style;
            run.created_at = START + 100 * SECOND + 123_000;
            run.updated_at = Some(START + 200 * SECOND + 987_000);
            run.heartbeat_at = START + 150 * SECOND + 500_000;
            run
        })
        .collect();
    runs.extend(["tie-1", "tie-2", "tie-3"].map(|id| {
        let mut run = Run::new(id);
        run.history = Arc::new(History::from_lines([r#"{"_step":0,"a":1}"#]));
        run.created_at = START + 300 * SECOND;
        run.updated_at = Some(START + 400 * SECOND);
        run.heartbeat_at = START + 400 * SECOND;
        run
    }));
    let mut unsaid = Run::new("never-updated");
    unsaid.updated_at = None;
    unsaid.heartbeat_at = START + 350 * SECOND;
    runs.push(unsaid);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    #[test]
    fn every_text_is_as_json_as_wandb_writes_it() {
        for run in &awkward().runs {
            for text in run.history.lines().chain(run.config.as_deref()).chain(run.summary.as_deref()) {
                Json::parse(text).unwrap_or_else(|problem| panic!("{}: {problem}: {text}", run.id));
            }
        }
    }

    #[test]
    fn run_ids_are_unique() {
        let mut ids: Vec<String> = awkward().runs.iter().map(|run| run.id.clone()).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
