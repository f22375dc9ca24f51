//! What holds for every kind of destination, as tests. A kind in another crate turns the feature `conformance` on, says by a [`Subject`]
//! where it is to be tried and how its tables are read without it, and calls the macro [`conformance!`](crate::conformance!).
//!
//! | module | concern |
//! |---|---|
//! | [`model`] | random syncs against maps |
//! | [`kills`] | processes that are killed, and writes that fail |
//! | [`rows`] | types, keys, deletions, columns, full refreshes |
//! | [`states`] | the state beside the rows |
//! | [`access`] | one writer, readers meanwhile, what a sync leaves behind |
//! | [`lost`] | tables that somebody took away |
//! | [`readers`] | reading it to be verified |
//! | [`subject`] | a kind that is tested |
//! | [`urls`] | URLs, without secrets |
//! | [`data`] | tables and rows to try with |
#![allow(clippy::unwrap_used)]

pub mod access;
pub mod data;
pub mod kills;
pub mod lost;
pub mod model;
pub mod readers;
pub mod rows;
pub mod states;
pub mod subject;
pub mod urls;

pub use self::subject::Subject;

/// Tests of a kind, in a module of their own: `conformance!(postgres, Postgres)`. `conformance!(null, Null, keeps nothing)` leaves out
/// what makes no sense for a kind that forgets everything with the process.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $subject:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance!(@each $subject;
                urls::its_example_is_one_of_its_urls, urls::no_password_is_repeated, urls::each_place_has_its_own_claims,
                model::it_holds_what_the_model_holds,
                rows::every_type_comes_back, rows::the_last_of_equal_keys_wins, rows::deletions_take_a_leading_part_of_the_key,
                rows::a_full_refresh_empties_all_with_its_first_commit, rows::a_new_column_comes_into_a_table_that_exists,
                rows::a_column_of_another_type_is_refused, rows::a_change_of_an_unknown_table_is_a_misfit,
                states::state_is_patched_with_the_rows, states::state_can_be_imported_before_the_first_sync,
                states::without_groups_a_commit_changes_nothing,
                access::a_second_writer_is_refused, access::others_read_while_a_sync_writes,
                access::one_that_is_opened_to_be_read_is_not_written, access::one_that_is_not_there_cannot_be_read,
                access::nothing_is_left_of_a_sync_that_wrote_nothing, access::a_sync_settles_however_it_ends,
                access::looking_at_the_state_changes_nothing,
                lost::a_table_that_is_gone_is_missed_until_it_is_made_anew, lost::a_full_refresh_does_not_mind_lost_tables,
                readers::a_reader_hands_out_what_is_stored, readers::a_reader_keeps_syncs_away,
            );

            #[test]
            fn child() {
                $crate::conformance::kills::child(&$subject);
            }

            #[test]
            fn a_killed_sync_leaves_rows_and_state_that_agree() {
                let child = concat!(module_path!(), "::child");
                $crate::conformance::kills::a_killed_sync_leaves_rows_and_state_that_agree(&$subject, child);
            }

            #[test]
            fn a_failing_write_tears_nothing() {
                let child = concat!(module_path!(), "::child");
                $crate::conformance::kills::a_failing_write_tears_nothing(&$subject, child);
            }
        }
    };
    ($name:ident, $subject:expr, keeps nothing) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance!(@each $subject;
                urls::its_example_is_one_of_its_urls, urls::no_password_is_repeated,
                rows::a_change_of_an_unknown_table_is_a_misfit,
                states::without_groups_a_commit_changes_nothing, states::state_is_kept_until_the_process_ends,
                access::nothing_is_left_of_a_sync_that_wrote_nothing, access::one_that_is_opened_to_be_read_is_not_written,
                readers::there_is_nothing_to_read,
            );
        }
    };
    (@each $subject:expr; $($module:ident::$test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                $crate::conformance::$module::$test(&$subject);
            }
        )*
    };
}
