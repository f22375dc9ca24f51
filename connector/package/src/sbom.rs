//! A software bill of materials, CycloneDX 1.6 as JSON: what is inside one component, with versions, licences and checksums.
//!
//! Serial numbers are left out, and the time is the commit's: the same sources make the same bytes.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::about;
use crate::cargo::{self, Id};
use crate::checksum::sha256;

/// Lists what is in `component`, which was built from `packages`.
pub(crate) fn sbom(component: &[u8], packages: &[&str], time: Option<&str>) -> anyhow::Result<String> {
    let (subject, _) = about::read(component)?;
    let rustc = about::tool(component, "rustc")?.context("the component does not say which rustc made it")?;
    let rustc = rustc.split(' ').next().unwrap_or_default();
    let standard_library = json!({
        "type": "library",
        "bom-ref": "std",
        "name": "std",
        "version": rustc,
        "description": "Rust's standard library, with core, alloc and what they are built of",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    });

    let mut roots = Vec::new();
    let mut all = BTreeMap::new();
    for package in packages {
        let (root, found) = cargo::packages(package)?;
        roots.push(root);
        all.extend(found);
    }
    let checksums = cargo::checksums()?;
    let mut components = vec![standard_library];
    let mut dependencies = Vec::new();
    // The component of a package alone is that package.
    let itself = (roots.len() == 1).then(|| roots.remove(0));
    let main = "component".to_owned();
    let reference = |id: &Id| if Some(id) == itself.as_ref() { main.clone() } else { reference(id) };
    if itself.is_none() {
        dependencies.push(json!({ "ref": main, "dependsOn": roots.iter().map(reference).collect::<Vec<_>>() }));
    }
    for (id, package) in &all {
        let uses = package.uses.iter().map(reference).chain(["std".to_owned()]).collect::<Vec<_>>();
        dependencies.push(json!({ "ref": reference(id), "dependsOn": uses }));
        if Some(id) == itself.as_ref() {
            continue;
        }
        let mut entry = json!({
            "type": "library",
            "bom-ref": reference(id),
            "name": id.0,
            "version": id.1,
            "licenses": [{ "expression": package.license }],
        });
        // Our own packages are in no registry.
        if let Some(checksum) = checksums.get(id) {
            entry["purl"] = reference(id).into();
            entry["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        components.push(entry);
    }
    dependencies.push(json!({ "ref": "std" }));

    let mut metadata = json!({
        "component": {
            "type": "application",
            "bom-ref": main,
            "name": subject.name,
            "version": subject.version,
            "hashes": [{ "alg": "SHA-256", "content": sha256(component) }],
        },
    });
    if let Some(time) = time {
        metadata["timestamp"] = time.into();
    }
    if let Some(description) = subject.description {
        metadata["component"]["description"] = description.into();
    }
    if let Some(licenses) = subject.licenses {
        metadata["component"]["licenses"] = json!([{ "expression": licenses }]);
    }
    let bom: Value = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{bom:#}\n"))
}

/// A package URL. A `+` in a version is written as such where the URL's grammar says.
fn reference((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}
