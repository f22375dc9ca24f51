//! A project whose metrics have values of several kinds, in histories long enough to be read from exports. Most rows hold
//! nothing but their step, so that destinations of it are small.

use super::project::{Project, Run};

/// How many rows apart the ones with metrics are.
const APART: i64 = 400;

/// The project: a long run, one that still grows and whose export has not caught up, and a short one, which is read by steps.
pub fn unions() -> Project {
    let long = Run::new("long").with_history((0..6_000).map(|step| row(step, APART)));
    let mut growing = Run::new("growing").with_history((0..5_600).map(|step| row(step, APART)));
    growing.state = "running".to_owned();
    growing.exported_rows = 5_400;
    let short = Run::new("short").with_history((0..12).map(|step| row(step, 1)));
    Project::new([long, growing, short])
}

/// The row of a step: with metrics at every `apart`th step, and at the one before it.
pub fn row(step: i64, apart: i64) -> String {
    if step % apart != 0 && (step + 1) % apart != 0 {
        return format!(r#"{{"_step":{step}}}"#);
    }
    let turn = (step + 1) / apart;
    let pick = |values: &[&'static str]| values[turn as usize % values.len()];
    let loss = match turn % 5 {
        1 => "NaN".to_owned(),
        2 => "-Infinity".to_owned(),
        _ => format!("{:?}", 2.0 / (turn + 1) as f64),
    };
    format!(
        concat!(
            r#"{{"_step":{step},"_timestamp":{time}.5,"loss":{loss},"steady":{steady:?},"note":"turn {turn}","ok":{ok},"#,
            r#""mixed":{mixed},"outer":{{"inner":{inner},"other":{{"deep":{deep}}}}},"list":{list},"img":{img}}}"#
        ),
        step = step,
        time = 1_750_000_000 + step,
        loss = loss,
        steady = turn as f64 / 4.0,
        turn = turn,
        ok = turn % 2 == 0,
        mixed = pick(&["1.5", "\"a text\"", "true", "[1,2]", "{\"a\":3}", "null", "\"12 m\""]),
        inner = pick(&["0.25", "NaN", "\"none yet\"", "false"]),
        deep = pick(&["{\"x\":1}", "7", "{\"x\":\"one\"}", "[]"]),
        list = pick(&["[1,NaN,2.5]", "[\"a\",true,null]", "[{\"k\":[1]},{\"k\":\"v\"},3]", "[[1],[\"x\"]]"]),
        img = pick(&[
            "{\"_type\":\"image-file\",\"size\":69}",
            "\"no image\"",
            "{\"_type\":\"image-file\",\"size\":3,\"caption\":\"three\"}",
        ]),
    )
}
