//! What a component is made of, for people who want to know what they run.

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::engine::Engine;
use crate::error::Error;

/// The imports that `wit/world.wit` allows, without versions: WASI's and the contract's own.
const ALLOWED: [&str; 12] = [
    "elt:connector/destination",
    "elt:connector/log",
    "elt:connector/progress",
    "elt:connector/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
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

    /// Refuses a component that imports what no connector may, saying what.
    pub(crate) fn check_imports(&self) -> Result<(), Error> {
        let allowed = |name: &str| ALLOWED.contains(&name.split_once('@').map_or(name, |(base, _)| base));
        let others = self.imports.iter().filter(|import| !allowed(&import.name) && !import.is_refused());
        let others: Vec<_> = others.map(|import| import.name.as_str()).collect();
        if others.is_empty() {
            return Ok(());
        }
        let others = others.join("`, `");
        Err(Error::Internal(format!("the component imports `{others}`, which a connector may not (see wit/world.wit)")))
    }
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
