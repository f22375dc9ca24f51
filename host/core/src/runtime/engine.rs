//! One wasmtime engine for a process: compiles connectors and runs their instances.
//!
//! Guests are stopped by *epochs*: a thread raises a counter every [`TICK`], compiled code compares it with a deadline on
//! every loop and call, and gives way to other tasks when it has passed. So a guest that never returns can still be
//! cancelled, and can't keep a thread from other tenants.
//!
//! Code is fastest where each memory has 4 GiB of addresses to itself, whatever it uses of them. Where a process may not have so many
//! (`ulimit -v` of a login node, processors whose addresses have 39 bits), a memory is mapped as large as it is, grows by
//! moving, and the code checks its bounds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, InstanceAllocationStrategy, Memory, MemoryType, OptLevel, PoolingAllocationConfig, Store};

use crate::error::Error;
use crate::runtime::machine;

/// How long a guest may compute before it gives way to other tasks.
const TICK: Duration = Duration::from_millis(10);

/// With fewer addresses than that a process does not reserve what it does not use: there would be too few left for all else.
const MANY_ADDRESSES: u64 = 16 << 30;
/// What a memory that has to move reserves beyond its size, so that it need not move again soon.
const ROOM_TO_GROW: u64 = 64 << 20;

/// How an [`Engine`] is built. The default is for a process that runs one sync: the memory of an instance is mapped when it starts.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    pool: Option<Pool>,
}

/// Memory that is reserved once.
#[derive(Debug, Clone, Copy)]
struct Pool {
    instances: u32,
    memory: usize,
}

impl EngineOptions {
    /// Reserves memory for `instances` once, and uses it for instance after instance: starting one costs microseconds. For a server of
    /// many tenants. Where so many addresses can't be had, instances get theirs one by one; as many as fit.
    ///
    /// No more `instances` are alive at once, those of syncs that wait for a rate limit included; a sync that finds none free waits.
    /// `memory` is the largest linear memory, in bytes; a greater [`Limits::memory`](crate::Limits::memory) counts as this.
    #[must_use]
    pub fn pool(mut self, instances: u32, memory: usize) -> Self {
        self.pool = Some(Pool { instances, memory });
        self
    }
}

/// Compiles and runs connectors. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    /// Instances that may still be started; none where there is no bound.
    instances: Option<Arc<Semaphore>>,
    most_memory: usize,
}

impl Engine {
    /// Builds an engine and starts its clock.
    ///
    /// # Errors
    /// [`Error::Internal`]: this machine can't run WebAssembly, and the error says what it lacks.
    pub fn new(options: &EngineOptions) -> Result<Self, Error> {
        machine::enough_addresses()?;
        let fault = |why: wasmtime::Error| {
            Error::Internal(format!("WebAssembly can't be run on this machine: {}", machine::memory(&why)))
        };
        let inner = match generous(options.pool) {
            Some(engine) => engine,
            None => wasmtime::Engine::new(&frugal_config()).map_err(fault)?,
        };
        start_clock(&inner)?;
        let instances = options.pool.map(|pool| Arc::new(Semaphore::new(pool.instances as usize)));
        Ok(Self { inner, instances, most_memory: options.pool.map_or(usize::MAX, |pool| pool.memory) })
    }

    /// Waits until there is room for one more instance; there is for as long as the permit lives.
    pub(crate) async fn instance(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed.
        self.instances.clone()?.acquire_owned().await.ok()
    }

    /// Bytes of linear memory that an instance can have.
    pub(crate) fn most_memory(&self) -> usize {
        self.most_memory
    }

    /// The engine that is inside.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }
}

/// An engine that reserves what makes code fast, where that can be had.
fn generous(pool: Option<Pool>) -> Option<wasmtime::Engine> {
    if machine::addresses().is_some_and(|most| most < MANY_ADDRESSES) {
        return None;
    }
    let engine = wasmtime::Engine::new(&config(pool)).ok()?;
    // A pool has its addresses now. What is mapped on demand is tried with one memory.
    if pool.is_none() {
        Memory::new(Store::new(&engine, ()), MemoryType::new(1, None)).ok()?;
    }
    Some(engine)
}

fn frugal_config() -> Config {
    let mut config = config(None);
    config
        .memory_reservation(0)
        .memory_reservation_for_growth(ROOM_TO_GROW)
        .memory_guard_size(0)
        .guard_before_linear_memory(false);
    config
}

fn config(pool: Option<Pool>) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).cranelift_opt_level(OptLevel::Speed).parallel_compilation(true);
    if let Some(Pool { instances, memory }) = pool {
        // A connector is one core module beside the small ones that the component model's glue consists of.
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(4))
            .total_memories(instances)
            .total_tables(instances.saturating_mul(4))
            .total_stacks(instances)
            .max_memory_size(memory)
            .table_elements(100_000)
            // Memory goes back to the system with its instance: a place that nobody uses holds none.
            .linear_memory_keep_resident(0)
            .max_unused_warm_slots(instances.min(64));
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// The thread holds the engine weakly and ends with it.
fn start_clock(engine: &wasmtime::Engine) -> Result<(), Error> {
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    let thread = std::thread::Builder::new().name("guest-clock".into()).spawn(tick);
    thread.map(drop).map_err(|why| Error::Internal(format!("no thread could be started: {why}")))
}
