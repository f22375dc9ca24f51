//! What W&B holds of a run, as rows: its history, from JSON or exports to columns.
//!
//! | module | concern |
//! |---|---|
//! | [`names`] | metric names, interned |
//! | [`json`], [`time`] | JSON that W&B writes and others do not read; its timestamps |
//! | [`filter`] | which metrics are written |
//! | [`columns`] | the points of many rows, column by column |
//! | [`row`] | one JSON row into columns: flattening, the value rules, W&B's own keys |
//! | [`run_row`] | what is stored of a run itself |
//! | `exported` | rows of exported files |
//! | [`page`] | a page of rows, from either dialect |
//! | [`lineage`] | how a run's past rows are recognised, to notice that it was rewound |

pub mod columns;
mod exported;
pub mod filter;
pub mod lineage;
pub mod names;
pub mod page;
pub mod row;
pub mod run_row;
pub mod time;

pub use lenient_json as json;
