//! The conformance kit: our own host and the examples of others serve the contract as it must be served.

mod own_host;

use std::path::Path;
use std::process::Stdio;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use wandb_connector_tests::conformance::{acts, component_file, differences, start_server, stored_differences};
use wandb_connector_tests::other_hosts::OtherHost;

fn assert_stored(database: &Path, state: &str) {
    let database = Connection::open(database).expect("the database opens");
    // Each host has a table of its own for the state.
    database.execute_batch(&format!("CREATE TEMP VIEW state AS SELECT key, value FROM {state}")).expect("a view");
    assert_eq!(stored_differences(&database).expect("the database is legible"), [""; 0]);
}

fn assert_conforms(host: OtherHost) {
    let server = start_server().expect("the server starts");
    let folder = TempDir::new().expect("a temporary folder");
    let database = folder.path().join("warehouse.db");
    let mut program = host.program("conformance").expect("the host is installed");
    program.arg(component_file()).arg(server.base_url()).arg(&database).args(acts());
    let output = program.stderr(Stdio::inherit()).output().expect("the host runs");
    assert!(output.status.success());
    let record: Value = serde_json::from_slice(&output.stdout).expect("a record");
    assert_eq!(differences(&record), [""; 0], "{record}");
    assert_stored(&database, "_state");
}

#[tokio::test]
async fn our_own_host_serves_the_contract() {
    let server = start_server().expect("the server starts");
    let folder = TempDir::new().expect("a temporary folder");
    let database = folder.path().join("warehouse.db");
    let record = own_host::record(&server.base_url(), &database).await;
    assert_eq!(differences(&record), [""; 0], "{record}");
    assert_stored(&database, "_elt_state");
}

#[test]
fn node_serves_the_contract() {
    assert_conforms(OtherHost::Node);
}

#[test]
fn python_serves_the_contract() {
    assert_conforms(OtherHost::Python);
}

#[test]
fn wasmtime_without_our_host_serves_the_contract() {
    assert_conforms(OtherHost::Wasmtime);
}
