//! Bringing what changed and what was counted to the objects that send it home.
//!
//! The objects' side is [`crate::objects::outbox`].

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use worker::Env;
use yardarm_core::edge::Unavailable;
use yardarm_core::edge::delivery::{Delivery, IdentityChange};

use crate::config::HomeSettings;
use crate::environments::{call_object, encode};

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "OUTBOX";
/// What this kind of host calls itself.
pub(crate) const EDGE: &str = "worker";

/// A caller of the objects.
pub(crate) struct Outbox<'a> {
    pub(crate) env: &'a Env,
    pub(crate) home: &'a HomeSettings,
}

impl Outbox<'_> {
    /// Leaves what was counted with the object of this number, counted round.
    pub(crate) async fn leave_counts(
        &self,
        counts: &Delivery,
        number: u32,
    ) -> Result<(), Unavailable> {
        self.leave(counts, number).await
    }

    /// Leaves what changed of an identity; all its changes are left with the same object.
    pub(crate) async fn leave_identity(&self, change: IdentityChange) -> Result<(), Unavailable> {
        let mut hasher = DefaultHasher::new();
        (&change.environment_key, &change.identifier).hash(&mut hasher);
        let number = u32::try_from(hasher.finish() & 0xffff_ffff).unwrap_or(0);
        let delivery = Delivery {
            edge: EDGE.to_owned(),
            identities: vec![change],
            ..Delivery::default()
        };
        self.leave(&delivery, number).await
    }

    async fn leave(&self, part: &Delivery, number: u32) -> Result<(), Unavailable> {
        let name = format!("outbox/{}", number % self.home.shards);
        let body = encode(part)?;
        match call_object(self.env, BINDING, &name, "/", Some(&body)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Unavailable(format!("outbox object: {error}"))),
        }
    }
}
