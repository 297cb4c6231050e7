//! Who asks: the environment that a key opens, and from which side.

use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::error::Refusal;
use super::ports::{Host, KeyRef};
use super::route::{DOCUMENT, ENVIRONMENT_KEY, Endpoint};
use crate::hex;
use crate::snapshot::{Settings, Side, Snapshot};

const MISSING: Refusal = Refusal::Denied("Invalid or missing Environment key");
const UNKNOWN: Refusal = Refusal::Denied("Invalid or missing Environment Key");
/// The one refusal that another key would not change.
pub(super) const NOT_SERVING: Refusal =
    Refusal::Denied("Organisation is disabled from serving flags.");

/// What server-side keys begin with.
const SERVER_SIDE: &[u8] = b"ser.";

/// An open environment.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) snapshot: Snapshot,
    pub(super) settings: Settings,
    pub(super) side: Side,
}

impl Access {
    /// Whether this key may set traits (flagsmith-api.md A.4).
    pub(super) const fn may_set_traits(&self) -> bool {
        self.settings.allow_client_traits || matches!(self.side, Side::Server)
    }
}

/// Opens the environment that `X-Environment-Key` names.
pub(super) async fn open<H: Host>(
    host: &H,
    endpoint: &Endpoint,
    headers: &HeaderMap,
) -> Result<Access, Refusal> {
    let key = headers.get(&ENVIRONMENT_KEY);
    let key = key.map_or(&[][..], |value| value.as_bytes().trim_ascii());
    if *endpoint == DOCUMENT && !key.starts_with(SERVER_SIDE) {
        return Err(MISSING);
    }
    open_by(host, key).await
}

/// Opens the environment that a key names. A server-side key that was revoked or has expired is as
/// unknown as one that never was.
pub(super) async fn open_by<H: Host>(host: &H, key: &[u8]) -> Result<Access, Refusal> {
    if key.is_empty() {
        return Err(MISSING);
    }
    // Keys are ASCII; no other text is one.
    let key = std::str::from_utf8(key).map_err(|_| UNKNOWN)?;
    let side = if key.as_bytes().starts_with(SERVER_SIDE) {
        Side::Server
    } else {
        Side::Client
    };
    let snapshot = match side {
        Side::Client => host.snapshot(KeyRef::Client(key)).await?,
        Side::Server => {
            let digest: [u8; 32] = Sha256::digest(key).into();
            let found = host.snapshot(KeyRef::Server(&hex::encode(&digest))).await?;
            found.filter(|snapshot| snapshot.accepts_server_key(&digest, host.now()))
        }
    };
    let snapshot = snapshot.ok_or(UNKNOWN)?;
    let settings = snapshot.settings();
    if settings.gone {
        return Err(UNKNOWN);
    }
    if settings.stop_serving_flags {
        return Err(NOT_SERVING);
    }
    Ok(Access {
        snapshot,
        settings,
        side,
    })
}
