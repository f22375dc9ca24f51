//! The conformance suite for every kind of the list.

use crate::conformance;
use crate::conformance::Subject;
use crate::registry::KINDS;

/// Runs the suite for each, and notes it as tested.
macro_rules! suites {
    ($($feature:literal $name:ident: $subject:expr $(, $keeps:ident $nothing:ident)?;)*) => {
        $(
            #[cfg(feature = $feature)]
            conformance!($name, $subject $(, $keeps $nothing)?);
        )*

        const TESTED: &[&dyn Subject] = &[$(
            #[cfg(feature = $feature)]
            &$subject,
        )*];
    };
}

suites! {
    "sqlite" sqlite: crate::sqlite::subject::Sqlite;
    "parquet" parquet: crate::parquet::subject::Parquet;
    "null" null: crate::null::subject::Null, keeps nothing;
}

#[test]
fn every_kind_of_the_list_is_tested() {
    for kind in KINDS {
        let is_tested = TESTED.iter().any(|subject| subject.kind().about() == kind.about());
        assert!(is_tested, "the conformance suite does not run for {}", kind.about().form);
    }
}
