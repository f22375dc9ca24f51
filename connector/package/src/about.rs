//! What a component says of itself, in the custom sections that registries and tools read (those of OCI's annotations).

use anyhow::Context as _;
use wasm_metadata::AddMetadataField::Set;
use wasm_metadata::{AddMetadata, Description, Licenses, Payload, Revision, Source, Version};

/// What a package of cargo says of itself.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: Option<String>,
    /// An SPDX expression.
    pub(crate) licenses: Option<String>,
    /// Where the source is: the manifest's `repository`.
    pub(crate) source: Option<String>,
}

/// The component with it, and with the commit that it was built from.
pub(crate) fn stamp(component: &[u8], about: &About, revision: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut metadata = AddMetadata::default();
    metadata.name = Set(about.name.clone());
    metadata.version = Set(Version::new(about.version.clone()));
    if let Some(description) = &about.description {
        metadata.description = Set(Description::new(description.clone()));
    }
    if let Some(licenses) = &about.licenses {
        metadata.licenses = Set(Licenses::new(licenses)?);
    }
    if let Some(source) = &about.source {
        metadata.source = Set(Source::new(source)?);
    }
    if let Some(revision) = revision {
        metadata.revision = Set(Revision::new(revision.to_owned()));
    }
    metadata.to_wasm(component)
}

/// What a stamped component says of itself, and its revision.
pub(crate) fn read(component: &[u8]) -> anyhow::Result<(About, Option<String>)> {
    let payload = Payload::from_binary(component)?;
    let metadata = payload.metadata();
    let about = About {
        name: metadata.name.clone().context("the component has no name; is it stamped?")?,
        version: metadata.version.as_ref().context("the component has no version; is it stamped?")?.to_string(),
        description: metadata.description.as_ref().map(ToString::to_string),
        licenses: metadata.licenses.as_ref().map(ToString::to_string),
        source: metadata.source.as_ref().map(ToString::to_string),
    };
    Ok((about, metadata.revision.as_ref().map(ToString::to_string)))
}

/// What a command made of this connector says of itself, and its revision.
pub(crate) fn of_command(connector: &[u8]) -> anyhow::Result<(About, Option<String>)> {
    let (mut about, revision) = read(connector)?;
    about.name += "-cli";
    about.description = about.description.map(|text| format!("{text} This is the command, for any WASI host."));
    Ok((about, revision))
}

/// The version of a tool that worked on a component or on a module inside it, such as `rustc`.
pub(crate) fn tool(component: &[u8], name: &str) -> anyhow::Result<Option<String>> {
    Ok(find(&Payload::from_binary(component)?, name))
}

fn find(payload: &Payload, name: &str) -> Option<String> {
    let field = payload.metadata().producers.as_ref().and_then(|producers| producers.get("processed-by"));
    let here = field.and_then(|field| field.get(name).cloned());
    let children: &[Payload] = match payload {
        Payload::Component { children, .. } => children,
        Payload::Module(_) => &[],
    };
    here.or_else(|| children.iter().find_map(|child| find(child, name)))
}
