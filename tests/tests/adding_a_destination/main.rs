//! What adding a kind of destination takes: the folder `json_file` is one, and passes what every kind has to pass. Only the line in the
//! list of kinds is missing, which a test has no right to.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod json_file;
mod subject;

use elt_destinations::conformance;
use elt_destinations::registry::KINDS;
use elt_destinations::url::DestinationUrl;

conformance!(json_file_conforms, subject::JsonFile);

#[test]
fn with_a_line_in_the_list_its_urls_are_known_like_all_others() {
    let url = "json:warehouse.json";
    let refusal = url.parse::<DestinationUrl>().unwrap_err().to_string();
    assert!(refusal.contains("is of no known kind. Known are `sqlite:PATH` (a database file)"), "{refusal}");
    let mut kinds = KINDS.to_vec();
    kinds.push(&json_file::KIND);
    assert_eq!(DestinationUrl::of_kinds(url, &kinds).unwrap().to_string(), url);
    let refusal = DestinationUrl::of_kinds("oracle:x", &kinds).unwrap_err().to_string();
    assert!(refusal.ends_with("and `json:PATH` (one JSON file)."), "{refusal}");
}
