//! The same function as an export.

mod bindings {
    #![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]
    wit_bindgen::generate!({
        inline: "package tests:parse; world parse { export sum: func(body: list<u8>) -> f64; }",
        world: "parse",
    });
}

struct Parse;

#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Parse, bindings};

    bindings::export!(Parse with_types_in bindings);
}

impl bindings::Guest for Parse {
    fn sum(body: Vec<u8>) -> f64 {
        crate::sum(&body)
    }
}
