//! The component as the core's [`Host`]: Spin's store, clock, randomness and variables.

use std::cell::RefCell;
#[cfg(feature = "upstream")]
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use spin_sdk::wasip3::random::random::get_random_bytes;
#[cfg(feature = "upstream")]
use yardarm_core::edge::upstream::UpstreamStatus;
use yardarm_core::edge::{
    ChangeError, Held, Host, IdentityRecord, Install, KeyRef, TraitChange, Unavailable,
};
use yardarm_core::snapshot::{Package, Snapshot};
use yardarm_core::time::Timestamp;

use crate::key_value::spin::SpinStore;
#[cfg(feature = "upstream")]
use crate::upstream::{self, Upstream};
use crate::{config, identities, pull_through, snapshots};

/// The ports for one request.
pub(crate) struct SpinHost {
    store: SpinStore,
    secret: Option<Vec<u8>>,
    /// The head of the snapshot that this request is answered from.
    served: RefCell<Option<snapshots::Head>>,
    /// The existing Flagsmith that this is an edge of, if it is one.
    #[cfg(feature = "upstream")]
    upstream: Option<Rc<Upstream>>,
}

impl SpinHost {
    /// What a request needs before the core sees it.
    pub(crate) async fn serving(request: &Request<Bytes>) -> Self {
        Self {
            store: SpinStore::default(),
            secret: config::publishing_secret(request.uri().path()).await,
            served: RefCell::default(),
            #[cfg(feature = "upstream")]
            upstream: Upstream::known().await,
        }
    }

    /// What is held under a key.
    async fn find(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let Some((head, snapshot)) = find(&self.store, key).await? else {
            return Ok(None);
        };
        *self.served.borrow_mut() = Some(head);
        Ok(Some(snapshot))
    }
}

/// What is held under a key, and its head.
pub(crate) async fn find(
    store: &SpinStore,
    key: KeyRef<'_>,
) -> Result<Option<(snapshots::Head, Snapshot)>, Unavailable> {
    let known =
        |head: &snapshots::Head| snapshots::recall(&head.environment_key, &head.tag()).is_some();
    let Some((head, bytes)) = snapshots::read(store, key, known).await? else {
        return Ok(None);
    };
    let tag = head.tag();
    let Some(bytes) = bytes else {
        let snapshot = snapshots::recall(&head.environment_key, &tag);
        return Ok(snapshot.map(|snapshot| (head, snapshot)));
    };
    let snapshot = Snapshot::open(bytes.into())
        .map_err(|error| Unavailable(format!("{}: {error}", head.environment_key)))?;
    snapshots::keep(&head.environment_key, &tag, &snapshot);
    Ok(Some((head, snapshot)))
}

/// The time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Host for SpinHost {
    fn now(&self) -> Timestamp {
        now()
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
        let found = self.find(key.clone()).await?;
        #[cfg(feature = "upstream")]
        if let Some(upstream) = &self.upstream {
            if !Rc::clone(upstream).attend(&key, found.is_some()).await? {
                let others_publish = config::secret().await.is_some();
                return Ok(found.filter(|_| others_publish));
            }
            if found.is_some() {
                return Ok(found);
            }
            // Not unknown, only not read yet.
            let not_yet = || Unavailable("upstream was not heard yet".to_owned());
            return self.find(key).await?.map(Some).ok_or_else(not_yet);
        }
        if found.is_none()
            && let Some(home) = config::control_plane().await?
            && pull_through::pull(home, &key).await?
        {
            return self.find(key).await;
        }
        Ok(found)
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
        let place = (snapshot.environment_key(), identifier);
        let tells = config::home().await?.url.is_some();
        identities::change(&self.store, place, change, self.now(), tells).await
    }

    async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        snapshots::install(&self.store, package, self.now()).await
    }

    async fn held(&self) -> Result<Vec<Held>, Unavailable> {
        let heads = snapshots::held(&self.store).await?;
        Ok(heads.into_iter().map(Held::from).collect())
    }

    #[cfg(feature = "upstream")]
    fn has_upstream(&self) -> bool {
        self.upstream.is_some()
    }

    #[cfg(feature = "upstream")]
    async fn upstream_status(&self) -> Result<Option<UpstreamStatus>, Unavailable> {
        match &self.upstream {
            None => Ok(None),
            Some(upstream) => Rc::clone(upstream).status().await.map(Some),
        }
    }

    #[cfg(feature = "upstream")]
    fn confirmed_at(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        self.upstream.as_ref()?;
        upstream::confirmed_at(snapshot.environment_key())
    }
}
