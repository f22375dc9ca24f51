//! What a component tells a host about itself beside its configuration: the `x-elt-…` members of its schema. `wit/README.md` has the
//! table of them.
//!
//! They are the component's own words, so each is read as a claim of somebody who may be wrong or hostile: one that is malformed, or that
//! names what is not there, breaks the contract. None of them gives a component anything. They say less than it could do without
//! (a credential for one origin only), name things for people, or ask for what whoever runs the component may grant
//! ([`Spec::downloads`](super::spec::Spec::downloads)).

use std::collections::BTreeMap;

use elt_support::printable::{cut, escape_control};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::http::egress::{Origin, OriginPattern};
use crate::state::StateKeys;

/// What stands for the secret in a spelling.
pub(crate) const SECRET: &str = "{secret}";
/// Characters of an item's name.
const NAME: usize = 32;
/// Bytes of the connector's text in an error.
const TEXT: usize = 300;
/// Spellings of one credential, and bytes of each.
const SPELLINGS: (usize, usize) = (16, 256);

/// What the source's items are called, in lower case: `run` and `runs`, `pull request` and `pull requests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ItemNames {
    /// One of them.
    pub singular: String,
    /// Several of them.
    pub plural: String,
}

impl ItemNames {
    /// The names of items of which only the singular is known.
    pub fn of_unit(unit: &str) -> Self {
        Self { singular: unit.to_owned(), plural: format!("{unit}s") }
    }
}

/// How a secret is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    /// The property whose origin it is for; for all `x-elt-origin`s where none is named.
    pub(crate) origin: Option<String>,
    /// How it stands in the `authorization` header; in any way where none is listed.
    pub(crate) authorization: Vec<String>,
}

/// From an origin of the API to the origins that its downloads are on.
pub(crate) type Downloads = Vec<(Origin, Vec<String>)>;

/// What a property's annotation says, if the property has it.
fn read<T: DeserializeOwned>(schema: &Map<String, Value>, annotation: &str, of: &str) -> Result<Option<T>, Error> {
    let Some(value) = schema.get(annotation) else { return Ok(None) };
    if !value.is_object() {
        return Err(wrong(annotation, of, "it is no object"));
    }
    T::deserialize(value).map(Some).map_err(|why| wrong(annotation, of, &why.to_string()))
}

fn wrong(annotation: &str, of: &str, why: &str) -> Error {
    let of = if of.is_empty() { String::new() } else { format!(" of `{}`", shown(of)) };
    let why = shown(why);
    Error::Contract(format!("`spec`: `{annotation}`{of} is not what it should be: {why} (see wit/README.md)"))
}

/// Both may hold text of the connector.
fn shown(text: &str) -> String {
    escape_control(cut(text, TEXT))
}

/// `x-elt-items`.
pub(crate) fn items(schema: &Map<String, Value>) -> Result<Option<ItemNames>, Error> {
    let names: Option<ItemNames> = read(schema, "x-elt-items", "")?;
    let is_name = |name: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ' ' | '_' | '-');
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= NAME && name.chars().all(fits)
    };
    match &names {
        Some(names) if !is_name(&names.singular) || !is_name(&names.plural) => Err(wrong(
            "x-elt-items",
            "",
            &format!(
                "a name is 1 to {NAME} characters of `a`-`z`, `0`-`9`, space, `_` and `-`, and begins with a letter"
            ),
        )),
        _ => Ok(names),
    }
}

/// `x-elt-state`.
pub(crate) fn state(schema: &Map<String, Value>) -> Result<Option<StateKeys>, Error> {
    let keys: Option<StateKeys> = read(schema, "x-elt-state", "")?;
    if keys.iter().filter_map(|keys| keys.items.as_ref()).any(|items| items.prefix.is_empty()) {
        return Err(wrong("x-elt-state", "", "an empty `prefix` would make every key one of an item"));
    }
    Ok(keys)
}

/// `x-elt-credential` of one secret. `origins` are the properties with `x-elt-origin`.
pub(crate) fn credential<'a>(
    name: &str,
    property: &Map<String, Value>,
    is_secret: bool,
    mut origins: impl Iterator<Item = &'a String>,
) -> Result<Option<Credential>, Error> {
    let fail = |why: &str| Err(wrong("x-elt-credential", name, why));
    let Some(credential) = read::<Credential>(property, "x-elt-credential", name)? else { return Ok(None) };
    if !is_secret {
        return fail("the property is no secret, it lacks `\"writeOnly\": true`");
    }
    if let Some(origin) = &credential.origin
        && !origins.any(|other| other == origin)
    {
        return fail("its `origin` is no property with `\"x-elt-origin\": true`");
    }
    let (most, bytes) = SPELLINGS;
    let fits = |text: &String| {
        text.len() <= bytes && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.matches(SECRET).count() == 1
    };
    if credential.authorization.len() > most || !credential.authorization.iter().all(fits) {
        return fail("a spelling is printable ASCII with `{secret}` in it once, such as `Bearer {secret}`");
    }
    Ok(Some(credential))
}

/// `x-elt-downloads` of one property.
pub(crate) fn downloads(name: &str, property: &Map<String, Value>, is_origin: bool) -> Result<Downloads, Error> {
    let fail = |why: &str| wrong("x-elt-downloads", name, why);
    let found: Option<BTreeMap<String, Vec<String>>> = read(property, "x-elt-downloads", name)?;
    let found = found.unwrap_or_default();
    if !found.is_empty() && !is_origin {
        return Err(fail("the property is no origin, it lacks `\"x-elt-origin\": true`"));
    }
    let one = |(api, stores): (String, Vec<String>)| {
        let api = Origin::parse(&api).map_err(|why| fail(&why.to_string()))?;
        for store in &stores {
            OriginPattern::parse(store).map_err(|why| fail(&why.to_string()))?;
        }
        Ok((api, stores))
    };
    found.into_iter().map(one).collect()
}
