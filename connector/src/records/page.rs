//! A page of history rows, from either dialect, into a [`History`].

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::records::json;

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
    let strict = std::str::from_utf8(body).map_err(|error| error.to_string()).and_then(&mut read);
    strict.or_else(|error| read(&json::repair(body)).map_err(|_| error))
}

/// Reads the `history` of the `graphql` dialect: a list of rows, each as JSON in a string. On an error nothing of it stays in `history`.
pub fn graphql(list: &str, history: &mut History, position: i64) -> Result<(), String> {
    let (mark, rows) = (history.mark(), history.rows().len());
    let mut deserializer = serde_json::Deserializer::from_str(list);
    deserializer.deserialize_any(TextRows { history, position }).map_err(|error| {
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
                    map.next_value_seed(Rows { history: &mut *self.history, position: self.position })?;
                    found = true;
                }
                "nextUrl" => next = map.next_value::<Option<String>>()?.filter(|url| !url.is_empty()),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        // An object without rows is an error page, not an empty history.
        if found { Ok(next) } else { Err(A::Error::missing_field("history")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<String>, A::Error> {
        Rows { history: self.history, position: self.position }.visit_seq(list).map(|()| None)
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
        while list.next_element_seed(RowSeed { history: &mut *self.history, position })?.is_some() {
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
        while list.next_element_seed(TextRow { history: &mut *self.history, position })?.is_some() {
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
            let row = RowSeed { history: &mut *history, position }.deserialize(&mut deserializer);
            row.and_then(|()| deserializer.end()).inspect_err(|_| history.rewind(mark, rows))
        };
        read(text).or_else(|error| read(&json::repair(text.as_bytes())).map_err(|_| E::custom(json::place(&error))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        RowSeed { history: self.history, position: self.position }.visit_map(map)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::batch::{Batch, Values};
    use crate::records::filter::MetricFilter;
    use crate::tables;

    /// What a page of one row becomes: a line for each point, `metrics` first.
    fn points(row: &str) -> Vec<String> {
        let mut history = History::new(MetricFilter::default());
        rest(format!("[{row}]").as_bytes(), &mut history, 7).unwrap();
        lines(&mut history)
    }

    fn lines(history: &mut History) -> Vec<String> {
        let batches = tables::of_history(history, "r").into_iter().filter_map(|(_, batch)| batch);
        batches.flat_map(|batch| batch_lines(&batch)).collect()
    }

    fn batch_lines(batch: &Batch) -> Vec<String> {
        let cell = |values: &Values, row: usize| match values {
            Values::Integers(values) | Values::Timestamps(values) => values[row].to_string(),
            Values::Doubles(values) => format!("{:?}", values[row]),
            Values::Texts(values) | Values::Jsons(values) => values[row].clone(),
            Values::Dictionary { keys, values } => values[keys[row] as usize].clone(),
        };
        let line = |row: usize| {
            let cells = batch.columns.iter().map(|column| match column.nulls.contains(&(row as u32)) {
                true => "null".to_owned(),
                false => cell(&column.values, row),
            });
            cells.skip(1).collect::<Vec<_>>().join(" ")
        };
        (0..batch.rows()).map(line).collect()
    }

    #[test]
    fn numbers_and_booleans_are_metrics() {
        assert_eq!(
            points(
                r#"{"_step":3,"_timestamp":1750000000.5,"a":0.1,"b":true,"c":false,"d":-0,"e":5e-324,"f":9007199254740992}"#
            ),
            [
                "3 a 0.1 1750000000500000",
                "3 b 1.0 1750000000500000",
                "3 c 0.0 1750000000500000",
                "3 d -0.0 1750000000500000",
                "3 e 5e-324 1750000000500000",
                "3 f 9007199254740992.0 1750000000500000"
            ]
        );
    }

    #[test]
    fn doubles_are_rounded_correctly() {
        for text in
            ["0.1", "2.2250738585072011e-308", "1.7976931348623157e308", "123456789.123456789", "9007199254740993.0"]
        {
            assert_eq!(points(&format!(r#"{{"a":{text}}}"#)), [format!("7 a {:?} null", text.parse::<f64>().unwrap())]);
        }
    }

    #[test]
    fn non_finite_numbers_are_doubles_bare_or_quoted() {
        let expected = ["7 a NaN null", "7 b inf null", "7 c -inf null"];
        assert_eq!(points(r#"{"a":NaN,"b":Infinity,"c":-Infinity}"#), expected);
        assert_eq!(points(r#"{"a":"NaN","b":"Infinity","c":"-Infinity"}"#), expected);
    }

    #[test]
    fn what_a_double_cannot_carry_is_an_object_with_every_digit() {
        assert_eq!(
            points(
                r#"{"big":9007199254740993,"huge":-123456789012345678901234567890,"far":1e400,"s":"é\n\u0000","l":[1, 2.50],"e":{}}"#
            ),
            [
                "7 big 9007199254740992.0 null",
                "7 huge -1.2345678901234568e29 null",
                "7 big 9007199254740993 null",
                "7 huge -123456789012345678901234567890 null",
                "7 far 1e400 null",
                r#"7 s "é\n\u0000" null"#,
                "7 l [1, 2.50] null",
                "7 e {} null",
            ]
        );
    }

    #[test]
    fn nested_objects_are_flattened_and_media_are_not() {
        assert_eq!(
            points(
                r#"{"a":{"b":{"c":1},"d":null,"x":"t"},"img":{"_type":"image-file","size":69},"g":{"img":{"_type":"histogram","bins":[NaN]}}}"#
            ),
            [
                "7 a.b.c 1.0 null",
                r#"7 a.x "t" null"#,
                r#"7 img {"_type":"image-file","size":69} null"#,
                r#"7 g.img {"_type":"histogram","bins":["NaN"]} null"#
            ]
        );
    }

    #[test]
    fn the_last_of_two_keys_with_one_name_wins_in_both_tables() {
        assert_eq!(points(r#"{"a.b":1,"a":{"b":"x"}}"#), [r#"7 a.b "x" null"#]);
        assert_eq!(points(r#"{"a":{"b":"x"},"a.b":1,"c":2}"#), ["7 a.b 1.0 null", "7 c 2.0 null"]);
        assert_eq!(points(r#"{"a":9007199254740993,"a":2}"#), ["7 a 2.0 null"]);
        assert_eq!(points(r#"{"a":1,"a":null}"#), ["7 a 1.0 null"]);
    }

    #[test]
    fn steps_and_timestamps_are_read_in_any_spelling() {
        for (own, step, time) in [
            (r#""_step":5.0"#, "5", "null"),
            (r#""_step":null"#, "7", "null"),
            (r#""_step":"x""#, "7", "null"),
            (r#""_step":-1"#, "-1", "null"),
            (r#""_step":2147483648,"_timestamp":1.795404379055351e+09"#, "2147483648", "1795404379055351"),
            (r#""_timestamp":1750000000123"#, "7", "1750000000123000"),
            (r#""_timestamp":NaN"#, "7", "null"),
            (r#""_timestamp":1e300,"_runtime":3,"_wandb":{"x":1}"#, "7", "null"),
        ] {
            assert_eq!(points(&format!(r#"{{{own},"a":1}}"#)), [format!("{step} a 1.0 {time}")], "{own}");
        }
    }

    #[test]
    fn rows_of_both_dialects_become_the_same_points() {
        let rows = [r#"{"_step":0,"a":NaN,"b":"\ud83e"}"#, r#"{"_step":1,"a":1}"#];
        let mut one = History::new(MetricFilter::default());
        let next =
            rest(format!(r#"{{"x":[{{}}],"history":[{}],"nextUrl":"/n"}}"#, rows.join(",")).as_bytes(), &mut one, 0);
        assert_eq!(next, Ok(Some("/n".to_owned())));
        let mut two = History::new(MetricFilter::default());
        graphql(&serde_json::to_string(&rows).unwrap(), &mut two, 0).unwrap();
        assert_eq!(lines(&mut one), lines(&mut two));
    }

    #[test]
    fn a_broken_page_leaves_nothing_behind() {
        let mut history = History::new(MetricFilter::default());
        rest(br#"[{"_step":0,"a":1}]"#, &mut history, 0).unwrap();
        for body in [
            r#"[{"_step":1,"a":2},{"_st"#,
            r#"{"history":[{"a":1}]"#,
            "<html>",
            "{}",
            "[1]",
            "[null]",
            r#"{"history":{}}"#,
            r#"[{"a":1}] x"#,
            "",
        ] {
            assert!(rest(body.as_bytes(), &mut history, 1).is_err(), "{body}");
        }
        for list in [r#"["{\"a\":1}","{"]"#, "[1]", "{}"] {
            assert!(graphql(list, &mut history, 1).is_err(), "{list}");
        }
        assert_eq!(history.rows().len(), 1);
        assert_eq!(lines(&mut history), ["0 a 1.0 null"]);
    }

    #[test]
    fn what_is_taken_back_gives_its_bytes_back() {
        let mut history = History::new(MetricFilter::default());
        rest(br#"[{"_step":0,"a":1,"s":"x"}]"#, &mut history, 0).unwrap();
        let before = history.bytes();
        let long = "y".repeat(1000);
        for body in [
            format!(r#"[{{"_step":1,"s":"{long}"}},{{"_st"#),
            format!(r#"[{{"_step":1,"s":"{long}","l":[1]}},{{"_step":2,"s":"{long}"}},1]"#),
        ] {
            assert!(rest(body.as_bytes(), &mut history, 1).is_err());
            assert_eq!(history.bytes(), before);
        }
        let list = serde_json::to_string(&[format!(r#"{{"s":"{long}"}}"#), "{".to_owned()]).unwrap();
        assert!(graphql(&list, &mut history, 1).is_err());
        assert_eq!(history.bytes(), before);
        // The same where one value takes another's place, and where rows are dropped that were known.
        let mut twice = History::new(MetricFilter::default());
        rest(format!(r#"[{{"_step":0,"a":1,"s":"{long}","s":"x"}}]"#).as_bytes(), &mut twice, 0).unwrap();
        assert_eq!(twice.bytes(), before);
        let mut dropped = History::new(MetricFilter::default());
        rest(format!(r#"[{{"s":"{long}"}},{{"_step":0,"a":1,"s":"x"}}]"#).as_bytes(), &mut dropped, 0).unwrap();
        dropped.drop_first(1);
        assert_eq!(dropped.bytes(), before);
    }

    #[test]
    fn two_rows_of_one_step_with_one_metric_are_told_once() {
        let told = |pages: &[&str]| {
            let mut history = History::new(MetricFilter::default());
            pages.iter().for_each(|page| drop(rest(page.as_bytes(), &mut history, 0)));
            (history.take_step_collision(), history.take_step_collision())
        };
        let collision = |step, name: &str| (Some((step, name.to_owned())), None);
        assert_eq!(told(&[r#"[{"_step":0,"a":1},{"_step":0,"b":1},{"a":2,"_step":0}]"#]), collision(0, "a"));
        assert_eq!(told(&[r#"[{"_step":7,"n":{"a":1}}]"#, r#"[{"_step":7,"n.a":1}]"#]), collision(7, "n.a"));
        assert_eq!(told(&[r#"[{"_step":0,"a":1},{"_step":0,"b":1},{"_step":1,"a":1,"b":1}]"#]), (None, None));
        assert_eq!(told(&[r#"[{"a":1},{"a":2},{"a":3,"_step":2}]"#]), (None, None));
        // A page that was broken comes again.
        assert_eq!(told(&[r#"[{"_step":0,"a":1},{"_st"#, r#"[{"_step":0,"a":1}]"#]), (None, None));
    }

    #[test]
    fn half_of_a_surrogate_pair_becomes_the_replacement_character_everywhere() {
        let rows = [
            // Nothing but the values themselves shows it: no key is one that the parser refuses.
            (r#"{"a":"x\ud83e"}"#, vec![r#"7 a "x\ufffd" null"#]),
            (r#"{"l":["\udd8a",{"\ud83e":1}]}"#, vec![r#"7 l ["\ufffd",{"\ufffd":1}] null"#]),
            (
                r#"{"m":{"_type":"t","p":"\\ud800\ud800\ude00"}}"#,
                vec![r#"7 m {"_type":"t","p":"\\ud800\ud800\ude00"} null"#],
            ),
            (
                r#"{"k\ud800":1,"n":{"\udfff":{"s":"\uDFFF"}}}"#,
                vec!["7 k\u{fffd} 1.0 null", "7 n.\u{fffd}.s \"\\ufffd\" null"],
            ),
        ];
        for (row, expected) in rows {
            assert_eq!(points(row), expected, "{row}");
            let mut texts = History::new(MetricFilter::default());
            graphql(&serde_json::to_string(&[row]).unwrap(), &mut texts, 7).unwrap();
            assert_eq!(lines(&mut texts), expected, "{row}");
            // Servers that decode rows themselves.
            let mut objects = History::new(MetricFilter::default());
            let list = format!("[{row}]");
            let read = graphql(&list, &mut objects, 7);
            read.or_else(|_| graphql(&json::repair(list.as_bytes()), &mut objects, 7)).unwrap();
            assert_eq!(lines(&mut objects), expected, "{row}");
        }
    }

    #[test]
    fn the_filter_holds_for_flattened_names_too() {
        let text = r#"{"api_key":"k","entity":"e","project":"p","metrics":{"include":["a.*"],"exclude":["a.y"]}}"#;
        let mut history = History::new(crate::config::Config::parse(text).unwrap().metrics);
        rest(br#"[{"a":{"x":9007199254740993,"y":"s","z":1},"b":2}]"#, &mut history, 0).unwrap();
        assert_eq!(
            lines(&mut history),
            ["0 a.x 9007199254740992.0 null", "0 a.z 1.0 null", "0 a.x 9007199254740993 null"]
        );
    }

    #[test]
    fn dropped_rows_take_their_points_along() {
        let mut history = History::new(MetricFilter::default());
        rest(br#"[{"a":1,"s":"x"},{"a":2},{"a":3,"_timestamp":1}]"#, &mut history, 0).unwrap();
        history.drop_first(2);
        assert_eq!(history.rows().len(), 1);
        assert_eq!(lines(&mut history), ["2 a 3.0 1000000"]);
    }

    #[test]
    fn deep_nesting_ends_as_json() {
        let depth = 5000;
        let row = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let points = points(&row);
        assert_eq!(points.len(), 1);
        assert!(points[0].starts_with("7 a.a.a") && points[0].ends_with("}}} null"), "{}", &points[0][..40]);
    }

    #[test]
    fn a_page_whose_names_would_fill_the_memory_is_refused() {
        let row = |name: usize| {
            format!(
                r#"{{"{}":{{{}}}}}"#,
                "k".repeat(name),
                (0..2000).map(|key| format!(r#""{key}":0"#)).collect::<Vec<_>>().join(",")
            )
        };
        let mut history = History::new(MetricFilter::default());
        rest(format!("[{}]", row(200)).as_bytes(), &mut history, 0).unwrap();
        assert!(rest(format!("[{}]", row(40_000)).as_bytes(), &mut history, 1).is_err());
        assert_eq!(lines(&mut history).len(), 2000);
        rest(br#"[{"a":1}]"#, &mut history, 1).unwrap();
        assert_eq!(lines(&mut history), ["1 a 1.0 null"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = rest(&body, &mut History::new(MetricFilter::default()), 0);
        }

        #[test]
        fn every_leaf_becomes_one_point(row in json(3)) {
            let Value::Object(object) = &row else { return Ok(()) };
            let mut expected = 0;
            object.iter().for_each(|(key, value)| expected += leaves(key, value));
            prop_assert_eq!(points(&row.to_string()).len(), expected);
        }
    }

    fn leaves(key: &str, value: &Value) -> usize {
        match value {
            Value::Null => 0,
            _ if key.starts_with('_') => 0,
            Value::Object(object) if !object.is_empty() => {
                object.iter().map(|(key, value)| leaves(&format!("n{key}"), value)).sum()
            }
            _ => 1,
        }
    }

    fn json(depth: u32) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-zé\"\\\\\u{1}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(depth, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-z/é\"]{1,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
