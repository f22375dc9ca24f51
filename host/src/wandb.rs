//! What is known of W&B's own service before anybody asks it.

/// Where the API answers when no base URL is given.
pub const DEFAULT_BASE_URL: &str = "https://api.wandb.ai";

/// Names of one and the same service, so that a key stored for one is a key for the others (`FORGE_HOSTS` in the
/// `wandb` package 0.31, whose `login` stores keys under the newer name).
pub const SAME_SERVICE: [&str; 3] = ["api.wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com"];

/// Where W&B's service keeps exported histories: the host of the signed URLs that the connector downloads without the key.
const DOWNLOADS: &str = "https://storage.googleapis.com";

/// The download hosts of the service at a base URL: known for W&B's own, while those of others are named by `--allow-origin`.
pub fn download_origin(base_url: &str) -> Option<String> {
    let (machine, _) = machine(base_url)?;
    SAME_SERVICE.contains(&machine.as_str()).then(|| DOWNLOADS.to_owned())
}

/// How `~/.netrc` may name the server of a URL: host and, if there is one, port, as the `wandb` tools do; and the host alone.
pub fn machine(base_url: &str) -> Option<(String, String)> {
    let uri = base_url.parse::<http::Uri>().ok()?;
    let authority = uri.authority()?;
    let machine = authority.as_str().rsplit('@').next()?.to_ascii_lowercase();
    Some((machine, authority.host().to_ascii_lowercase()))
}
