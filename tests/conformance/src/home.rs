//! A control plane as an edge sees it, in bad moods: takes deliveries, loses replies, is late or away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use yardarm_core::edge::delivery::{self, Delivery, Resource};
use yardarm_core::edge::signature::{self, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use yardarm_core::edge::{IdentityRecord, TraitChange};
use yardarm_core::time::Timestamp;

use crate::server::serve;
use crate::target::unix_seconds;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes what comes.
    Takes,
    /// Answers 503 and takes nothing.
    Away,
    /// Takes it and closes the connection before it has said so.
    LosesReplies,
    /// Takes it after a while.
    Late(Duration),
    /// Answers 413 to what is longer than so many bytes.
    Small(usize),
    /// Answers 400.
    Refuses,
}

/// The control plane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Home {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    attempts: usize,
    /// In order of arrival.
    taken: Vec<Delivery>,
    bodies: HashMap<String, Bytes>,
    wrong: Vec<String>,
}

impl Home {
    /// Listens on 127.0.0.1; port 0 takes a free one. Believes what `secret` signs.
    pub async fn listen(port: u16, secret: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let home = Self {
            address: listener.local_addr()?,
            state: Arc::new(Mutex::new(State {
                mood: Mood::Takes,
                attempts: 0,
                taken: Vec::new(),
                bodies: HashMap::new(),
                wrong: Vec::new(),
            })),
        };
        let (serving, secret) = (home.clone(), Arc::<str>::from(secret));
        serve(listener, move |request| {
            let (home, secret) = (serving.clone(), Arc::clone(&secret));
            async move { home.answer(request, &secret).await }
        });
        Ok(home)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Behaves like this from now on.
    pub fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// How often a delivery was brought, whatever became of it.
    pub fn attempts(&self) -> usize {
        self.state().attempts
    }

    /// What it took, each delivery once.
    pub fn taken(&self) -> Vec<Delivery> {
        self.state().taken.clone()
    }

    /// An error where an edge did something that it must not do.
    pub fn check(&self) -> anyhow::Result<()> {
        let state = self.state();
        ensure!(state.wrong.is_empty(), "{}", state.wrong.join("; "));
        Ok(())
    }

    /// An identity as it is known here.
    pub fn identity(&self, environment_key: &str, identifier: &str) -> Option<IdentityRecord> {
        let mut record = None;
        for delivery in &self.state().taken {
            for change in &delivery.identities {
                if change.environment_key == environment_key && change.identifier == identifier {
                    let adopt = TraitChange::Adopt(change.traits.clone());
                    let record: &mut IdentityRecord = record.get_or_insert_default();
                    // Taking over is never refused.
                    let _ = record.apply(&adopt, Timestamp(0));
                }
            }
        }
        record
    }

    /// How many requests for a resource are known here.
    pub fn requests(&self, environment_key: &str, resource: Resource) -> u64 {
        let state = self.state();
        let rows = state.taken.iter().flat_map(|delivery| &delivery.requests);
        rows.filter(|row| row.environment_key == environment_key && row.resource == resource)
            .map(|row| row.count)
            .sum()
    }

    /// How many evaluations of a feature are known here.
    pub fn evaluations(&self, environment_key: &str, feature_name: &str) -> i64 {
        let state = self.state();
        let rows = state
            .taken
            .iter()
            .flat_map(|delivery| &delivery.evaluations);
        rows.filter(|row| {
            row.environment_key == environment_key && row.feature_name == feature_name
        })
        .map(|row| row.count)
        .sum()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        secret: &str,
    ) -> Result<Response<Full<Bytes>>, Lost> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        if head.method != Method::POST || head.uri.path() != delivery::PATH {
            // Edges ask of keys that they do not hold, too: there are none.
            return Ok(told(StatusCode::NOT_FOUND));
        }
        let mood = {
            let mut state = self.state();
            state.attempts += 1;
            state.mood
        };
        let text = |name| head.headers.get(name)?.to_str().ok();
        let believed = signature::verify(
            secret.as_bytes(),
            head.method.as_str(),
            head.uri.path(),
            text(TIMESTAMP_HEADER),
            text(SIGNATURE_HEADER),
            &body,
            Timestamp::from_secs(unix_seconds()),
        );
        let status = if believed.is_err() {
            self.state().wrong.push("a wrong signature".to_owned());
            StatusCode::UNAUTHORIZED
        } else {
            match mood {
                Mood::Away => StatusCode::SERVICE_UNAVAILABLE,
                Mood::Refuses => StatusCode::BAD_REQUEST,
                Mood::Small(most) if body.len() > most => StatusCode::PAYLOAD_TOO_LARGE,
                Mood::Takes | Mood::Small(_) => self.take(body),
                Mood::LosesReplies => {
                    self.take(body);
                    return Err(Lost);
                }
                Mood::Late(by) => {
                    tokio::time::sleep(by).await;
                    self.take(body)
                }
            }
        };
        Ok(told(status))
    }

    fn take(&self, body: Bytes) -> StatusCode {
        let mut state = self.state();
        let delivery: Delivery = match serde_json::from_slice(&body) {
            Ok(delivery) => delivery,
            Err(error) => {
                state.wrong.push(format!("not a delivery: {error}"));
                return StatusCode::BAD_REQUEST;
            }
        };
        let is_id = delivery.id.len() == 32 && delivery.id.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_id {
            state.wrong.push(format!("{:?} is no id", delivery.id));
        }
        match state.bodies.get(&delivery.id) {
            Some(before) if *before != body => {
                let id = &delivery.id;
                let text = format!("delivery {id} was changed between two attempts");
                state.wrong.push(text);
            }
            Some(_) => {}
            None => {
                state.bodies.insert(delivery.id.clone(), body);
                state.taken.push(delivery);
            }
        }
        StatusCode::OK
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A status with the JSON that the control plane sends along: an edge believes no 400 without it.
fn told(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from("{}"));
    *answer.status_mut() = status;
    answer
}

/// The connection is closed without a reply.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lost on purpose")
    }
}

impl std::error::Error for Lost {}
