//! One identity of one environment.
//!
//! A change is read whole first, then loaded, applied and stored without an `await` between, so no
//! two changes can interleave. The platform holds the answer back until the write is on disk.

use std::cell::RefCell;

use serde::Deserialize;
use worker::{Date, DurableObject, Env, Method, Request, Response, State, durable_object};
use yardarm_core::edge::{IdentityRecord, TraitChange};
use yardarm_core::time::Timestamp;

/// The object; its storage has one row, the record as JSON.
#[durable_object(fetch)]
pub struct Identity {
    state: State,
    record: RefCell<Stored>,
}

/// What this object knows of its storage.
enum Stored {
    /// It has not looked.
    Unread,
    /// This, or nothing.
    Read(Option<IdentityRecord>),
}

impl DurableObject for Identity {
    fn new(state: State, _env: Env) -> Self {
        Self {
            state,
            record: RefCell::new(Stored::Unread),
        }
    }

    /// GET answers the record or `null`; POST takes a [`TraitChange`] and answers what came of it.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if request.method() == Method::Get {
            return Response::from_json(&self.load()?);
        }
        let change: TraitChange = serde_json::from_slice(&request.bytes().await?)?;
        let before = self.load()?;
        let millis = i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX);
        let now = Timestamp(millis.saturating_mul(1_000));
        let mut record = before.clone().unwrap_or_else(|| IdentityRecord {
            created_at_micros: now.micros(),
            ..IdentityRecord::default()
        });
        let applied = record.apply(&change, now);
        if applied.is_ok() && before.as_ref() != Some(&record) {
            self.store(&record)?;
        }
        Response::from_json(&applied.map(|()| record))
    }
}

impl Identity {
    fn load(&self) -> worker::Result<Option<IdentityRecord>> {
        if let Stored::Read(record) = &*self.record.borrow() {
            return Ok(record.clone());
        }
        let record = self.read()?;
        *self.record.borrow_mut() = Stored::Read(record.clone());
        Ok(record)
    }

    fn read(&self) -> worker::Result<Option<IdentityRecord>> {
        #[derive(Deserialize)]
        struct Row {
            record: String,
        }
        let sql = self.state.storage().sql();
        // Asking after an unknown identity must not leave a database behind.
        let tables = sql.exec(
            "SELECT name FROM sqlite_master WHERE name = 'identity'",
            None,
        )?;
        if tables.raw().next().is_none() {
            return Ok(None);
        }
        let rows: Vec<Row> = sql.exec("SELECT record FROM identity", None)?.to_array()?;
        match rows.first() {
            Some(row) => Ok(Some(serde_json::from_str(&row.record)?)),
            None => Ok(None),
        }
    }

    fn store(&self, record: &IdentityRecord) -> worker::Result<()> {
        let sql = self.state.storage().sql();
        let json = serde_json::to_string(record)?;
        sql.exec(
            "CREATE TABLE IF NOT EXISTS identity (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL)",
            None,
        )?;
        sql.exec(
            "INSERT INTO identity (id, record) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            vec![json.into()],
        )?;
        *self.record.borrow_mut() = Stored::Read(Some(record.clone()));
        Ok(())
    }
}
