use std::collections::BTreeMap;

use super::*;

/// Loads with the given file content, variables, and `~/.netrc`.
fn load(file: Option<&str>, variables: &[(&str, &str)], netrc: Option<&str>) -> Result<Configuration, Error> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("configuration.json");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    if let Some(text) = netrc {
        std::fs::write(home.path().join(".netrc"), text).unwrap();
    }
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let variable = |name: &str| variables.get(name).map(ToString::to_string);
    let home = Some(home.path().to_owned());
    load_from(file.map(|_| path.as_path()), &Surroundings { variable: &variable, home, folder: None })
}

fn key(configuration: &Configuration) -> Option<&str> {
    configuration.values.get("api_key").and_then(Value::as_str)
}

#[test]
fn the_file_goes_before_the_environment_and_that_before_netrc() {
    let netrc = Some("machine api.wandb.ai login user password NETRC");
    let variable = [("WANDB_API_KEY", "VARIABLE")];
    let cases = [
        (Some(r#"{"api_key": "FILE"}"#), &variable[..], netrc, Some("FILE")),
        (Some("{}"), &variable, netrc, Some("VARIABLE")),
        (None, &variable, netrc, Some("VARIABLE")),
        (Some(r#"{"api_key": ""}"#), &variable, netrc, Some("VARIABLE")),
        (Some(r#"{"api_key": " \t"}"#), &variable, netrc, Some("VARIABLE")),
        (Some(r#"{"api_key": null}"#), &variable, netrc, Some("VARIABLE")),
        (Some("{}"), &[("WANDB_API_KEY", "")], netrc, Some("NETRC")),
        (Some("{}"), &[("WANDB_API_KEY", " ")], netrc, Some("NETRC")),
        (Some("{}"), &[("WANDB_API_KEY", " KEY\n")], netrc, Some("KEY")),
        (None, &[], netrc, Some("NETRC")),
        (Some(r#"{"api_key": ""}"#), &[], None, Some("")),
        (None, &[], None, None),
    ];
    for (file, variables, netrc, expected) in cases {
        assert_eq!(key(&load(file, variables, netrc).unwrap()), expected, "{file:?} {variables:?} {netrc:?}");
    }
}

#[test]
fn each_of_the_four_keys_has_a_variable_and_no_other_has() {
    let variables = [
        ("WANDB_API_KEY", "k"),
        ("WANDB_ENTITY", "e"),
        ("WANDB_PROJECT", "p"),
        ("WANDB_BASE_URL", "https://w.example.com"),
        ("WANDB_PAGE_SIZE", "7"),
    ];
    let configuration = load(Some(r#"{"entity": "mine", "page_size": 50}"#), &variables, None).unwrap();
    let expected = serde_json::json!({
        "api_key": "k", "entity": "mine", "project": "p", "base_url": "https://w.example.com", "page_size": 50
    });
    assert_eq!(Value::from(configuration.values), expected);
    assert_eq!(configuration.base_url, "https://w.example.com");
    assert_eq!(configuration.key_source, KeySource::Variable("WANDB_API_KEY"));
}

#[test]
fn the_machine_in_netrc_is_host_and_port_of_the_base_url_or_the_host_alone() {
    let cases = [
        (None, "api.wandb.ai", true),
        (None, "api.forge.coreweave.com", true),
        (Some("https://api.forge.coreweave.com"), "api.wandb.ai", true),
        (Some("http://localhost:8080/"), "localhost:8080", true),
        (Some("http://localhost:8080/"), "localhost", true),
        (Some("http://localhost:8080/"), "localhost:9090", false),
        (Some("https://wandb.example.com"), "api.wandb.ai", false),
        (Some("not a url"), "api.wandb.ai", false),
    ];
    for (base_url, machine, found) in cases {
        let variables: Vec<_> = base_url.map(|url| ("WANDB_BASE_URL", url)).into_iter().collect();
        let netrc = format!("machine {machine} login user password KEY");
        let configuration = load(None, &variables, Some(&netrc)).unwrap();
        assert_eq!(key(&configuration).is_some(), found, "{base_url:?} {machine}");
    }
}

#[test]
fn netrc_lies_where_the_wandb_tools_look() {
    let home = tempfile::tempdir().unwrap();
    let at = |variables: &[(&str, &str)]| {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let variable = |name: &str| variables.get(name).map(ToString::to_string);
        netrc_path(&Surroundings { variable: &variable, home: Some(home.path().into()), folder: None })
    };
    assert_eq!(at(&[]), None);
    std::fs::write(home.path().join("_netrc"), "").unwrap();
    assert_eq!(at(&[]), Some(home.path().join("_netrc")));
    std::fs::write(home.path().join(".netrc"), "").unwrap();
    assert_eq!(at(&[]), Some(home.path().join(".netrc")));
    assert_eq!(at(&[("NETRC", "/etc/netrc")]), Some("/etc/netrc".into()));
    assert_eq!(at(&[("NETRC", "~/keys")]), Some(home.path().join("keys")));
}

#[test]
fn a_netrc_that_is_not_understood_is_a_warning() {
    let configuration = load(None, &[], Some("machine api.wandb.ai\npasswort KEY")).unwrap();
    assert_eq!(key(&configuration), None);
    assert_eq!(configuration.warnings.len(), 1);
    assert!(configuration.warnings[0].ends_with(".netrc:2: not understood; no key is read from it"));
    assert!(!configuration.warnings[0].contains("KEY"));
}

#[test]
fn a_file_that_is_no_object_is_named_with_line_and_column() {
    let cases = [
        (
            "{\n  \"project\": \"a\",\n  \"project\": \"b\"\n}",
            "configuration.json:3:11: the key \"project\" occurs twice",
        ),
        ("{\"api_key\": \"SECRET\"", "configuration.json:1:20: EOF while parsing an object"),
        ("[]", "configuration.json:1:1: must be a JSON object, `{…}`, but is a list"),
        ("\"SECRET\"", "configuration.json:1:1: must be a JSON object, `{…}`, but is a string"),
    ];
    for (text, expected) in cases {
        let error = load(Some(text), &[], None).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
        assert!(!error.contains("SECRET"));
    }
    let error = read_object(Path::new("/nonexistent/c.json")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/c.json can't be read: No such file"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_with_a_key_that_others_may_read_gets_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("configuration.json");
    let surroundings = Surroundings { variable: &|_| None, home: None, folder: None };
    for (text, mode, warned) in [
        (r#"{"api_key": "k"}"#, 0o644, true),
        (r#"{"api_key": "k"}"#, 0o640, true),
        (r#"{"api_key": "k"}"#, 0o600, false),
        (r#"{"entity": "e"}"#, 0o644, false),
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let warnings = load_from(Some(&path), &surroundings).unwrap().warnings;
        assert_eq!(!warnings.is_empty(), warned, "{text} {mode:o}");
        assert!(warnings.iter().all(|line| line.contains("chmod 600")));
    }
}

#[test]
fn the_server_is_found_where_the_wandb_tools_have_written_it_and_in_their_order() {
    let (home, folder, elsewhere) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |path: PathBuf, url: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("[default]\nbase_url = {url}\n")).unwrap();
    };
    let found = |file: &str, variables: &[(&str, &str)]| {
        let path = home.path().join("configuration.json");
        std::fs::write(&path, file).unwrap();
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let variable = |name: &str| variables.get(name).map(ToString::to_string);
        let (home, folder) = (Some(home.path().to_owned()), Some(folder.path().to_owned()));
        let configuration = load_from(Some(&path), &Surroundings { variable: &variable, home, folder }).unwrap();
        assert_eq!(configuration.values.contains_key("base_url"), configuration.base_url != DEFAULT_BASE_URL);
        (configuration.base_url, configuration.notes)
    };
    assert_eq!(found("{}", &[]).0, DEFAULT_BASE_URL);
    write(home.path().join(".config/wandb/settings"), "https://home.example");
    let (url, notes) = found("{}", &[]);
    assert_eq!(url, "https://home.example");
    assert!(notes[0].contains("https://home.example") && notes[0].contains(".config/wandb/settings"), "{notes:?}");
    write(home.path().join(".config/wandb/settings"), "http://user:secret@home.example");
    let (url, notes) = found("{}", &[]);
    assert_eq!(url, "http://user:secret@home.example");
    assert!(notes[0].contains("http://***@home.example") && !notes[0].contains("secret"), "{notes:?}");
    let other = [("WANDB_CONFIG_DIR", elsewhere.path().to_str().unwrap())];
    assert_eq!(found("{}", &other).0, DEFAULT_BASE_URL);
    write(elsewhere.path().join("settings"), "https://elsewhere.example");
    assert_eq!(found("{}", &other).0, "https://elsewhere.example");
    write(folder.path().join("wandb/settings"), "https://folder.example");
    assert_eq!(found("{}", &other).0, "https://folder.example");
    write(folder.path().join(".wandb/settings"), "https://hidden.example");
    assert_eq!(found("{}", &other).0, "https://hidden.example");
    let variable = [("WANDB_BASE_URL", "https://variable.example")];
    assert_eq!(found("{}", &variable), ("https://variable.example".into(), Vec::new()));
    assert_eq!(found(r#"{"base_url": "https://file.example"}"#, &variable).0, "https://file.example");
}

#[test]
fn files_of_other_systems_are_read_whatever_their_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let utf16 =
        |text: &str| [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let path = folder.path().join("configuration.json");
    std::fs::write(&path, utf16(r#"{"entity": "Grüße"}"#)).unwrap();
    std::fs::write(folder.path().join(".netrc"), utf16("machine api.wandb.ai\r\n password KEY\r\n")).unwrap();
    let surroundings = Surroundings { variable: &|_| None, home: Some(folder.path().into()), folder: None };
    let configuration = load_from(Some(&path), &surroundings).unwrap();
    assert_eq!((key(&configuration), &configuration.values["entity"]), (Some("KEY"), &Value::from("Grüße")));
    let marked = [b"\xef\xbb\xbf", &b"machine api.wandb.ai password KEY2"[..]].concat();
    std::fs::write(folder.path().join(".netrc"), marked).unwrap();
    assert_eq!(key(&load_from(Some(&path), &surroundings).unwrap()), Some("KEY2"));
}
