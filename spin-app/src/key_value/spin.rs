//! Spin's key-value store: the component's `default` label.

use std::cell::OnceCell;
use std::time::Duration;

// `wasi:keyvalue@0.2.0-draft2`. The SDK calls its bindings experimental, as the interface is a draft;
// bindings of our own cannot be linked beside them.
use spin_sdk::experimental::wasi::keyvalue::atomics::{self, Cas, CasError};
use spin_sdk::experimental::wasi::keyvalue::store::{self, Bucket};
use spin_sdk::key_value::{Error, Store};
use spin_sdk::time::sleep;
use spin_sdk::wasip3::random::random::get_random_u64;
use yardarm_core::edge::Unavailable;

use super::KeyValue;

/// The label every Spin application has without further configuration.
const LABEL: &str = "default";

/// Spin's store as one request sees it. It is opened at the first call and not kept for the next
/// request: some platforms promise to show the writes of others only to a store opened after them.
#[derive(Default)]
pub(crate) struct SpinStore {
    store: OnceCell<Store>,
    bucket: OnceCell<Bucket>,
}

impl SpinStore {
    async fn store(&self) -> Result<&Store, Unavailable> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open(LABEL).await.map_err(unavailable)?;
        Ok(self.store.get_or_init(|| store))
    }

    fn bucket(&self) -> Result<&Bucket, Unavailable> {
        if let Some(bucket) = self.bucket.get() {
            return Ok(bucket);
        }
        let bucket = store::open(LABEL).map_err(refused)?;
        Ok(self.bucket.get_or_init(|| bucket))
    }
}

impl KeyValue for SpinStore {
    type Seen = Cas;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.store().await?.get(key).await.map_err(unavailable)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        self.store()
            .await?
            .set(key, value)
            .await
            .map_err(unavailable)
    }

    async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.store().await?.delete(key).await.map_err(unavailable)
    }

    // The atomics are synchronous: between the look and the swap of one request no other request of
    // this instance runs, so that only other instances can be in the way.
    async fn look(&self, key: &str) -> Result<(Option<Vec<u8>>, Cas), Unavailable> {
        let cas = Cas::new(self.bucket()?, key).map_err(refused)?;
        let value = cas.current().map_err(refused)?;
        Ok((value, cas))
    }

    async fn swap(&self, seen: Cas, value: &[u8]) -> Result<bool, Unavailable> {
        match atomics::swap(seen, value) {
            Ok(()) => Ok(true),
            Err(CasError::CasFailed(_)) => Ok(false),
            Err(CasError::StoreError(error)) => Err(refused(error)),
        }
    }

    async fn increment(&self, key: &str, by: i64) -> Result<i64, Unavailable> {
        atomics::increment(self.bucket()?, key, by).map_err(refused)
    }

    async fn pause(&self, at_most: Duration) {
        let nanos = u64::try_from(at_most.as_nanos()).unwrap_or(u64::MAX).max(1);
        sleep(Duration::from_nanos(get_random_u64() % nanos)).await;
    }

    fn random(&self) -> u128 {
        u128::from(get_random_u64()) << 64 | u128::from(get_random_u64())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: Error) -> Unavailable {
    Unavailable(error.to_string())
}

fn refused(error: store::Error) -> Unavailable {
    Unavailable(match error {
        store::Error::NoSuchStore => format!("no store {LABEL:?}"),
        store::Error::AccessDenied => format!("no access to store {LABEL:?}"),
        store::Error::Other(text) => text,
    })
}
