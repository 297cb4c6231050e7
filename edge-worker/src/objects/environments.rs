//! The object that files publications: what is held of which environment, decided in one place.
//!
//! KV cannot compare and set, so two publishers could otherwise take an environment backwards. A
//! package is announced, its parts are written under their hashes (by the isolate that has them), and
//! it is then committed here: under the environment's lock the version is compared once more and the
//! pointers are switched, if all of its parts are there. A reader sees the old snapshot or the new
//! one, whole; whatever fails on the way leaves the old one in place, and the publisher tries again.
//!
//! The order within a commit: server keys that lead to the new snapshot, the snapshot itself, the
//! table (from then on every isolate asks for the new version), server keys that went. The version
//! before and its parts stay for [`GRACE`], for isolates that still serve it.
//!
//! Parts are deleted under the lock that announcements take. An announcement keeps those it finds for
//! [`UNCOMMITTED`], so that none is deleted between being found and being named by a commit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::lock::Mutex;
use worker::{Date, DurableObject, Env, Request, Response, State, durable_object};
use yardarm_core::edge::Unavailable;
use yardarm_core::snapshot::Snapshot;

use super::ledger::{Announced, Ledger};
use crate::environments::{Announcement, Verdict, part_names};
use crate::store::{Key, Store};
use crate::streams::{News, tell};

/// How long replaced parts stay, in milliseconds: longer than any isolate uses a copy unchecked.
const GRACE: i64 = 600_000;
/// How long parts may wait for their commit, in milliseconds.
const UNCOMMITTED: i64 = 3_600_000;

/// The object; its storage is a [`Ledger`].
#[durable_object(alarm)]
pub struct Environments {
    state: State,
    env: Env,
    locks: RefCell<HashMap<String, Rc<Mutex<()>>>>,
}

impl DurableObject for Environments {
    fn new(state: State, env: Env) -> Self {
        Self {
            state,
            env,
            locks: RefCell::new(HashMap::new()),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let body = request.bytes().await?;
        let ledger = Ledger::open(&self.state)?;
        match request.path().as_str() {
            "/announce" => {
                let package: Announcement = super::message(&body)?;
                Response::from_json(&self.announce(&ledger, &package).await?)
            }
            "/newer" => {
                let versions: Vec<(String, u64)> = super::message(&body)?;
                Response::from_json(&ledger.newer_than(&versions)?)
            }
            "/held" => Response::from_json(&ledger.held()?),
            path => match path.strip_prefix("/commit/") {
                Some(written) => {
                    let numbers = written.split(',').filter_map(|number| number.parse().ok());
                    let written: Vec<u32> = numbers.collect();
                    let verdict = self.commit(&ledger, Bytes::from(body), &written).await?;
                    Response::from_json(&verdict)
                }
                None => Response::error("no such call", 404),
            },
        }
    }

    /// Deletes what has had its time.
    async fn alarm(&self) -> worker::Result<Response> {
        let ledger = Ledger::open(&self.state)?;
        let store = Store::open(&self.env).map_err(failed)?;
        // Some at a time: each alarm has its own bound on calls, and some versions have hundreds of parts.
        if let Some(environment) = ledger.environment_due(now())? {
            let lock = self.lock(&environment);
            let guard = lock.lock().await;
            for sha256 in ledger.parts_due(&environment, now())? {
                let delete = store.delete(Key::Part(&environment, &sha256));
                delete.await.map_err(failed)?;
                ledger.forget_part(&environment, &sha256)?;
            }
            drop(guard);
            self.forget_lock(&environment, &lock);
        } else if let Some(version) = ledger.version_due(now())? {
            let key = Key::Snapshot(&version.environment_key, version.version);
            store.delete(key).await.map_err(failed)?;
            ledger.forget_version(&version)?;
        }
        self.wake(&ledger).await?;
        Response::empty()
    }
}

impl Environments {
    async fn announce(&self, ledger: &Ledger, package: &Announcement) -> worker::Result<Verdict> {
        let environment = package.environment_key.as_str();
        let lock = self.lock(environment);
        let guard = lock.lock().await;
        let mut verdict = judge(ledger, environment, package.version)?;
        if let Verdict::Newest { missing } = &mut verdict {
            let until = now() + UNCOMMITTED;
            let version = Announced {
                environment_key: environment.to_owned(),
                version: package.version,
                server_keys: serde_json::to_string(&package.server_keys)?,
            };
            ledger.announce(&version, until)?;
            for (number, sha256) in (0..).zip(&package.parts) {
                let comes = package.came.contains(&number);
                if !ledger.reserve(environment, sha256, comes, until)? {
                    missing.push(number);
                }
            }
        }
        drop(guard);
        self.forget_lock(environment, &lock);
        self.wake(ledger).await?;
        Ok(verdict)
    }

    async fn commit(
        &self,
        ledger: &Ledger,
        bytes: Bytes,
        written: &[u32],
    ) -> worker::Result<Verdict> {
        let snapshot =
            Snapshot::open(bytes).map_err(|error| failed(Unavailable(error.to_string())))?;
        let (environment, version) = (snapshot.environment_key(), snapshot.version());
        let lock = self.lock(environment);
        let guard = lock.lock().await;
        let parts = part_names(&snapshot);
        for sha256 in written
            .iter()
            .filter_map(|number| parts.get(*number as usize))
        {
            ledger.written(environment, sha256)?;
        }
        let is_first = ledger.version(environment)?.is_none();
        let mut verdict = judge(ledger, environment, version)?;
        if let Verdict::Newest { missing } = &mut verdict {
            for (number, sha256) in (0..).zip(&parts) {
                if !ledger.is_written(environment, sha256)? {
                    missing.push(number);
                }
            }
            if missing.is_empty() {
                self.switch(ledger, &snapshot, &parts).await?;
            }
        }
        drop(guard);
        self.forget_lock(environment, &lock);
        // Nobody listens to what was unknown, and a new edge is given thousands of environments.
        if !is_first && matches!(&verdict, Verdict::Newest { missing } if missing.is_empty()) {
            self.announce_to_streams(&snapshot);
        }
        self.wake(ledger).await?;
        Ok(verdict)
    }

    /// Makes a snapshot the current one. The environment's lock is held.
    async fn switch(
        &self,
        ledger: &Ledger,
        snapshot: &Snapshot,
        parts: &[String],
    ) -> worker::Result<()> {
        let store = Store::open(&self.env).map_err(failed)?;
        let (environment, version) = (snapshot.environment_key(), snapshot.version());
        let Some(announced) = ledger.announced(environment, version)? else {
            let text = format!("{environment} version {version} was not announced");
            return Err(failed(Unavailable(text)));
        };
        let opens: Vec<String> = serde_json::from_str(&announced.server_keys)?;
        let opened = ledger.server_keys(environment)?;
        for sha256 in opens.iter().filter(|key| !opened.contains(key)) {
            let put = store.put(Key::Server(sha256), environment.as_bytes());
            put.await.map_err(failed)?;
        }
        try_join(
            store.put(Key::Snapshot(environment, version), snapshot.bytes()),
            store.put(Key::Environment(environment), snapshot.bytes()),
        )
        .await
        .map_err(failed)?;
        ledger.switch(snapshot, &announced, parts, now() + GRACE)?;
        for sha256 in opened.iter().filter(|key| !opens.contains(key)) {
            // What stays behind leads to a snapshot that no longer accepts the key: harmless.
            if let Err(error) = store.delete(Key::Server(sha256)).await {
                worker::console_warn!("{error}");
            }
        }
        Ok(())
    }

    /// Tells the objects that hold streams, after the answer.
    fn announce_to_streams(&self, snapshot: &Snapshot) {
        let (env, news) = (self.env.clone(), News::of(snapshot));
        self.state
            .wait_until(async move { tell(&env, &news).await });
    }

    fn lock(&self, environment: &str) -> Rc<Mutex<()>> {
        let mut locks = self.locks.borrow_mut();
        Rc::clone(locks.entry(environment.to_owned()).or_default())
    }

    /// Drops a lock that nobody else waits for.
    fn forget_lock(&self, environment: &str, lock: &Rc<Mutex<()>>) {
        // One is the caller's, one the table's.
        if Rc::strong_count(lock) <= 2 {
            self.locks.borrow_mut().remove(environment);
        }
    }

    /// Sets the alarm for the next parts to delete.
    async fn wake(&self, ledger: &Ledger) -> worker::Result<()> {
        let storage = self.state.storage();
        match ledger.next_due()? {
            Some(at) => {
                // Alarms are set relative to now; one that is due goes off at once.
                let after = u64::try_from((at - now()).max(0)).unwrap_or(0);
                storage
                    .set_alarm(std::time::Duration::from_millis(after))
                    .await
            }
            None => storage.delete_alarm().await,
        }
    }
}

fn judge(ledger: &Ledger, environment: &str, version: u64) -> worker::Result<Verdict> {
    Ok(match ledger.version(environment)? {
        Some(held) if held > version => Verdict::Older(held),
        Some(held) if held == version => Verdict::Already,
        _ => Verdict::Newest {
            missing: Vec::new(),
        },
    })
}

fn now() -> i64 {
    i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX)
}

fn failed(error: Unavailable) -> worker::Error {
    worker::Error::RustError(error.0)
}
