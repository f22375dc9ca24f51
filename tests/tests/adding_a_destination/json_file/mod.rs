//! `json:PATH`: one JSON file with all rows and the state. It is held in memory and written anew with each commit, which shows what a
//! destination has to do, and is no way to keep much.

mod contents;
mod destination;
mod kind;
mod reader;

pub(crate) use self::kind::KIND;
