//! The API key is nowhere but in the configuration and on requests to W&B. The binary runs with a key that is easy to recognise,
//! against a server that puts it wherever it can, and every byte that comes out is searched for it: both standard streams at the
//! most talkative level, summaries, databases with their journals, parquet files, exported state, and the cache of compiled components.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use tempfile::TempDir;
use wandb_connector_tests::local_wandb::{
    Fault, LocalWandb, Matcher, Options, ParquetOptions, Project, Run, When, World,
};
use wandb_connector_tests::product::{binary, target_dir};
use wandb_connector_tests::wire::{Framing, Step, Wire};

const KEY: &str = "feedfacecafef00d0123456789abcdef8badf00d";

/// The spellings of the key that anyone could read.
fn spellings() -> Vec<String> {
    let basic = [format!("api:{KEY}"), format!(":{KEY}"), KEY.to_owned()];
    let encoded = basic.iter().map(|text| BASE64.encode(text).trim_end_matches('=').to_owned());
    let escaped: String = KEY.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    encoded.chain([KEY.to_owned(), KEY.to_uppercase(), escaped]).collect()
}

#[track_caller]
fn assert_no_key(bytes: &[u8], place: &str) {
    for spelling in spellings() {
        let found = bytes.windows(spelling.len()).position(|window| window == spelling.as_bytes());
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(80)..at];
            panic!("the key is in {place} as {:.8}…, after {:?}", spelling, String::from_utf8_lossy(around));
        }
    }
}

/// Every file that was written, parquet decoded. Returns how many there were.
fn assert_no_key_in_files(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += assert_no_key_in_files(&path);
            continue;
        }
        // Where the key belongs.
        if ["configuration.json", ".netrc"].iter().any(|name| path.ends_with(name)) {
            continue;
        }
        files += 1;
        let place = path.display().to_string();
        assert_no_key(place.as_bytes(), "the name of a file");
        assert_no_key(&fs::read(&path).unwrap(), &place);
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
            let rows: String = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
            assert_no_key(rows.as_bytes(), &place);
        }
    }
    files
}

/// A folder with a configuration, and a command line in it.
struct CliDriver {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

struct Ended {
    code: i32,
    output: String,
}

impl CliDriver {
    fn new(config: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("configuration.json");
        fs::write(&file, config.to_string()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self { folder, variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("XDG_CACHE_HOME", target_dir().join("component-cache"));
        command.env("WANDB_CONNECTOR_LOG_LEVEL", "debug").envs(self.variables.clone());
        command
    }

    /// Runs a command, and looks at everything that it wrote.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let what = arguments.join(" ").replace(KEY, "KEY");
        assert_no_key(&output.stdout, &format!("the output of {what}"));
        assert_no_key(&output.stderr, &format!("the errors and logs of {what}"));
        assert_no_key_in_files(self.folder.path());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap_or(-1), output: text(&output.stdout) + &text(&output.stderr) }
    }
}

/// Runs that hold the key wherever a text can stand, one of them in an exported file.
fn runs() -> Vec<Run> {
    let escaped = &spellings()[spellings().len() - 1];
    let basic = BASE64.encode(format!("api:{KEY}"));
    let row = |step: usize| {
        format!(
            r#"{{"_step":{step},"loss":{step}.5,"by {KEY}":1,"note":"{KEY}","escaped":"{escaped}","basic":"Basic {basic}","n{{":{{"{KEY}":["{KEY}"]}}}}"#
        )
    };
    let mut run = Run::new("r").with_history((0..30).map(row));
    run.display_name = Some(format!("named {KEY}"));
    run.tags = Some(vec![KEY.to_owned(), escaped.replace('\\', "")]);
    run.config = Some(format!(r#"{{"{KEY}":{{"value":"{KEY}"}},"env":{{"value":{{"WANDB_API_KEY":"{escaped}"}}}}}}"#));
    run.summary = Some(format!(r#"{{"best":"{KEY}","basic":"{basic}"}}"#));
    if let Some(user) = &mut run.user {
        user.username = KEY.to_owned();
    }
    // Only a decoder of parquet finds it in the file.
    let long = Run::new("long").with_history((0..5_200).map(|step| match step % 1000 {
        0 => format!(r#"{{"_step":{step},"loss":1,"note":"{KEY}"}}"#),
        _ => format!(r#"{{"_step":{step},"loss":1}}"#),
    }));
    vec![run, long]
}

fn serve(runs: Vec<Run>) -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = Project::new(runs);
    let parquet = ParquetOptions { rows_per_file: 10_000, ..ParquetOptions::default() };
    let options = Options { api_key: KEY.to_owned(), parquet, ..Options::with_world(world) };
    LocalWandb::start_blocking(options).unwrap()
}

fn config(base_url: &str, api: &str) -> Value {
    json!({"api_key": KEY, "entity": "acme", "project": "demo", "base_url": base_url, "api": api})
}

#[test]
fn no_key_comes_out_of_syncs_of_data_that_holds_it() {
    let server = serve(runs());
    for (api, destination, format) in [
        ("rest", "sqlite:warehouse.db", "text"),
        ("graphql", "parquet:tables", "json"),
        ("graphql", "sqlite:warehouse.db", "json"),
    ] {
        let cli = CliDriver::new(&config(&server.base_url(), api));
        let at = |command: &[&str]| cli.run(&[command, &["--config", "configuration.json"]].concat());
        let sync = ["sync", "--destination", destination, "--format", format, "--log-format", format];
        for _ in 0..2 {
            let ended = at(&sync);
            assert_eq!(ended.code, 0, "{api}: {}", ended.output);
        }
        assert!(assert_no_key_in_files(cli.folder.path()) > 0);
        for command in [&["check"][..], &["preview", "--format", format], &["schema"], &["inspect"]] {
            let ended = at(command);
            assert_eq!(ended.code, 0, "{command:?}: {}", ended.output);
        }
        let preview = at(&["preview", "--format", format]);
        assert!(preview.output.contains("***"), "it was there: {}", preview.output);
        assert_eq!(cli.run(&["state", "show", "--destination", destination]).code, 0);
        assert_eq!(cli.run(&["state", "export", "--destination", destination, "state.json"]).code, 0);
        assert!(cli.path("state.json").is_file());
    }
    // Exported files were read: what they held was hidden as well.
    assert!(server.log().matching(|it| it.path.starts_with("/_storage")).len() > 1);
    assert!(assert_no_key_in_files(&target_dir().join("component-cache")) > 0);
}

/// Answers of a server that gives back what it was sent.
fn echoes() -> Vec<(&'static str, Fault, i32)> {
    let headers = || {
        let pairs = [("www-authenticate", format!("Bearer {KEY}")), ("x-echo", BASE64.encode(format!("api:{KEY}")))];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    };
    let body = |text: &str| {
        format!(r#"{{"errors":[{{"message":"{text} {KEY} and Basic {}"}}]}}"#, BASE64.encode(format!("api:{KEY}")))
    };
    let status = |status: u16, text: &str| Fault::Status(status, headers(), body(text));
    let errors = |text: &str| Fault::Errors(format!(r#"[{{"message":"{text} {KEY}"}}]"#));
    vec![
        ("401", status(401, "who is"), 3),
        ("403", status(403, "not for"), 3),
        ("404", status(404, "no such thing:"), 2),
        ("400", status(400, "bad request by"), 5),
        ("302", Fault::Redirect(302, format!("http://evil.test/{KEY}?key={KEY}")), 5),
        ("authentication errors in a 200", errors("authentication failed for"), 3),
        ("permission errors in a 200", errors("permission denied for"), 3),
        ("errors in a 200", errors("Cannot query field"), 5),
    ]
}

#[test]
fn no_key_comes_out_of_syncs_that_fail() {
    for (name, fault, code) in echoes() {
        for (api, format) in [("graphql", "json"), ("rest", "text")] {
            // Errors in a 200 are GraphQL's way.
            if api == "rest" && !matches!(fault, Fault::Status(..) | Fault::Redirect(..)) {
                continue;
            }
            let server = serve(vec![Run::new("r")]);
            server.fault(Matcher::listing(), fault.clone());
            let cli = CliDriver::new(&config(&server.base_url(), api));
            let ended =
                cli.run(&["sync", "--config", "configuration.json", "--format", format, "--log-format", format]);
            assert_eq!(ended.code, code, "{name} {api}: {}", ended.output);
        }
    }
}

#[test]
fn no_key_comes_out_of_a_run_that_is_left_out_or_of_retries() {
    let server = serve(vec![Run::new("good"), Run::new(format!("bad-{KEY}")).with_history([r#"{"_step":0,"a":1}"#])]);
    let error = format!(r#"{{"errors":[{{"message":"cannot read for {KEY}"}}]}}"#);
    server.fault(Matcher::history(), Fault::Status(400, Vec::new(), error));
    server.fault(Matcher::listing().when(When::Nth(1)), Fault::Body("text/html".into(), KEY.as_bytes().to_vec()));
    let cli = CliDriver::new(&config(&server.base_url(), "rest"));
    let ended = cli.run(&["sync", "--config", "configuration.json", "--format", "text"]);
    assert_eq!(ended.code, 4, "{}", ended.output);
    assert!(ended.output.contains("bad-***"), "{}", ended.output);
}

#[test]
fn no_key_comes_out_of_answers_that_are_compressed_or_broken_in_its_midst() {
    let server = serve(vec![Run::new("r").with_history([r#"{"_step":0,"a":1}"#])]);
    let wire = Wire::to(&server).unwrap();
    let gzip = |text: &str| {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let refusal = format!(r#"{{"errors":[{{"message":"permission denied for {KEY}"}}]}}"#);
    for coding in ["gzip", "x-gzip", "GZIP", "br", "none"] {
        let body = if coding == "none" { refusal.clone().into_bytes() } else { gzip(&refusal) };
        let header = if coding == "none" { "x-none: 1".to_owned() } else { format!("content-encoding: {coding}") };
        wire.play(move |exchange| {
            let answer =
                exchange.with_header(header.clone()).with_header(format!("x-{KEY}: {KEY}")).with_body(body.clone());
            // A byte at a time: the key lies across as many parts as it has bytes.
            let bytes = answer.bytes(Framing::Chunked(1));
            let part = |at: usize| {
                [Step::Send(bytes.slice(at..(at + 7).min(bytes.len()))), Step::Wait(Duration::from_millis(1))]
            };
            (0..bytes.len()).step_by(7).flat_map(part).collect()
        });
        let cli = CliDriver::new(&config(&wire.base_url(), "graphql"));
        let ended = cli.run(&["check", "--config", "configuration.json"]);
        let expected = if coding == "br" { 5 } else { 3 };
        assert_eq!(ended.code, expected, "{coding}: {}", ended.output);
    }
}

#[test]
fn no_key_is_left_behind_by_a_sync_that_is_killed() {
    let server = serve(runs());
    server.fault(Matcher::history().run("long"), Fault::Stall(Duration::from_secs(600)));
    server.fault(Matcher::any().path("/_storage"), Fault::Stall(Duration::from_secs(600)));
    let cli = CliDriver::new(&config(&server.base_url(), "rest"));
    let mut child = cli
        .command(&["sync", "--config", "configuration.json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let journal = cli.path("warehouse.db-wal");
    while !fs::metadata(&journal).is_ok_and(|it| it.len() > 0) || server.log().history_requests().len() < 2 {
        assert!(Instant::now() < deadline, "the sync does not get going");
        // Nobody tells that a file of another process has grown.
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(journal.is_file(), "the journal is there to be searched");
    assert!(assert_no_key_in_files(cli.folder.path()) >= 2);
}

#[test]
fn the_key_is_found_in_the_environment_and_in_netrc_and_shown_from_neither() {
    let server = serve(vec![Run::new("r")]);
    let mut config = config(&server.base_url(), "rest");
    config.as_object_mut().unwrap().remove("api_key");
    let mut cli = CliDriver::new(&config);
    fs::write(cli.path(".netrc"), format!("machine 127.0.0.1\n  login user\n  password {KEY}\n")).unwrap();
    fs::set_permissions(cli.path(".netrc"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(cli.run(&["sync", "--config", "configuration.json"]).code, 0);
    fs::remove_file(cli.path(".netrc")).unwrap();
    assert_eq!(cli.run(&["sync", "--config", "configuration.json"]).code, 2);
    cli.variables = vec![("WANDB_API_KEY", KEY.into())];
    assert_eq!(cli.run(&["sync", "--config", "configuration.json"]).code, 0);
    // In the wrong place it is shown as little.
    config["entity"] = json!(KEY);
    fs::write(cli.path("configuration.json"), config.to_string()).unwrap();
    let ended = cli.run(&["sync", "--config", "configuration.json", "--destination", "sqlite:other.db"]);
    assert_eq!(ended.code, 2, "{}", ended.output);
    assert!(ended.output.contains("***/demo"), "{}", ended.output);
}

#[test]
fn a_configuration_that_others_may_read_gets_a_warning_that_shows_nothing_of_it() {
    let server = serve(vec![Run::new("r")]);
    let cli = CliDriver::new(&config(&server.base_url(), "rest"));
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true), (0o644, true)] {
        fs::set_permissions(cli.path("configuration.json"), fs::Permissions::from_mode(mode)).unwrap();
        let ended = cli.run(&["sync", "--config", "configuration.json"]);
        assert_eq!(ended.code, 0, "{}", ended.output);
        assert_eq!(ended.output.contains("run `chmod 600"), warned, "{mode:o}: {}", ended.output);
    }
}

#[test]
fn there_is_no_flag_for_the_key() {
    let cli = CliDriver::new(&json!({}));
    for arguments in [
        &["sync", "--api-key", KEY][..],
        &["sync", &format!("--api-key={KEY}")],
        &["--api-key", KEY, "sync"],
        &["check", "--api_key", KEY],
        &["sync", &format!("--apikey={KEY}")],
        &["sync", &format!("--key={KEY}")],
        &["sync", KEY],
        &[KEY],
        &["sync", &format!("--{KEY}")],
    ] {
        assert_eq!(cli.run(arguments).code, 2, "{arguments:?}");
    }
    for command in ["sync", "check", "schema", "preview", "inspect", "state"] {
        let help = cli.run(&[command, "--help"]);
        assert!(
            help.code == 0 && !help.output.contains("--api-key") && !help.output.contains("--key"),
            "{}",
            help.output
        );
    }
}
