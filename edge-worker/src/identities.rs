//! Stored identities: one object each, so that changes of one identity come one after the other and
//! those of different identities never wait for each other; and in front of them what this isolate
//! remembers ([`crate::recent`]).
//!
//! The object's side is [`crate::objects::identity`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use worker::{Context, Delay, Env, console_error};
use yardarm_core::edge::{ChangeError, IdentityRecord, TraitChange, Unavailable};

use crate::environments::{call_object, decode, encode};
use crate::host::now_millis;
use crate::objects::identity::Ask;
use crate::recent::Recent;

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "IDENTITIES";
/// How long after an object did not answer it is told again what it is owed.
const AGAIN: Duration = Duration::from_secs(1);

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// The identities of one environment, for one request.
pub(crate) struct Identities<'a> {
    pub(crate) env: &'a Env,
    /// The environment's client-side key.
    pub(crate) environment: &'a str,
    /// When the request arrived, milliseconds since the epoch.
    pub(crate) now: i64,
    /// For how long a record may be remembered, milliseconds; 0 remembers nothing.
    pub(crate) memory: i64,
}

impl Identities<'_> {
    /// What is remembered of an identity.
    pub(crate) fn at_hand(&self, identifier: &str) -> Option<Arc<IdentityRecord>> {
        if self.memory == 0 {
            return None;
        }
        let name = self.name(identifier);
        RECENT.with_borrow(|recent| recent.at_hand(&name, self.now, self.memory))
    }

    /// What is stored of an identity.
    pub(crate) async fn read(
        &self,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        if let Some(held) = self.at_hand(identifier) {
            return Ok(Some((*held).clone()));
        }
        let name = self.name(identifier);
        let call = RECENT.with_borrow_mut(|recent| recent.call(self.now));
        let record = decode(&self.call(&name, None).await?)?;
        if let Some(record) = &record {
            self.learn(name, call, record);
        }
        Ok(record)
    }

    /// Applies a change and gives the identity as it is afterwards.
    pub(crate) async fn change(
        &self,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        let body = encode(&Ask {
            environment_key: self.environment.into(),
            identifier: identifier.into(),
            change: Cow::Borrowed(change),
        })?;
        let name = self.name(identifier);
        let call = RECENT.with_borrow_mut(|recent| recent.call(self.now));
        let answer = match self.call(&name, Some(&body)).await {
            Ok(answer) => decode(&answer)?,
            Err(error) => {
                // It may have been applied all the same.
                RECENT.with_borrow_mut(|recent| recent.forget(&name));
                return Err(error);
            }
        };
        if let Ok(record) = &answer {
            self.learn(name, call, record);
        }
        Ok(answer)
    }

    /// Sees to it that traits which were sent as they are remembered are stored so.
    pub(crate) fn owe(
        &self,
        context: &Context,
        identifier: &str,
        held: &Arc<IdentityRecord>,
        traits: &mut dyn Iterator<Item = &str>,
    ) {
        let name = self.name(identifier);
        let sent_at = self.now.saturating_mul(1_000);
        if !RECENT.with_borrow_mut(|recent| recent.owe(&name, held, traits, sent_at)) {
            return;
        }
        let (env, memory) = (self.env.clone(), self.memory);
        let (environment, identifier) = (self.environment.to_owned(), identifier.to_owned());
        context.wait_until(async move {
            // Before the period ends, so that the answer is there when what is remembered gets too old.
            let wait = u64::try_from(memory * 3 / 4).unwrap_or_default();
            Delay::from(Duration::from_millis(wait)).await;
            let identities = Identities {
                env: &env,
                environment: &environment,
                now: now_millis(),
                memory,
            };
            identities.settle(&name, &identifier).await;
        });
    }

    async fn settle(&self, name: &str, identifier: &str) {
        let owed = RECENT.with_borrow_mut(|recent| recent.settle(name));
        if owed.is_empty() {
            return;
        }
        let sent = TraitChange::Sent(owed);
        if let Err(error) = self.change(identifier, &sent).await {
            console_error!("{error}; again in a second");
            Delay::from(AGAIN).await;
            if let Err(error) = self.change(identifier, &sent).await {
                console_error!("traits were not confirmed: {error}");
            }
        }
    }

    fn learn(&self, name: String, call: crate::recent::Call, record: &IdentityRecord) {
        if self.memory > 0 {
            RECENT.with_borrow_mut(|recent| recent.learn(name, call, record, self.memory));
        }
    }

    /// The name of an identity's object.
    fn name(&self, identifier: &str) -> String {
        let environment = self.environment;
        // The length keeps a key and an identifier from running into each other.
        format!("{}/{environment}/{identifier}", environment.len())
    }

    async fn call(&self, name: &str, body: Option<&[u8]>) -> Result<Vec<u8>, Unavailable> {
        let answer = call_object(self.env, BINDING, name, "/", body).await;
        answer.map_err(|error| Unavailable(format!("identity object: {error}")))
    }
}
