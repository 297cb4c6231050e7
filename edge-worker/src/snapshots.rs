//! Snapshots as this isolate knows them: memory first, KV where memory has nothing, and the object
//! that files publications to learn of newer versions.
//!
//! KV alone could be a minute behind. So every isolate asks the object, in the background and once
//! for all environments it holds, which of them have a newer version, and reads that one under its
//! version, which no cache can have stale. When the object does not answer, what is in hand keeps
//! serving.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use worker::{Context, Delay, Env, console_warn};
use yardarm_core::edge::{Install, KeyRef, Unavailable};
use yardarm_core::snapshot::{Package, Snapshot};

use crate::config::Config;
use crate::environments::{Announcement, Environments, Verdict};
use crate::host::now_millis;
use crate::shelf::{Age, Shelf};
use crate::spare;
use crate::store::{Key, Store};

/// How long a request waits for news of a copy that is too old before it takes that copy.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a version that is to come is looked for before it is left to later requests, and the pause
/// in between: as long as [`PATIENCE`] altogether.
const CATCH_UP_LOOKS: u32 = 40;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(25);
/// Connections that one request may have open at a time; the platform's bound is six.
const PARALLEL: usize = 6;

thread_local! {
    static SHELF: RefCell<Shelf> = RefCell::default();
}

/// The snapshots, as one request sees them.
pub(crate) struct Snapshots<'a> {
    pub(crate) env: &'a Env,
    pub(crate) context: &'a Context,
    pub(crate) config: &'a Rc<Config>,
    /// Milliseconds since the epoch.
    pub(crate) now: i64,
}

impl Snapshots<'_> {
    /// The snapshot a key leads to.
    pub(crate) async fn find(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        match key {
            KeyRef::Client(environment) => self.of(environment).await,
            KeyRef::Server(sha256) => match self.environment_of(sha256).await? {
                Some(environment) => self.of(&environment).await,
                None => Ok(None),
            },
        }
    }

    async fn of(&self, environment: &str) -> Result<Option<Snapshot>, Unavailable> {
        let find =
            || SHELF.with_borrow_mut(|shelf| shelf.find(environment, self.now, self.config.ages));
        match find() {
            Some((snapshot, Age::Fresh)) => Ok(snapshot),
            Some((snapshot, Age::Stale)) => {
                self.look_later();
                Ok(snapshot)
            }
            Some((snapshot, Age::Expired)) => {
                self.look_now().await;
                Ok(find().map_or(snapshot, |(newest, _)| newest))
            }
            None => {
                let snapshot = self.read_cold(environment).await?;
                // KV and the spare copy may be behind: the first look follows at once.
                let unchecked = self.now - self.config.ages.revalidate;
                SHELF.with_borrow_mut(|shelf| shelf.hold(environment, snapshot.clone(), unchecked));
                self.look_later();
                Ok(snapshot)
            }
        }
    }

    /// What KV has of an environment that this isolate knows nothing of; the spare copy when KV does
    /// not answer.
    async fn read_cold(&self, environment: &str) -> Result<Option<Snapshot>, Unavailable> {
        let key = Key::Environment(environment);
        let found = match self.get(key).await? {
            Some(bytes) => open(key, bytes)?,
            None => return Ok(None),
        };
        Ok((found.environment_key() == environment).then_some(found))
    }

    /// A value from KV, or its spare copy when KV does not answer.
    async fn get(&self, key: Key<'_>) -> Result<Option<Bytes>, Unavailable> {
        match Store::open(self.env)?.get(key).await {
            Ok(found) => {
                if let Some(bytes) = &found {
                    spare::keep(self.context, key, bytes);
                }
                Ok(found)
            }
            Err(error) => match spare::find(key).await {
                Some(bytes) => {
                    console_warn!("serving the spare copy: {error}");
                    Ok(Some(bytes))
                }
                None => Err(error),
            },
        }
    }

    /// The environment that a server-side key leads to; the snapshot there decides whether it opens.
    async fn environment_of(&self, sha256: &str) -> Result<Option<String>, Unavailable> {
        let known = SHELF.with_borrow(|shelf| shelf.pointer(sha256, self.now, self.config.ages));
        match known {
            Some((environment, Age::Fresh)) => Ok(environment),
            Some((Some(environment), Age::Stale)) => Ok(Some(environment)),
            known => match self.get(Key::Server(sha256)).await {
                Ok(found) => {
                    let found = found.and_then(|name| String::from_utf8(name.into()).ok());
                    SHELF.with_borrow_mut(|shelf| shelf.point(sha256, found.clone(), self.now));
                    Ok(found)
                }
                Err(error) => match known {
                    Some((environment, _)) => {
                        console_warn!("{error}");
                        Ok(environment)
                    }
                    None => Err(error),
                },
            },
        }
    }

    /// Looks for newer versions after the reply.
    fn look_later(&self) {
        let (env, now) = (self.env.clone(), self.now);
        self.context
            .wait_until(async move { look(&env, now, false).await });
    }

    /// Looks for newer versions, but not for long.
    async fn look_now(&self) {
        let look = std::pin::pin!(look(self.env, self.now, true));
        if let Either::Right(_) = select(look, Delay::from(PATIENCE)).await {
            console_warn!("no news of newer versions in time; serving what is held");
        }
    }

    /// A part of this very version.
    pub(crate) async fn part(
        &self,
        snapshot: &Snapshot,
        number: u32,
    ) -> Result<Option<Bytes>, Unavailable> {
        if let Some(bytes) = SHELF.with_borrow(|shelf| shelf.part(snapshot, number)) {
            return Ok(Some(bytes));
        }
        let Some(name) = snapshot.part_name(number) else {
            return Ok(None);
        };
        let sha256 = name.to_hex();
        let bytes = self
            .get(Key::Part(snapshot.environment_key(), &sha256))
            .await?;
        if let Some(bytes) = &bytes {
            SHELF.with_borrow_mut(|shelf| shelf.hold_part(snapshot, number, bytes.clone()));
        }
        Ok(bytes)
    }

    /// Some parts of this very version, read side by side.
    pub(crate) async fn parts(
        &self,
        snapshot: &Snapshot,
        numbers: Range<u32>,
    ) -> Result<Option<Vec<Bytes>>, Unavailable> {
        stream::iter(numbers)
            .map(|number| self.part(snapshot, number))
            .buffered(PARALLEL)
            .try_fold(Some(Vec::new()), |parts, part| async move {
                Ok(parts.zip(part).map(|(mut parts, part)| {
                    parts.push(part);
                    parts
                }))
            })
            .await
    }

    /// Stores a package unless a newer version is held.
    pub(crate) async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        let announcement = Announcement::from(package);
        let verdict = write(self.env, package, &announcement).await?;
        Ok(match verdict {
            Verdict::Newest { missing } if !missing.is_empty() => Install::Incomplete { missing },
            Verdict::Newest { .. } => {
                let snapshot = package.opened().clone();
                let environment = &announcement.environment_key;
                spare::keep(
                    self.context,
                    Key::Environment(environment),
                    snapshot.bytes(),
                );
                SHELF.with_borrow_mut(|shelf| {
                    for sha256 in &announcement.server_keys {
                        shelf.point(sha256, Some(environment.clone()), self.now);
                    }
                    shelf.hold(environment, Some(snapshot), self.now);
                });
                Install::Stored
            }
            Verdict::Already => Install::Already,
            Verdict::Older(held) => Install::Older { held },
        })
    }
}

/// Files a package from outside a request; isolates hear of it as of any other.
pub(crate) async fn file(env: &Env, package: &Package) -> Result<(), Unavailable> {
    match write(env, package, &Announcement::from(package)).await? {
        Verdict::Newest { missing } if !missing.is_empty() => {
            Err(Unavailable("the package lacks parts".to_owned()))
        }
        Verdict::Newest { .. } | Verdict::Already => Ok(()),
        Verdict::Older(held) => Err(Unavailable(format!("version {held} is held already"))),
    }
}

/// Announces a package, writes what is missing of it, and has it made the current one.
async fn write(
    env: &Env,
    package: &Package,
    announcement: &Announcement,
) -> Result<Verdict, Unavailable> {
    let object = Environments(env);
    match object.announce(announcement).await? {
        Verdict::Newest { missing } => {
            let came = |number: &u32| announcement.came.contains(number);
            let written: Vec<u32> = missing.iter().copied().filter(came).collect();
            if written.is_empty() && !missing.is_empty() {
                return Ok(Verdict::Newest { missing });
            }
            write_parts(env, package, &written).await?;
            object.commit(package.opened().bytes(), &written).await
        }
        verdict => Ok(verdict),
    }
}

/// Holds what was read under a key in this isolate.
pub(crate) fn hold(key: &KeyRef<'_>, snapshot: &Snapshot, now: i64) {
    let environment = snapshot.environment_key();
    SHELF.with_borrow_mut(|shelf| {
        if let KeyRef::Server(sha256) = *key {
            shelf.point(sha256, Some(environment.to_owned()), now);
        }
        shelf.hold(environment, Some(snapshot.clone()), now);
    });
}

/// Writes parts, each once: two that are equal have one key, which KV lets us write once a second.
async fn write_parts(env: &Env, package: &Package, numbers: &[u32]) -> Result<(), Unavailable> {
    let store = Store::open(env)?;
    let snapshot = package.opened();
    let parts: BTreeMap<String, Bytes> = numbers
        .iter()
        .filter_map(|number| {
            let name = snapshot.part_name(*number)?;
            Some((name.to_hex(), package.part(*number)?))
        })
        .collect();
    let (store, environment) = (&store, snapshot.environment_key());
    stream::iter(&parts)
        .map(|(sha256, bytes)| store.put(Key::Part(environment, sha256), bytes))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await
}

/// Sees to it that this isolate holds a version that it has been told of, or a newer one, but not for
/// long. One request reads it; the others wait until it is there, as they cannot share what it does.
pub(crate) async fn catch_up(env: &Env, environment: &str, version: u64) {
    let is_behind = || {
        SHELF.with_borrow(|shelf| {
            shelf
                .version(environment)
                .is_some_and(|held| held < version)
        })
    };
    for _ in 0..CATCH_UP_LOOKS {
        if !is_behind() {
            return;
        }
        look(env, now_millis(), false).await;
        if is_behind() {
            Delay::from(CATCH_UP_PAUSE).await;
        }
    }
}

/// Asks which environments held here have a newer version, and takes those in. Leaves it to another
/// request that is looking already, unless this one `waits`.
async fn look(env: &Env, now: i64, waits: bool) {
    let Some(held) = SHELF.with_borrow_mut(|shelf| shelf.begin_check(now, waits)) else {
        return;
    };
    let newest = match Environments(env).newer_than(&held).await {
        Ok(newer) => {
            take_in(env, &newer, now).await;
            // These are held in an older version: what was taken in says so itself.
            let behind = |key: &String| newer.iter().any(|(environment, _)| environment == key);
            held.into_iter().filter(|(key, _)| !behind(key)).collect()
        }
        Err(error) => {
            console_warn!("looking for newer versions: {error}");
            Vec::new()
        }
    };
    SHELF.with_borrow_mut(|shelf| shelf.end_check(&newest, now));
}

/// Reads newer versions; what cannot be read now is found again by the next look.
async fn take_in(env: &Env, newer: &[(String, u64)], now: i64) {
    for (environment, version) in newer {
        match read(env, environment, *version).await {
            Ok(Some(snapshot)) => {
                SHELF.with_borrow_mut(|shelf| shelf.hold(environment, Some(snapshot.clone()), now));
                spare::keep_now(Key::Environment(environment), snapshot.bytes()).await;
            }
            Ok(None) => console_warn!("{environment} version {version} is not there yet"),
            Err(error) => console_warn!("{error}"),
        }
    }
}

/// The snapshot of one version, from KV.
pub(crate) async fn read(
    env: &Env,
    environment: &str,
    version: u64,
) -> Result<Option<Snapshot>, Unavailable> {
    let key = Key::Snapshot(environment, version);
    let found = Store::open(env)?.get(key).await?;
    found.map(|bytes| open(key, bytes)).transpose()
}

fn open(key: Key<'_>, bytes: Bytes) -> Result<Snapshot, Unavailable> {
    Snapshot::open(bytes).map_err(|error| Unavailable(format!("{key}: {error}")))
}
