//! The SDKs: drivers that ask one host whatever SDKs ask, each over its own connection and for its own
//! identities.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use yardarm_conformance::Target;
use yardarm_core::snapshot::Side;

use crate::host::Host;
use crate::oracle::Asker;
use crate::project::PLANS;
use crate::run::{Observation, Run, What};
use crate::traits::{Change, Stored};
use crate::versions::{Stamp, stamp_of};
use crate::wire::{get, read_identity, send, set, tag_of};

/// How many identities a driver has.
pub(crate) const IDENTITIES: usize = 12;

/// What requests with keys that nobody has are called.
const WRONG_KEY: &str = "wrong key";

/// One client of one host.
pub(crate) struct Driver {
    pub(crate) run: Arc<Run>,
    host: Arc<Host>,
    target: Target,
    answers: UnboundedSender<Observation>,
    pub(crate) random: StdRng,
    pub(crate) identities: Vec<(String, Stored)>,
    /// Entity tags with the version they were of.
    flags_tag: Option<(String, Stamp)>,
    document_tag: Option<(String, Stamp)>,
    turn: u64,
}

/// The identities of one driver.
pub(crate) fn names(host: &str, driver: usize) -> Vec<String> {
    (0..IDENTITIES)
        .map(|number| format!("{host}-{driver}-{number}"))
        .collect()
}

/// An answer with when its request was sent, and what it had to be at least.
pub(crate) struct Asked {
    pub(crate) answer: Response<Bytes>,
    sent: Instant,
    floor: Stamp,
}

impl Driver {
    pub(crate) fn new(
        run: Arc<Run>,
        host: Arc<Host>,
        number: usize,
        seed: u64,
        answers: UnboundedSender<Observation>,
    ) -> anyhow::Result<Self> {
        let identities = names(&host.name, number).into_iter();
        Ok(Self {
            target: host.target()?,
            identities: identities.map(|name| (name, Stored::default())).collect(),
            run,
            host,
            answers,
            random: StdRng::seed_from_u64(seed),
            flags_tag: None,
            document_tag: None,
            turn: 0,
        })
    }

    /// Whom it asks.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Its identities that have something stored.
    pub(crate) fn identities(&mut self) -> impl Iterator<Item = (&str, &mut Stored)> {
        let all = self.identities.iter_mut();
        all.filter(|(_, stored)| stored.count() > 0)
            .map(|(name, stored)| (name.as_str(), stored))
    }

    /// Sends one request and sees to its answer.
    pub(crate) async fn step(&mut self) {
        self.turn += 1;
        match self.random.random_range(0..100) {
            0..18 => self.flags(Side::Client, false).await,
            18..22 => self.flags(Side::Server, false).await,
            22..28 => self.flags(Side::Client, true).await,
            28..38 => self.flag().await,
            38..46 => self.look_up().await,
            46..50 => self.stranger().await,
            50..70 => self.identify().await,
            70..76 => self.identify_in_passing().await,
            76..79 => self.nobody().await,
            79..84 => self.document(false).await,
            84..87 => self.document(true).await,
            87..91 => self.bulk().await,
            91..94 => self.increment().await,
            94..97 => self.analytics().await,
            _ => self.wrong_key().await,
        }
    }

    /// Looks every identity up once more; tells how many stored traits were there.
    pub(crate) async fn look_all_up(&mut self) -> usize {
        for number in 0..self.identities.len() {
            self.look_up_one(number).await;
        }
        self.identities
            .iter()
            .map(|(_, stored)| stored.count())
            .sum()
    }

    pub(crate) fn key(&self, side: Side) -> &str {
        match side {
            Side::Client => &self.run.project.key,
            Side::Server => &self.run.project.server_key,
        }
    }

    /// Sends a request. Nothing where a dead part did not answer; that an alive one did not is a mistake.
    pub(crate) async fn ask(&mut self, kind: &str, request: Request<Bytes>) -> Option<Asked> {
        self.run.report.count(&self.host.name, kind);
        let (floor, sent) = (self.host.floor(), Instant::now());
        let failed = match self.target.send(request).await {
            Ok(answer) if !answer.status().is_server_error() => {
                if let Some(stamp) = stamp_of(answer.headers()) {
                    self.host.saw(stamp, Instant::now());
                }
                return Some(Asked {
                    answer,
                    sent,
                    floor,
                });
            }
            Ok(answer) => format!(
                "{} {}",
                answer.status(),
                String::from_utf8_lossy(answer.body())
            ),
            Err(error) => format!("{error:#}"),
        };
        let past = sent.elapsed() + Duration::from_secs(5);
        let mut parts = self.host.parts.clone();
        if kind == WRONG_KEY {
            // An edge that may ask its control plane says 503 and not 403 while it cannot.
            parts.push("admin");
        }
        if self.run.disturbances.touch(&parts, past) {
            self.run
                .report
                .excused
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        } else {
            self.wrong(kind, &failed);
        }
        None
    }

    pub(crate) fn wrong(&self, kind: &str, what: &str) {
        self.run
            .report
            .wrong(format!("{}, {kind}: {what}", self.host.name));
    }

    /// Hands an answer over to be checked.
    fn observe(&self, asked: &Asked, what: What, body: Bytes) {
        let stamp = stamp_of(asked.answer.headers());
        // Whoever checks lives as long as the drivers.
        let _sent = self.answers.send(Observation {
            host: Arc::clone(&self.host),
            what,
            sent: asked.sent,
            floor: asked.floor,
            stamp,
            body,
        });
    }

    async fn flags(&mut self, side: Side, conditional: bool) {
        let mut request = get("/api/v1/flags/", self.key(side));
        let tag = self.flags_tag.clone().filter(|_| conditional);
        if let Some((tag, _)) = &tag {
            set(&mut request, header::IF_NONE_MATCH, tag);
        }
        let Some(asked) = self.ask("flags", request).await else {
            return;
        };
        match (asked.answer.status(), tag) {
            (StatusCode::OK, _) => {
                if side == Side::Client {
                    self.flags_tag = tag_of(&asked.answer);
                }
                let body = asked.answer.body().clone();
                self.observe(&asked, What::Flags(side), body);
            }
            (StatusCode::NOT_MODIFIED, Some((_, since))) => {
                self.observe(&asked, What::FlagsSince(side, since), Bytes::new());
            }
            (status, _) => self.wrong("flags", status.as_str()),
        }
    }

    async fn flag(&mut self) {
        let side = if self.random.random() {
            Side::Client
        } else {
            Side::Server
        };
        let Some(feature) = self.run.project.features.choose(&mut self.random) else {
            return;
        };
        let name = feature.name.clone();
        let request = get(&format!("/api/v1/flags/?feature={name}"), self.key(side));
        let Some(asked) = self.ask("one flag", request).await else {
            return;
        };
        let body = match asked.answer.status() {
            StatusCode::OK => asked.answer.body().clone(),
            StatusCode::NOT_FOUND => Bytes::new(),
            status => return self.wrong("one flag", status.as_str()),
        };
        self.observe(&asked, What::Flag(side, name), body);
    }

    async fn document(&mut self, conditional: bool) {
        let mut request = get("/api/v1/environment-document/", self.key(Side::Server));
        let tag = self.document_tag.clone().filter(|_| conditional);
        if let Some((tag, _)) = &tag {
            set(&mut request, header::IF_NONE_MATCH, tag);
        }
        let Some(asked) = self.ask("document", request).await else {
            return;
        };
        match (asked.answer.status(), tag) {
            (StatusCode::OK, _) => {
                self.document_tag = tag_of(&asked.answer);
                let body = asked.answer.body().clone();
                self.observe(&asked, What::Document, body);
            }
            (StatusCode::NOT_MODIFIED, Some((_, since))) => {
                self.observe(&asked, What::DocumentSince(since), Bytes::new());
            }
            (status, _) => self.wrong("document", status.as_str()),
        }
    }

    /// `GET /identities/` of one of its own.
    async fn look_up(&mut self) {
        let number = self.random.random_range(0..IDENTITIES);
        self.look_up_one(number).await;
    }

    async fn look_up_one(&mut self, number: usize) {
        let name = self.identities[number].0.clone();
        let request = get(
            &format!("/api/v1/identities/?identifier={name}"),
            self.key(Side::Client),
        );
        if let Some(asked) = self.ask("identity", request).await {
            self.take_in(&asked, number, "identity", &[], Side::Client);
        }
    }

    /// `GET /identities/?transient=true`: nothing stored, nothing overridden.
    async fn stranger(&mut self) {
        let number = self.random.random_range(0..IDENTITIES);
        let identifier = self.identities[number].0.clone();
        let path = format!("/api/v1/identities/?identifier={identifier}&transient=true");
        let request = get(&path, self.key(Side::Client));
        let Some(asked) = self.ask("transient identity", request).await else {
            return;
        };
        let asker = Asker {
            identifier,
            ..Asker::default()
        };
        self.observe_identity(&asked, Side::Client, asker);
    }

    /// `POST /identities/` with traits that stay, and sometimes some that do not.
    async fn identify(&mut self) {
        let number = self.random.random_range(0..IDENTITIES);
        let side = if self.turn.is_multiple_of(5) {
            Side::Server
        } else {
            Side::Client
        };
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            let change = self.some_trait();
            if changes.iter().all(|(key, _)| *key != change.0) {
                changes.push(change);
            }
        }
        let mut sent: Vec<Value> = changes
            .iter()
            .map(|(key, value)| json!({"trait_key": key, "trait_value": value}))
            .collect();
        let mut hidden = Vec::new();
        if self.turn.is_multiple_of(4) {
            let plan = PLANS.choose(&mut self.random);
            sent.push(json!({"trait_key": "mood", "trait_value": plan, "transient": true}));
            hidden.push("mood".to_owned());
        }
        let name = self.identities[number].0.clone();
        let body = json!({"identifier": name, "traits": sent});
        let request = send(Method::POST, "/api/v1/identities/", self.key(side), &body);
        match self.ask("identity with traits", request).await {
            None => self.identities[number].1.doubt(&changes),
            Some(asked) => {
                self.identities[number].1.confirm(&changes);
                self.take_in(&asked, number, "identity with traits", &hidden, side);
            }
        }
    }

    /// `POST /identities/` as transient: what is stored counts, and what is sent does not stay.
    async fn identify_in_passing(&mut self) {
        let number = self.random.random_range(0..IDENTITIES);
        let (key, value) = self.some_trait();
        let name = self.identities[number].0.clone();
        let body = json!({"identifier": name, "transient": true,
            "traits": [{"trait_key": key, "trait_value": value}]});
        let request = send(
            Method::POST,
            "/api/v1/identities/",
            self.key(Side::Client),
            &body,
        );
        if let Some(asked) = self.ask("identity in passing", request).await {
            self.take_in(&asked, number, "identity in passing", &[key], Side::Client);
        }
    }

    /// `POST /identities/` without an identifier.
    async fn nobody(&mut self) {
        let (key, value) = self.some_trait();
        let body = json!({"traits": [{"trait_key": key, "trait_value": value}]});
        let request = send(
            Method::POST,
            "/api/v1/identities/",
            self.key(Side::Client),
            &body,
        );
        let Some(asked) = self.ask("anonymous identity", request).await else {
            return;
        };
        let Some((identifier, traits)) = read_identity(asked.answer.body()) else {
            return self.wrong("anonymous identity", "no identity");
        };
        let asker = Asker {
            identifier,
            traits,
            is_known: false,
        };
        self.observe_identity(&asked, Side::Client, asker);
    }

    /// An answer for one of its own: the traits are compared at once, as nobody else changes them.
    fn take_in(&mut self, asked: &Asked, number: usize, kind: &str, hidden: &[String], side: Side) {
        if asked.answer.status() != StatusCode::OK {
            let status = asked.answer.status();
            let told = String::from_utf8_lossy(asked.answer.body()).into_owned();
            return self.wrong(kind, &format!("{status} {told}"));
        }
        let Some((identifier, traits)) = read_identity(asked.answer.body()) else {
            return self.wrong(kind, "no identity");
        };
        let (name, stored) = &mut self.identities[number];
        if *name != identifier {
            let what = format!("{name} was asked for, {identifier} answered");
            return self.wrong(kind, &what);
        }
        if let Err(error) = stored.compare(&traits, hidden) {
            let what = format!("{name}: {error}");
            return self.wrong(kind, &what);
        }
        let asker = Asker {
            identifier,
            traits,
            is_known: true,
        };
        self.observe_identity(asked, side, asker);
    }

    fn observe_identity(&self, asked: &Asked, side: Side, asker: Asker) {
        let body = asked.answer.body().clone();
        self.observe(asked, What::Identity(side, asker), body);
    }

    async fn analytics(&mut self) {
        let Some(feature) = self.run.project.features.choose(&mut self.random) else {
            return;
        };
        let name = feature.name.clone();
        let (path, body) = if self.random.random() {
            ("/api/v1/analytics/flags/", json!({name: 3}))
        } else {
            let evaluation = json!({"feature_name": name, "identity_identifier": "someone",
                "enabled_when_evaluated": true, "count": 2});
            (
                "/api/v2/analytics/flags/",
                json!({"evaluations": [evaluation]}),
            )
        };
        let request = send(Method::POST, path, self.key(Side::Client), &body);
        if let Some(asked) = self.ask("analytics", request).await {
            self.expect("analytics", &asked.answer, |status| status.is_success());
        }
    }

    async fn wrong_key(&mut self) {
        let (path, key) = match self.turn % 4 {
            0 => ("/api/v1/flags/", "nobodyHasThisKey00001".to_owned()),
            1 => (
                "/api/v1/identities/?identifier=a",
                "ser.nobodyHasThis".to_owned(),
            ),
            2 => (
                "/api/v1/environment-document/",
                self.run.project.key.clone(),
            ),
            _ => ("/api/v1/flags/", format!("{}x", self.run.project.key)),
        };
        if let Some(asked) = self.ask(WRONG_KEY, get(path, &key)).await {
            self.expect(WRONG_KEY, &asked.answer, |status| {
                status == StatusCode::FORBIDDEN
            });
        }
    }

    fn expect(&self, kind: &str, answer: &Response<Bytes>, fits: impl Fn(StatusCode) -> bool) {
        if fits(answer.status()) {
            self.run.report.right();
        } else {
            let told = String::from_utf8_lossy(answer.body()).into_owned();
            self.wrong(kind, &format!("{} {told}", answer.status()));
        }
    }

    /// A trait that segments look at, or another; sometimes one to delete.
    pub(crate) fn some_trait(&mut self) -> Change {
        let n = self.random.random_range(0..60);
        let (key, value) = match self.random.random_range(0..8) {
            0..3 => ("plan", json!(PLANS.choose(&mut self.random))),
            3 | 4 => ("age", json!(n)),
            5 => ("email", json!(format!("u{n}{}@example.com", n % 3))),
            6 => ("score", json!(0.5 + f64::from(n))),
            _ => ("vip", json!(n % 2 == 0)),
        };
        let deleted = self.random.random_range(0..10) == 0;
        (key.to_owned(), (!deleted).then_some(value))
    }
}
