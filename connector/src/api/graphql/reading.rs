//! What the questions of a sync share, and what the reading of one run does.

use std::cell::Cell;

use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::config::Config;
use crate::destination::Destination;
use crate::run::RunSink;

use super::exports::Exports;
use super::joint::{Experience, First};
use super::window::AdaptiveWindow;
use super::{Graphql, HeavyRun};

/// Reads one project by GraphQL.
#[derive(Debug)]
pub struct GraphqlSource<'a, X, D> {
    pub(super) graphql: Graphql,
    pub(super) client: &'a Client<'a, X, D>,
    pub(super) config: &'a Config,
    /// The width of history rows seen last, in bytes; 0 while none was seen.
    pub(super) row_bytes: Cell<f64>,
    /// What the runs share that read exported histories.
    pub(super) exports: Exports,
    /// What joint requests have shown.
    pub(super) experience: Experience,
}

impl<'a, X: Exchange, D: Destination> GraphqlSource<'a, X, D> {
    /// For the project that the configuration names.
    pub fn new(graphql: Graphql, client: &'a Client<'a, X, D>, config: &'a Config) -> Self {
        Self {
            graphql,
            client,
            config,
            row_bytes: Cell::new(0.0),
            exports: Exports::default(),
            experience: Experience::default(),
        }
    }
}

/// How one pass over a history ended.
pub(super) enum Pass {
    Complete,
    Deleted,
    /// What was read before is not in the history any more.
    Rewound,
    /// Fewer rows came than W&B counts.
    Short,
    /// What was exported of the history does not fit the history.
    Stale,
}

/// How a history is read by ranges of steps.
pub(super) struct Steps<'p> {
    pub(super) adaptive: AdaptiveWindow,
    /// The run's fields, once they were read.
    pub(super) heavy: &'p mut Option<HeavyRun>,
}

/// Reads one run.
pub(super) struct RunReader<'s, 'a, X, D> {
    pub(super) source: &'s GraphqlSource<'a, X, D>,
    pub(super) sink: RunSink<'s>,
    /// What the first question brought, where it was asked together with others.
    pub(super) first: Option<First>,
    /// Exported files of this run were found not to fit.
    pub(super) distrusts_export: bool,
}

impl<'s, 'a, X, D> RunReader<'s, 'a, X, D> {
    pub(super) fn new(source: &'s GraphqlSource<'a, X, D>, sink: RunSink<'s>, first: Option<First>) -> Self {
        Self { source, sink, first, distrusts_export: false }
    }
}
