//! Many tenants in one process: each brings its own key, project and destination, and perhaps its own component, and none disturbs another.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Options, Project, TEST_KEY, World, generate};
use wandb_connector_tests::person::{Ended, Person};

const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// A server with projects of the entity `acme`, that takes one key.
fn server(key: &str, projects: impl IntoIterator<Item = (String, Project)>) -> LocalWandb {
    let mut world = World::default();
    for (name, project) in projects {
        *world.project_mut("acme", &name) = project;
    }
    LocalWandb::start_blocking(Options { api_key: key.into(), ..Options::with_world(world) }).unwrap()
}

/// The folder of whoever runs the host, with a file of tenants.
struct Platform {
    person: Person,
    text: String,
}

impl Platform {
    fn new() -> Self {
        let mut person = Person::new(&json!({}));
        person.variables.push(("TENANT_KEY", TEST_KEY.into()));
        Self { person, text: "[defaults]\npolicy.allow_networks = [\"127.0.0.1\"]\n".into() }
    }

    /// Adds lines to the file.
    fn say(&mut self, text: &str) {
        self.text += text;
        self.text.push('\n');
        fs::write(self.person.path("tenants.toml"), &self.text).unwrap();
    }

    /// A tenant that syncs `acme/<project>` into `<id>.db` with the key of the environment.
    fn tenant(&mut self, id: &str, server: &LocalWandb, project: &str, more: &str) {
        self.tenant_with_key(id, server, project, "{ env = \"TENANT_KEY\" }", more);
    }

    fn tenant_with_key(&mut self, id: &str, server: &LocalWandb, project: &str, key: &str, more: &str) {
        let base_url = server.base_url();
        self.say(&format!(
            "[[tenant]]\nid = \"{id}\"\ndestination = \"sqlite:{id}.db\"\n{more}\n[tenant.config]\napi_key = {key}\n\
             entity = \"acme\"\nproject = \"{project}\"\nbase_url = \"{base_url}\""
        ));
    }

    fn once(&self) -> Ended {
        self.person.run(&["serve", "--once", "--format", "json"])
    }

    #[track_caller]
    fn assert_equal(&self, id: &str, server: &LocalWandb, dialect: Dialect, project: &str) {
        let truth = server.truth(dialect, "acme", project);
        let differences = compare_sqlite(self.person.path(&format!("{id}.db")), &truth).unwrap();
        assert!(differences.is_empty(), "{id}: {} differences: {:#?}", differences.len(), differences.first());
    }
}

/// How each tenant's sync ended.
fn outcomes(ended: &Ended) -> Vec<(String, String)> {
    let summary = ended.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut outcomes: Vec<_> =
        summary["syncs"].as_array().unwrap().iter().map(|it| (text(&it["tenant"]), text(&it["outcome"]))).collect();
    outcomes.sort();
    outcomes
}

#[test]
fn each_tenant_is_synced_with_its_own_key_project_and_dialect() {
    let first =
        server(TEST_KEY, [("vision".into(), generate::realistic(6, 1)), ("audio".into(), generate::realistic(5, 2))]);
    let second = server(OTHER_KEY, [("vision".into(), generate::realistic(4, 3))]);
    let mut platform = Platform::new();
    let key = platform.person.path("other.key");
    fs::write(&key, format!("{OTHER_KEY}\n")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    platform.tenant("vision", &first, "vision", "");
    platform.tenant("audio", &first, "audio", "");
    platform.say("api = \"rest\"");
    platform.tenant_with_key("by-file", &second, "vision", "{ file = \"other.key\" }", "");
    platform.tenant_with_key("by-command", &second, "vision", "{ command = [\"cat\", \"other.key\"] }", "");
    let ended = platform.once();
    assert_eq!(ended.code, 0, "{ended:?}");
    let all = ["audio", "by-command", "by-file", "vision"].map(|id| (id.to_owned(), "ok".to_owned()));
    assert_eq!(outcomes(&ended), all);
    platform.assert_equal("vision", &first, Dialect::Graphql, "vision");
    platform.assert_equal("audio", &first, Dialect::Rest, "audio");
    platform.assert_equal("by-file", &second, Dialect::Graphql, "vision");
    platform.assert_equal("by-command", &second, Dialect::Graphql, "vision");
    assert!(!ended.stderr.contains(OTHER_KEY) && !ended.stdout.contains(OTHER_KEY));
    for line in ["INFO: [vision] Synced 6 runs from W&B", "INFO: [by-file] Synced 4 runs from W&B"] {
        assert!(ended.stderr.lines().any(|said| said == line), "{}", ended.stderr);
    }
    // Nothing is due any more: the history knows.
    let ended = platform.once();
    assert_eq!((ended.code, outcomes(&ended)), (0, vec![]), "{ended:?}");
}

#[test]
fn a_bad_entry_is_reported_and_the_others_run() {
    let server = server(TEST_KEY, [("vision".into(), generate::realistic(3, 1))]);
    let mut platform = Platform::new();
    platform.tenant("good", &server, "vision", "");
    platform.tenant_with_key("plain", &server, "vision", &format!("\"{TEST_KEY}\""), "");
    platform.tenant("unknown", &server, "vision", "destinaton = \"null:\"");
    platform.say("[[tenant]]\nid = \"thief\"\ndestination = \"sqlite:./good.db\"");
    platform.tenant("good", &server, "vision", "");
    platform.say("[[tenant]]\nid = \"broken\"\nthis is no TOML");
    platform.tenant("other", &server, "vision", "");
    let (ended, checked) = (platform.once(), platform.person.run(&["tenants", "check"]));
    for (ended, said) in [(&ended, &ended.stderr), (&checked, &checked.stdout)] {
        assert_eq!(ended.code, 2, "{ended:?}");
        for (tenant, why) in [
            ("tenant `plain`: ", "`api_key` is a secret and must not stand in the file"),
            ("tenant `unknown`: ", "`destinaton` means nothing here; known are `id`, `labels`, `destination`"),
            ("tenant `thief`: ", "belongs to tenant `good`"),
            ("tenant `good`: ", "the id is taken"),
            ("", "key with no value, expected `=`"),
        ] {
            let line = said.lines().find(|line| line.contains(why)).unwrap_or_else(|| panic!("{why}: {said}"));
            let place = line.split_once("tenants.toml:").unwrap().1;
            let numbers: Vec<&str> = place.splitn(3, ':').collect();
            assert!(numbers[0].parse::<u32>().is_ok() && numbers[1].parse::<u32>().is_ok(), "{line}");
            assert!(numbers[2].trim_start().starts_with(tenant), "{line}");
        }
    }
    platform.assert_equal("good", &server, Dialect::Graphql, "vision");
    platform.assert_equal("other", &server, Dialect::Graphql, "vision");
    for id in ["plain", "unknown", "thief", "broken"] {
        assert!(!platform.person.path(&format!("{id}.db")).exists(), "{id}");
    }
}
