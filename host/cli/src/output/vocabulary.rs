//! What output calls the things of a source: as its component says (`x-elt-items` and `x-elt-state`, see `wit/README.md`).

use elt_host::Spec;
use elt_host::component::annotations::ItemNames;
use elt_support::printable::{cut, escape_control};
use serde_json::Value;

use crate::wandb::service;

/// Bytes of a source's name.
const MOST: usize = 64;

/// Names for sentences, and for the members of JSON objects.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    /// The source: `W&B`.
    pub(crate) source: String,
    /// Its items.
    pub(crate) items: ItemNames,
    /// The state's key of the watermark, where there is one.
    pub(crate) watermark: Option<String>,
}

impl Vocabulary {
    /// As the specification says; of the built-in component also where it could not be asked.
    pub(crate) fn of(spec: Option<&Spec>, is_built_in: bool) -> Self {
        let own = |name: &str| is_built_in.then(|| name.to_owned());
        let title = spec.and_then(|spec| spec.schema().get("title")).and_then(Value::as_str).map(str::trim);
        let title = title.filter(|title| !title.is_empty()).map(|title| escape_control(cut(title, MOST)));
        let items = spec.and_then(Spec::items).cloned();
        let unit = own("run").unwrap_or_else(|| "item".into());
        let watermark = spec.and_then(Spec::state).and_then(|keys| keys.watermark.clone());
        Self {
            source: own("W&B").or(title).unwrap_or_else(|| "the source".into()),
            items: items.unwrap_or_else(|| ItemNames::of_unit(&unit)),
            watermark: watermark.or_else(|| own(service::WATERMARK)),
        }
    }
}

/// The member of a JSON object that is called by a name of the component's. What would take the place of one of `fixed` is called
/// `otherwise`.
pub(crate) fn member(name: &str, fixed: &[&str], otherwise: &str) -> String {
    let member = name.replace([' ', '-'], "_");
    if member.is_empty() || fixed.contains(&member.as_str()) { otherwise.to_owned() } else { member }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn things_are_called_as_the_component_says() {
        let spec = Spec::parse(
            r#"{"title": "Jira\u001b[31m", "properties": {}, "x-elt-items": {"singular": "query", "plural": "queries"},
                "x-elt-state": {"watermark": "after"}}"#,
        );
        let Vocabulary { source, items, watermark } = Vocabulary::of(Some(&spec.unwrap()), false);
        assert_eq!((source.as_str(), items.plural.as_str()), ("Jira\\u{1b}[31m", "queries"));
        assert_eq!(watermark.as_deref(), Some("after"));
        let Vocabulary { source, items, watermark } = Vocabulary::of(None, false);
        assert_eq!((source.as_str(), items.plural.as_str(), watermark), ("the source", "items", None));
        let Vocabulary { source, items, watermark } = Vocabulary::of(None, true);
        assert_eq!(
            (source.as_str(), items.plural.as_str(), watermark.as_deref()),
            ("W&B", "runs", Some("runs_hwm_utc"))
        );
    }

    #[test]
    fn no_name_takes_the_place_of_another_member() {
        assert_eq!(member("pull requests", &["rows"], "items"), "pull_requests");
        assert_eq!((member("rows", &["rows"], "items"), member("", &[], "items")), ("items".into(), "items".into()));
    }
}
