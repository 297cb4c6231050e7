//! What `yardarm-edge` brings home, by the real binary: also after a kill, and while the control plane is away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use yardarm_conformance::environment::Environment;
use yardarm_conformance::home::{Home, Mood};
use yardarm_conformance::{Target, returns};
use yardarm_core::edge::TraitScalar;
use yardarm_core::edge::delivery::Resource;

const SECRET: &str = "secret of the tests";

/// The binary, killed where a test ends.
struct Running {
    child: Child,
    target: Target,
}

impl Running {
    fn start(data_dir: &Path, home: &Home) -> Self {
        Self::start_with(data_dir, home, "on")
    }

    fn start_with(data_dir: &Path, home: &Home, usage: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_yardarm-edge"))
            .env_clear()
            .arg("--data-dir")
            .arg(data_dir)
            .env("YARDARM_EDGE_LISTEN", "127.0.0.1:0")
            .env("YARDARM_PUBLISHING_SECRET", SECRET)
            .env("YARDARM_CONTROL_PLANE_URL", home.url())
            .env("YARDARM_DELIVERY_SECONDS", "1")
            .env("YARDARM_USAGE", usage)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log
            .find_map(|line| {
                let entry: Value = serde_json::from_str(&line.unwrap()).unwrap();
                entry["listen"].as_str().map(str::to_owned)
            })
            .unwrap();
        std::thread::spawn(move || log.for_each(drop));
        let target = Target::new(&format!("http://{address}"), SECRET).unwrap();
        Self { child, target }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    async fn post(&self, key: &str, identifier: &str, value: usize) {
        let traits = json!([{ "trait_key": "n", "trait_value": value }]);
        let body = json!({ "identifier": identifier, "traits": traits }).to_string();
        let request = Request::post("/api/v1/identities/")
            .header("x-environment-key", key)
            .header("content-type", "application/json")
            .body(Bytes::from(body));
        let answer = self.target.send(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    async fn flags(&self, key: &str) {
        let request = Request::get("/api/v1/flags/").header("x-environment-key", key);
        let request = request.body(Bytes::new()).unwrap();
        let answer = self.target.send(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_and_is_counted_comes_home() {
    let directory = TempDir::new().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let edge = Running::start(directory.path(), &home);
    returns::brings_all_home(&edge.target, &home).await.unwrap();
    returns::sends_no_echo(&edge.target, &home).await.unwrap();
    edge.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_an_identity_that_was_answered() {
    let directory = TempDir::new().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let environment = Environment::fresh("killed");
    let key = environment.key.as_str();
    let edge = Running::start(directory.path(), &home);
    edge.target.publish(&environment.package(1)).await.unwrap();
    edge.kill();
    // Moments at which the kill comes: before anything is packed, after it, while home takes and loses.
    let moods = [
        (Mood::Away, 0),
        (Mood::Away, 1_300),
        (Mood::LosesReplies, 700),
        (Mood::Late(Duration::from_millis(200)), 1_100),
        (Mood::Takes, 0),
    ];
    for (round, (mood, pause)) in moods.into_iter().enumerate() {
        home.set(mood);
        let edge = Running::start(directory.path(), &home);
        for number in 0..20 {
            edge.post(key, &format!("shared {number}"), round).await;
            edge.post(key, &format!("of round {round}, {number}"), number)
                .await;
        }
        sleep(Duration::from_millis(pause)).await;
        edge.kill();
    }
    home.set(Mood::Takes);
    let edge = Running::start(directory.path(), &home);
    let value = |identifier: &str| {
        let record = home.identity(key, identifier)?;
        record.get("n").cloned()
    };
    until("every identity, with its last value", || {
        (0..20).all(|number| {
            let last = i64::try_from(moods.len() - 1).unwrap();
            value(&format!("shared {number}")) == Some(TraitScalar::Int(last))
                && (0..moods.len()).all(|round| {
                    value(&format!("of round {round}, {number}")) == Some(TraitScalar::Int(number))
                })
        })
    })
    .await;
    home.check().unwrap();
    edge.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_peace_loses_no_count() {
    let directory = TempDir::new().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let environment = Environment::fresh("stopped");
    let key = environment.key.as_str();
    let mut asked = 0;
    for mood in [Mood::Away, Mood::LosesReplies, Mood::Takes] {
        home.set(mood);
        let edge = Running::start(directory.path(), &home);
        edge.target.publish(&environment.package(1)).await.unwrap();
        for _ in 0..7 {
            edge.flags(key).await;
            asked += 1;
        }
        edge.stop();
    }
    assert_eq!(home.requests(key, Resource::Flags), asked);
    home.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_cut_and_what_is_refused_is_dropped() {
    let directory = TempDir::new().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let environment = Environment::fresh("cut");
    let key = environment.key.as_str();
    home.set(Mood::Refuses);
    let edge = Running::start(directory.path(), &home);
    edge.target.publish(&environment.package(1)).await.unwrap();
    edge.post(key, "refused", 1).await;
    until("a refusal", || home.attempts() > 0).await;
    home.set(Mood::Small(600));
    for number in 0..20 {
        edge.post(key, &format!("small {number}"), 1).await;
    }
    until("all in small parts", || {
        (0..20).all(|number| home.identity(key, &format!("small {number}")).is_some())
    })
    .await;
    assert!(home.identity(key, "refused").is_none());
    home.check().unwrap();
    edge.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_can_be_switched_off() {
    let directory = TempDir::new().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let environment = Environment::fresh("off");
    let key = environment.key.as_str();
    let edge = Running::start_with(directory.path(), &home, "off");
    edge.target.publish(&environment.package(1)).await.unwrap();
    edge.flags(key).await;
    edge.post(key, "someone", 1).await;
    until("the identity", || home.identity(key, "someone").is_some()).await;
    edge.stop();
    assert_eq!(home.requests(key, Resource::Flags), 0);
}
