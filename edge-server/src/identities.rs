//! Where an edge keeps identities: the port that the disk and, mounted in the control plane,
//! Postgres fill.

use std::future::Future;
use std::sync::Arc;

use yardarm_core::edge::{ChangeError, IdentityRecord, TraitChange, Unavailable};
use yardarm_core::time::Timestamp;

/// A store of identities with their traits.
///
/// The futures are `Send`, unlike those of core's ports, because a native edge answers on many
/// threads.
pub trait Identities: Send + Sync + 'static {
    /// What is stored of an identity; `None` where it has never been seen.
    fn identity(
        &self,
        environment_key: &str,
        identifier: &str,
    ) -> impl Future<Output = Result<Option<IdentityRecord>, Unavailable>> + Send;

    /// What is stored of an identity, where that is known without waiting and cannot be stale; `None` says nothing.
    fn at_hand(&self, _environment_key: &str, _identifier: &str) -> Option<Arc<IdentityRecord>> {
        None
    }

    /// Gets the identity, or creates it as first seen at `now`, applies the change with
    /// [`IdentityRecord::apply`] and stores the result; tells the identity as it is afterwards.
    ///
    /// Changes of one identity happen one after the other, so that none is lost. After `Ok(Ok(_))`
    /// the change survives whatever happens to the process and the machine's power; after
    /// `Ok(Err(_))` nothing was stored.
    fn change_identity(
        &self,
        environment_key: &str,
        identifier: &str,
        change: &TraitChange,
        now: Timestamp,
    ) -> impl Future<Output = Result<Result<IdentityRecord, ChangeError>, Unavailable>> + Send;
}
