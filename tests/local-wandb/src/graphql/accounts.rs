//! Who there is: the viewer, users, entities, and the server itself.

use std::sync::Arc;

use async_graphql::{ID, Object, SimpleObject, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::scalars::{DateTime, Json, JsonString};
use crate::server::Shared;

/// The entity that requests mean when they name none.
pub(crate) fn default_entity(shared: Option<&Arc<Shared>>) -> String {
    let first = shared.and_then(|it| it.world().projects.keys().next().map(|(entity, _)| entity.clone()));
    first.unwrap_or_else(|| "acme".to_owned())
}

/// What the server says of itself.
pub(crate) struct ServerInfo;

#[Object]
impl ServerInfo {
    async fn cli_version_info(&self) -> Json {
        Json(Value::Object(
            [(async_graphql::Name::new("max_cli_version"), Value::from("0.31.0"))].into_iter().collect(),
        ))
    }

    async fn latest_local_version_info(&self) -> Option<Json> {
        None
    }

    async fn features(&self) -> Vec<ServerFeature> {
        Vec::new()
    }
}

#[derive(SimpleObject)]
pub(crate) struct ServerFeature {
    name: String,
    is_enabled: bool,
}

/// An account.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) username: String,
    pub(crate) entity: String,
}

impl User {
    pub(crate) fn viewer(shared: Option<&Arc<Shared>>) -> Self {
        User { name: "Ada Lovelace".to_owned(), username: "ada".to_owned(), entity: default_entity(shared) }
    }
}

#[Object]
impl User {
    async fn id(&self) -> ID {
        ID(BASE64.encode(format!("User:{}", self.username)))
    }

    async fn name(&self) -> &str {
        &self.name
    }

    async fn username(&self) -> Option<&str> {
        Some(&self.username)
    }

    async fn email(&self) -> Option<String> {
        Some(format!("{}@example.test", self.username))
    }

    async fn admin(&self) -> Option<bool> {
        Some(false)
    }

    async fn flags(&self) -> JsonString {
        JsonString(r#"{"code_saving_enabled":false}"#.to_owned())
    }

    async fn entity(&self) -> Option<&str> {
        Some(&self.entity)
    }

    async fn deleted_at(&self) -> Option<DateTime> {
        None
    }

    async fn api_keys(&self) -> ApiKeyConnection {
        ApiKeyConnection { edges: Vec::new() }
    }

    async fn teams(&self) -> EntityConnection {
        EntityConnection { edges: vec![EntityEdge { node: Entity { name: self.entity.clone() } }] }
    }
}

#[derive(SimpleObject)]
pub(crate) struct ApiKeyConnection {
    edges: Vec<ApiKeyEdge>,
}

#[derive(SimpleObject)]
pub(crate) struct ApiKeyEdge {
    node: Option<ApiKey>,
}

#[derive(SimpleObject)]
pub(crate) struct ApiKey {
    id: ID,
    name: String,
    description: Option<String>,
}

#[derive(SimpleObject)]
pub(crate) struct EntityConnection {
    edges: Vec<EntityEdge>,
}

#[derive(SimpleObject)]
pub(crate) struct EntityEdge {
    node: Entity,
}

/// A team or a person, as the owner of projects.
pub(crate) struct Entity {
    pub(crate) name: String,
}

#[Object]
impl Entity {
    async fn id(&self) -> ID {
        ID(BASE64.encode(format!("Entity:{}", self.name)))
    }

    async fn name(&self) -> &str {
        &self.name
    }
}
