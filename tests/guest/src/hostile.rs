//! What no connector should do.

use std::hint::black_box;

use serde_json::Value;

use crate::bindings::elt::connector::types::{Batch, Column, ColumnValues, TextDictionary};
use crate::bindings::elt::connector::{destination, log, progress};
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::types::{Fields, Method, OutgoingRequest, Scheme};
use crate::bindings::wasi::random::random;
use crate::{rows, texts};

/// Acts that end in a trap, or never.
pub(crate) fn act(verb: &str, step: &Value) {
    let number = step[1].as_u64().unwrap_or_default();
    match verb {
        "panic" => panic!("a panic of the guest"),
        "loop" => loop {
            black_box(verb);
        },
        "spin" => {
            let end = monotonic_clock::now() + number * 1_000_000;
            while monotonic_clock::now() < end {
                (0..1_000_000).for_each(|n| {
                    black_box(n);
                });
            }
        }
        "recurse" => log::write(log::Level::Info, &recurse(0).to_string()),
        "log-forever" => loop {
            log::write(log::Level::Info, "again");
        },
        "progress-forever" => loop {
            progress::report(&random::get_random_u64().to_string(), 1, None);
        },
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
                black_box(&hoard);
            }
        }
        "rows-forever" => loop {
            drop(destination::upsert("events", &rows(0, number)));
        },
        "checkpoints-forever" => loop {
            drop(destination::upsert("events", &rows(0, number)));
            drop(destination::checkpoint(&[]));
        },
        "deletes-forever" => loop {
            drop(destination::delete("events", &Batch { columns: vec![texts("id", vec!["x".into()])] }));
        },
        "state" => (0..).for_each(|n: u64| {
            drop(destination::checkpoint(&[(format!("key {n}"), Some("x".repeat(1 << 20)))]));
        }),
        "rewrite" => {
            let patch = [("key".to_owned(), Some("x".repeat(usize::try_from(number).unwrap_or_default())))];
            (0..step[2].as_u64().unwrap_or_default()).for_each(|_| drop(destination::checkpoint(&patch)));
        }
        "empty-values" => (0..).for_each(|n: u64| {
            let patch: Vec<_> = (0..number).map(|m| (format!("{n} {m}"), Some(String::new()))).collect();
            drop(destination::checkpoint(&patch));
        }),
        "timers" => {
            let timers: Vec<_> = (0..number).map(|_| monotonic_clock::subscribe_duration(u64::MAX)).collect();
            black_box(timers);
        }
        "fields" => {
            let fields: Vec<_> = (0..number)
                .map(|_| {
                    let fields = Fields::new();
                    (0..step[2].as_u64().unwrap_or_default()).for_each(|_| {
                        let _ = fields.append("x", &[b'x'; 1024]);
                    });
                    fields
                })
                .collect();
            black_box(fields);
        }
        "headers" => {
            let value = vec![b'x'; usize::try_from(step[2].as_u64().unwrap_or_default()).unwrap_or_default()];
            let list: Vec<_> = (0..number).map(|n| (format!("h{n}"), value.clone())).collect();
            let shown = match Fields::from_list(&list) {
                Ok(fields) => format!("{} headers", fields.entries().len()),
                Err(why) => format!("error {why:?}"),
            };
            log::write(log::Level::Info, &shown);
        }
        "methods" => {
            let requests: Vec<_> = (0..number)
                .map(|_| {
                    let request = OutgoingRequest::new(Fields::new());
                    request.set_method(&Method::Other("M".repeat(100 << 10))).ok();
                    request.set_scheme(Some(&Scheme::Other("s".repeat(100 << 10)))).ok();
                    request.set_authority(Some(&"a".repeat(100 << 10))).ok();
                    request.set_path_with_query(Some(&format!("/{}", "p".repeat(100 << 10)))).ok();
                    request
                })
                .collect();
            black_box(requests);
        }
        "random" => {
            black_box(random::get_random_bytes(u64::MAX));
        }
        other => panic!("there is no step {other:?}"),
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let space = black_box([depth; 64]);
    recurse(depth + 1) + space[depth as usize % 64]
}

/// Batches that break the contract, by name; each is right but for one thing.
pub(crate) fn batch(kind: &str) -> Batch {
    let mut batch = rows(0, 4);
    let integers = |name: &str, values: Vec<i64>| Column {
        name: name.into(),
        values: ColumnValues::Integers(values),
        nulls: vec![],
    };
    let extra = match kind {
        "ragged" => Column { name: "at".into(), values: ColumnValues::Timestamps(vec![0; 5]), nulls: vec![] },
        "null out of range" => {
            Column { name: "at".into(), values: ColumnValues::Timestamps(vec![0; 4]), nulls: vec![4] }
        }
        "nulls unsorted" => {
            Column { name: "at".into(), values: ColumnValues::Timestamps(vec![0; 4]), nulls: vec![2, 1] }
        }
        "timestamp" => Column { name: "at".into(), values: ColumnValues::Timestamps(vec![i64::MAX; 4]), nulls: vec![] },
        "json" => Column { name: "body".into(), values: ColumnValues::Jsons(vec!["{".into(); 4]), nulls: vec![] },
        "unknown column" => integers("nonsense", vec![0; 4]),
        "type" => integers("at", vec![0; 4]),
        "twice" => integers("step", vec![0; 4]),
        "dictionary" => {
            batch.columns.remove(0);
            let values = ColumnValues::Dictionary(TextDictionary { keys: vec![0, 0, 0, 7], values: vec!["e".into()] });
            Column { name: "id".into(), values, nulls: vec![] }
        }
        "null key" => {
            batch.columns.remove(0);
            Column { nulls: vec![1], ..texts("id", vec!["e".into(); 4]) }
        }
        "no key" => {
            batch.columns.remove(0);
            Column { name: "at".into(), values: ColumnValues::Timestamps(vec![0; 4]), nulls: vec![] }
        }
        "large" => Column {
            name: "body".into(),
            values: ColumnValues::Jsons(vec![format!("{:?}", "x".repeat(20 << 20)); 4]),
            nulls: vec![],
        },
        other => panic!("there is no batch {other:?}"),
    };
    batch.columns.push(extra);
    batch
}
