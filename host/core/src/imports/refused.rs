//! Imports that a connector may have and that give it nothing: those of `wasi:cli`, `wasi:filesystem` and `wasi:sockets`.
//!
//! The libraries of many languages import them for what the connector may never do (printing, opening a file), and some look round
//! when they start. So they are linked, with nothing behind them: the environment and the arguments are empty, there are no folders
//! and no terminals. Any other call ends the connector, with an error that names it.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType, Val};
use wasmtime_wasi::p2::bindings::io::error::Error;
use wasmtime_wasi::p2::bindings::io::poll::Pollable;
use wasmtime_wasi::p2::bindings::io::streams::{InputStream, OutputStream};

use super::Guest;
use crate::component::Interface;

/// Stands for every resource of these interfaces. None is ever made.
struct Nothing;

/// Links `interfaces`, imports of `component`.
pub(crate) fn link(
    linker: &mut Linker<Guest>,
    component: &Component,
    interfaces: &[&Interface],
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    for (import, item) in ty.imports(&engine) {
        if !interfaces.iter().any(|interface| interface.name == import) {
            continue;
        }
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        let mut instance = linker.instance(import)?;
        for (name, item) in interface.exports(&engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let called = format!("{import}#{name}");
                    instance.func_new(name, move |_, _, _, results| {
                        let (Some(empty), [result]) = (empty(&called), results) else {
                            wasmtime::bail!("it called `{called}`, which a connector may not (see wit/world.wit)")
                        };
                        *result = empty;
                        Ok(())
                    })?;
                }
                ComponentItem::Resource(_) => instance.resource(name, resource(name), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// What a function answers that asks whether there is anything.
fn empty(called: &str) -> Option<Val> {
    let (interface, function) = called.split_once('#')?;
    match (interface.split_once('@').map_or(interface, |(name, _)| name), function) {
        ("wasi:cli/environment", "get-environment" | "get-arguments") => Some(Val::List(Vec::new())),
        ("wasi:filesystem/preopens", "get-directories") => Some(Val::List(Vec::new())),
        ("wasi:cli/environment", "initial-cwd") => Some(Val::Option(None)),
        ("wasi:cli/terminal-stdin", _) | ("wasi:cli/terminal-stdout", _) | ("wasi:cli/terminal-stderr", _) => {
            Some(Val::Option(None))
        }
        _ => None,
    }
}

/// Interfaces take the resources of `wasi:io` over under their own names.
fn resource(name: &str) -> ResourceType {
    match name {
        "error" => ResourceType::host::<Error>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        _ => ResourceType::host::<Nothing>(),
    }
}
