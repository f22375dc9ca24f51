//! The list of kinds: whoever names a kind to people, or finds it by a URL, takes it from here.

use crate::kind::Kind;

/// Every kind that was built in, the default one first.
pub const KINDS: &[&dyn Kind] = &[
    #[cfg(feature = "sqlite")]
    &crate::sqlite::KIND,
    #[cfg(feature = "parquet")]
    &crate::parquet::KIND,
    #[cfg(feature = "null")]
    &crate::null::KIND,
];

/// Where rows go when nobody says where: the example of the first kind.
pub fn default_url() -> &'static str {
    KINDS.first().map_or("", |kind| kind.about().example)
}

/// The kinds in one line, for a command's help and for who wrote a URL of no kind: "`sqlite:PATH` (a database file), …".
pub fn forms(kinds: &[&dyn Kind]) -> String {
    let form = |kind: &&dyn Kind| format!("`{}` ({})", kind.about().form, kind.about().names);
    let mut forms: Vec<String> = kinds.iter().map(form).collect();
    let last = forms.pop().unwrap_or_default();
    if forms.is_empty() { last } else { format!("{} and {last}", forms.join(", ")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::url::DestinationUrl;

    #[test]
    fn each_kind_has_its_own_schemes_and_its_example_is_one_of_its_urls() {
        let mut seen = BTreeSet::new();
        for kind in KINDS {
            let about = kind.about();
            for scheme in about.schemes {
                assert!(seen.insert(*scheme), "two kinds answer to {scheme}");
            }
            for text in [about.form, about.example] {
                let scheme = text.split_once(':').map(|(scheme, _)| scheme);
                assert!(scheme.is_some_and(|scheme| about.schemes.contains(&scheme)), "{text}");
            }
            let url: DestinationUrl = about.example.parse().unwrap();
            assert_eq!(url.to_string(), about.example);
        }
    }

    #[cfg(all(feature = "sqlite", feature = "parquet", feature = "null"))]
    #[test]
    fn the_table_of_the_readme_is_the_list() {
        let readme = include_str!("../../../README.md");
        let (_, section) = readme.split_once("\n### Destinations\n").unwrap();
        let table: Vec<&str> = section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .collect();
        let row = |kind: &&dyn Kind| format!("| `{}` | {} |", kind.about().form, kind.about().writes);
        let rows: Vec<String> = KINDS.iter().map(row).collect();
        assert_eq!(table[2..], rows, "the README's rows on the left, those of the list on the right");
    }
}
