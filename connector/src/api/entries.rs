//! The entries of a page of runs, whichever dialect they come in.

use crate::records::json;
use crate::run::Listed;

use super::source::Unreadable;

/// With more entries than this that can't be read, it is the page that can't be read.
const MOST_UNREADABLE: usize = 1000;

/// The entries of a page, each read by itself: an odd one costs nothing but itself. `read` is given an entry's position and text; `id`
/// finds the id in an entry that can't be read.
pub(super) fn entries<'e>(
    texts: impl IntoIterator<Item = &'e str>,
    read: impl Fn(usize, &str) -> Result<Listed, String>,
    id: impl Fn(&serde_json::Value) -> Option<&str>,
) -> Result<(Vec<Listed>, Vec<Unreadable>), String> {
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for (position, text) in texts.into_iter().enumerate() {
        let result = read(position, text).and_then(|run| match run.id.as_str() {
            "" => Err("it has no name".to_owned()),
            _ => Ok(run),
        });
        // What is JSON as a whole may still hold texts that are none.
        let result = result.or_else(|why| match json::repaired(text.as_bytes()) {
            Some(repaired) => read(position, &repaired),
            None => Err(why),
        });
        match result {
            Ok(run) => runs.push(run),
            Err(_) if unreadable.len() == MOST_UNREADABLE => {
                return Err(format!("more than {MOST_UNREADABLE} of its entries can't be read"));
            }
            Err(why) => {
                let value = serde_json::from_str(text).unwrap_or_default();
                let id = id(&value).filter(|id| !id.is_empty()).map(str::to_owned);
                unreadable.push(Unreadable { position, id, why });
            }
        }
    }
    Ok((runs, unreadable))
}
