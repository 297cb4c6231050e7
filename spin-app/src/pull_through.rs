//! Keys that are not held, asked of the control plane: once, however many instances have somebody waiting.
//!
//! Whether to ask and what an answer is worth is core's ([`yardarm_core::edge::pull_through`]). Instances live for a
//! hundred requests and know nothing of each other, so that the [`Gate`] is a value of the store, changed by
//! compare-and-set: who claims a question asks, the others look after it until it is told.

use std::cell::RefCell;
use std::time::Duration;

use spin_sdk::wasip3::spawn;
use yardarm_core::edge::pull_through::{self, Gate, Key, Leave, PATIENCE, Pulled};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::time::Timestamp;

use crate::config::ControlPlane;
use crate::host::now;
use crate::key_value::spin::SpinStore;
use crate::key_value::{Change, KeyValue, update};
use crate::outbound::{send, within};
use crate::snapshots;

/// The key of the gate.
const GATE: &str = "pull-through";
/// How many misses it remembers: a value of some kilobytes.
const MISSES: usize = 256;
/// The largest package, in bytes: it is in memory several times while it is stored.
const ROOM: usize = 16 << 20;
/// How long an exchange may take. Whoever waits for it does not wait so long, but a package that comes late is there
/// for the next.
const EXCHANGE: Duration = Duration::from_secs(5);
/// How long who waits looks away at most.
const GLANCE: Duration = Duration::from_millis(100);

thread_local! {
    /// The gate as this instance last saw it: what it misses is missing for a while.
    static SEEN: RefCell<Gate> = RefCell::new(Gate::with_room(1));
}

/// Brings into the store what the control plane has of a key; whether it has anything. Waits [`PATIENCE`] at most.
pub(crate) async fn pull(home: ControlPlane, key: &KeyRef<'_>) -> Result<bool, Unavailable> {
    let store = SpinStore::default();
    match claim(&store, key, now()).await? {
        // Somebody brought it after this request had looked and before it claimed. Nobody misses it any more, and the claim
        // ends by itself.
        Leave::Ask if is_held(&store, key).await? => Ok(true),
        Leave::Ask => {
            let mut asking = Box::pin(ask(home, Key::of(key)));
            let told = within(PATIENCE, asking.as_mut()).await;
            told.unwrap_or_else(|| {
                spawn(async move {
                    // It has said in the log what became of it.
                    let _ = asking.await;
                });
                Err(Unavailable("the control plane is slow".to_owned()))
            })
        }
        Leave::Wait => within(PATIENCE, told(&store, key))
            .await
            .unwrap_or_else(|| Err(Unavailable("the control plane is slow".to_owned()))),
        Leave::Unknown => Ok(false),
        Leave::Later => Err(Unavailable("the control plane is not asked now".to_owned())),
    }
}

async fn is_held<K: KeyValue>(store: &K, key: &KeyRef<'_>) -> Result<bool, Unavailable> {
    let without_bytes = |_: &snapshots::Head| true;
    Ok(snapshots::read(store, key.clone(), without_bytes)
        .await?
        .is_some())
}

/// Asks, whatever becomes of who wanted to know; whether there is something.
async fn ask(home: ControlPlane, key: Key) -> Result<bool, Unavailable> {
    let key = key.by_ref();
    let store = SpinStore::default();
    let pulled = exchange(&home, &key).await;
    let installed = match &pulled {
        Pulled::Package(package) => {
            let installed = snapshots::install(&store, package, now()).await;
            installed.map(|_| true)
        }
        Pulled::Unknown => Ok(false),
        Pulled::Trouble(problem) => Err(Unavailable(problem.clone())),
    };
    let learnt = learn(&store, &key, &pulled, now()).await;
    let outcome = installed.and_then(|found| learnt.map(|()| found));
    outcome.inspect_err(|error| eprintln!("a key that is not held could not be looked up: {error}"))
}

async fn exchange(home: &ControlPlane, key: &KeyRef<'_>) -> Pulled {
    let request = match pull_through::request(&home.url, &home.secret, key, now()) {
        Ok(request) => request,
        Err(error) => return Pulled::Trouble(error.to_string()),
    };
    match send(request, ROOM, EXCHANGE).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let head = (head.status, &head.headers);
            pull_through::receive(&home.secret, key, head, body, now())
        }
        Err(error) => Pulled::Trouble(format!("the control plane: {error}")),
    }
}

fn gate(bytes: Option<&[u8]>) -> Gate {
    Gate::from_bytes(bytes.unwrap_or_default(), MISSES)
}

/// Whether to ask of a key; [`Leave::Ask`] is a claim.
async fn claim<K: KeyValue>(
    store: &K,
    key: &KeyRef<'_>,
    now: Timestamp,
) -> Result<Leave, Unavailable> {
    if SEEN.with_borrow(|seen| seen.misses(key, now)) {
        return Ok(Leave::Unknown);
    }
    let claim = |bytes: Option<&[u8]>| {
        let mut gate = gate(bytes);
        Ok(match gate.claim(key, now) {
            Leave::Ask => Change::Store(gate.to_bytes(now), Leave::Ask),
            other => {
                SEEN.set(gate);
                Change::Keep(other)
            }
        })
    };
    // Strangers who ask again and again only read.
    if let Change::Keep(leave) = claim(store.get(GATE).await?.as_deref())? {
        return Ok(leave);
    }
    update(store, GATE, claim).await
}

/// Gives a claim back, with what became of the question.
async fn learn<K: KeyValue>(
    store: &K,
    key: &KeyRef<'_>,
    pulled: &Pulled,
    now: Timestamp,
) -> Result<(), Unavailable> {
    update(store, GATE, |bytes| {
        let mut gate = gate(bytes);
        gate.learn(key, pulled, now);
        Ok(Change::Store(gate.to_bytes(now), ()))
    })
    .await
}

/// Looks after a question that somebody else asks until it is told; whether there may be something.
async fn told<K: KeyValue>(store: &K, key: &KeyRef<'_>) -> Result<bool, Unavailable> {
    loop {
        store.pause(GLANCE).await;
        let gate = gate(store.get(GATE).await?.as_deref());
        if !gate.is_claimed(key, now()) {
            return Ok(!gate.misses(key, now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use yardarm_core::snapshot::Package;

    use super::*;
    use crate::key_value::memory::{Memory, block_on, join};

    const KEY: KeyRef<'static> = KeyRef::Client("key");
    const NOW: Timestamp = Timestamp::from_secs(1_795_357_662);

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_secs(NOW.secs() + seconds)
    }

    #[test]
    fn one_of_many_instances_asks() {
        for seed in 0..20 {
            let store = Memory::interleaved(seed);
            // Each has looked at the clock before it comes to the store, in whatever order.
            let read_at = |instance: i64| Timestamp(NOW.micros() + instance * 17 % 30);
            let claims = (0..30).map(|n| claim(&store, &KEY, read_at(n))).collect();
            let leaves = block_on(join(claims));
            let of = |leave| {
                leaves
                    .iter()
                    .filter(|l| *l.as_ref().unwrap() == leave)
                    .count()
            };
            assert_eq!((of(Leave::Ask), of(Leave::Wait)), (1, 29), "seed {seed}");
            let package = Pulled::Package(Package::tombstone("key", 1, 1));
            block_on(learn(&store, &KEY, &package, NOW)).unwrap();
            let gate = gate(store.value(GATE).as_deref());
            assert!(!gate.is_claimed(&KEY, NOW) && !gate.misses(&KEY, NOW));
        }
    }

    #[test]
    fn a_miss_is_every_instances_and_ends() {
        let store = Memory::new();
        assert_eq!(block_on(claim(&store, &KEY, NOW)).unwrap(), Leave::Ask);
        block_on(learn(&store, &KEY, &Pulled::Unknown, NOW)).unwrap();
        store.reads();
        assert_eq!(
            block_on(claim(&store, &KEY, after(1))).unwrap(),
            Leave::Unknown
        );
        assert_eq!(store.reads(), 1);
        // Remembered in the instance, too.
        assert_eq!(
            block_on(claim(&store, &KEY, after(2))).unwrap(),
            Leave::Unknown
        );
        assert_eq!(store.reads(), 0);
        assert_eq!(
            block_on(claim(&store, &KEY, after(11))).unwrap(),
            Leave::Ask
        );
    }

    #[test]
    fn an_instance_that_died_while_it_asked_is_replaced() {
        let store = Memory::new();
        assert_eq!(block_on(claim(&store, &KEY, NOW)).unwrap(), Leave::Ask);
        assert_eq!(
            block_on(claim(&store, &KEY, after(7))).unwrap(),
            Leave::Wait
        );
        assert_eq!(block_on(claim(&store, &KEY, after(8))).unwrap(), Leave::Ask);
    }
}
