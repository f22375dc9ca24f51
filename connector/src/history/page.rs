//! A page of history rows, from either dialect, into a [`History`].

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::json;

use super::row::{History, RowSeed};

/// Reads a page of the `rest` dialect: `{"history":[…],"nextUrl":…}`, or a bare list of rows, which is the whole history. Returns the
/// next page's URL. `position` is that of the page's first row. On an error nothing of the page stays in `history`.
pub fn rest(body: &[u8], history: &mut History, position: i64) -> Result<Option<String>, String> {
    let (mark, rows) = (history.mark(), history.rows().len());
    let mut read = |text: &str| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let next = deserializer.deserialize_any(RestPage { history, position });
        let next = next.and_then(|next| deserializer.end().map(|()| next));
        next.map_err(|error| {
            history.rewind(mark, rows);
            json::place(&error)
        })
    };
    let strict = std::str::from_utf8(body)
        .map_err(|error| error.to_string())
        .and_then(&mut read);
    strict.or_else(|error| read(&json::repair(body)).map_err(|_| error))
}

/// Reads the `history` of the `graphql` dialect: a list of rows, each as JSON in a string. On an error nothing of it stays in `history`.
pub fn graphql(list: &str, history: &mut History, position: i64) -> Result<(), String> {
    let (mark, rows) = (history.mark(), history.rows().len());
    let mut deserializer = serde_json::Deserializer::from_str(list);
    deserializer
        .deserialize_any(TextRows { history, position })
        .map_err(|error| {
            history.rewind(mark, rows);
            json::place(&error)
        })
}

struct RestPage<'h> {
    history: &'h mut History,
    position: i64,
}

impl<'de> Visitor<'de> for RestPage<'_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a page of history rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let (mut next, mut found) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "history" => {
                    map.next_value_seed(Rows {
                        history: &mut *self.history,
                        position: self.position,
                    })?;
                    found = true;
                }
                "nextUrl" => {
                    next = map
                        .next_value::<Option<String>>()?
                        .filter(|url| !url.is_empty())
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        // An object without rows is an error page, not an empty history.
        if found {
            Ok(next)
        } else {
            Err(A::Error::missing_field("history"))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<String>, A::Error> {
        Rows {
            history: self.history,
            position: self.position,
        }
        .visit_seq(list)
        .map(|()| None)
    }
}

/// A list of rows as objects.
struct Rows<'h> {
    history: &'h mut History,
    position: i64,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of history rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut position = self.position;
        while list
            .next_element_seed(RowSeed {
                history: &mut *self.history,
                position,
            })?
            .is_some()
        {
            position += 1;
        }
        Ok(())
    }
}

/// A list of rows, each a string that holds JSON (or, from servers that decode it themselves, an object).
struct TextRows<'h> {
    history: &'h mut History,
    position: i64,
}

impl<'de> Visitor<'de> for TextRows<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of history rows as JSON strings")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut position = self.position;
        while list
            .next_element_seed(TextRow {
                history: &mut *self.history,
                position,
            })?
            .is_some()
        {
            position += 1;
        }
        Ok(())
    }
}

struct TextRow<'h> {
    history: &'h mut History,
    position: i64,
}

impl<'de> DeserializeSeed<'de> for TextRow<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextRow<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a history row as a JSON string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let Self { history, position } = self;
        let (mark, rows) = (history.mark(), history.rows().len());
        let mut read = |text: &str| {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let row = RowSeed {
                history: &mut *history,
                position,
            }
            .deserialize(&mut deserializer);
            row.and_then(|()| deserializer.end())
                .inspect_err(|_| history.rewind(mark, rows))
        };
        read(text).or_else(|error| {
            read(&json::repair(text.as_bytes())).map_err(|_| E::custom(json::place(&error)))
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        RowSeed {
            history: self.history,
            position: self.position,
        }
        .visit_map(map)
    }
}
