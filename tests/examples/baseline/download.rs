//! The bytes of a sync, downloaded and dropped.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use wandb_connector::api::exchange::Request;
use wandb_connector_tests::native::{client, outgoing};

/// Makes all requests again, `concurrency` at a time, with one pooled client that looks at nothing. Returns the bytes of the
/// bodies. It may ask for the pages of one history at once, which nobody can who has to read where the next page is.
pub(crate) async fn replay(requests: &[Request], concurrency: usize) -> anyhow::Result<u64> {
    let client = client();
    let downloads = requests.iter().map(|request| {
        let client = client.clone();
        async move {
            let response = client.request(outgoing(request)?).await?;
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
