//! A Flagsmith that serves one environment's document and can have bad days.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use yardarm_conformance::serve;
use yardarm_core::time::Timestamp;

/// The keys of its environment.
pub(crate) const SERVER_KEY: &str = "ser.secretOfUpstream";
pub(crate) const CLIENT_KEY: &str = "clientKeyOfUpstream";

const PATH: &str = "/api/v1/environment-document/";

/// How it is today.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    Well,
    Status(u16),
    /// It takes the request and says nothing.
    Silent,
    /// 200 with this body.
    Says(String),
    /// The document's first bytes, then the end.
    Breaks,
    /// To the document at another path.
    Redirects,
}

/// What it serves.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) mood: Mood,
    pub(crate) value: &'static str,
    pub(crate) updated_at: &'static str,
    pub(crate) has_etags: bool,
    /// Who has an override, and which value; one page for each after the first.
    pub(crate) overrides: Vec<(&'static str, &'static str)>,
    /// How many documents were asked for, pages counted once each.
    pub(crate) asked: u32,
    /// How many of the answers were 304.
    pub(crate) unchanged: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Flagsmith {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Flagsmith {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            mood: Mood::Well,
            value: "first",
            updated_at: "2026-01-01T00:00:01.5+00:00",
            has_etags: false,
            overrides: Vec::new(),
            asked: 0,
            unchanged: 0,
        };
        let flagsmith = Self {
            url: format!("http://{}/api/v1", listener.local_addr().unwrap()),
            state: Arc::new(Mutex::new(state)),
        };
        let serving = flagsmith.clone();
        serve(listener, move |request| {
            let serving = serving.clone();
            async move { Ok::<_, Infallible>(serving.answer(request).await) }
        });
        flagsmith
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let state = {
            let mut state = self.state();
            state.asked += 1;
            state.clone()
        };
        let moved = request.uri().path() == "/moved/";
        match state.mood {
            Mood::Well => {}
            Mood::Redirects if moved => {}
            Mood::Redirects => {
                let reply = Response::builder().status(StatusCode::TEMPORARY_REDIRECT);
                return reply
                    .header("location", "/moved/")
                    .body(Full::default())
                    .unwrap();
            }
            Mood::Status(status) => return text(status, "down"),
            Mood::Says(body) => return text(200, &body),
            Mood::Breaks => {
                let whole = state.document().to_string();
                return text(200, &whole[..whole.len() / 2]);
            }
            Mood::Silent => {
                tokio::time::sleep(Duration::from_mins(10)).await;
                unreachable!("nobody waits so long");
            }
        }
        if request.uri().path() != PATH && !moved {
            return text(404, "no such page");
        }
        if request.headers().get("x-environment-key").unwrap() != SERVER_KEY {
            return text(403, r#"{"detail":"Invalid or missing Environment Key"}"#);
        }
        let page = request.uri().query().map_or(0, page_number);
        if page == 0 && state.is_held(request.headers()) {
            self.state().unchanged += 1;
            return text(304, "");
        }
        state.page(page)
    }
}

impl State {
    fn is_held(&self, headers: &HeaderMap) -> bool {
        let sent = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        if self.has_etags {
            return sent("if-none-match") == Some(&self.etag());
        }
        sent("if-modified-since") == Some(&self.moment().http_date())
    }

    fn etag(&self) -> String {
        format!("\"{}\"", self.value)
    }

    fn moment(&self) -> Timestamp {
        Timestamp::from_iso8601(self.updated_at).unwrap()
    }

    fn page(&self, number: usize) -> Response<Full<Bytes>> {
        let mut document = self.document();
        document["identity_overrides"] = self.overrides.get(number).map_or(
            json!([]),
            |(who, value)| {
                json!([{"identifier": who, "identity_uuid": "00000000-0000-4000-8000-000000000009",
                        "environment_api_key": CLIENT_KEY, "identity_features": [flag(value)]}])
            },
        );
        let mut reply = Response::builder().header("content-type", "application/json");
        if self.has_etags {
            reply = reply.header("etag", self.etag());
        }
        if number + 1 < self.overrides.len() {
            let next = format!(
                "<{PATH}?page_id=identity_override%3A{}>; rel=\"next\"",
                number + 1
            );
            reply = reply.header("link", next);
        }
        reply.body(Full::from(document.to_string())).unwrap()
    }

    fn document(&self) -> Value {
        json!({
            "id": 3, "api_key": CLIENT_KEY, "name": "Upstream", "updated_at": self.updated_at,
            "allow_client_traits": true, "hide_sensitive_data": false, "hide_disabled_flags": null,
            "use_identity_composite_key_for_hashing": true, "use_identity_overrides_in_local_eval": true,
            "project": {
                "id": 2, "name": "Project", "hide_disabled_flags": false,
                "enable_realtime_updates": false, "server_key_only_feature_ids": [], "segments": [],
                "organisation": {"id": 1, "name": "O", "feature_analytics": false,
                                 "stop_serving_flags": false, "persist_trait_data": true}
            },
            "feature_states": [flag(self.value)], "identity_overrides": []
        })
    }
}

fn flag(value: &str) -> Value {
    json!({
        "feature": {"id": 7, "name": "banner", "type": "STANDARD"}, "enabled": true, "django_id": 9,
        "feature_segment": null, "featurestate_uuid": "00000000-0000-4000-8000-000000000001",
        "feature_state_value": value, "multivariate_feature_state_values": []
    })
}

fn page_number(query: &str) -> usize {
    let number = query.strip_prefix("page_id=identity_override:").unwrap();
    number.parse().unwrap()
}

fn text(status: u16, body: &str) -> Response<Full<Bytes>> {
    let reply = Response::builder().status(status);
    reply.body(Full::from(body.to_owned())).unwrap()
}
