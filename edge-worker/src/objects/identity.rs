//! One identity of one environment.
//!
//! A change is read whole first, then loaded, applied and stored without an `await` between, so no
//! two changes can interleave. The platform holds the answer back until the write is on disk.
//!
//! Where there is a control plane, what it has to be told is stored in the same row as the record, and an alarm brings
//! it to the outbox a little later, so that changes which follow each other go together. It stays in the row until
//! the outbox has it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use worker::{
    Date, DurableObject, Env, Method, Request, Response, State, console_error, durable_object,
};
use yardarm_core::edge::delivery::IdentityChange;
use yardarm_core::edge::{IdentityRecord, TraitChange};
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::outbox::Outbox;

/// How long changes are gathered before they go to the outbox.
const GATHER: Duration = Duration::from_secs(2);
/// How long until the outbox is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What a change asks for: whose, as the object does not know its own name, and what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask<'a> {
    /// The environment's client-side key.
    pub(crate) environment_key: std::borrow::Cow<'a, str>,
    /// The identity's identifier.
    pub(crate) identifier: std::borrow::Cow<'a, str>,
    /// The change.
    pub(crate) change: std::borrow::Cow<'a, TraitChange>,
}

/// The object; its storage has one row: the record and what is yet to be told of it, as JSON.
#[durable_object(alarm)]
pub struct Identity {
    state: State,
    env: Env,
    held: RefCell<Option<Held>>,
    /// Whether an alarm is known to be set.
    woken: Cell<bool>,
}

/// What the storage has; nothing of an identity that was never seen.
#[derive(Debug, Clone, Default)]
struct Held {
    record: Option<IdentityRecord>,
    pending: Option<IdentityChange>,
}

impl DurableObject for Identity {
    fn new(state: State, env: Env) -> Self {
        Self {
            state,
            env,
            held: RefCell::new(None),
            woken: Cell::new(false),
        }
    }

    /// GET answers the record or `null`; POST takes an [`Ask`] and answers what came of it.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if request.method() == Method::Get {
            return Response::from_json(&self.load()?.record);
        }
        let body = request.bytes().await?;
        let Ask {
            environment_key,
            identifier,
            change,
        } = super::message(&body)?;
        let held = self.load()?;
        let millis = i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX);
        let now = Timestamp(millis.saturating_mul(1_000));
        let before = held.record.as_ref();
        let mut record = before.cloned().unwrap_or_else(|| IdentityRecord {
            created_at_micros: now.micros(),
            ..IdentityRecord::default()
        });
        let applied = record.apply(&change, now);
        if applied.is_ok() && before != Some(&record) {
            let mut pending = held.pending.clone();
            let news = if Config::of(&self.env).home.is_some() {
                record.news(before, &change, now, (&environment_key, &identifier))
            } else {
                None
            };
            let wake = news.is_some() && !self.woken.get();
            match (&mut pending, news) {
                (Some(pending), Some(news)) => pending.absorb(news),
                (pending @ None, news) => *pending = news,
                (Some(_), None) => {}
            }
            let record = Some(record.clone());
            self.store(Held { record, pending })?;
            if wake {
                // Begun before anything is awaited, so it is stored with the row or not at all.
                self.wake(GATHER).await?;
            }
        }
        Response::from_json(&applied.map(|()| record))
    }

    /// Brings what is yet to be told to the outbox.
    async fn alarm(&self) -> worker::Result<Response> {
        self.woken.set(false);
        let config = Config::of(&self.env);
        let (Some(home), Some(pending)) = (&config.home, self.load()?.pending) else {
            return Response::empty();
        };
        let outbox = Outbox {
            env: &self.env,
            home,
        };
        let left = outbox.leave_identity(pending.clone()).await;
        let held = self.load()?;
        let again = match left {
            Ok(()) if held.pending.as_ref() == Some(&pending) => {
                self.store(Held {
                    pending: None,
                    ..held
                })?;
                None
            }
            // It changed meanwhile: all of it goes again, which does no harm.
            Ok(()) => Some(GATHER),
            Err(error) => {
                console_error!("{error}");
                Some(AGAIN)
            }
        };
        if let Some(again) = again {
            self.wake(again).await?;
        }
        Response::empty()
    }
}

impl Identity {
    async fn wake(&self, after: Duration) -> worker::Result<()> {
        self.woken.set(true);
        self.state.storage().set_alarm(after).await
    }

    fn load(&self) -> worker::Result<Held> {
        if let Some(held) = &*self.held.borrow() {
            return Ok(held.clone());
        }
        let held = self.read()?;
        *self.held.borrow_mut() = Some(held.clone());
        Ok(held)
    }

    fn read(&self) -> worker::Result<Held> {
        #[derive(Deserialize)]
        struct Row {
            record: String,
            pending: Option<String>,
        }
        #[derive(Deserialize)]
        struct Table {
            sql: String,
        }
        let sql = self.state.storage().sql();
        // Asking after an unknown identity must not leave a database behind.
        let query = "SELECT sql FROM sqlite_master WHERE name = 'identity'";
        let tables: Vec<Table> = sql.exec(query, None)?.to_array()?;
        let Some(table) = tables.first() else {
            return Ok(Held::default());
        };
        if !table.sql.contains("pending") {
            // Made before there was anything to be told.
            sql.exec("ALTER TABLE identity ADD COLUMN pending TEXT", None)?;
        }
        let rows: Vec<Row> = sql
            .exec("SELECT record, pending FROM identity", None)?
            .to_array()?;
        let Some(row) = rows.first() else {
            return Ok(Held::default());
        };
        let pending = row.pending.as_deref();
        Ok(Held {
            record: Some(serde_json::from_str(&row.record)?),
            pending: pending.map(serde_json::from_str).transpose()?,
        })
    }

    fn store(&self, held: Held) -> worker::Result<()> {
        let sql = self.state.storage().sql();
        let record = serde_json::to_string(&held.record)?;
        let pending = held
            .pending
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?;
        sql.exec(
            "CREATE TABLE IF NOT EXISTS identity (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL, pending TEXT)",
            None,
        )?;
        sql.exec(
            "INSERT INTO identity (id, record, pending) VALUES (1, ?, ?)
             ON CONFLICT (id) DO UPDATE SET record = excluded.record, pending = excluded.pending",
            vec![record.into(), pending.into()],
        )?;
        *self.held.borrow_mut() = Some(held);
        Ok(())
    }
}
