//! What WebAssembly costs a parser: one and the same function, which does nothing but read JSON with `serde_json`, natively, in a
//! wasmtime that can't stop what it runs, and in one that can.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

/// The page is read so many times: as many rows as a sync of the other measurements.
const TIMES: usize = 200;

/// Reads a page of a history over and over, in each of three ways.
pub(crate) fn parse(component: &[u8]) -> wasmtime::Result<Value> {
    let page = page(1_000, 10);
    let body = page.as_bytes();
    let expected = json_parse::sum(body);
    let timed = |sum: &mut dyn FnMut() -> wasmtime::Result<f64>| {
        let began = Instant::now();
        for _ in 0..TIMES {
            wasmtime::ensure!(sum()? == expected, "the sums differ");
        }
        Ok(began.elapsed().as_secs_f64())
    };
    let mut answer = json!({ "bytes": body.len() * TIMES, "native": timed(&mut || Ok(json_parse::sum(body)))? });
    for (name, interruptible) in [("wasm", false), ("interruptible", true)] {
        let mut config = Config::new();
        config.epoch_interruption(interruptible);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut store = Store::new(&engine, ());
        if interruptible {
            store.set_epoch_deadline(u64::MAX / 2);
        }
        let instance = Linker::new(&engine).instantiate(&mut store, &component)?;
        let sum = instance.get_typed_func::<(&[u8],), (f64,)>(&mut store, "sum")?;
        answer[name] = json!(timed(&mut || sum.call(&mut store, (body,)).map(|(sum,)| sum))?);
    }
    Ok(answer)
}

/// A page of the `rest` dialect, with numbers that have all their digits.
fn page(rows: usize, metrics: usize) -> String {
    let mut page = String::from("{\"history\":[");
    let mut number = 0.5_f64;
    for row in 0..rows {
        let comma = if row > 0 { "," } else { "" };
        let _ = write!(page, "{comma}{{\"_step\":{row},\"_timestamp\":{}.25", 1_750_000_000 + row);
        for metric in 0..metrics {
            // The logistic map: fixed, and as good as random.
            number = 3.99 * number * (1.0 - number);
            let _ = write!(page, ",\"train/metric_{metric}\":{number}");
        }
        page.push('}');
    }
    page.push_str("],\"nextUrl\":null}");
    page
}
