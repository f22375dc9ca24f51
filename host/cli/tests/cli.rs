//! The binary as a script sees it: exit codes, which stream says what, and what is said. Everything here works without a
//! network and without W&B.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The binary in a folder of its own, with nothing of the tester's environment.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wandb-connector"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    outcome(command(folder, arguments).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_go_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let (code, help, errors) = run(folder.path(), &["--help"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    for command in ["sync", "verify", "check", "schema", "spec", "preview", "inspect", "state"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(help.contains("WANDB_API_KEY") && help.contains("Exit codes"));
    let (code, version, _) = run(folder.path(), &["--version"]);
    assert_eq!((code, version.as_str()), (0, concat!("wandb-connector ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn wrong_usage_is_2_and_said_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage"),
        (&["synk"], "sync"),
        (&["sync", "--destnation", "x"], "--destination"),
        (&["sync", "--format", "yaml"], "[possible values: text, json]"),
        (&["check", "--allow-network", "localhost"], "10.0.0.0/8"),
        (&["check", "--memory-limit", "much"], "512MiB"),
        (&["check", "--timeout", "5"], "90s"),
        (&["preview", "--rows", "0"], "1..=100000"),
    ];
    for (arguments, hint) in cases {
        let (code, output, errors) = run(folder.path(), arguments);
        assert_eq!((code, output.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(hint), "{arguments:?}: {errors}");
    }
}

#[test]
fn there_is_no_flag_for_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (code, output, errors) = run(folder.path(), &["sync", "--api-key=SECRET"]);
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(errors.contains("~/.netrc") && !errors.contains("SECRET"), "{errors}");
}

#[test]
fn a_password_in_a_destination_is_in_no_output() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.json"), r#"{"api_key": "k", "entity": "e", "project": "p"}"#).unwrap();
    let tenants = "[[tenant]]\nid = \"a\"\ndestination = \"postgres://user:PW@host/db\"\n";
    fs::write(folder.path().join("tenants.toml"), tenants).unwrap();
    let url = "postgres://user:PW@host/db?password=PW";
    for arguments in [
        &["sync", "--config", "c.json", "--destination", url][..],
        &["sync", "--config", "c.json", "--destination", url, "--format", "json", "--log-format", "json"],
        &["verify", "--config", "c.json", "--destination", url],
        &["state", "show", "--destination", url],
        &["state", "reset", "--yes", "--destination", url],
        &["sync", url],
        &["sync", &format!("--destinaton={url}")],
        &["tenants", "check"],
        &["serve", "--once"],
    ] {
        let mut command = command(folder.path(), arguments);
        let (code, output, errors) = outcome(command.env("WANDB_CONNECTOR_LOG_LEVEL", "debug").output().unwrap());
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(!output.contains("PW") && !errors.contains("PW"), "{arguments:?}: {output}{errors}");
    }
    let mut command = command(folder.path(), &["sync", "--config", "c.json"]);
    let (code, output, errors) = outcome(command.env("WANDB_CONNECTOR_DESTINATION", url).output().unwrap());
    assert!(code == 2 && !output.contains("PW") && !errors.contains("PW"), "{output}{errors}");
}

#[test]
fn flags_can_be_given_as_environment_variables_and_empty_ones_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = command(folder.path(), &["sync"]);
    let (code, _, errors) = outcome(wrong.env("WANDB_CONNECTOR_FORMAT", "yaml").output().unwrap());
    assert!(code == 2 && errors.contains("yaml"), "{errors}");
    let mut empty = command(folder.path(), &["sync", "--config", "none.json"]);
    let (_, output, _) = outcome(empty.env("WANDB_CONNECTOR_FORMAT", "").output().unwrap());
    assert_eq!(output, "");
}

#[test]
fn a_configuration_that_cannot_be_read_is_2_with_its_place_and_still_one_json_object() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("twice.json"), "{\n  \"project\": \"a\",\n  \"project\": \"b\"\n}\n").unwrap();
    for (file, hint) in [("none.json", "none.json can't be read"), ("twice.json", "twice.json:3:")] {
        let (code, output, errors) = run(folder.path(), &["sync", "--config", file, "--format", "json"]);
        assert_eq!(code, 2);
        assert!(errors.starts_with("SEVERE: ") && errors.contains(hint), "{errors}");
        let object: Value = serde_json::from_str(&output).unwrap();
        assert_eq!(object["status"], "failed");
        assert_eq!(object["error_kind"], "configuration");
        assert_eq!(object["rows"], serde_json::json!({ "runs": 0, "metrics": 0, "metric_objects": 0 }));
        assert!(object["error"].as_str().unwrap().contains(hint));
    }
}

#[test]
fn log_lines_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, errors) = run(folder.path(), &["sync", "--config", "none.json", "--log-format", "json"]);
    let line: Value = serde_json::from_str(errors.trim_end()).unwrap();
    assert_eq!(line["level"], "severe");
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["sync", "--config", "none.json", "--format", "json"]] {
        let expected = run(folder.path(), arguments).0;
        let mut child =
            command(folder.path(), arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let (code, _, errors) = outcome(child.wait_with_output().unwrap());
        assert_eq!(code, expected);
        assert!(!errors.contains("panic") && !errors.contains("pipe"), "{errors}");
    }
}

#[test]
fn a_reset_that_nobody_can_confirm_needs_yes() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, errors) = run(folder.path(), &["state", "reset"]);
    assert!(code == 2 && errors.contains("--yes"), "{errors}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is created");
}

#[test]
fn a_state_that_is_no_object_of_strings_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.json"), r#"{"runs_hwm_utc": 5, "b": {}}"#).unwrap();
    let (code, _, errors) = run(folder.path(), &["state", "import", "state.json"]);
    assert_eq!(code, 2);
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(errors.contains("`runs_hwm_utc`: must be a string"), "{errors}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is created");
}

#[test]
fn a_watermark_that_is_no_time_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.json"), r#"{"runs_hwm_utc": "last tuesday"}"#).unwrap();
    let (code, _, errors) = run(folder.path(), &["state", "import", "state.json"]);
    assert!(code == 2 && errors.contains("`runs_hwm_utc`: \"last tuesday\" is no time"), "{errors}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is created");
}
