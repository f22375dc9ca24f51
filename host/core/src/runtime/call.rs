//! Calls an export of a component in a new instance, and stops it when it has to be.

use std::future::poll_fn;
use std::task::Poll;

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTableError;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi_http::FieldMapError;

use crate::component::connector::Connector;
use crate::error::Error;
use crate::imports::Guest;
use crate::imports::destination::Sink;
use crate::runtime::limits::{breach, too_much_computed};
use crate::runtime::machine;
use crate::runtime::policy::Limits;
use elt_support::thread_clock::cpu_time;

use super::instance::{Call, Session};

/// What wasmtime calls the error of a call whose arguments are more than its store allows. The type is private, and its name is the only
/// thing that tells it apart; a test sees to it that the name is right.
const HELD_TOO_MUCH: &str = "HostcallFuelExhausted";

impl Connector {
    /// Runs `call` in a new instance until it returns, or has to be stopped. Gives back the sink, which holds what came after the
    /// last checkpoint.
    pub(crate) async fn call<R>(
        &self,
        session: &Session,
        sink: Option<Sink>,
        cancel: &CancellationToken,
        call: Call<R>,
    ) -> (Result<R, Error>, Option<Sink>) {
        let limits = &session.policy.limits;
        let instance = tokio::select! {
            biased;
            reason = session.stop(cancel) => return (Err(reason), sink),
            instance = self.engine().instance() => instance,
        };
        let memory = limits.memory.min(self.engine().most_memory());
        let guest =
            Guest::new(limits, memory, session.gate.clone(), session.report.clone(), session.stop.clone(), sink);
        let mut store = Store::new(self.engine().wasmtime(), guest);
        store.limiter(|guest| &mut guest.memory);
        // Bounds what one call can make the host allocate: a list can name the same long text a million times. Texts take more room
        // than in an array, so a batch within its limit can need up to twice as much.
        store.set_hostcall_fuel(limits.batch_bytes.saturating_mul(2).saturating_add(1 << 20));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))));
        let returned = {
            let work = async {
                let world = self.pre().instantiate_async(&mut store).await?;
                call(world, &mut store).await
            };
            let mut work = std::pin::pin!(work);
            // The guest gives way with every tick, so that a poll is short and this is asked often.
            let work = poll_fn(|context| {
                let began = cpu_time();
                let polled = work.as_mut().poll(context).map_err(Stopped::Trap);
                let used = session.usage.computed(cpu_time().saturating_sub(began));
                if polled.is_pending() && used > limits.cpu_time {
                    return Poll::Ready(Err(Stopped::ByHost(too_much_computed(limits.cpu_time))));
                }
                polled
            });
            tokio::select! {
                biased;
                reason = session.stop(cancel) => Err(Stopped::ByHost(reason)),
                returned = work => returned,
            }
        };
        let guest = store.into_data();
        drop(instance);
        session.usage.held(guest.memory.used());
        let result = match (session.stop.reason(), returned) {
            (Some(reason), _) => Err(reason),
            (None, Ok(returned)) => Ok(returned),
            (None, Err(Stopped::ByHost(reason))) => Err(reason),
            (None, Err(Stopped::Trap(trap))) => Err(guest.memory.breach().unwrap_or_else(|| crash(&trap, limits))),
        };
        (result, guest.sink)
    }
}

enum Stopped {
    ByHost(Error),
    Trap(wasmtime::Error),
}

/// What to call a trap.
fn crash(trap: &wasmtime::Error, limits: &Limits) -> Error {
    let cause = trap.root_cause();
    if format!("{cause:?}") == HELD_TOO_MUCH {
        return breach(
            "batch_bytes",
            format!("{} bytes allowed in a batch; one call held far more", limits.batch_bytes),
        );
    }
    if let Some(ResourceTableError::Full) = cause.downcast_ref() {
        return breach("handles", format!("{} allowed at once", limits.handles));
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) = cause.downcast_ref() {
        return breach("header_bytes", format!("{} bytes allowed in one request", limits.header_bytes));
    }
    if let Some(refusal) = machine::refusal(trap) {
        return refusal;
    }
    let what = match trap.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::UnreachableCodeReached) => "it panicked, or had no memory left".to_owned(),
        Some(wasmtime::Trap::StackOverflow) => "its stack overflowed".to_owned(),
        _ => cause.to_string(),
    };
    Error::Internal(format!("the connector crashed: {what}"))
}
