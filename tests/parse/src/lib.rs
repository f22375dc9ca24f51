//! Reads JSON and nothing else, natively and as a component: what WebAssembly itself costs a parser.
#![deny(unsafe_code)]

#[cfg(target_arch = "wasm32")]
mod component;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// The sum of all numbers of a JSON document, whatever its shape; zero for what is no JSON.
pub fn sum(body: &[u8]) -> f64 {
    serde_json::from_slice(body).map_or(0.0, |Sum(sum)| sum)
}

struct Sum(f64);

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Add)
    }
}

struct Add;

impl<'de> Visitor<'de> for Add {
    type Value = Sum;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Sum, E> {
        Ok(Sum(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Sum, E> {
        Ok(Sum(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Sum, E> {
        Ok(Sum(number as f64))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sum, E> {
        Ok(Sum(0.0))
    }

    fn visit_unit<E>(self) -> Result<Sum, E> {
        Ok(Sum(0.0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Sum, E> {
        Ok(Sum(0.0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sum, A::Error> {
        let mut sum = 0.0;
        while let Some(Sum(part)) = list.next_element()? {
            sum += part;
        }
        Ok(Sum(sum))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sum, A::Error> {
        let mut sum = 0.0;
        while let Some((_, Sum(part))) = map.next_entry::<Sum, Sum>()? {
            sum += part;
        }
        Ok(Sum(sum))
    }
}
