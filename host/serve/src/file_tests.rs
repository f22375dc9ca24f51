use serde_json::json;

use super::*;

fn read(text: &str) -> Reading {
    super::read("t.toml".as_ref(), "/srv/none".as_ref(), text, &Policy::default())
}

fn said(text: &str) -> Vec<String> {
    read(text).problems.iter().map(ToString::to_string).collect()
}

fn ids(reading: &Reading) -> Vec<&str> {
    reading.entries.iter().map(|entry| entry.tenant.id.as_str()).collect()
}

#[test]
fn an_entry_says_everything_about_a_tenant() {
    let reading = read(
        r#"
        [[budget]]
        origin = "https://api.source.example/"
        requests_per_minute = 600

        [[tenant]]
        id = "acme"
        labels = { plan = "pro" }
        destination = "sqlite:warehouses/acme.db"
        schedule = { cron = "0 3 * * *", jitter = "10m" }
        component = "own.wasm"
        [tenant.config]
        api_key = { env = "ACME_KEY" }
        token = { file = "keys/token" }
        other = { command = ["vault", "read", "x"] }
        more = { command = ["./tell"] }
        entity = "acme"
        page_size = 50
        metrics = { include = ["val/*"] }
        start_time = 2026-01-02T03:04:05Z
        [tenant.policy]
        allow_origins = ["https://*.storage.example"]
        allow_networks = ["10.0.0.0/8"]
        commit_every = "1s"
        [tenant.policy.limits]
        memory = "64MiB"
        wall_time = "10m"
        rows = 1_000_000
        "#,
    );
    assert_eq!(reading.problems, []);
    assert_eq!(reading.budgets, [(Origin::parse("https://api.source.example").unwrap(), 600)]);
    let tenant = &reading.entries[0].tenant;
    assert_eq!(tenant.labels["plan"], "pro");
    assert_eq!(tenant.destination, "sqlite:/srv/none/warehouses/acme.db".parse::<DestinationUrl>().unwrap());
    assert_eq!(tenant.schedule.jitter, Duration::from_secs(600));
    assert!(matches!(&tenant.schedule.repeat, Repeat::Cron(cron) if cron.as_str() == "0 3 * * *"));
    assert_eq!(tenant.component.as_deref(), Some("/srv/none/own.wasm".as_ref()));
    assert_eq!(
        serde_json::Value::Object(tenant.config.clone()),
        json!({
            "entity": "acme",
            "page_size": 50,
            "metrics": {"include": ["val/*"]},
            "start_time": "2026-01-02T03:04:05Z"
        })
    );
    let command = |words: &[&str]| SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(
        tenant.secrets,
        BTreeMap::from([
            ("api_key".to_owned(), SecretSource::Variable("ACME_KEY".into())),
            ("token".to_owned(), SecretSource::File("/srv/none/keys/token".into())),
            ("other".to_owned(), command(&["vault", "read", "x"])),
            ("more".to_owned(), command(&["/srv/none/./tell"])),
        ])
    );
    let policy = &tenant.policy;
    assert_eq!(policy.download_origins, ["https://*.storage.example"]);
    assert_eq!(policy.networks, [units::network("10.0.0.0/8").unwrap()]);
    assert_eq!(policy.commit_after, Duration::from_secs(1));
    let limits = &policy.limits;
    assert_eq!((limits.memory, limits.wall_time, limits.rows), (64 << 20, Duration::from_secs(600), 1_000_000));
    assert_eq!(limits.state_bytes, Policy::default().limits.state_bytes, "the rest stays as it is");
}

#[test]
fn entries_take_from_the_defaults_what_they_do_not_say() {
    let reading = read(
        r#"
        [defaults]
        labels = { region = "eu", plan = "free" }
        schedule = { every = "15m" }
        [defaults.policy.limits]
        memory = "64MiB"
        rows = 10
        [[tenant]]
        id = "a"
        destination = "null:"
        [[tenant]]
        id = "b"
        labels = { plan = "pro" }
        destination = "null:"
        schedule = { every = "1d" }
        policy.limits.rows = 20
        "#,
    );
    assert_eq!(reading.problems, []);
    let [a, b] = [&reading.entries[0].tenant, &reading.entries[1].tenant];
    assert_eq!((a.schedule.to_string(), b.schedule.to_string()), ("every 15m".into(), "every 1d".into()));
    assert_eq!((a.policy.limits.memory, a.policy.limits.rows), (64 << 20, 10));
    assert_eq!((b.policy.limits.memory, b.policy.limits.rows), (64 << 20, 20));
    assert_eq!((b.labels["region"].as_str(), b.labels["plan"].as_str()), ("eu", "pro"));
}

#[test]
fn each_problem_has_its_place_and_says_what_to_write() {
    let found = said(
        r#"[[tenant]]
id = "Bad Id"
destination = "warehouse.db"
schedule = { every = "1h", cron = "0 3 * * *" }
labels = 7
[tenant.config]
api_key = { env = "" }
other = { command = [] }
[tenant.policy]
allow_networks = ["home"]
allow_origin = []
[tenant.policy.limits]
memory = 512
rows = "many"
wall_time = "0s"
walltime = "1s"

[[tenant]]
id = "b"
schedule = { every = "15 parsecs" }
"#,
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    t.toml:2:6: `id`: a tenant's id has 1 to 64 of the characters a-z, 0-9, `-`, `_` and `.`, and begins with a letter or a digit
    t.toml:3:15: `destination`: destination "warehouse.db" does not say its kind. Write `sqlite:warehouse.db`.
    t.toml:4:12: a schedule has either `every` or `cron`, such as `{ every = "15m" }`
    t.toml:5:10: `labels`: must be a table, but is a whole number
    t.toml:7:1: `api_key`: names no variable
    t.toml:8:1: `other`: names no program; write `{ command = ["program", "argument"] }`
    t.toml:10:18: `allow_networks`: give a network such as 10.0.0.0/8, or an address such as 127.0.0.1
    t.toml:11:1: `allow_origin` means nothing here; known are `allow_origins`, `allow_networks`, `commit_every`, `limits`
    t.toml:13:10: `memory`: must be text, but is a whole number
    t.toml:14:8: `rows`: must be a positive whole number, but is text
    t.toml:15:13: `wall_time`: give a number and a unit, such as 90s, 30m, 12h or 7d
    t.toml:16:1: `walltime` means nothing here; known are `memory`, `wall_time`, `cpu_time`, `handles`, `header_bytes`, `open_requests`, `requests`, `requests_per_minute`, `bytes_in`, `bytes_out`, `response_bytes`, `batch_bytes`, `group_bytes`, `rows`, `state_bytes`, `log_lines`, `log_line_bytes`
    t.toml:18:1: tenant `b`: `destination` is missing; write for example `destination = "sqlite:warehouse.db"`
    t.toml:20:22: tenant `b`: `every`: give a number and a unit, such as 90s, 30m, 12h or 7d
    "#);
}

#[test]
fn a_slip_of_the_pen_costs_one_entry() {
    let entry = |id: &str, slip: &str| format!("[[tenant]]\nid = \"{id}\"\ndestination = \"null:\"\n{slip}\n");
    for (slip, line) in [
        ("this is no TOML", 7),
        ("labels = { a = \"b\"", 7),
        ("labels = [\"a\",", 7),
        ("schedule = \"unclosed", 7),
        ("id = \"twice\"", 8),
        ("[tenant.config]\na = 1\na = 2", 9),
    ] {
        let text = entry("a", "") + "\n" + &entry("b", slip) + &entry("c", "");
        let reading = read(&text);
        assert_eq!(ids(&reading), ["a", "c"], "{slip}: {:?}", reading.problems);
        assert_eq!(reading.problems.len(), 1, "{slip}: {:?}", reading.problems);
        assert!((line..=line + 2).contains(&reading.problems[0].place.line), "{slip}: {}", reading.problems[0]);
    }
    let broken_header = read(&(entry("a", "") + "[[tenant]] x\nid = \"b\"\n" + &entry("c", "")));
    assert_eq!((ids(&broken_header), broken_header.problems.len()), (vec!["a", "c"], 1));
    // A text over lines that is not closed swallows what follows; what stands before still counts.
    let reading = read(&(entry("a", "") + &entry("b", "schedule = \"\"\"unclosed") + &entry("c", "")));
    assert_eq!((ids(&reading), reading.problems.len()), (vec!["a"], 1));
}

#[test]
fn what_stands_in_a_value_is_never_taken_for_an_entry() {
    let label = "labels.note = \"\"\"\n[[tenant]]\nid = \"injected\"\ndestination = \"null:\"\n\"\"\"\n";
    for slip in ["", "this is no TOML\n"] {
        let text = format!("[[tenant]]\nid = \"a\"\ndestination = \"null:\"\n{label}{slip}");
        assert!(!ids(&read(&text)).contains(&"injected"), "{slip}");
    }
}

#[test]
fn configurations_take_from_the_defaults_key_by_key_but_no_secrets() {
    let reading = read(
        r#"
        [defaults.config]
        entity = "acme"
        api = "graphql"
        metrics = { include = ["val/*"] }
        token = "plain"
        [[tenant]]
        id = "a"
        destination = "null:"
        [[tenant]]
        id = "b"
        destination = "null:"
        [tenant.config]
        api = "rest"
        metrics = { exclude = ["x"] }
        token = { env = "TOKEN" }
        "#,
    );
    assert_eq!(reading.problems, []);
    let config = |n: usize| serde_json::Value::Object(reading.entries[n].tenant.config.clone());
    let metrics = json!({"include": ["val/*"]});
    assert_eq!(config(0), json!({"entity": "acme", "api": "graphql", "metrics": metrics, "token": "plain"}));
    assert_eq!(config(1), json!({"entity": "acme", "api": "rest", "metrics": {"exclude": ["x"]}}));
    assert!(reading.entries[0].inherited.contains("token") && !reading.entries[1].inherited.contains("token"));
    assert_eq!(reading.entries[0].keys["entity"].line, 3);

    let said =
        said("[defaults.config]\napi_key = { env = \"KEY\" }\n[[tenant]]\nid = \"a\"\ndestination = \"null:\"\n");
    assert!(said[0].starts_with("t.toml:2:1: `api_key` is a secret, which tenants don't have in common"), "{said:?}");
}

#[test]
fn what_is_not_legible_any_more_goes_on_and_what_is_refused_or_gone_does_not() {
    let entry = |id: &str, more: &str| format!("[[tenant]]\nid = \"{id}\"\ndestination = \"null:\"\n{more}\n");
    let after = |text: String| {
        let mut reading = read(&text);
        reading.keep(read(&(entry("a", "") + &entry("b", "") + &entry("c", ""))));
        let mut ids: Vec<_> = reading.entries.iter().map(|entry| entry.tenant.id.to_string()).collect();
        ids.sort();
        (ids.join(" "), reading.problems.last().map(ToString::to_string).unwrap_or_default())
    };
    let slip = "this is no TOML";
    assert_eq!(after(entry("a", "") + &entry("b", "")), ("a b".into(), String::new()), "no slip, and `c` is gone");
    let (ids, said) = after(entry("a", "") + &entry("b", slip) + &entry("d", ""));
    assert_eq!((ids.as_str(), said.as_str()), ("a b c d", "t.toml: 2 tenants go on as the file said before"));
    let (ids, _) = after(entry("a", "no-such-key = 1") + &entry("b", slip));
    assert_eq!(ids, "b c", "`a` is legible, and wrong");
    let (ids, _) = after("[defaults]\npolicy.limits.memory = \"lots\"\n".to_owned() + &entry("a", ""));
    assert_eq!(ids, "a b c");
}

#[test]
fn without_the_restrictions_that_were_meant_no_tenant_of_the_file_runs() {
    let tenant = "[[tenant]]\nid = \"a\"\ndestination = \"null:\"\n";
    for common in [
        "[defaults]\npolicy.limits.memory = \"lots\"\n",
        "[defaults]\npolicy.limit.memory = \"1MiB\"\n",
        "[defaults\n",
        "[[budget]]\norigin = \"https://a.example\"\n",
        "[[budget]]\norigin = \"a.example\"\nrequests_per_minute = 1\n",
        "[[budget]]\norigin = \"https://a.example\"\nrequests_per_minute = 0\n",
        "budget = 7\n",
        "default = {}\n",
    ] {
        let reading = read(&format!("{common}{tenant}"));
        assert_eq!(ids(&reading), [""; 0], "{common}");
        let last = reading.problems.last().unwrap().to_string();
        assert_eq!(last, "t.toml: the tenants of this file are skipped until that is right", "{common}");
    }
    let late = read(&format!("{tenant}[defaults]\nlabels.a = \"b\"\n"));
    assert_eq!(ids(&late), [""; 0]);
    assert!(late.problems[0].to_string().contains("has to stand before the first `[[tenant]]`"));
}

#[test]
fn what_a_file_holds_is_shown_escaped() {
    let found = said("[[tenant]]\nid = \"a\"\ndestination = \"null:\"\n\"\\u001b[2J\\u202e\" = 1\n");
    assert!(found[0].contains("`\\u{1b}[2J\\u{202e}` means nothing here"), "{found:?}");
}

#[test]
fn text_that_is_no_list_of_tenants_is_no_surprise() {
    for text in ["", "\u{0}", "[[tenant]]", "tenant = 1", "[tenant]\nid = \"a\"", "[[tenant]]\n[[tenant]]\n", "🙂"] {
        assert_eq!(ids(&read(text)), [""; 0], "{text:?}");
    }
    assert!(said("tenant = [1, \"x\"]").len() == 2);
    let deep = format!("[[tenant]]\nid = \"a\"\ndestination = \"null:\"\nconfig.x = {}", "[".repeat(100_000));
    assert_eq!(ids(&read(&deep)), [""; 0]);
}

#[test]
fn many_tenants_are_read_in_one_go() {
    let entry = |n: usize| {
        format!(
            "[[tenant]]\nid = \"t{n}\"\ndestination = \"sqlite:/srv/{n}.db\"\nschedule = {{ cron = \"0 3 * * *\" }}\n\
             [tenant.config]\napi_key = {{ env = \"K{n}\" }}\nentity = \"e\"\n"
        )
    };
    let reading = read(&(0..10_000).map(entry).collect::<String>());
    assert_eq!((reading.entries.len(), reading.problems.len()), (10_000, 0));
    let schedule = |n: usize| match &reading.entries[n].tenant.schedule.repeat {
        Repeat::Cron(cron) => cron.clone(),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&schedule(0), &schedule(9_999)), "one expression is kept once");
}
