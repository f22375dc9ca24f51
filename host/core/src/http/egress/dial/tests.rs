//! What is dialled, and what is not. Nothing here leaves the machine: names resolve to what the test says, and every dialled
//! address is answered by a listener of the test.

use std::collections::HashMap;
use std::sync::Mutex;

use super::*;

/// Answers each name from a list of answers, one after the other, the last for ever; refuses some addresses.
#[derive(Default)]
struct Fake {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    refused: Vec<IpAddr>,
    silent: Vec<IpAddr>,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl Resolve for Fake {
    fn resolve<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let mut names = self.names.lock().unwrap();
            let answers = names.get_mut(host).ok_or_else(|| io::Error::other("no such name"))?;
            Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
        })
    }
}

impl Dial for Fake {
    fn dial(&self, address: SocketAddr) -> Boxed<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            self.dialled.lock().unwrap().push(address);
            if self.refused.contains(&address.ip()) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if self.silent.contains(&address.ip()) {
                return std::future::pending().await;
            }
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            TcpStream::connect(listener.local_addr()?).await
        })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn named(name: &str, answers: &[&[&str]]) -> Fake {
    let answers = answers.iter().map(|answer| answer.iter().map(|text| ip(text)).collect()).collect();
    Fake { names: Mutex::new(HashMap::from([(name.into(), answers)])), ..Fake::default() }
}

async fn connect(fake: Fake, networks: &[&str], proxy: Matcher, uri: &str) -> (Result<bool, String>, Vec<String>) {
    let fake = Arc::new(fake);
    let dialler = Dialler {
        resolve: fake.clone(),
        dial: fake.clone(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        proxy: Arc::new(proxy),
    };
    let connected = dialler.connect(uri.parse().unwrap()).await;
    let dialled = fake.dialled.lock().unwrap().iter().map(ToString::to_string).collect();
    (connected.map(|stream| stream.proxied).map_err(|why| why.to_string()), dialled)
}

fn no_proxy() -> Matcher {
    Matcher::builder().build()
}

#[tokio::test]
async fn exactly_the_checked_address_is_dialled() {
    // The second answer would be the metadata service; nobody asks a second time.
    let fake = named("api.example", &[&["93.184.216.34"], &["169.254.169.254"]]);
    let (connected, dialled) = connect(fake, &[], no_proxy(), "https://api.example/x").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["93.184.216.34:443".to_owned()]));
}

#[tokio::test]
async fn a_name_that_resolves_to_a_special_address_is_refused_with_advice() {
    for address in
        ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:10.0.0.5", "fd00:ec2::254", "64:ff9b::7f00:1"]
    {
        let (connected, dialled) =
            connect(named("api.example", &[&[address]]), &[], no_proxy(), "http://api.example").await;
        let error = connected.unwrap_err();
        assert!(error.contains("`api.example`") && error.contains("--allow-network"), "{error}");
        assert_eq!(dialled, [""; 0], "{address}");
    }
}

#[tokio::test]
async fn of_mixed_answers_only_the_public_addresses_are_dialled() {
    let mut fake = named("api.example", &[&["10.0.0.5", "93.184.216.34", "127.0.0.1"]]);
    fake.refused = vec![ip("93.184.216.34")];
    let (connected, dialled) = connect(fake, &[], no_proxy(), "http://api.example:81").await;
    assert!(connected.unwrap_err().contains("can't be reached"));
    assert_eq!(dialled, ["93.184.216.34:81"]);
}

#[tokio::test]
async fn a_policys_network_may_be_dialled() {
    let (connected, dialled) =
        connect(named("api.lan", &[&["10.1.2.3"]]), &["10.1.0.0/16"], no_proxy(), "http://api.lan").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["10.1.2.3:80".to_owned()]));
}

#[tokio::test]
async fn an_address_in_the_configuration_is_named_by_it() {
    let (connected, dialled) = connect(Fake::default(), &[], no_proxy(), "http://127.0.0.1:8080").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["127.0.0.1:8080".to_owned()]));
    let (_, dialled) = connect(Fake::default(), &[], no_proxy(), "http://[::1]:8080").await;
    assert_eq!(dialled, ["[::1]:8080"]);
}

#[tokio::test]
async fn localhost_is_this_machine_and_nothing_else() {
    let fake = named("localhost", &[&["::1", "127.0.0.1", "93.184.216.34"]]);
    let (connected, dialled) = connect(fake, &[], no_proxy(), "http://localhost:8080").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["[::1]:8080".to_owned()]));
    let (connected, dialled) =
        connect(named("localhost", &[&["93.184.216.34"]]), &[], no_proxy(), "http://localhost").await;
    assert!(connected.is_err() && dialled.is_empty());
    // Other spellings of this machine are names like any other.
    for name in ["a.localhost", "0x7f.1", "2130706433"] {
        let (connected, dialled) =
            connect(named(name, &[&["127.0.0.1"]]), &[], no_proxy(), &format!("http://{name}")).await;
        assert!(connected.is_err() && dialled.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_hold_up_the_next() {
    let mut fake = named("api.example", &[&["2606:4700::1", "93.184.216.34"]]);
    fake.silent = vec![ip("2606:4700::1")];
    let started = std::time::Instant::now();
    let (connected, dialled) = connect(fake, &[], no_proxy(), "http://api.example").await;
    assert_eq!((connected, dialled.len()), (Ok(false), 2));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_name_without_an_address_is_not_found() {
    let (connected, _) = connect(Fake::default(), &[], no_proxy(), "http://api.example").await;
    assert!(connected.unwrap_err().contains("was not found"));
    let (connected, _) = connect(named("api.example", &[&[]]), &[], no_proxy(), "http://api.example").await;
    assert!(connected.unwrap_err().contains("was not found"));
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_dialled_in_the_place_of_the_host() {
    let proxy = || Matcher::builder().all("http://user:pass@10.0.0.1:3128").no("direct.example").build();
    let (connected, dialled) = connect(Fake::default(), &[], proxy(), "http://api.example/x").await;
    assert_eq!((connected, dialled), (Ok(true), vec!["10.0.0.1:3128".to_owned()]));
    let direct = named("direct.example", &[&["93.184.216.34"]]);
    let (connected, dialled) = connect(direct, &[], proxy(), "http://direct.example").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["93.184.216.34:80".to_owned()]));
    let (connected, dialled) = connect(Fake::default(), &[], proxy(), "http://127.0.0.1:8080").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["127.0.0.1:8080".to_owned()]));
    let (connected, dialled) =
        connect(named("localhost", &[&["127.0.0.1"]]), &[], proxy(), "http://localhost:8080").await;
    assert_eq!((connected, dialled), (Ok(false), vec!["127.0.0.1:8080".to_owned()]));
}
