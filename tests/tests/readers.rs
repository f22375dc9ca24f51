//! A destination is open to those who may only read: dashboards under users of their own, mounts that are read-only.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use wandb_connector_tests::cli_driver::{CliDriver, interrupt, serve};
use wandb_connector_tests::local_wandb::generate;

/// Lets everybody read a folder, and nobody write it.
fn seal(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        match path.is_dir() {
            true => seal(&path),
            false => fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap(),
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
}

fn unseal(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            unseal(&path);
        }
    }
}

/// Runs a command as somebody whom permissions bind.
fn as_reader(command: &Command) -> Output {
    let is_root = rustix::process::geteuid().is_root();
    let mut whole = match is_root {
        true => {
            let mut whole = Command::new("setpriv");
            whole.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(command.get_program());
            // What is in the home of root is for nobody else.
            whole.env("PATH", "/usr/local/bin:/usr/bin:/bin");
            whole
        }
        false => Command::new(command.get_program()),
    };
    whole.args(command.get_args()).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        whole.current_dir(folder);
    }
    whole.output().unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(names(&path));
        }
        found.insert(path.display().to_string());
    }
    found
}

#[test]
fn who_may_not_write_reads_what_a_sync_has_left_however_it_ended() {
    let server = serve(generate::realistic(6, 1));
    for (destination, database) in [("sqlite:w.db", "w.db"), ("parquet:w", "w/_elt/catalog.db")] {
        for interrupted in [false, true] {
            let mut cli = CliDriver::of(&server);
            cli.variables.push(("WANDB_CONNECTOR_DESTINATION", destination.to_owned()));
            let ended = match interrupted {
                true => interrupt(cli.start(&server, "sync", 1)),
                false => cli.sync(),
            };
            assert!([0, 130].contains(&ended.code), "{ended:?}");
            if !cli.path(database).exists() {
                // It was interrupted before anything was complete.
                continue;
            }
            let before = names(cli.folder());
            seal(cli.folder());
            let shown = as_reader(&cli.command(&["state", "show"]));
            let opened = as_reader(&cli.command(&["state", "export", "-"]));
            unseal(cli.folder());
            for output in [&shown, &opened] {
                let state: serde_json::Value =
                    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"));
                assert!(output.status.success() && state["source"] == "acme/demo", "{output:?}");
            }
            assert_eq!(names(cli.folder()), before, "{destination}");
        }
    }
}

#[test]
fn a_database_is_opened_by_any_reader_without_the_right_to_write() {
    let server = serve(generate::realistic(6, 1));
    let cli = CliDriver::of(&server);
    assert_eq!(cli.sync().code, 0);
    seal(cli.folder());
    let mut python = Command::new("python3");
    let script = "import sqlite3, sys; print(sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True).execute('SELECT count(*) FROM runs').fetchone()[0])";
    python.args(["-c", script]).arg(cli.path("warehouse.db"));
    let output = as_reader(&python);
    unseal(cli.folder());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6\n", "{output:?}");
}

#[test]
fn a_list_of_tenants_needs_no_right_to_write() {
    use wandb_connector_tests::platform::{Platform, server};
    let server = server(wandb_connector_tests::local_wandb::TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    platform.tenant("a", &server, "vision", "");
    assert_eq!(platform.once().code, 0);
    let before = names(platform.cli.folder());
    seal(platform.cli.folder());
    let listed = as_reader(&platform.cli.command(&["tenants", "list", "--format", "json"]));
    unseal(platform.cli.folder());
    let listed_rows: serde_json::Value =
        serde_json::from_slice(&listed.stdout).unwrap_or_else(|why| panic!("{why}: {listed:?}"));
    assert_eq!(listed_rows[0]["state"], "ok", "{listed:?}");
    assert_eq!(names(platform.cli.folder()), before);
}
