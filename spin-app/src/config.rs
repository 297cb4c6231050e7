//! The component's variables (`[component.yardarm.variables]` in spin.toml).

use spin_sdk::variables::{self, Error};

/// Where publications arrive. Only they need the secret, and a variable may come from a remote
/// provider, so that nothing else asks for it.
const PUBLICATION_ROUTES: &str = "/edge/v1/";

/// Where to ask for environments that are not held.
#[cfg(feature = "pull-through")]
#[derive(Debug, Clone)]
pub(crate) struct ControlPlane {
    /// Its URL, `control_plane_url`.
    pub(crate) url: String,
    /// The secret that signs questions and answers, `publishing_secret`.
    pub(crate) secret: Vec<u8>,
}

/// The control plane, where there is one.
#[cfg(feature = "pull-through")]
pub(crate) async fn control_plane() -> Option<ControlPlane> {
    let url = control_plane_url().await?;
    let secret = secret().await?;
    Some(ControlPlane { url, secret })
}

/// The control plane's URL without a slash at its end. The manifest's own says that there is none with a host that
/// cannot be, because Spin takes nothing else for a host that may be called.
#[cfg(feature = "pull-through")]
pub(crate) async fn control_plane_url() -> Option<String> {
    let url = text("control_plane_url").await;
    let url = url.trim_end_matches('/');
    (!url.is_empty() && !url.ends_with(".invalid")).then(|| url.to_owned())
}

/// The secret that signs publications, when the request to `path` may need it.
pub(crate) async fn publishing_secret(path: &str) -> Option<Vec<u8>> {
    if path.starts_with(PUBLICATION_ROUTES) {
        secret().await
    } else {
        None
    }
}

/// The secret that signs whatever goes between the control plane and here. An empty one counts as none.
pub(crate) async fn secret() -> Option<Vec<u8>> {
    let secret = text("publishing_secret").await.into_bytes();
    Some(secret).filter(|secret| !secret.is_empty())
}

/// A variable; empty where the manifest does not have it, or it cannot be had.
pub(crate) async fn text(name: &str) -> String {
    match variables::get(name).await {
        Ok(text) => text.trim().to_owned(),
        Err(Error::Undefined(_)) => String::new(),
        Err(error) => {
            eprintln!("variable {name}: {error}");
            String::new()
        }
    }
}
