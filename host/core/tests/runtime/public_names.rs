//! What the library offers, name by name, so that one more is a decision.

use std::collections::BTreeSet;

/// The names at the root. A third more than the 25 that were aimed at: twelve of them are what a destination of one's own needs, and none of
/// these can be folded into another; who only runs syncs meets the other two dozen.
const NAMES: [&str; 36] = [
    // A component, and what it offers.
    "Cache",
    "Column",
    "ComponentInfo",
    "Connector",
    "DataType",
    "Engine",
    "EngineOptions",
    "Interface",
    "Spec",
    "Table",
    // A sync: what it is asked, how it goes, how it ends.
    "CancellationToken",
    "ConfigurationProblem",
    "Error",
    "ErrorKind",
    "Event",
    "HttpClient",
    "Items",
    "Level",
    "Limits",
    "Observer",
    "Outcome",
    "Policy",
    "RateGate",
    "SyncRequest",
    // A destination of one's own.
    "Change",
    "Destination",
    "DestinationError",
    "Group",
    "LostTable",
    "Preparation",
    "Rows",
    "SplitState",
    "State",
    "StatePatch",
    "StateStore",
    "Waits",
];

/// Arrow; what tests need, which an embedder's build lacks; and modules that crates of this workspace still take things from, which are to go.
const MODULES: [&str; 6] = ["arrow", "component", "destination", "key_origin", "state", "test_support"];

#[test]
fn the_public_names_are_those_that_were_decided_on() {
    let text = include_str!("../../src/lib.rs");
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut names = BTreeSet::new();
    let mut modules = BTreeSet::new();
    for statement in code.split([';', '{']).filter_map(|statement| statement.rsplit_once("pub mod ")) {
        modules.insert(statement.1.trim());
    }
    // Those inside a module are that module's.
    let uses = code.split("pub use ").skip(1).filter_map(|statement| statement.split_once(';'));
    for (used, _) in uses.filter(|(used, _)| !used.starts_with('{')) {
        let listed = used.split_once('{').map_or_else(|| used.rsplit("::").next(), |(_, list)| list.split('}').next());
        names.extend(listed.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    assert_eq!(names, NAMES.into());
    assert_eq!(modules, MODULES.into());
}
