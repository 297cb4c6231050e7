//! What the core asks of a host. Futures carry no `Send` bound: each host names a concrete type, so
//! axum's compiler infers `Send` and Workers need none (docs/adr/0001).
#![expect(
    async_fn_in_trait,
    reason = "Send is inferred per host; a Worker's futures are not Send"
)]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::identity_record::{ChangeError, IdentityRecord, TraitChange};
use super::upstream::UpstreamStatus;
use crate::snapshot::{Package, PackageMeta, Snapshot};
use crate::time::Timestamp;

/// A host's store did not answer; the text is for the log, never for the client.
#[derive(Debug, Clone, thiserror::Error)]
#[error("store unavailable: {0}")]
pub struct Unavailable(pub String);

/// How a request names its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef<'a> {
    /// By the client-side key itself.
    Client(&'a str),
    /// By SHA-256 of a server-side key, lower-case hex.
    Server(&'a str),
}

/// What a host did with a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// Stored and serving.
    Stored,
    /// Newer than what is held, but these parts are not here. Those that came are kept for a while,
    /// and what was held keeps serving.
    Incomplete {
        /// Numbers of the parts.
        missing: Vec<u32>,
    },
    /// The same version is already held: nothing changed, and nothing is wrong.
    Already,
    /// A newer version is held and keeps serving.
    Older {
        /// The version held.
        held: u64,
    },
}

/// One environment an edge holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The environment's client-side key.
    pub environment_key: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of the package's content, lower-case hex.
    pub content_hash: String,
    /// Whether it is a tombstone.
    pub gone: bool,
}

impl From<PackageMeta> for Held {
    fn from(meta: PackageMeta) -> Self {
        Self {
            environment_key: meta.environment_key,
            version: meta.version,
            content_hash: meta.content_hash,
            gone: meta.gone,
        }
    }
}

/// The ports. All look-ups answer from what the host already holds; none waits for a control plane.
pub trait Host {
    /// The time.
    fn now(&self) -> Timestamp;

    /// 16 random bytes, for the identifier of an anonymous identity without traits.
    fn random(&self) -> [u8; 16];

    /// What `Flagsmith-Version` and `/version/` say of the host: `worker`, `spin`, `native` or `memory`.
    fn name(&self) -> &'static str;

    /// The secret that signs publications; without one the publication routes answer 404.
    fn publishing_secret(&self) -> Option<Vec<u8>>;

    /// Whether the host can keep event streams open ([`super::stream`]).
    fn has_streams(&self) -> bool {
        false
    }

    /// The snapshot a key leads to, tombstones included. For a server-side key the host's index only
    /// says where to look: the core asks the snapshot whether the key still opens it.
    async fn snapshot(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable>;

    /// A part of this very version of the snapshot, which names it (`Snapshot::part_name`).
    async fn part(&self, snapshot: &Snapshot, number: u32) -> Result<Option<Bytes>, Unavailable>;

    /// Some of the parts, in order; `None` when any of them is not there. A host whose store is far
    /// away asks for them side by side.
    async fn parts(
        &self,
        snapshot: &Snapshot,
        numbers: Range<u32>,
    ) -> Result<Option<Vec<Bytes>>, Unavailable> {
        let mut parts = Vec::with_capacity(numbers.len());
        for number in numbers {
            match self.part(snapshot, number).await? {
                Some(part) => parts.push(part),
                None => return Ok(None),
            }
        }
        Ok(Some(parts))
    }

    /// What is stored of an identity.
    async fn identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable>;

    /// What is stored of an identity, where the host knows it without waiting. `None` says nothing, and is all that a host
    /// without such a memory has to say. A host whose memory can be behind what is stored bounds by how much, and
    /// heeds [`Self::sent_as_held`].
    fn identity_at_hand(
        &self,
        _snapshot: &Snapshot,
        _identifier: &str,
    ) -> Option<Arc<IdentityRecord>> {
        None
    }

    /// Says that a request set these traits of `held`, which [`Self::identity_at_hand`] gave and which has them just so,
    /// so that nothing was stored. Where the memory can be behind what is stored, another change may have come
    /// between: the host then sees to it, after the reply, that they are stored
    /// ([`TraitChange::Sent`]).
    fn sent_as_held(
        &self,
        _snapshot: &Snapshot,
        _identifier: &str,
        _held: &Arc<IdentityRecord>,
        _traits: &mut dyn Iterator<Item = &str>,
    ) {
    }

    /// Gets or creates an identity, applies the change to it with
    /// [`IdentityRecord::apply`] and stores the result, one change of an identity at a time, so that
    /// none is lost. Gives the identity as it is afterwards.
    async fn change_identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable>;

    /// Stores a checked package unless a newer version is held, so that a reader sees either the old
    /// or the new one whole; also points every server key hash of it at the environment and forgets
    /// hashes the previous package had and this one has not. Parts that the package lacks are taken
    /// from what is held or came before; with any still missing, the version waits for them.
    async fn install(&self, package: &Package) -> Result<Install, Unavailable>;

    /// What is held, tombstones included.
    async fn held(&self) -> Result<Vec<Held>, Unavailable>;

    /// Whether this edge pulls from a Flagsmith rather than being published to.
    fn has_upstream(&self) -> bool {
        false
    }

    /// How the looks at upstream stand; `None` where there is none.
    async fn upstream_status(&self) -> Result<Option<UpstreamStatus>, Unavailable> {
        Ok(None)
    }

    /// When upstream last said that this snapshot is current; `None` where there is no upstream, or it has not
    /// been heard since this host began.
    fn confirmed_at(&self, _snapshot: &Snapshot) -> Option<Timestamp> {
        None
    }

    /// The origins whose pages may read answers; `None`: all.
    fn allowed_origins(&self) -> Option<&[String]> {
        None
    }
}
