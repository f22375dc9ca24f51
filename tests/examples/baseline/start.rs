//! How long compiling a component and starting an instance of it take, without a sync.

use std::time::Instant;

use elt_host::test_support::wasmtime_of;
use elt_host::{Engine, EngineOptions};
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

/// Instances that are started one after another.
const INSTANCES: usize = 2_000;

/// Compiles `bytes` as the host does, and starts instances from memory mapped for each, and from a pool.
pub(crate) async fn start(bytes: &[u8]) -> wasmtime::Result<Value> {
    let (mapped, pooled) = (EngineOptions::default(), EngineOptions::default().pool(16, 256 << 20));
    let mut answer = json!({ "component_bytes": bytes.len() });
    for (name, options) in [("mapped", mapped), ("pooled", pooled)] {
        let engine = Engine::new(&options)?;
        let inner = wasmtime_of(&engine);
        let began = Instant::now();
        let component = Component::new(inner, bytes)?;
        answer["compile_seconds"] = json!(began.elapsed().as_secs_f64());
        let mut linker = Linker::<()>::new(inner);
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let mut microseconds = Vec::with_capacity(INSTANCES);
        for _ in 0..INSTANCES {
            let began = Instant::now();
            let mut store = Store::new(inner, ());
            store.set_epoch_deadline(u64::MAX / 2);
            pre.instantiate_async(&mut store).await?;
            microseconds.push(began.elapsed().as_secs_f64() * 1e6);
        }
        microseconds.sort_by(f64::total_cmp);
        answer[format!("instantiate_{name}_us")] = json!(microseconds[INSTANCES / 2]);
    }
    Ok(answer)
}
