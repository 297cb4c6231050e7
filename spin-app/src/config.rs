//! The component's variables (`[component.yardarm.variables]` in spin.toml).

use spin_sdk::variables;

/// Where publications arrive. Only they need the secret, and a variable may come from a remote
/// provider, so that nothing else asks for it.
const PUBLICATION_ROUTES: &str = "/edge/v1/";

/// The secret that signs publications, when the request to `path` may need it. An empty one counts
/// as none.
pub(crate) async fn publishing_secret(path: &str) -> Option<Vec<u8>> {
    if !path.starts_with(PUBLICATION_ROUTES) {
        return None;
    }
    match variables::get("publishing_secret").await {
        Ok(secret) => Some(secret.into_bytes()).filter(|secret| !secret.is_empty()),
        Err(error) => {
            eprintln!("variable publishing_secret: {error}");
            None
        }
    }
}
