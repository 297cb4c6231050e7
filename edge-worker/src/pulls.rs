//! Keys that this Worker does not hold yet: asked of the object that pulls, from the control plane or from an existing
//! Flagsmith. The object's side is [`crate::objects::pulls`].

use std::cell::RefCell;
use std::pin::pin;

use futures_util::future::{Either, select};
use worker::{Context, Delay, Env};
use yardarm_core::edge::pull_through::{Gate, Key, Leave, PATIENCE, Pulled};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::snapshot::Snapshot;
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::environments::{call_object, decode};
use crate::snapshots::{hold, read};

/// Name of the binding in `wrangler.toml`.
pub(crate) const BINDING: &str = "PULLS";
/// There is one such object, so that every question is asked once.
pub(crate) const NAME: &str = "pulls";

thread_local! {
    static GATE: RefCell<Gate> = RefCell::default();
}

/// What the object says of a key: which environment is held now in which version, or none of no such key. What cannot be
/// told is an error. Plain, as versions travel elsewhere: a form of its own takes code of its own to read.
pub(crate) type Told = Vec<(String, u64)>;

/// A key as it travels to the object: a letter for its side, and the key.
fn spell(key: &KeyRef<'_>) -> String {
    match key {
        KeyRef::Client(key) => format!("c{key}"),
        KeyRef::Server(hash) => format!("s{hash}"),
    }
}

/// What [`spell`] wrote.
pub(crate) fn read_key(text: &str) -> Option<Key> {
    match text.split_at_checked(1)? {
        ("c", key) => Some(Key::Client(key.to_owned())),
        ("s", hash) => Some(Key::Server(hash.to_owned())),
        _ => None,
    }
}

/// One request's way to the object.
pub(crate) struct Pulls<'a> {
    pub(crate) env: &'a Env,
    #[cfg_attr(
        not(feature = "upstream"),
        expect(dead_code, reason = "looks at upstream go on after the reply")
    )]
    pub(crate) context: &'a Context,
    pub(crate) config: &'a Config,
    pub(crate) now: Timestamp,
}

impl Pulls<'_> {
    /// What a key leads to, given what is held of it.
    pub(crate) async fn complete(
        &self,
        key: KeyRef<'_>,
        found: Option<Snapshot>,
    ) -> Result<Option<Snapshot>, Unavailable> {
        #[cfg(feature = "upstream")]
        if let Some(upstream) = &self.config.upstream {
            return self.complete_of_upstream(upstream, key, found).await;
        }
        if found.is_some() || self.config.control_plane().is_none() {
            return Ok(found);
        }
        match GATE.with_borrow_mut(|gate| gate.leave(&key, self.now)) {
            Leave::Unknown => return Ok(None),
            Leave::Later | Leave::Wait => {
                return Err(Unavailable("too many unknown keys".to_owned()));
            }
            Leave::Ask => {}
        }
        // In a box: requests that are answered from memory have no room for it.
        let pulled = Box::pin(self.pull(&key)).await;
        if let Ok(None) = pulled {
            GATE.with_borrow_mut(|gate| gate.learn(&key, &Pulled::Unknown, self.now));
        }
        pulled
    }

    /// Has the object bring in what there is of a key; `None` when there is nothing.
    pub(crate) async fn pull(&self, key: &KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let body = spell(key);
        let body = Some(body.as_bytes());
        let call = pin!(call_object(self.env, BINDING, NAME, "/pull", body));
        let told = match select(call, Delay::from(PATIENCE)).await {
            Either::Left((told, _)) => {
                told.map_err(|error| Unavailable(format!("pulls object: {error}")))?
            }
            Either::Right(_) => return Err(Unavailable("pulling takes long".to_owned())),
        };
        let told: Told = decode(&told)?;
        let Some((environment, version)) = told.first() else {
            return Ok(None);
        };
        let found = read(self.env, environment, *version).await?;
        let found =
            found.ok_or_else(|| Unavailable("what was pulled is not there yet".to_owned()))?;
        hold(key, &found, self.now.micros() / 1_000);
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_with_their_side() {
        for key in [
            Key::Client("é/1".to_owned()),
            Key::Server("00ff".to_owned()),
        ] {
            assert_eq!(read_key(&spell(&key.by_ref())), Some(key));
        }
        for odd in ["", "x1", "é"] {
            assert_eq!(read_key(odd), None, "{odd:?}");
        }
    }
}
