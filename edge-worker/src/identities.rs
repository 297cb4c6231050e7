//! Stored identities: one object each, so that changes of one identity come one after the other and
//! those of different identities never wait for each other.
//!
//! The object's side is [`crate::objects::identity`].

use worker::Env;
use yardarm_core::edge::{ChangeError, IdentityRecord, TraitChange, Unavailable};

use crate::environments::{call_object, decode, encode};

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "IDENTITIES";

/// A caller of an identity's object.
pub(crate) struct Identities<'a>(pub(crate) &'a Env);

impl Identities<'_> {
    /// What is stored of an identity.
    pub(crate) async fn read(
        &self,
        environment: &str,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        decode(&self.call(environment, identifier, None).await?)
    }

    /// Applies a change and gives the identity as it is afterwards.
    pub(crate) async fn change(
        &self,
        environment: &str,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        let body = encode(change)?;
        decode(&self.call(environment, identifier, Some(&body)).await?)
    }

    async fn call(
        &self,
        environment: &str,
        identifier: &str,
        body: Option<&[u8]>,
    ) -> Result<Vec<u8>, Unavailable> {
        // The length keeps a key and an identifier from running into each other.
        let name = format!("{}/{environment}/{identifier}", environment.len());
        let answer = call_object(self.0, BINDING, &name, "/", body).await;
        answer.map_err(|error| Unavailable(format!("identity object: {error}")))
    }
}
