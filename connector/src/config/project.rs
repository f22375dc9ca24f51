//! `entity` and `project`. People copy what they see: `acme/demo`, or the address of a page of the project. No name of either holds a
//! slash, so that is read as it is meant, unless two things that were given do not fit each other.

use fluent_uri::Uri;

use super::address;

/// How one of the two was given.
struct Given {
    /// The host of a URL.
    host: Option<String>,
    parts: Vec<String>,
}

/// Pages of an entity in W&B's web site, which are no projects.
const PAGES: [&str; 3] = ["projects", "reports", "settings"];

impl Given {
    fn read(text: &str) -> Self {
        let url = match text.split_once("://") {
            Some(_) => text.to_owned(),
            None if text.starts_with("wandb.ai/") => format!("https://{text}"),
            None => String::new(),
        };
        let Ok(url) = Uri::parse(url.as_str()).map_err(|_| ()).and_then(|url| url.authority().map(|_| url).ok_or(()))
        else {
            let parts = text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            return Self { host: None, parts };
        };
        let host = url.authority().map(|authority| authority.host().to_owned());
        let path = url.path().as_str();
        Self { host, parts: path.split('/').filter(|part| !part.is_empty()).map(address::decoded).collect() }
    }

    /// What it says of the entity and the project.
    fn names(&self, is_entity: bool) -> Option<(Option<&str>, Option<&str>)> {
        match (self.parts.as_slice(), &self.host) {
            ([entity], _) if is_entity => Some((Some(entity), None)),
            ([entity, page, ..], Some(_)) if is_entity && PAGES.contains(&page.as_str()) => Some((Some(entity), None)),
            ([project], None) => Some((None, Some(project))),
            ([entity, project], None) | ([entity, project, ..], Some(_)) => Some((Some(entity), Some(project))),
            _ => None,
        }
    }
}

/// The names of entity and project, where `base_url` is that of the configuration. The error names a key and what is wrong with it.
pub(super) fn read(entity: &str, project: &str, base_url: &str) -> Result<(String, String), (&'static str, String)> {
    let (mut entities, mut projects) = (Vec::new(), Vec::new());
    for (key, text) in [("entity", entity), ("project", project)] {
        if text.is_empty() {
            continue;
        }
        let given = Given::read(text);
        let Some((entity, project)) = given.names(key == "entity") else {
            let part = if key == "entity" { "first" } else { "second" };
            return Err((
                key,
                format!(
                    "is `{text}`; it must be a name alone, the {part} part of the project's URL, wandb.ai/<entity>/<project>"
                ),
            ));
        };
        let own = address_host(base_url).is_some_and(|host| address::is_service(&host));
        if let Some(host) = given.host.as_deref().filter(|host| address::is_service(host) != own) {
            return Err((key, format!("is on the server {host}, but `base_url` is {base_url}; make them fit")));
        }
        entities.extend(entity.map(str::to_owned));
        projects.extend(project.map(str::to_owned));
    }
    Ok((one("entity", entities)?, one("project", projects)?))
}

fn address_host(url: &str) -> Option<String> {
    Some(Uri::parse(url).ok()?.authority()?.host().to_owned())
}

/// The one name that all of these are.
fn one(key: &'static str, names: Vec<String>) -> Result<String, (&'static str, String)> {
    match names.as_slice() {
        [] => Err((key, "is missing; the project's URL is wandb.ai/<entity>/<project>".to_owned())),
        [first, others @ ..] => match others.iter().find(|other| *other != first) {
            _ if first.chars().any(char::is_control) => Err((key, "holds a control character".to_owned())),
            Some(other) => Err((key, format!("is given as `{first}` and, in the other key, as `{other}`"))),
            None => Ok(first.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: &str = "https://api.wandb.ai";

    #[test]
    fn a_path_or_an_address_is_read_as_it_is_meant() {
        for (entity, project) in [
            ("acme", "demo"),
            ("acme", "acme/demo"),
            ("acme/", "demo"),
            ("acme/demo", "demo"),
            ("", "acme/demo"),
            ("acme/demo", ""),
            ("", "https://wandb.ai/acme/demo"),
            ("", "wandb.ai/acme/demo/"),
            ("acme", "https://wandb.ai/acme/demo/runs/abc/overview?nw=1#x"),
            ("https://wandb.ai/acme", "demo"),
            ("https://wandb.ai/acme/projects", "demo"),
            ("https://wandb.ai/acme/demo", "demo"),
            ("acme", "https://wandb.ai/ac%6De/demo"),
        ] {
            assert_eq!(read(entity, project, W), Ok(("acme".into(), "demo".into())), "{entity} {project}");
        }
        let own = read("", "https://wandb.corp.example/acme/demo/workspace", "https://wandb-api.corp.example");
        assert_eq!(own, Ok(("acme".into(), "demo".into())));
    }

    #[test]
    fn what_does_not_fit_or_is_not_unambiguous_is_named_with_its_form() {
        for (entity, project, key, words) in [
            ("other", "acme/demo", "entity", "`other` and, in the other key, as `acme`"),
            ("acme/x", "demo", "project", "`x` and, in the other key, as `demo`"),
            ("acme", "acme/demo/abc", "project", "wandb.ai/<entity>/<project>"),
            ("acme", "https://wandb.ai/acme", "project", "wandb.ai/<entity>/<project>"),
            ("a/b/c", "demo", "entity", "wandb.ai/<entity>/<project>"),
            ("https://wandb.ai/acme", "", "project", "is missing"),
            ("", "https://wandb.corp.example/acme/demo", "project", "on the server wandb.corp.example"),
            ("/", "demo", "entity", "must be a name"),
            ("acme", "https://wandb.ai/acme/de%0Amo", "project", "control character"),
        ] {
            let (said, message) = read(entity, project, W).unwrap_err();
            assert_eq!(said, key, "{entity} {project}: {message}");
            assert!(message.contains(words), "{entity} {project}: {message}");
        }
    }
}
