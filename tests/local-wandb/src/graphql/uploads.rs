//! Files of runs, as listings and as places to upload to.

use async_graphql::{ID, Result, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::scalars::{DateTime, Int64};
use super::types::{Page, PageInfo, cursor};
use crate::http::encode_part;
use crate::project::Run;

#[derive(SimpleObject)]
pub(crate) struct FileConnection {
    edges: Vec<FileEdge>,
    page_info: PageInfo,
}

#[derive(SimpleObject)]
pub(crate) struct FileEdge {
    node: File,
    cursor: String,
}

#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct File {
    id: ID,
    name: String,
    direct_url: String,
    size_bytes: Int64,
    mimetype: Option<String>,
    updated_at: Option<DateTime>,
    md5: String,
    #[graphql(skip)]
    upload_url: String,
}

#[async_graphql::ComplexObject]
impl File {
    async fn url(&self, upload: Option<bool>) -> &str {
        if upload == Some(true) { &self.upload_url } else { &self.direct_url }
    }

    async fn upload_url(&self) -> &str {
        &self.upload_url
    }
}

/// Where a run's file is uploaded to.
pub(crate) fn upload_url(base: &str, entity: &str, project: &str, run: &str, file: &str) -> String {
    let path: Vec<String> = file.split('/').map(encode_part).collect();
    format!("{base}/_upload/{}/{}/{}/{}", encode_part(entity), encode_part(project), encode_part(run), path.join("/"))
}

/// A run's file by its name, uploaded already or not.
pub(crate) fn file(base: &str, entity: &str, project: &str, run: &Run, name: &str) -> File {
    let url = upload_url(base, entity, project, &run.id, name);
    File {
        id: ID(BASE64.encode(format!("File:{}:{name}", run.id))),
        name: name.to_owned(),
        direct_url: url.clone(),
        size_bytes: Int64(run.files.get(name).map_or(0, |bytes| bytes.len() as i64)),
        mimetype: None,
        updated_at: Some(DateTime(run.timestamps.format(run.heartbeat_at))),
        md5: String::new(),
        upload_url: url,
    }
}

/// A page of a run's files.
#[expect(clippy::too_many_arguments, reason = "the field has that many")]
pub(crate) fn files_of(
    base: &str,
    entity: &str,
    project: &str,
    run: &Run,
    names: &[String],
    pattern: Option<&str>,
    after: Option<&str>,
    first: i32,
) -> Result<FileConnection> {
    // The pattern is SQL's LIKE.
    let pattern = pattern.map(|like| format!("^{}$", regex::escape(like).replace('%', ".*").replace('_', ".")));
    let pattern = pattern.map(|it| regex::Regex::new(&it)).transpose()?;
    let found: Vec<&String> = run
        .files
        .keys()
        .filter(|name| names.is_empty() || names.contains(name))
        .filter(|name| pattern.as_ref().is_none_or(|it| it.is_match(name)))
        .collect();
    let page = Page::of(after, first, usize::MAX, found.len())?;
    let edges = page.range().map(|i| FileEdge { node: file(base, entity, project, run, found[i]), cursor: cursor(i) });
    Ok(FileConnection { edges: edges.collect(), page_info: page.info() })
}
