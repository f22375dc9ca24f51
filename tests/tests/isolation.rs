//! What one tenant can learn of another, or do to it: nothing. A spy brings its own component, which runs in one process beside others
//! and tries every way that a component has.
//!
//! Tested elsewhere: memory that instances share (`host/core/tests/runtime/sharing.rs`), sessions of TLS (`host/core/tests/runtime/tls.rs`), imports that
//! no component gets (`host/core/src/component/mod.rs`), and entries of the cache that are damaged or somebody else's (`host/core/src/component/cache.rs`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wandb_connector_tests::cli_driver::Ended;
use wandb_connector_tests::local_wandb::{Dialect, TEST_KEY, generate};
use wandb_connector_tests::plain_http::{PlainServer, answer};
use wandb_connector_tests::platform::{Platform, outcomes, scripted_guest, server, toml, wait_until};

const SPY_KEY: &str = "5b15b15b15b15b15b15b15b15b15b15b15b15b15";
const THIRD_KEY: &str = "7417d7417d7417d7417d7417d7417d7417d7417d";

/// With a variable for each key.
fn platform() -> Platform {
    let mut platform = Platform::new();
    platform.cli.variables.extend([("SPY_KEY", SPY_KEY.into()), ("THIRD_KEY", THIRD_KEY.into())]);
    platform
}

/// A tenant that does as `steps` say, with a destination and a source of its own choice.
fn scripted(platform: &mut Platform, id: &str, destination: &str, base_url: &str, steps: &Value, more: &str) {
    let guest = scripted_guest();
    platform.say(&format!(
        "[[tenant]]\nid = \"{id}\"\ndestination = \"{destination}\"\ncomponent = {guest:?}\n{more}\n[tenant.config]\n\
         api_key = {{ env = \"SPY_KEY\" }}\nbase_url = \"{base_url}\"\nscript = {}",
        toml(steps)
    ));
}

/// A source that no test asks.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The files whose names begin like that, with all that is in them.
fn files(folder: &Path, begin: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named.filter(|(name, _)| name.starts_with(begin)).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// What a tenant's component logged.
fn said<'a>(ended: &'a Ended, id: &str) -> Vec<&'a str> {
    let start = format!("INFO: [{id}] ");
    ended.stderr.lines().filter_map(|line| line.strip_prefix(&start)).collect()
}

fn count(database: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(database).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_component_gets_its_own_state_and_writes_its_own_database_alone() {
    let source = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = platform();
    platform.tenant("victim", &source, "vision", "");
    for (id, schedule) in [("other", ""), ("spy", "schedule = { every = \"1s\" }")] {
        let steps = json!([["log-state"], ["rows-of", "runs"], ["checkpoint", {"cursor": format!("of {id}")}]]);
        scripted(&mut platform, id, &format!("sqlite:{id}.db"), NOWHERE, &steps, schedule);
        platform.say("table = \"runs\"");
    }
    let ended = platform.once();
    assert_eq!(outcomes(&ended), ["other", "spy", "victim"].map(|id| (id.into(), "ok".into())), "{ended:?}");
    assert_eq!((said(&ended, "spy")[0], said(&ended, "other")[0]), ("[]", "[]"));
    let theirs = || ["victim.db", "other.db"].map(|name| files(platform.cli.folder(), name));
    let before = theirs();

    let mut again = Vec::new();
    wait_until("the spy is due again", || {
        let ended = platform.once();
        again.extend(said(&ended, "spy").into_iter().map(str::to_owned));
        !outcomes(&ended).is_empty()
    });
    assert_eq!(again[0], "[(\"cursor\", \"of spy\")]");
    assert!(theirs() == before, "a byte of another tenant's database changed");
    platform.assert_equal("victim", &source, Dialect::Graphql, "vision");
    assert_eq!(count(&platform.cli.path("spy.db"), "SELECT count(*) FROM runs WHERE id = 'e'"), 1);
}

#[test]
fn no_name_of_a_table_leads_out_of_a_tenants_folder() {
    let mut platform = platform();
    fs::create_dir(platform.cli.path("lake")).unwrap();
    let rows = json!([["rows", 0, 3], ["checkpoint", {}]]);
    scripted(&mut platform, "victim", "parquet:lake/victim", NOWHERE, &rows, "");
    let folder = platform.cli.folder().display().to_string();
    let names =
        ["../victim/events", "..", ".", "/", "x/../../victim/events", "victim\u{0}", &format!("{folder}/lake/victim")];
    for (n, name) in names.iter().enumerate() {
        let steps = json!([["rows-of", name], ["checkpoint", {}]]);
        scripted(&mut platform, &format!("spy-{n}"), &format!("parquet:lake/spy-{n}"), NOWHERE, &steps, "");
        platform.say(&format!("table = {}", Value::from(*name)));
    }
    let ended = platform.once();
    let outcomes: BTreeMap<_, _> = outcomes(&ended).into_iter().collect();
    assert_eq!(outcomes.len(), names.len() + 1);
    for (id, outcome) in outcomes {
        assert_eq!(outcome, if id == "victim" { "ok" } else { "contract" }, "{id}: {ended:?}");
    }
    let folders = |path: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(platform.cli.path(path)).unwrap().map(Result::unwrap);
        entries.filter(|it| it.path().is_dir()).map(|it| it.file_name().into_string().unwrap()).collect()
    };
    assert!(folders("lake").iter().all(|name| name == "victim" || name.starts_with("spy-")));
    assert!(folders("lake/victim").contains("events"));
    assert_eq!(files(&platform.cli.path("lake/victim/events"), "").len(), 1, "the victim's one file");
}

#[test]
fn a_destination_has_one_tenant_however_it_is_spelled() {
    let mut platform = platform();
    let rows = json!([["rows", 0, 3], ["checkpoint", {}]]);
    scripted(&mut platform, "victim", "sqlite:victim.db", NOWHERE, &rows, "");
    scripted(&mut platform, "lake", "parquet:lake", NOWHERE, &rows, "");
    assert_eq!(platform.once().code, 0);
    let folder = platform.cli.folder().to_owned();
    fs::create_dir(folder.join("sub")).unwrap();
    std::os::unix::fs::symlink(&folder, folder.join("link")).unwrap();
    std::os::unix::fs::symlink("victim.db", folder.join("alias.db")).unwrap();
    fs::hard_link(folder.join("victim.db"), folder.join("second.db")).unwrap();
    let absolute = format!("sqlite:{}/victim.db", folder.display());
    let of = [
        ("tenant `victim`", "sqlite:victim.db"),
        ("tenant `victim`", "sqlite:./victim.db"),
        ("tenant `victim`", "sqlite:sub/../victim.db"),
        ("tenant `victim`", "sqlite:sub/../link/victim.db"),
        ("tenant `victim`", "sqlite:alias.db"),
        ("tenant `victim`", "sqlite:second.db"),
        ("tenant `victim`", absolute.as_str()),
        ("tenant `victim`", "sqlite:victim.db-wal"),
        ("tenant `victim`", "sqlite:victim.db-sync"),
        ("tenant `victim`", "parquet:victim.db"),
        ("tenant `lake`", "parquet:lake/events"),
        ("tenant `lake`", "parquet:link/lake/inner/most"),
        ("tenant `lake`", "sqlite:lake/thief.db"),
        ("the history of syncs", "sqlite:tenants-history.db"),
        ("the history of syncs", "sqlite:link/tenants-history.db-wal"),
    ];
    for (n, (_, destination)) in of.iter().enumerate() {
        scripted(&mut platform, &format!("thief-{n}"), destination, NOWHERE, &rows, "");
    }
    scripted(&mut platform, "fine", "sqlite:fine.db", NOWHERE, &rows, "");
    let theirs = || (files(&folder, "victim.db"), files(&folder.join("lake/events"), ""));
    let before = theirs();
    let ended = platform.once();
    assert_eq!((ended.code, outcomes(&ended)), (2, vec![("fine".into(), "ok".into())]), "{ended:?}");
    let summary = ended.json();
    let problems: Vec<_> = summary["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for (n, (owner, destination)) in of.iter().enumerate() {
        let start = format!("tenant `thief-{n}`: ");
        let problem = problems.iter().find(|line| line.contains(&start)).unwrap_or_else(|| panic!("{destination}"));
        assert!(problem.contains(&format!("belongs to {owner}")), "{destination}: {problem}");
    }
    assert!(theirs() == before, "something of another tenant changed");
}

/// What a source was asked.
struct Asked {
    path: String,
    authorization: String,
    by: SocketAddr,
}

/// A source that answers with everything that it heard on a connection.
fn echo() -> (PlainServer, Arc<Mutex<Vec<Asked>>>) {
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let heard = asked.clone();
    let server = PlainServer::start(move |request, connection| {
        let by = connection.peer_addr()?;
        let mut heard = heard.lock().unwrap();
        let authorization = request.header("authorization").to_owned();
        heard.push(Asked { path: request.path.clone(), authorization, by });
        let on_it = heard.iter().filter(|asked| asked.by == by);
        let all: Vec<_> = on_it.map(|asked| format!("{} {}", asked.path, asked.authorization)).collect();
        answer(connection, "200 OK", "", all.join("; ").as_bytes())?;
        Ok(true)
    });
    (server.unwrap(), asked)
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

#[test]
fn tenants_of_one_source_use_their_own_keys_on_their_own_connections_and_see_no_key() {
    let (source, asked) = echo();
    let mut platform = platform();
    let tenants = [("spy", "SPY_KEY", SPY_KEY), ("third", "THIRD_KEY", THIRD_KEY), ("victim", "TENANT_KEY", TEST_KEY)];
    for (id, variable, _) in tenants {
        let url = format!("{}/{id}", source.base_url());
        let get = json!(["get", url, {"authorization": "Bearer KEY"}]);
        let find = tenants.map(|(_, _, key)| json!(["find", reversed(key)]));
        let steps = [vec![json!(["log-config"]), get.clone(), get.clone(), get], find.to_vec()].concat();
        let key = format!("{{ env = \"{variable}\" }}");
        platform.scripted_with_key(id, &source.base_url(), &toml(&json!(steps)), &key, "");
    }
    // One after the other: a connection that is left open could be the next tenant's.
    let ended = platform.cli.run(&["serve", "--once", "--format", "json", "--syncs", "1"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let asked = asked.lock().unwrap();
    let mut connections = BTreeMap::<SocketAddr, BTreeSet<&str>>::new();
    for request in &*asked {
        let (id, _, key) = tenants.into_iter().find(|(id, ..)| request.path == format!("/{id}")).unwrap();
        assert_eq!(request.authorization, format!("Bearer {key}"), "{id}");
        connections.entry(request.by).or_default().insert(id);
    }
    assert_eq!(asked.len(), 9);
    assert!(connections.len() < 9, "connections are used again: {connections:?}");
    assert!(connections.values().all(|users| users.len() == 1), "{connections:?}");
    for (id, ..) in tenants {
        let said = said(&ended, id);
        assert_eq!(said.iter().filter(|line| line.starts_with("200 /")).count(), 3, "{said:?}");
        assert_eq!(said.iter().filter(|line| **line == "found 0").count(), 3, "{said:?}");
    }
    for (_, _, key) in tenants {
        assert!(!ended.stderr.contains(key) && !ended.stdout.contains(key), "{ended:?}");
    }
}

#[test]
fn a_tenant_that_names_the_source_of_another_has_no_more_than_its_own_key_there() {
    let source = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = platform();
    platform.tenant("victim", &source, "vision", "");
    platform.tenant_with_key("spy", &source, "vision", "{ env = \"SPY_KEY\" }", "");
    let ended = platform.cli.run(&["serve", "--once", "--format", "json", "--syncs", "1"]);
    let expected = [("spy", "authentication"), ("victim", "ok")].map(|(id, it)| (id.to_owned(), it.to_owned()));
    assert_eq!(outcomes(&ended), expected, "{ended:?}");
    platform.assert_equal("victim", &source, Dialect::Graphql, "vision");
    assert_eq!(files(platform.cli.folder(), "spy.db"), BTreeMap::new(), "nothing was stored");
    let refused = source.log().matching(|request| request.status == Some(401));
    let connections = |with: bool| -> BTreeSet<usize> {
        let requests = source.log().matching(|request| (request.status == Some(401)) == with);
        requests.iter().map(|request| request.connection).collect()
    };
    assert!(!refused.is_empty() && connections(true).is_disjoint(&connections(false)));
}

#[test]
fn an_address_that_one_tenant_may_reach_stays_closed_to_the_others() {
    let (source, asked) = echo();
    let mut platform = platform();
    let url = source.base_url();
    let named = url.replace("127.0.0.1", "localhost");
    let closed = "[tenant.policy]\nallow_networks = []";
    // In the order in which they sync.
    for (id, url, policy) in [("a", &named, ""), ("b", &named, closed), ("c", &url, ""), ("d", &url, closed)] {
        let get = json!(["get", format!("{url}/{id}")]);
        scripted(&mut platform, id, &format!("sqlite:{id}.db"), url, &json!([get.clone(), get]), policy);
    }
    // A component that asks for such an address by itself.
    fs::write(platform.cli.path("own.wasm"), changed_guest(b"https://api.example", b"http://127.0.0.1:99")).unwrap();
    platform.say(&format!(
        "[[tenant]]\nid = \"e\"\ndestination = \"sqlite:e.db\"\ncomponent = \"own.wasm\"\n{closed}\n[tenant.config]\n\
         script = [[\"get\", \"http://127.0.0.1:99/\"]]"
    ));
    let ended = platform.cli.run(&["serve", "--once", "--format", "json", "--syncs", "1"]);
    let paths: Vec<_> = asked.lock().unwrap().iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(paths, ["/a", "/a", "/c", "/c"], "{ended:?}");
    let expected = [("a", "ok"), ("b", "configuration"), ("c", "ok"), ("d", "configuration"), ("e", "configuration")];
    assert_eq!(outcomes(&ended), expected.map(|(id, it)| (id.to_owned(), it.to_owned())), "{ended:?}");
}

/// Texts that pretend to be another tenant's line, in all the ways in which a line can end or be painted over.
const FORGED: [&str; 10] = [
    "x\nINFO: [victim] forged",
    "x\r\nINFO: [victim] forged\n",
    "x\rINFO: [victim] forged",
    "\u{1b}[2K\u{1b}[1GINFO: [victim] forged",
    "\u{1b}[1A\u{9b}2KINFO: [victim] forged",
    "\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}[victim] forged",
    "x\u{2028}INFO: [victim] forged\u{85}INFO: [victim] forged",
    "\u{202e}degrof ]mitciv[ forged\u{7f}",
    "\"}\n{\"ts\":\"2026-01-01T00:00:00.000Z\",\"level\":\"info\",\"tenant\":\"victim\",\"message\":\"forged\"}",
    "\",\"tenant\":\"victim\",\"message\":\"forged\u{0}",
];

/// One sync of a victim and of spies that say those things wherever a component can say something.
fn forgers(log_format: &str) -> Ended {
    let mut platform = platform();
    let victim = json!([["log", "the victim's own"], ["rows", 0, 1], ["checkpoint", {}]]);
    platform.scripted_with_key("victim", NOWHERE, &toml(&victim), "{ env = \"TENANT_KEY\" }", "");
    let steps: Vec<_> =
        FORGED.iter().flat_map(|text| [json!(["log", text]), json!(["progress", text, 1, 2])]).collect();
    scripted(&mut platform, "spy", "sqlite:spy.db", NOWHERE, &json!(steps), "");
    for (n, kind) in
        ["configuration", "authentication", "permission", "not-found", "upstream", "internal"].iter().enumerate()
    {
        let steps = json!([["fail", kind, FORGED.concat()]]);
        scripted(&mut platform, &format!("spy-{n}"), &format!("sqlite:spy-{n}.db"), NOWHERE, &steps, "");
    }
    scripted(&mut platform, "spy-table", "sqlite:spy-table.db", NOWHERE, &json!([["rows-of", FORGED[0]]]), "");
    scripted(&mut platform, "spy-left-out", "sqlite:spy-left-out.db", NOWHERE, &json!([]), "");
    platform.say("quarantine = true");
    let ended = platform.cli.run(&["--log-format", log_format, "serve", "--once", "--format", "json"]);
    let listed = platform.cli.run(&["tenants", "list"]);
    assert_visible(&listed.stdout);
    for key in [SPY_KEY, TEST_KEY] {
        assert!(![&ended.stdout, &ended.stderr, &listed.stdout].iter().any(|text| text.contains(key)));
    }
    assert_eq!(outcomes(&ended).len(), 10, "{ended:?}");
    ended
}

/// Nothing in it acts on a terminal or moves other text.
#[track_caller]
fn assert_visible(text: &str) {
    let acts =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(acts), "{text:?}");
}

#[test]
fn no_text_of_a_component_looks_like_a_line_of_another_tenant() {
    let ended = forgers("text");
    assert_visible(&ended.stderr);
    let (forged, honest): (Vec<&str>, Vec<&str>) = ended.stderr.lines().partition(|line| line.contains("forged"));
    assert!(forged.len() >= FORGED.len() + 7, "{forged:#?}");
    for line in forged {
        assert!(["INFO: [spy", "SEVERE: [spy"].iter().any(|start| line.starts_with(start)), "{line}");
    }
    let of_victim: Vec<_> = honest.into_iter().filter(|line| line.starts_with("INFO: [victim]")).collect();
    assert!(of_victim.len() == 2 && of_victim[0] == "INFO: [victim] the victim's own", "{of_victim:#?}");
}

#[test]
fn no_text_of_a_component_adds_a_json_line_or_a_key_to_one() {
    let ended = forgers("json");
    assert_visible(&ended.stderr);
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let (forged, honest): (Vec<&Value>, Vec<&Value>) =
        lines.iter().partition(|line| line["message"].as_str().unwrap().contains("forged"));
    assert!(forged.len() >= FORGED.len() + 7, "{forged:#?}");
    for line in forged {
        assert!(line["tenant"].as_str().unwrap().starts_with("spy"), "{line}");
    }
    let of_victim: Vec<_> = honest.iter().filter(|line| line["tenant"] == "victim").collect();
    assert!(of_victim.len() == 2 && of_victim[0]["message"] == "the victim's own", "{of_victim:#?}");
    // A key that stood twice would be one of the spy's making.
    for line in ended.stderr.lines() {
        assert!(line.matches("\"tenant\":").count() <= 1, "{line}");
    }
}

#[test]
fn machine_code_that_a_tenant_brings_as_its_component_is_not_run() {
    let mut platform = platform();
    // The cache is this test's alone, so that what is in it is known.
    let cache = platform.cli.path("cache");
    platform.cli.variables.push(("XDG_CACHE_HOME", cache.display().to_string()));
    let steps = json!([["log", "it runs"]]);
    scripted(&mut platform, "honest", "sqlite:honest.db", NOWHERE, &steps, "");
    let ended = platform.once();
    assert_eq!(said(&ended, "honest")[0], "it runs", "{ended:?}");
    let entries = files(&cache.join("wandb-connector"), "");
    assert_eq!(entries.len(), 2, "the built-in component, and the tenant's");
    for (n, entry) in entries.values().enumerate() {
        // As it is in the cache, and without its checksum: as wasmtime writes and loads it.
        for (kind, bytes) in [("entry", &entry[..]), ("code", &entry[32..])] {
            let (id, file) = (format!("{kind}-{n}"), format!("{kind}-{n}.wasm"));
            fs::write(platform.cli.path(&file), bytes).unwrap();
            scripted(&mut platform, &id, &format!("sqlite:{id}.db"), NOWHERE, &steps, "");
            let at = platform.text.rfind(&format!("{:?}", scripted_guest())).unwrap();
            platform.text.replace_range(at..at + format!("{:?}", scripted_guest()).len(), &format!("\"{file}\""));
            platform.say("");
        }
    }
    scripted(&mut platform, "later", "sqlite:later.db", NOWHERE, &steps, "");
    let ended = platform.once();
    let refused = ["code-0", "code-1", "entry-0", "entry-1"].map(|id| (id.to_owned(), "internal".to_owned()));
    assert_eq!(outcomes(&ended), [&refused[..], &[("later".into(), "ok".into())]].concat(), "{ended:?}");
    assert_eq!(ended.stderr.matches("it runs").count(), 1, "{ended:?}");
    assert!(files(&cache.join("wandb-connector"), "") == entries, "what was refused is not kept");
}

/// The scripted guest with one text in the place of another; as long as it was.
fn changed_guest(text: &[u8], other: &[u8]) -> Vec<u8> {
    assert_eq!(text.len(), other.len());
    let mut bytes = fs::read(scripted_guest()).unwrap();
    let parts = bytes.windows(text.len()).enumerate();
    let places: Vec<usize> = parts.filter(|(_, part)| *part == text).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + text.len()].copy_from_slice(other);
    }
    bytes
}

#[test]
fn a_component_is_told_from_others_by_its_bytes_whatever_its_file_looks_like() {
    let mut platform = platform();
    let (one, other) = (fs::read(scripted_guest()).unwrap(), changed_guest(b"found ", b"FOUND "));
    let modified = fs::metadata(scripted_guest()).unwrap().modified().unwrap();
    let guests: Vec<_> = ["one", "other"].iter().map(|id| platform.cli.path(&format!("{id}.wasm"))).collect();
    let put = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
    };
    for (id, (path, bytes)) in ["one", "other"].iter().zip(guests.iter().zip([&one, &other])) {
        put(path, bytes);
        platform.say(&format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\ncomponent = {path:?}\nschedule.every = \"1s\"\n\
             [tenant.config]\nscript = [[\"find\", \"never there\"]]"
        ));
    }
    let serving = platform.serve(&["--listen", "none"]);
    wait_until("each runs its own", || serving.has_said("[one] found 0") && serving.has_said("[other] FOUND 0"));
    assert!(!serving.has_said("[one] FOUND") && !serving.has_said("[other] found"));
    put(&guests[0], &other);
    wait_until("what was put in its place is run", || serving.has_said("[one] FOUND 0"));
    serving.stop().unwrap();
    assert_eq!(serving.end().unwrap().code(), Some(0));
}

#[test]
fn what_is_secret_in_a_configuration_is_what_its_own_component_says() {
    let mut platform = platform();
    fs::write(platform.cli.path("other.wasm"), changed_guest(b"api_key", b"own_key")).unwrap();
    let guest = scripted_guest().display().to_string();
    for (id, component, key) in [
        ("a", &*guest, "api_key"),
        ("b", "other.wasm", "own_key"),
        ("c", "other.wasm", "api_key"),
        ("d", &*guest, "own_key"),
    ] {
        platform.say(&format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\ncomponent = \"{component}\"\n[tenant.config]\n\
             {key} = {{ env = \"SPY_KEY\" }}\nscript = [[\"log-config\"]]"
        ));
    }
    let ended = platform.once();
    let expected = [("a", "ok"), ("b", "ok"), ("c", "configuration"), ("d", "configuration")];
    assert_eq!(outcomes(&ended), expected.map(|(id, it)| (id.to_owned(), it.to_owned())), "{ended:?}");
    assert!(said(&ended, "a")[0].contains("\"api_key\"") && said(&ended, "b")[0].contains("\"own_key\""), "{ended:?}");
    assert!(!ended.stderr.contains(SPY_KEY), "{ended:?}");
    for line in ["`api_key`: is given as a secret, but is none", "`own_key`: is given as a secret, but is none"] {
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
}
