//! The bytes of a sync, downloaded and dropped.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use wandb_connector::exchange::{Method, Request};

/// Makes all requests again, `concurrency` at a time, with one pooled client that looks at nothing. Returns the bytes of the
/// bodies. It may ask for the pages of one history at once, which nobody can who has to read where the next page is.
pub(crate) async fn replay(requests: &[Request], concurrency: usize) -> anyhow::Result<u64> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let downloads = requests.iter().map(|request| {
        let client = client.clone();
        async move {
            let method = match request.method {
                Method::Get => http::Method::GET,
                Method::Post => http::Method::POST,
            };
            let mut builder = http::Request::builder().method(method).uri(&request.url);
            for (name, value) in &request.headers {
                builder = builder.header(*name, value);
            }
            let response = client.request(builder.body(Full::from(request.body.clone()))?).await?;
            anyhow::ensure!(response.status().is_success(), "{} for {}", response.status(), request.url);
            let mut body = response.into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
            }
            anyhow::Ok(bytes)
        }
    });
    stream::iter(downloads).buffer_unordered(concurrency).try_fold(0, |sum, bytes| async move { Ok(sum + bytes) }).await
}
