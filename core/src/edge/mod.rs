//! The SDK HTTP API, once for every host.
//!
//! [`handle`] takes a request and the host's ports and gives the reply, plus the effects that the
//! host runs after replying. Streams stay with the host.

use bytes::Bytes;
use http::{Request, Response};

mod hex;
mod identity_record;
mod ports;
pub mod signature;

pub use identity_record::{ChangeError, IdentityRecord, StoredTrait, TraitChange, TraitScalar};
pub use ports::{Held, Host, Install, KeyRef, Unavailable};

/// What a request came to.
#[derive(Debug)]
pub struct Outcome {
    /// The reply, complete with headers.
    pub reply: Response<Bytes>,
    /// What to do after replying.
    pub effects: Vec<Effect>,
}

/// Work that need not delay the reply: the host runs it in `wait_until`, a spawned task, or before
/// returning.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Flags were evaluated in an SDK (analytics v1 and v2).
    Evaluations {
        /// The environment's client-side key.
        environment_key: String,
        /// One row a feature and identity.
        rows: Vec<Evaluation>,
    },
}

/// One row of analytics.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Feature name; known in the environment.
    pub feature_name: String,
    /// Identity, v2 only.
    pub identity_identifier: Option<String>,
    /// The state seen, v2 only.
    pub enabled_when_evaluated: Option<bool>,
    /// How often.
    pub count: i64,
}

/// Answers one request: SDK API, health, version, and the signed publication routes.
pub async fn handle<H: Host>(_host: &H, _request: Request<Bytes>) -> Outcome {
    todo!()
}
