//! What goes wrong at the server during a sync. Each fault is one that a sync survives, or ends with in good order.

use std::time::Duration;

use wandb_connector_tests::local_wandb::{Fault, LocalWandb, Matcher, Random, RequestKind, When};

/// Lets some requests of the next sync go wrong. Returns how many rules it made.
pub(crate) fn turn_bad(server: &LocalWandb, random: &mut Random) -> u64 {
    let rules = 1 + random.below(2) as u64;
    for _ in 0..rules {
        let matcher = match random.below(4) {
            0 => Matcher::listing(),
            1 => Matcher::history(),
            2 => Matcher::kinds(&[RequestKind::GraphqlParquet, RequestKind::Storage]),
            _ => Matcher::any(),
        };
        let when = match random.below(5) {
            0 => When::Nth(1 + random.below(20)),
            1 => When::First(1 + random.below(8)),
            2 => When::After(random.below(8)),
            _ => When::Probability(0.02 + 0.1 * random.unit(), random.next_u64()),
        };
        server.fault(matcher.when(when), fault(random));
    }
    rules
}

fn fault(random: &mut Random) -> Fault {
    let bytes = random.below(4_000);
    let wait = Duration::from_millis(random.below(800) as u64);
    match random.below(18) {
        0 => Fault::status(500),
        1 => Fault::status(502),
        2 => Fault::status(503),
        3 => Fault::status(504),
        4 => Fault::rate_limited(Some("0")),
        5 => Fault::rate_limited(None),
        6 => Fault::ResetBefore,
        7 => Fault::ResetAfter(bytes),
        8 => Fault::Truncate(bytes),
        9 => Fault::CutBody(bytes),
        10 => Fault::Stall(wait),
        11 => Fault::StallAfter(bytes, wait),
        12 => Fault::Drip(1 + bytes, Duration::from_millis(5)),
        13 => Fault::html(),
        14 => Fault::malformed_json(),
        15 => Fault::invalid_utf8(),
        16 => Fault::errors(&["internal server error"]),
        _ => Fault::ContentLength(1 << 40),
    }
}
