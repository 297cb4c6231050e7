//! The tables of an outbox object: parts that were left here, and the delivery that is under way.
//!
//! Between two awaits the platform writes all or nothing, so parts become a delivery in one step.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{SqlStorage, SqlStorageValue, State, console_error};
use yardarm_core::edge::delivery::Delivery;
use yardarm_core::edge::usage::{Counts, Tally};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS parts (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  usage INTEGER NOT NULL,
  body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS dropped (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  count INTEGER NOT NULL
);
";

/// Parts in one delivery.
const PARTS: i64 = 500;
/// Identities, and rows of usage, in one delivery; a value takes 2 MB at most.
const IDENTITIES: usize = 500;
const USAGE_ROWS: usize = 2_000;
/// How long a delivery gets, in bytes: the platform stores no row of more than 2 MB.
const LONGEST: usize = 1 << 20;

/// The tables.
pub(super) struct Parcels(SqlStorage);

/// A delivery as it is stored.
#[derive(Debug, Deserialize)]
pub(super) struct Parcel {
    number: i64,
    pub(super) body: String,
}

impl Parcels {
    pub(super) fn open(state: &State) -> worker::Result<Self> {
        let sql = state.storage().sql();
        sql.exec(TABLES, None)?;
        Ok(Self(sql))
    }

    /// Bytes of usage that wait.
    pub(super) fn usage_bytes(&self) -> worker::Result<u64> {
        #[derive(Deserialize)]
        struct Found {
            bytes: u64,
        }
        let query = "SELECT coalesce(sum(length(body)), 0) AS bytes FROM parts WHERE usage = 1";
        Ok(self
            .first::<Found>(query, Vec::new())?
            .map_or(0, |found| found.bytes))
    }

    /// Keeps a part.
    pub(super) fn keep(&self, usage: bool, body: &str) -> worker::Result<()> {
        let insert = "INSERT INTO parts (usage, body) VALUES (?, ?)";
        let usage = SqlStorageValue::try_from_i64(usage.into())?;
        self.run(insert, vec![usage, body.into()])
    }

    /// Notes how much was counted and is not kept.
    pub(super) fn drop_counts(&self, count: u64) -> worker::Result<()> {
        let add = "INSERT INTO dropped (id, count) VALUES (1, ?)
                   ON CONFLICT (id) DO UPDATE SET count = count + excluded.count";
        self.run(add, vec![integer(count)?])
    }

    /// The delivery to be sent next; made from what was left here where none is under way.
    pub(super) fn next(&self, id: impl FnMut() -> String) -> worker::Result<Option<Parcel>> {
        if let Some(parcel) = self.oldest()? {
            return Ok(Some(parcel));
        }
        self.pack(id)?;
        self.oldest()
    }

    /// Forgets a delivery that was confirmed or refused.
    pub(super) fn remove(&self, parcel: &Parcel) -> worker::Result<()> {
        let number = SqlStorageValue::try_from_i64(parcel.number)?;
        self.run("DELETE FROM deliveries WHERE number = ?", vec![number])
    }

    /// Puts both halves in the place of one that is too large. False where it cannot be cut.
    pub(super) fn cut(
        &self,
        parcel: &Parcel,
        mut id: impl FnMut() -> String,
    ) -> worker::Result<bool> {
        let delivery: Delivery = serde_json::from_str(&parcel.body)?;
        let Some((first, second)) = delivery.halves() else {
            return Ok(false);
        };
        self.put(first, &mut id)?;
        self.put(second, &mut id)?;
        self.remove(parcel)?;
        Ok(true)
    }

    fn oldest(&self) -> worker::Result<Option<Parcel>> {
        let query = "SELECT number, body FROM deliveries ORDER BY number LIMIT 1";
        self.first(query, Vec::new())
    }

    fn put(&self, delivery: Delivery, id: &mut dyn FnMut() -> String) -> worker::Result<()> {
        let insert = "INSERT INTO deliveries (body) VALUES (?)";
        for body in delivery.into_bodies(LONGEST, id)? {
            self.run(insert, vec![body.into()])?;
        }
        Ok(())
    }

    fn pack(&self, mut id: impl FnMut() -> String) -> worker::Result<()> {
        #[derive(Deserialize)]
        struct Dropped {
            count: u64,
        }
        let query = "SELECT number, body FROM parts ORDER BY number LIMIT ?";
        let limit = SqlStorageValue::try_from_i64(PARTS)?;
        let parts: Vec<Parcel> = self.0.exec(query, vec![limit])?.to_array()?;
        let dropped: Option<Dropped> = self.first("SELECT count FROM dropped", Vec::new())?;
        let mut tally: Tally = Tally::new(usize::MAX);
        let mut identities = Vec::new();
        for part in &parts {
            match serde_json::from_str::<Delivery>(&part.body) {
                Ok(mut part) => {
                    identities.append(&mut part.identities);
                    tally.absorb(Counts::from(part));
                }
                Err(error) => {
                    console_error!("a part of a delivery is damaged and dropped: {error}");
                }
            }
        }
        if let Some(dropped) = dropped {
            tally.absorb(Counts {
                dropped: dropped.count,
                ..Counts::default()
            });
        }
        for delivery in Delivery::of_identities(identities, super::outbox::EDGE, IDENTITIES) {
            self.put(delivery, &mut id)?;
        }
        for delivery in tally
            .take()
            .into_deliveries(super::outbox::EDGE, USAGE_ROWS)
        {
            self.put(delivery, &mut id)?;
        }
        if let Some(last) = parts.last() {
            let number = SqlStorageValue::try_from_i64(last.number)?;
            self.run("DELETE FROM parts WHERE number <= ?", vec![number])?;
        }
        self.run("DELETE FROM dropped", Vec::new())
    }

    fn run(&self, statement: &str, values: Vec<SqlStorageValue>) -> worker::Result<()> {
        self.0.exec(statement, values).map(drop)
    }

    fn first<T: DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlStorageValue>,
    ) -> worker::Result<Option<T>> {
        let rows: Vec<T> = self.0.exec(query, values)?.to_array()?;
        Ok(rows.into_iter().next())
    }
}

fn integer(count: u64) -> worker::Result<SqlStorageValue> {
    SqlStorageValue::try_from_i64(i64::try_from(count).unwrap_or(i64::MAX >> 12))
}
