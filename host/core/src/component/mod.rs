//! What a component is made of, for people who want to know what they run.

pub mod annotations;
pub mod cache;
pub mod connector;
pub mod spec;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::error::Error;
use crate::runtime::engine::Engine;

/// What `wit/world.wit` allows a connector to import, and what it has to export: each package with the version that this host serves,
/// and its interfaces.
const SERVED: [(&str, &str, &[&str]); 5] = [
    ("elt:connector", "0.1.0", &["destination", "log", "progress", "source", "types"]),
    ("wasi:clocks", "0.2.12", &["monotonic-clock", "wall-clock"]),
    ("wasi:http", "0.2.12", &["outgoing-handler", "types"]),
    ("wasi:io", "0.2.12", &["error", "poll", "streams"]),
    ("wasi:random", "0.2.12", &["random"]),
];

/// Packages that the libraries of many languages (Python's, JavaScript's, Go's) import, whether the connector uses them or not. A
/// component may import them and gets nothing of them: see `guest/refused.rs`.
const REFUSED: [&str; 3] = ["wasi:cli/", "wasi:filesystem/", "wasi:sockets/"];

/// A component's interfaces and sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// What it needs.
    pub imports: Vec<Interface>,
    /// What it offers.
    pub exports: Vec<Interface>,
    /// Bytes of the component.
    pub component_bytes: usize,
    /// Bytes of the machine code compiled from it.
    pub code_bytes: usize,
}

/// One import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Such as `wasi:http/types@0.2.12`.
    pub name: String,
    /// The functions of it that are used or offered.
    pub functions: Vec<String>,
}

impl Interface {
    /// Whether it is an import that a connector may have, with nothing behind it: most calls end the connector.
    pub fn is_refused(&self) -> bool {
        REFUSED.iter().any(|package| self.name.starts_with(package))
    }
}

impl ComponentInfo {
    pub(crate) fn of(engine: &Engine, component: &Component, component_bytes: usize) -> Self {
        let engine = engine.wasmtime();
        let interface =
            |name: &str, item: ComponentItem| Interface { name: name.to_owned(), functions: functions(engine, &item) };
        let ty = component.component_type();
        Self {
            imports: ty.imports(engine).map(|(name, item)| interface(name, item.ty)).collect(),
            exports: ty.exports(engine).map(|(name, item)| interface(name, item.ty)).collect(),
            component_bytes,
            code_bytes: component.text().len(),
        }
    }

    /// Refuses a component that imports what no connector may, or that was made for another version of the contract, saying what.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut others = Vec::new();
        for import in self.imports.iter().filter(|import| !import.is_refused()) {
            match Service::of(&import.name) {
                Service::Served => {}
                Service::Version(served) => return Err(another_version("imports", import, served)),
                Service::Unknown => others.push(import.name.as_str()),
            }
        }
        if !others.is_empty() {
            let others = others.join("`, `");
            let why = format!("the component imports `{others}`, which a connector may not (see wit/world.wit)");
            return Err(Error::Internal(why));
        }
        for export in &self.exports {
            if let Service::Version(served) = Service::of(&export.name) {
                return Err(another_version("exports", export, served));
            }
        }
        Ok(())
    }
}

fn another_version(does: &str, interface: &Interface, served: &str) -> Error {
    let name = &interface.name;
    Error::Internal(format!(
        "the component {does} `{name}`; this host serves version {served} of it, and what is compatible (see wit/README.md)"
    ))
}

/// What this host has for a name.
#[derive(Debug, PartialEq, Eq)]
enum Service {
    /// This very version, or one that it stands for.
    Served,
    /// The interface in this version, which is not compatible.
    Version(&'static str),
    Unknown,
}

impl Service {
    fn of(name: &str) -> Self {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let Some((package, interface)) = interface.split_once('/') else { return Self::Unknown };
        match SERVED.iter().find(|(served, _, interfaces)| *served == package && interfaces.contains(&interface)) {
            Some((_, served, _)) if track(served) == track(version) => Self::Served,
            Some((_, served, _)) => Self::Version(served),
            None => Self::Unknown,
        }
    }
}

/// Versions of one track stand for each other, as the component model has it: `1.2.3` is of track `1`, `0.2.3` of `0.2`, `0.0.3` only
/// of its own, and so is a pre-release.
fn track(version: &str) -> &str {
    let end = |dots: usize| version.match_indices('.').nth(dots).map_or(version.len(), |(at, _)| at);
    let kept = match () {
        () if version.contains('-') || version.starts_with("0.0.") => version.len(),
        () if version.starts_with("0.") => end(1),
        () => end(0),
    };
    &version[..kept]
}

fn functions(engine: &wasmtime::Engine, item: &ComponentItem) -> Vec<String> {
    let ComponentItem::ComponentInstance(instance) = item else {
        return Vec::new();
    };
    let function = |(name, item): (&str, wasmtime::component::types::ComponentExtern<'_>)| {
        matches!(item.ty, ComponentItem::ComponentFunc(_)).then(|| name.to_owned())
    };
    instance.exports(engine).filter_map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_track_stand_for_each_other() {
        for (version, expected) in [
            ("1.2.3", "1"),
            ("0.2.3", "0.2"),
            ("0.0.3", "0.0.3"),
            ("0.2.3-rc.1", "0.2.3-rc.1"),
            ("10.0.0", "10"),
            ("", ""),
        ] {
            assert_eq!(track(version), expected, "{version}");
        }
    }

    #[test]
    fn each_import_is_served_in_its_versions() {
        let of = Service::of;
        for name in ["elt:connector/log@0.1.0", "elt:connector/log@0.1.7", "wasi:io/poll@0.2.0", "wasi:io/poll@0.2.99"]
        {
            assert_eq!(of(name), Service::Served, "{name}");
        }
        for (name, served) in [
            ("elt:connector/log@0.2.0", "0.1.0"),
            ("elt:connector/log@1.1.0", "0.1.0"),
            ("elt:connector/log@0.1.0-rc.1", "0.1.0"),
            ("elt:connector/log", "0.1.0"),
            ("wasi:http/types@0.3.0", "0.2.12"),
        ] {
            assert_eq!(of(name), Service::Version(served), "{name}");
        }
        for name in
            ["elt:connector/door@0.1.0", "elt:other/log@0.1.0", "wasi:http/handler@0.2.12", "log", "log@0.1.0", ""]
        {
            assert_eq!(of(name), Service::Unknown, "{name}");
        }
    }

    /// The versions of `wit/`.
    #[test]
    fn what_is_served_is_what_the_contract_says() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
        for (package, version, _) in SERVED {
            let (namespace, name) = package.split_once(':').expect("a namespace");
            let file = if namespace == "elt" { "types.wit".to_owned() } else { format!("deps/{name}.wit") };
            let text = std::fs::read_to_string(format!("{wit}/{file}")).expect("the contract");
            assert!(text.contains(&format!("package {package}@{version};")), "{package}@{version}");
        }
    }
}
