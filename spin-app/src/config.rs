//! The component's variables (`[component.yardarm.variables]` in spin.toml).

use std::cell::OnceCell;
use std::rc::Rc;

use spin_sdk::variables::{self, Error};
use yardarm_core::edge::Unavailable;

/// Where publications arrive. Only they need the secret, and a variable may come from a remote
/// provider, so that nothing else asks for it.
const PUBLICATION_ROUTES: &str = "/edge/v1/";

/// For how long changes and counts are gathered before they are sent home, in seconds.
const DELIVERY_SECONDS: i64 = 10;

thread_local! {
    static HOME: OnceCell<Rc<Home>> = const { OnceCell::new() };
}

/// Where to ask for environments that are not held.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    /// Its URL, [`Home::url`].
    pub(crate) url: String,
    /// The secret that signs questions and answers, `publishing_secret`.
    pub(crate) secret: Vec<u8>,
}

/// The control plane, where there is one.
pub(crate) async fn control_plane() -> Result<Option<ControlPlane>, Unavailable> {
    let Some(url) = home().await?.url.clone() else {
        return Ok(None);
    };
    let secret = get("publishing_secret").await?.into_bytes();
    Ok((!secret.is_empty()).then_some(ControlPlane { url, secret }))
}

/// The control plane's URL without a slash at its end. The manifest's own says that there is none with a host that
/// cannot be, because Spin takes nothing else for a host that may be called.
fn real(url: &str) -> Option<String> {
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

/// Where what changes and what is counted goes.
#[derive(Debug)]
pub(crate) struct Home {
    /// The control plane's URL without a slash at its end, `control_plane_url`; nothing goes home, and nobody is asked, where
    /// there is none.
    pub(crate) url: Option<String>,
    /// For how long changes and counts are gathered, in microseconds: `delivery_seconds`.
    pub(crate) every: i64,
    /// Whether requests and evaluations are counted: not with `usage` set to `off`.
    pub(crate) counts: bool,
}

/// The same without asking for variables, once this instance has asked for them.
pub(crate) fn known_home() -> Option<Rc<Home>> {
    HOME.with(|home| home.get().cloned())
}

/// Where things go. An instance asks once for its variables, and only for the first where that is empty.
pub(crate) async fn home() -> Result<Rc<Home>, Unavailable> {
    if let Some(home) = known_home() {
        return Ok(home);
    }
    let mut home = Home {
        url: real(&get("control_plane_url").await?),
        every: DELIVERY_SECONDS,
        counts: false,
    };
    if home.url.is_some() {
        let seconds = get("delivery_seconds").await?;
        let seconds = seconds.parse().unwrap_or(DELIVERY_SECONDS);
        home.every = seconds.clamp(1, 3_600) * 1_000_000;
        home.counts = !get("usage").await?.eq_ignore_ascii_case("off");
    }
    Ok(HOME.with(|known| Rc::clone(known.get_or_init(|| Rc::new(home)))))
}

/// A variable; empty where the manifest does not have it, or it cannot be had.
pub(crate) async fn text(name: &str) -> String {
    get(name).await.unwrap_or_else(|error| {
        eprintln!("{error}");
        String::new()
    })
}

/// A variable; empty where the manifest does not have it.
async fn get(name: &str) -> Result<String, Unavailable> {
    match variables::get(name).await {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(Error::Undefined(_)) => Ok(String::new()),
        Err(error) => Err(Unavailable(format!("variable {name}: {error}"))),
    }
}
