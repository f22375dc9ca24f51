//! Makes a command of a connector: one component that needs no import but WASI's, and exports `wasi:cli/run`.
//!
//! The connector gets `destination`, `log` and `progress` from the component `output`, and the component `run` gets the connector's
//! `source`. The connector goes in as it is, byte for byte.

use anyhow::Context as _;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

/// The three components, each as its bytes.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Built from `connector/command/output`.
    pub(crate) output: Vec<u8>,
    /// Any connector.
    pub(crate) connector: Vec<u8>,
    /// Built from `connector/command/run`.
    pub(crate) run: Vec<u8>,
}

/// The command.
///
/// # Errors
/// A part is no component, or not the one it should be.
pub(crate) fn compose(parts: Parts) -> anyhow::Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut instance = |name: &str, bytes: Vec<u8>| -> anyhow::Result<_> {
        let package = Package::from_bytes(name, None, bytes, graph.types_mut())
            .with_context(|| format!("the part `{name}` is no component that can be composed"))?;
        let package = graph.register_package(package)?;
        Ok(graph.instantiate(package))
    };
    let output = instance("command:output", parts.output)?;
    let connector = instance("command:connector", parts.connector)?;
    let run = instance("command:run", parts.run)?;

    let types = "elt:connector/types@0.1.0";
    for name in ["destination", "log", "progress"] {
        plug(&mut graph, output, connector, &format!("elt:connector/{name}@0.1.0"))?;
    }
    plug(&mut graph, output, connector, types)?;
    plug(&mut graph, output, run, types)?;
    plug(&mut graph, connector, run, "elt:connector/source@0.1.0")?;
    let name = "wasi:cli/run@0.2.12";
    let start = graph.alias_instance_export(run, name)?;
    graph.export(start, name)?;
    Ok(graph.encode(EncodeOptions::default())?)
}

/// Gives one instance's export to another as its import.
fn plug(graph: &mut CompositionGraph, from: NodeId, to: NodeId, name: &str) -> anyhow::Result<()> {
    let export = graph.alias_instance_export(from, name)?;
    graph.set_instantiation_argument(to, name, export)?;
    Ok(())
}
