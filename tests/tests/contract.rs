//! The WIT package: what embedders in other languages read.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use elt_host::{Cache, Connector, Engine, EngineOptions};
use memchr::memmem;
use wandb_connector_tests::product::component_file;
use wit_parser::{Docs, Resolve, TypeDefKind};

#[test]
fn every_item_of_the_contract_is_documented() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let mut bare = Vec::new();
    let mut check = |what: String, docs: &Docs| {
        if docs.contents.as_ref().is_none_or(|text| text.trim().is_empty()) {
            bare.push(what);
        }
    };
    let package = &resolve.packages[package];
    assert_eq!(package.name.to_string(), "elt:connector@0.1.0");
    check("package".to_owned(), &package.docs);
    for (name, id) in &package.worlds {
        check(format!("world {name}"), &resolve.worlds[*id].docs);
    }
    for (interface, id) in &package.interfaces {
        let id = &resolve.interfaces[*id];
        check(format!("interface {interface}"), &id.docs);
        for (name, function) in &id.functions {
            check(format!("{interface}.{name}"), &function.docs);
        }
        for (name, id) in &id.types {
            let item = &resolve.types[*id];
            let mut part = |part: &str, docs: &Docs| check(format!("{interface}.{name}.{part}"), docs);
            match &item.kind {
                // Taken over from another interface, and documented there.
                TypeDefKind::Type(_) if item.docs.contents.is_none() => continue,
                TypeDefKind::Record(record) => record.fields.iter().for_each(|field| part(&field.name, &field.docs)),
                TypeDefKind::Variant(variant) => variant.cases.iter().for_each(|case| part(&case.name, &case.docs)),
                TypeDefKind::Enum(cases) => cases.cases.iter().for_each(|case| part(&case.name, &case.docs)),
                TypeDefKind::Flags(flags) => flags.flags.iter().for_each(|flag| part(&flag.name, &flag.docs)),
                _ => {}
            }
            check(format!("{interface}.{name}"), &item.docs);
        }
    }
    assert_eq!(bare, Vec::<String>::new(), "without a doc comment");
}

#[test]
fn nothing_in_the_contract_is_about_one_source() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
            assert!(!text.contains("wandb") && !text.contains("w&b"), "{}", path.display());
        }
    }
}

/// The component, as if it were made for another version of these interfaces: their names say so.
fn made_for(version: &str, interfaces: &[&str]) -> Result<Connector, String> {
    let mut component = std::fs::read(component_file()).unwrap();
    for interface in interfaces {
        let name = |version: &str| format!("elt:connector/{interface}@{version}").into_bytes();
        let (ours, other) = (name("0.1.0"), name(version));
        assert_eq!(ours.len(), other.len());
        let places: Vec<usize> = memmem::find_iter(&component, &ours).collect();
        assert!(!places.is_empty(), "no `{interface}` in the component");
        places.iter().for_each(|at| component[*at..at + other.len()].copy_from_slice(&other));
    }
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    Connector::load(&engine, &component, &Cache::none()).map_err(|why| why.to_string())
}

#[test]
fn a_connector_for_a_version_that_is_not_served_is_told_which_is() {
    for (interface, does) in [("destination", "imports"), ("source", "exports")] {
        let expected = format!(
            "the component {does} `elt:connector/{interface}@0.2.0`; this host serves version 0.1.0 of it, and what is \
             compatible (see wit/README.md)"
        );
        assert_eq!(made_for("0.2.0", &[interface]).err(), Some(expected));
    }
}

#[tokio::test]
async fn a_connector_for_a_compatible_version_runs() {
    let connector = made_for("0.1.9", &["destination", "log", "progress", "source", "types"]).unwrap();
    assert!(connector.info().imports.iter().any(|import| import.name == "elt:connector/destination@0.1.9"));
    connector.spec().await.unwrap();
}
