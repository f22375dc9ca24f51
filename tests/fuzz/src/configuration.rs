//! The connector's configuration.

use serde_json::Value;
use wandb_connector::config::Config;
use wandb_connector::error::Error;

use crate::server::API_KEY;

/// A configuration is within its bounds, or every problem of it is named; a key is in neither.
pub fn configuration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    check(&text);
    // The same with a key that is there for certain.
    if let Ok(Value::Object(mut object)) = serde_json::from_str(&text) {
        object.insert("api_key".to_owned(), API_KEY.into());
        check(&Value::Object(object).to_string());
    }
}

fn check(text: &str) {
    let occurs_once = text.matches(API_KEY).count() <= 1;
    match Config::parse(text) {
        Ok(config) => {
            assert!((1..=1000).contains(&config.page_size) && (1..=256).contains(&config.concurrency));
            assert!(!config.entity.is_empty() && !config.project.is_empty() && !config.tables.is_empty());
            assert!(
                !config.base_url.ends_with('/') && !config.base_url.contains(['?', '#', '@']),
                "{}",
                config.base_url
            );
            assert!(!occurs_once || !format!("{config:?}").contains(API_KEY));
            assert_eq!(config.selection(), config.selection());
        }
        Err(Error::Configuration(problems)) => {
            assert!(!problems.is_empty());
            let said = |problem: &wandb_connector::error::Problem| problem.message.contains(API_KEY);
            assert!(
                !occurs_once || text.contains(&format!("\"{API_KEY}\":")) || !problems.iter().any(said),
                "{problems:?}"
            );
        }
        Err(other) => panic!("{other:?}"),
    }
}
