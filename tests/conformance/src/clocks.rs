//! `wasi:clocks`, `wasi:random` and `wasi:io/poll`.

use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use crate::bindings::wasi::io::poll::poll;
use crate::bindings::wasi::random::random;
use crate::say;

const MILLISECOND: u64 = 1_000_000;
/// Longer than any test runs.
const FOREVER: u64 = 3_600_000 * MILLISECOND;
/// 2024-01-01.
const RECENT: u64 = 1_704_067_200;

pub(crate) fn act() {
    let start = monotonic_clock::now();
    monotonic_clock::subscribe_duration(20 * MILLISECOND).block();
    let waited = monotonic_clock::now() - start;
    say(&format!("a timer of 20 ms rings after that time: {}", waited >= 20 * MILLISECOND));
    let past = monotonic_clock::subscribe_instant(start);
    past.block();
    say(&format!("a timer for the past is ready: {}", past.ready()));

    let timers = [FOREVER, 10 * MILLISECOND, FOREVER].map(monotonic_clock::subscribe_duration);
    let ready = poll(&timers.iter().collect::<Vec<_>>());
    say(&format!("of three timers the second rings first: {ready:?}"));

    let now = wall_clock::now();
    say(&format!(
        "the wall clock shows a time of these years: {}",
        now.seconds > RECENT && now.nanoseconds < 1_000_000_000
    ));

    let (first, second) = (random::get_random_bytes(32), random::get_random_bytes(32));
    say(&format!("random bytes: {} and {}, equal: {}", first.len(), second.len(), first == second));
    say(&format!("random numbers, equal: {}", random::get_random_u64() == random::get_random_u64()));
    say(&format!("no random bytes: {}", random::get_random_bytes(0).len()));
}
