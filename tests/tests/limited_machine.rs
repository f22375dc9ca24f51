//! Machines that give less than others: few addresses (`ulimit -v` of a login node, processors whose addresses have 39 bits), small
//! files (`ulimit -f`), no memory that is made executable (`MemoryDenyWriteExecute` of systemd).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::Command;

use serde_json::Value;
use wandb_connector_tests::cli_driver::{CliDriver, serve};
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, generate};
use wandb_connector_tests::product::binary;

const SYNC: [&str; 5] = ["sync", "--config", "configuration.json", "--format", "json"];

/// How a command ended: its exit code (none when a signal ended it), standard output and standard error.
type Ended = (Option<i32>, String, String);

/// Runs the tool after `before`, a line of the shell.
fn after(cli: &CliDriver, before: &str, arguments: &[&str]) -> Ended {
    in_front(cli, &["sh", "-c", &format!("{before}; exec \"$0\" \"$@\"")], arguments)
}

/// Runs the tool as the last arguments of another program.
fn in_front(cli: &CliDriver, program: &[&str], arguments: &[&str]) -> Ended {
    let asked = cli.command(&[]);
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(binary()).args(arguments).env_clear().current_dir(cli.folder());
    command.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", "/usr/bin:/bin");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn assert_stored(cli: &CliDriver, server: &LocalWandb) {
    let truth = server.truth(Dialect::Graphql, "acme", "demo");
    let differences = compare_sqlite(cli.path("warehouse.db"), &truth).unwrap();
    assert!(differences.is_empty(), "{} differences: {:#?}", differences.len(), differences.first());
}

#[test]
fn a_process_with_few_addresses_syncs_as_any_other() {
    let server = serve(generate::realistic(20, 4));
    let cli = CliDriver::of(&server);
    let (code, _, said) = after(&cli, "ulimit -v 3145728", &SYNC);
    assert_eq!(code, Some(0), "{said}");
    assert_stored(&cli, &server);
    let (code, said, errors) = after(&cli, "ulimit -v 3145728", &["verify", "--config", "configuration.json"]);
    assert_eq!(code, Some(0), "{said}{errors}");
}

#[test]
fn many_tenants_are_served_with_few_addresses() {
    let server = serve(generate::realistic(5, 4));
    let cli = CliDriver::of(&server);
    let tenants: String = ["a", "b", "c"]
        .map(|id| {
            format!(
                "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\n\
                 policy.allow_networks = [\"127.0.0.0/8\"]\n[tenant.config]\nentity = \"acme\"\nproject = \"demo\"\n\
                 base_url = \"{}\"\napi_key = {{ env = \"KEY\" }}\n",
                server.base_url()
            )
        })
        .concat();
    fs::write(cli.path("tenants.toml"), tenants).unwrap();
    // 39 bits of addresses are 256 GiB for a process.
    for kib in [3 << 20, 256_u64 << 20] {
        let before = format!("ulimit -v {kib}; export KEY={}", server.api_key());
        let (code, said, errors) = after(&cli, &before, &["serve", "--once", "--format", "json"]);
        assert_eq!(code, Some(0), "{kib}: {said}{errors}");
        let summary: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(summary["syncs"].as_array().unwrap().len(), 3, "{said}");
        fs::remove_file(cli.path("tenants-history.db")).unwrap();
    }
}

#[test]
fn too_few_addresses_are_named_with_their_limit() {
    let server = serve(generate::realistic(5, 4));
    let cli = CliDriver::of(&server);
    for (kilobytes, shown) in [(400_000, "390.6 MiB"), (200_000, "195.3 MiB")] {
        let (code, said, errors) = after(&cli, &format!("ulimit -v {kilobytes}"), &SYNC);
        assert_eq!(code, Some(1), "{said}{errors}");
        assert!(errors.contains("ulimit -v") && errors.contains(shown), "{errors}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_named_when_the_component_meets_it() {
    let server = serve(generate::realistic(5, 4));
    let mut cli = CliDriver::of(&server);
    let cache = cli.path("cache");
    cli.variables.push(("XDG_CACHE_HOME", cache.display().to_string()));
    for before in ["ulimit -f 100", "trap '' XFSZ; ulimit -f 1"] {
        let (code, said, errors) = after(&cli, before, &SYNC);
        assert_eq!(code, Some(6), "{before}: {said}{errors}");
        assert!(errors.contains("`ulimit -f`"), "{before}: {errors}");
        let summary: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(summary["error_kind"], "destination", "{said}");
    }
    cli.variables.clear();
    assert_eq!(after(&cli, "ulimit -f unlimited", &SYNC).0, Some(0));
    assert_stored(&cli, &server);
}

/// As systemd's `MemoryDenyWriteExecute=yes`: `prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)`, which programs that are started inherit.
const DENY: &str = "\
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_machine_that_forbids_executable_memory_is_not_the_components_fault() {
    let server = serve(generate::realistic(5, 4));
    let cli = CliDriver::of(&server);
    let (code, said, errors) = in_front(&cli, &["python3", "-c", DENY], &SYNC);
    if code == Some(99) {
        eprintln!("not tried: this system can't forbid it (Linux 6.3 can)");
        return;
    }
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(errors.contains("MemoryDenyWriteExecute") && errors.contains("no fault of the component"), "{errors}");
    assert!(!errors.contains("component can't be used") && !errors.contains("crashed"), "{errors}");
}
