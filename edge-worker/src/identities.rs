//! Stored identities: one object each, so that changes of one identity come one after the other and
//! those of different identities never wait for each other.
//!
//! The object's side is [`crate::objects::identity`].

use worker::Env;
use yardarm_core::edge::{ChangeError, IdentityRecord, TraitChange, Unavailable};

use crate::environments::{decode, encode, internal_request, read_internal};

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
        let answer = self.try_call(environment, identifier, body).await;
        answer.map_err(|error| Unavailable(format!("identity object: {error}")))
    }

    async fn try_call(
        &self,
        environment: &str,
        identifier: &str,
        body: Option<&[u8]>,
    ) -> worker::Result<Vec<u8>> {
        let name = format!("{}/{environment}/{identifier}", environment.len());
        let stub = self.0.durable_object(BINDING)?.get_by_name(&name)?;
        let response = stub
            .fetch_with_request(internal_request("/", body)?)
            .await?;
        read_internal(response).await
    }
}
