//! Counts of items from the labels of progress reports: what is known of a sync that ended before its summary.
//!
//! This is the one place that gives words of a report a meaning. Version 0.1 of the contract has no other way; the next one reports counts
//! of a known kind, and this file goes. A connector whose items are `runs` reports `runs` (all of them as the total), `runs synced`,
//! `runs unchanged`, `runs deleted`, `runs quarantined`, and `retries`.

use std::collections::BTreeMap;

use crate::component::annotations::ItemNames;
use crate::runtime::outcome::Items;

/// What was reported last of each label: how many are done, and of how many.
pub(crate) type Labels = BTreeMap<String, (u64, Option<u64>)>;

/// The items, and the number of retries. `names` are what the connector says that it calls its items; else a label that ends in
/// ` synced` tells.
pub(crate) fn items(labels: &Labels, names: Option<&ItemNames>) -> (Items, u64) {
    let done = |what: &str| labels.get(what).map_or(0, |(done, _)| *done);
    let named = || labels.keys().find_map(|what| what.strip_suffix(" synced")).unwrap_or_default();
    let plural = names.map_or_else(named, |names| names.plural.as_str());
    let singular = names.map_or_else(|| plural.strip_suffix('s').unwrap_or(plural), |names| names.singular.as_str());
    let (seen, total) = labels.get(plural).copied().unwrap_or_default();
    let items = Items {
        unit: singular.to_owned(),
        units: plural.to_owned(),
        seen: total.unwrap_or(seen),
        synced: done(&format!("{plural} synced")),
        unchanged: done(&format!("{plural} unchanged")),
        deleted: done(&format!("{plural} deleted")),
        quarantined: done(&format!("{plural} quarantined")),
    };
    (items, done("retries"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(reports: &[(&str, u64, Option<u64>)]) -> Labels {
        reports.iter().map(|(what, done, total)| ((*what).to_owned(), (*done, *total))).collect()
    }

    #[test]
    fn progress_stands_in_for_the_summary() {
        let reported = labels(&[
            ("runs", 3, Some(10)),
            ("runs synced", 2, None),
            ("runs unchanged", 1, None),
            ("retries", 7, None),
        ]);
        let (items, retries) = items(&reported, None);
        assert_eq!(
            (items.unit.as_str(), items.seen, items.synced, items.unchanged, items.quarantined, retries),
            ("run", 10, 2, 1, 0, 7)
        );
    }

    #[test]
    fn items_are_called_what_the_connector_says() {
        let names = ItemNames { singular: "query".into(), plural: "queries".into() };
        let (found, _) = items(&labels(&[("queries", 4, None), ("queries synced", 4, None)]), Some(&names));
        assert_eq!((found.unit.as_str(), found.units.as_str(), found.seen, found.synced), ("query", "queries", 4, 4));
        let (none, _) = items(&Labels::new(), Some(&names));
        assert_eq!((none.units.as_str(), none.seen), ("queries", 0));
    }
}
