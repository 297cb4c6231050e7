//! The component as the core's [`Host`]: Spin's store, clock, randomness and variables.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use spin_sdk::wasip3::random::random::get_random_bytes;
use yardarm_core::edge::{
    ChangeError, Held, Host, IdentityRecord, Install, KeyRef, TraitChange, Unavailable,
};
use yardarm_core::snapshot::{Package, Snapshot};
use yardarm_core::time::Timestamp;

use crate::key_value::spin::SpinStore;
use crate::{config, identities, snapshots};

/// The ports for one request.
pub(crate) struct SpinHost {
    store: SpinStore,
    secret: Option<Vec<u8>>,
    /// The head of the snapshot that this request is answered from.
    served: RefCell<Option<snapshots::Head>>,
}

impl SpinHost {
    /// What a request needs before the core sees it.
    pub(crate) async fn serving(request: &Request<Bytes>) -> Self {
        Self {
            store: SpinStore::default(),
            secret: config::publishing_secret(request.uri().path()).await,
            served: RefCell::default(),
        }
    }
}

impl Host for SpinHost {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn random(&self) -> [u8; 16] {
        // A host that gives fewer bytes than asked for breaks its contract; zeroes then.
        get_random_bytes(16).try_into().unwrap_or_default()
    }

    fn name(&self) -> &'static str {
        "spin"
    }

    fn publishing_secret(&self) -> Option<Vec<u8>> {
        self.secret.clone()
    }

    async fn snapshot(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let known = |head: &snapshots::Head| {
            snapshots::recall(&head.environment_key, &head.tag()).is_some()
        };
        let Some((head, bytes)) = snapshots::read(&self.store, key, known).await? else {
            return Ok(None);
        };
        let tag = head.tag();
        *self.served.borrow_mut() = Some(head.clone());
        let Some(bytes) = bytes else {
            return Ok(snapshots::recall(&head.environment_key, &tag));
        };
        let snapshot = Snapshot::open(bytes.into())
            .map_err(|error| Unavailable(format!("{}: {error}", head.environment_key)))?;
        snapshots::keep(&head.environment_key, &tag, &snapshot);
        Ok(Some(snapshot))
    }

    async fn part(&self, snapshot: &Snapshot, number: u32) -> Result<Option<Bytes>, Unavailable> {
        let head = self.served.borrow().clone();
        let head = head.filter(|head| {
            head.version == snapshot.version() && head.content_hash == snapshot.content_hash()
        });
        let (Some(head), Some(name)) = (head, snapshot.part_name(number)) else {
            return Ok(None);
        };
        let part = snapshots::read_part(&self.store, &head, number, name).await?;
        Ok(part.map(Bytes::from))
    }

    async fn identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        identities::load(&self.store, snapshot.environment_key(), identifier).await
    }

    async fn change_identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        let environment_key = snapshot.environment_key();
        identities::change(&self.store, environment_key, identifier, change, self.now()).await
    }

    async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        snapshots::install(&self.store, package, self.now()).await
    }

    async fn held(&self) -> Result<Vec<Held>, Unavailable> {
        let heads = snapshots::held(&self.store).await?;
        Ok(heads.into_iter().map(Held::from).collect())
    }
}
