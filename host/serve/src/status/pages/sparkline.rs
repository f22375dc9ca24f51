//! The last syncs of a tenant in a small picture: a bar for each, as high as it took long. What did not end well is marked by its
//! shape too, not by its colour alone.

use maud::{Markup, html};

use super::units::span;
use crate::record::{SyncRecord, between};
use crate::status::state::State;

/// Syncs in a picture.
pub(super) const SYNCS: usize = 20;
/// Units from one bar to the next.
const STEP: usize = 6;
/// Units of the highest bar.
const HEIGHT: f64 = 24.0;
/// Units of the lowest bar: a sync that took no time was one.
const LOWEST: f64 = 3.0;

/// Draws `history`, which has the newest first.
pub(super) fn draw(history: &[SyncRecord]) -> Markup {
    let ended: Vec<_> = history.iter().filter(|record| record.end.is_some()).take(SYNCS).collect();
    if ended.is_empty() {
        return html! { "none yet" };
    }
    let took = |record: &SyncRecord| record.end.as_ref().map(|end| between(record.started, end.at)).unwrap_or_default();
    let longest = ended.iter().map(|record| took(record)).max().unwrap_or_default();
    let number = |state| ended.iter().filter(|record| State::after(Some(record)) == state).count();
    let label = format!(
        "The last {} syncs: {} ok, {} partial, {} failed; the longest took {}",
        ended.len(),
        number(State::Ok),
        number(State::Partial),
        number(State::Failed),
        span(longest)
    );
    let height = |record: &SyncRecord| {
        let part = took(record).as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
        LOWEST + (HEIGHT - LOWEST) * part.min(1.0)
    };
    html! {
        svg class="spark" role="img" viewBox={ "0 0 " (SYNCS * STEP) " 24" } width=(SYNCS * STEP) height="24" aria-label=(label) {
            @for (nth, record) in ended.iter().rev().enumerate() {
                @let state = State::after(Some(record));
                g class=(state.word()) {
                    title { (outcome(record)) ", " (span(took(record))) }
                    (mark(state, (SYNCS - ended.len() + nth) * STEP, height(record)))
                }
            }
        }
    }
}

fn mark(state: State, left: usize, height: f64) -> Markup {
    let number = |number: f64| format!("{number:.1}");
    html! {
        @match state {
            // A cross, whose height says nothing.
            State::Failed => path d={ "M" (left) " 19l5 5m0 -5l-5 5M" (left) " 17h5" } {},
            _ => rect x=(left) y=(number(HEIGHT - height)) width="5" height=(number(height)) {},
        }
    }
}

fn outcome(record: &SyncRecord) -> &str {
    record.end.as_ref().map_or("", |end| &end.outcome)
}
