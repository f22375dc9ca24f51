//! The last syncs of a tenant in a small picture: a bar for each, as high as it took long. What did not end well is marked by its
//! shape too, not by its colour alone.

use super::html::Html;
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
pub(super) fn draw(html: &mut Html, history: &[SyncRecord]) {
    let ended: Vec<_> = history.iter().filter(|record| record.end.is_some()).take(SYNCS).collect();
    if ended.is_empty() {
        html.add("none yet");
        return;
    }
    let took = |record: &SyncRecord| record.end.as_ref().map(|end| between(record.started, end.at)).unwrap_or_default();
    let longest = ended.iter().map(|record| took(record)).max().unwrap_or_default();
    let number = |state| ended.iter().filter(|record| State::after(Some(record)) == state).count();

    html.add("<svg class=\"spark\" role=\"img\" viewBox=\"0 0 ").text(SYNCS * STEP).add(" 24\" width=\"");
    html.text(SYNCS * STEP).add("\" height=\"24\" aria-label=\"The last ").text(ended.len()).add(" syncs: ");
    html.text(number(State::Ok)).add(" ok, ").text(number(State::Partial)).add(" partial, ");
    html.text(number(State::Failed)).add(" failed; the longest took ").text(span(longest)).add("\">");
    for (nth, record) in ended.iter().rev().enumerate() {
        let (state, left) = (State::after(Some(record)), (SYNCS - ended.len() + nth) * STEP);
        let part = took(record).as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
        let height = LOWEST + (HEIGHT - LOWEST) * part.min(1.0);
        html.add("<g class=\"").text(state.word()).add("\"><title>").text(outcome(record)).add(", ");
        html.text(span(took(record))).add("</title>");
        match state {
            // A cross, whose height says nothing.
            State::Failed => {
                html.add("<path d=\"M").text(left).add(" 19l5 5m0 -5l-5 5M").text(left).add(" 17h5\"/>");
            }
            _ => {
                html.add("<rect x=\"").text(left).add("\" y=\"").text(format_args!("{:.1}", HEIGHT - height));
                html.add("\" width=\"5\" height=\"").text(format_args!("{height:.1}")).add("\"/>");
            }
        }
        html.add("</g>");
    }
    html.add("</svg>");
}

fn outcome(record: &SyncRecord) -> &str {
    record.end.as_ref().map_or("", |end| &end.outcome)
}
