//! An edge of an existing Flagsmith without timers: looks at it when somebody asks, at most once each interval.
//!
//! Rules are core's ([`yardarm_core::edge::upstream`]). How the looks at an environment stand is a value of the store,
//! so that one instance looks for all of them. What is held answers at once, and the look comes after the reply; only
//! who asks for an environment that was never read waits for it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spin_sdk::wasip3::random::random::get_random_u64;
use spin_sdk::wasip3::spawn;
use yardarm_core::edge::pull_through::PATIENCE;
use yardarm_core::edge::upstream::{
    End, KeyPair, LookStatus, PullError, Root, Step, UpstreamStatus, Verdict, Watch, read_key_pairs,
};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::snapshot::Snapshot;
use yardarm_core::time::{Timestamp, lasts};

use crate::config::text;
use crate::host::{find, now};
use crate::key_value::spin::SpinStore;
use crate::key_value::{Change, KeyValue, update};
use crate::outbound::{send, within};
use crate::{snapshots, stored_json};

/// The largest document, all pages together, in bytes: it is in memory several times while it is compiled.
const ROOM: usize = 16 << 20;
/// For how long a look is somebody's, beside what upstream may take for each of some pages, in microseconds.
const CLAIM: i64 = 10_000_000;
/// How long who waits looks away at most.
const GLANCE: Duration = Duration::from_millis(100);

thread_local! {
    static UPSTREAM: OnceCell<Option<Rc<Upstream>>> = const { OnceCell::new() };
    /// How the looks stood when this instance last read it, by client-side key.
    static SEEN: RefCell<HashMap<String, Watched>> = RefCell::default();
}

/// An existing Flagsmith, by the component's variables.
#[derive(Debug)]
pub(crate) struct Upstream {
    root: Root,
    pairs: Vec<KeyPair>,
    interval: Duration,
    timeout: Duration,
    grace: Option<Duration>,
}

/// How the looks at one environment stand, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watched {
    watch: Watch,
    /// When the next look is due, microseconds since the epoch.
    next_at: i64,
    /// Until when the look under way is somebody's.
    claimed_until: i64,
}

/// What to do about a look.
#[derive(Debug, PartialEq)]
enum Turn {
    /// It is ours, from where the last one ended.
    Ours(Box<Watched>),
    /// Somebody else is at it.
    Theirs,
    /// It is not time yet.
    Early,
}

impl Upstream {
    /// The upstream, where there is one. An instance asks once for its variables.
    pub(crate) async fn known() -> Option<Rc<Self>> {
        if let Some(known) = UPSTREAM.with(|known| known.get().cloned()) {
            return known;
        }
        let read = Self::read().await.map(Rc::new);
        UPSTREAM.with(|known| known.get_or_init(|| read).clone())
    }

    /// What cannot be meant is told, and then there is no upstream.
    async fn read() -> Option<Self> {
        let pairs = text("environment_key_pairs").await;
        if pairs.is_empty() {
            return None;
        }
        let url = text("upstream_url").await;
        let (root, pairs) = match (Root::parse(&url), read_key_pairs(&pairs)) {
            (Ok(root), Ok(pairs)) => (root, pairs),
            (root, pairs) => {
                let told = pairs.err().unwrap_or_default();
                eprintln!("no upstream: upstream_url {url:?} ({root:?}) {told}");
                return None;
            }
        };
        let at_least = Duration::from_secs(1);
        let grace = seconds("grace_seconds", 30).await;
        Some(Self {
            root,
            pairs,
            interval: seconds("api_poll_frequency_seconds", 10)
                .await
                .max(at_least),
            timeout: seconds("api_poll_timeout_seconds", 5).await.max(at_least),
            grace: Some(grace).filter(|grace| !grace.is_zero()),
        })
    }

    /// The pair that a key is of.
    fn named(&self, key: &KeyRef<'_>) -> Option<&KeyPair> {
        let is_it = |pair: &&KeyPair| match *key {
            KeyRef::Client(key) => pair.client() == key,
            KeyRef::Server(hash) => pair.server_hash() == hash,
        };
        self.pairs.iter().find(is_it)
    }

    /// Sees to it that what is held of a key is looked at when it is time: after the reply where something is held, else
    /// before. Whether the key is one of the pairs'.
    pub(crate) async fn attend(
        self: Rc<Self>,
        key: &KeyRef<'_>,
        is_held: bool,
    ) -> Result<bool, Unavailable> {
        let Some(pair) = self.named(key).cloned() else {
            return Ok(false);
        };
        if !is_held {
            self.look_within_patience(vec![pair]).await;
        } else if self.is_due(&pair).await? {
            spawn(async move { self.look_or_say(&pair).await });
        }
        Ok(true)
    }

    /// How the looks stand, after those that are due, unless they take long.
    pub(crate) async fn status(self: Rc<Self>) -> Result<UpstreamStatus, Unavailable> {
        Rc::clone(&self)
            .look_within_patience(self.pairs.clone())
            .await;
        let store = SpinStore::default();
        let mut environments: Vec<LookStatus> = Vec::with_capacity(self.pairs.len());
        for pair in &self.pairs {
            let watched = watched(store.get(&place(pair)).await?.as_deref())?;
            environments.push(watched.watch.status(pair));
        }
        let count = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
        Ok(UpstreamStatus {
            environments,
            stale_after: self
                .grace
                .map(|grace| (self.interval + grace * count).as_secs()),
        })
    }

    /// Looks at these, and goes on after the reply with what takes longer than a request may wait.
    async fn look_within_patience(self: Rc<Self>, pairs: Vec<KeyPair>) {
        let mut looking = Box::pin(async move {
            for pair in &pairs {
                self.look_or_say(pair).await;
            }
        });
        if within(PATIENCE, looking.as_mut()).await.is_none() {
            spawn(looking);
        }
    }

    async fn look_or_say(&self, pair: &KeyPair) {
        if let Err(error) = self.look(pair).await {
            eprintln!("{}: {error}", pair.client());
        }
    }

    /// One look at one environment if it is due, or the end of the one that somebody else has begun.
    async fn look(&self, pair: &KeyPair) -> Result<(), Unavailable> {
        let store = SpinStore::default();
        let place = place(pair);
        let mut watched = loop {
            match self.turn(&store, &place, now()).await? {
                Turn::Ours(watched) => break *watched,
                Turn::Theirs => store.pause(GLANCE).await,
                Turn::Early => {
                    remember(pair, &store).await?;
                    return Ok(());
                }
            }
        };
        let found = find(&store, KeyRef::Client(pair.client())).await?;
        let held = found.map(|(_, snapshot)| snapshot);
        let watch = &mut watched.watch;
        let end = self.exchange(watch, pair, held.as_ref()).await;
        match watch.settle(end, pair, held.as_ref(), now()) {
            Verdict::Current => {}
            Verdict::Keep(problem) => eprintln!("{}: {problem}", pair.client()),
            Verdict::Install { package, warnings } => {
                for warning in warnings {
                    eprintln!("{}: {warning}", pair.client());
                }
                match snapshots::install(&store, &package, now()).await {
                    Ok(_) => watch.installed(now()),
                    Err(error) => watch.fail(error.to_string()),
                }
            }
        }
        let wait = watch.wait(self.interval, get_random_u64());
        watched.next_at = now().micros() + micros(wait);
        watched.claimed_until = 0;
        store.set(&place, &stored_json::write(&watched)?).await?;
        see(pair, watched);
        Ok(())
    }

    /// Whose look it is; one of ours is claimed.
    async fn turn<K: KeyValue>(
        &self,
        store: &K,
        place: &str,
        now: Timestamp,
    ) -> Result<Turn, Unavailable> {
        let most = CLAIM + 4 * micros(self.timeout);
        let longest = micros(self.interval).max(3_600_000_000);
        update(store, place, |bytes| {
            let mut watched = watched(bytes)?;
            if lasts(watched.claimed_until, most, now) {
                return Ok(Change::Keep(Turn::Theirs));
            }
            if lasts(watched.next_at, longest, now) {
                return Ok(Change::Keep(Turn::Early));
            }
            watched.claimed_until = now.micros() + most;
            let bytes = stored_json::write(&watched)?;
            Ok(Change::Store(bytes, Turn::Ours(Box::new(watched))))
        })
        .await
    }

    async fn exchange(&self, watch: &Watch, pair: &KeyPair, held: Option<&Snapshot>) -> End {
        let mut pull = watch.pull(&self.root, pair, held, ROOM, now());
        loop {
            let answer = match send(pull.request(), pull.room(), self.timeout).await {
                Ok(answer) => answer,
                Err(error) => return End::Failed(PullError::Exchange(error)),
            };
            match pull.answer(answer.status(), answer.headers(), answer.body(), now()) {
                Step::Ask(next) => pull = *next,
                Step::Done(end) => return end,
            }
        }
    }

    /// Whether it is time for a look, by what this instance has seen, or else by the store.
    async fn is_due(&self, pair: &KeyPair) -> Result<bool, Unavailable> {
        let is_early = |watched: &Watched| watched.next_at > now().micros();
        if SEEN.with_borrow(|seen| seen.get(pair.client()).is_some_and(is_early)) {
            return Ok(false);
        }
        remember(pair, &SpinStore::default()).await?;
        Ok(!SEEN.with_borrow(|seen| seen.get(pair.client()).is_some_and(is_early)))
    }
}

/// Takes in how the looks at an environment stand by the store.
async fn remember(pair: &KeyPair, store: &SpinStore) -> Result<(), Unavailable> {
    see(pair, watched(store.get(&place(pair)).await?.as_deref())?);
    Ok(())
}

/// When an environment was last confirmed, as far as this instance has heard.
pub(crate) fn confirmed_at(environment_key: &str) -> Option<Timestamp> {
    SEEN.with_borrow(|seen| seen.get(environment_key)?.watch.confirmed_at())
}

fn see(pair: &KeyPair, watched: Watched) {
    SEEN.with_borrow_mut(|seen| seen.insert(pair.client().to_owned(), watched));
}

fn watched(bytes: Option<&[u8]>) -> Result<Watched, Unavailable> {
    bytes.map_or(Ok(Watched::default()), |bytes| {
        stored_json::read("upstream", bytes)
    })
}

/// `upstream/` and the hash of the server-side key: of one length, whatever the keys.
fn place(pair: &KeyPair) -> String {
    format!("upstream/{}", pair.server_hash())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A variable in whole seconds, at most an hour.
async fn seconds(name: &str, default: u64) -> Duration {
    let text = text(name).await;
    let seconds = if let Ok(seconds @ 0..=3_600) = text.parse() {
        seconds
    } else {
        if !text.is_empty() {
            eprintln!("{name} is {text:?}; it takes 0 to 3600. Using {default}.");
        }
        default
    };
    Duration::from_secs(seconds)
}
