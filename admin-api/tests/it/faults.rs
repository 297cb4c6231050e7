//! The control plane when what it stands on goes away: its database, for a while or back to an earlier
//! day (docs/operating.md names these tests).

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use yardarm::app::Clock;
use yardarm::command::OverruleEdges;
use yardarm::store::private::{Durability, Private};
use yardarm::store::{Pool, migrate};

use crate::app::{connect, database};
use crate::convergence::{Mortal, converge, target};
use crate::edge::RemoteEdge;
use crate::mounted::Served;
use crate::world::World;

/// A Postgres of the test's own, that can go away.
struct OwnDatabase {
    folder: TempDir,
    running: Option<Private>,
    url: String,
}

impl OwnDatabase {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Postgres may run as another user, who has to reach its folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let mut own = Self {
            folder,
            running: None,
            url: String::new(),
        };
        own.come_back().await;
        migrate(&mut connect(&own.url).await).await.unwrap();
        own
    }

    async fn go_away(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    async fn come_back(&mut self) {
        let folder = self.folder.path().join("postgres");
        let running = Private::start(&folder, Durability::None).await.unwrap();
        self.url = running.url("yardarm");
        self.running = Some(running);
    }
}

async fn until_status(served: &Served, path: &str, wanted: u16) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let status = served.get(path, "env").await.status.as_u16();
        if status == wanted {
            return;
        }
        assert!(Instant::now() < end, "{path} still answers {status}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_it_serves_the_last_flags_and_refuses_the_rest() {
    let mut own = OwnDatabase::start().await;
    let world = World::new(connect(&own.url).await).await;
    world.environment("env").await;
    world.server_key("env", "ser.key").await;
    let feature = world.feature("flag").await;
    world.set("env", feature, true, "kept").await;
    let edge = [RemoteEdge::start().await];
    target(&world.sql, "edge", &edge[0]).await;
    let served = Served::new(&own.url).await;
    converge(&world, &edge, Duration::from_secs(30), 0).await;
    let flags = served.get("/api/v1/flags/", "env").await.text;
    assert!(flags.contains("kept"));
    let ann = json!({"identifier": "ann", "traits": [{"trait_key": "a", "trait_value": 1}]});
    served.identify("env", &ann).await.expect(200);

    drop(world);
    own.go_away().await;
    until_status(&served, "/health", 503).await;
    assert_eq!(served.get("/health/liveness/", "env").await.status, 200);
    // Flags and the document come from memory, here and at the edges.
    assert_eq!(served.get("/api/v1/flags/", "env").await.text, flags);
    let document = served
        .get("/api/v1/environment-document/", "ser.key")
        .await
        .expect(200);
    assert_eq!(document["feature_states"][0]["feature_state_value"], "kept");
    assert_eq!(edge[0].flags("env").await.unwrap()[0].2, "kept");
    // What depends on stored traits is refused rather than guessed, and so is any change.
    let refused = served.identify("env", &ann).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "1");
    served
        .get("/api/v1/identities/?identifier=ann", "env")
        .await
        .expect(503);
    served
        .get("/api/v1/identities/?identifier=guest&transient=true", "env")
        .await
        .expect(200);
    let login = json!({"email": "a@example.com", "password": "x"});
    served.log_in(&login).await.expect(503);

    own.come_back().await;
    until_status(&served, "/health", 200).await;
    let world = World::again(connect(&own.url).await).await;
    world.set("env", feature, true, "new").await;
    served
        .until_flags("env", &[("flag".to_owned(), true, json!("new"))])
        .await;
    converge(&world, &edge, Duration::from_mins(1), 0).await;
    let stored = served.identify("env", &json!({"identifier": "ann"})).await;
    assert_eq!(stored.expect(200)["traits"][0]["trait_value"], 1);
    served.stop().await;
}

/// The SQL is the one of docs/operating.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_ahead_of_a_restored_database_keep_serving_until_they_are_told() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    let edges = [RemoteEdge::start().await];
    target(&world.sql, "edge", &edges[0]).await;
    world.environment("env").await;
    world.environment("deleted").await;
    world.delete("deleted").await;
    let feature = world.feature("flag").await;
    world.set("env", feature, true, "old").await;
    let mut publisher = Mortal::new(&url);
    converge(&world, &edges, Duration::from_secs(30), 0).await;
    // The day's backup.
    let at: i64 = number(&world, "select max(version) from environment").await;
    for value in ["new", "newer", "newest"] {
        world.set("env", feature, true, value).await;
    }
    converge(&world, &edges, Duration::from_secs(30), 0).await;
    publisher.die();
    world
        .sql
        .batch_execute(&format!(
            "update feature_state set string_value = 'old';
             update environment set version = {at};
             update edge_delivery set version = {at};
             delete from job;
             select setval('environment_version', {at})"
        ))
        .await
        .unwrap();

    publisher.revive();
    let told = "select coalesce(max(last_error), '') from edge_target";
    let end = Instant::now() + Duration::from_secs(30);
    while !text(&world, told).await.contains("restored from a backup") {
        assert!(Instant::now() < end, "{}", text(&world, told).await);
        sleep(Duration::from_millis(50)).await;
    }
    let value = |looks: Result<Vec<_>, StatusCode>| {
        let (_, _, value): (String, bool, Value) = looks.unwrap().remove(0);
        value
    };
    assert_eq!(value(edges[0].flags("env").await), "newest");

    let pool = Pool::new(&url, 1, Clock::system()).unwrap();
    let asked = OverruleEdges { yes: false }.run(&pool).await.unwrap();
    assert!(asked.contains("1 environments of 1 projects"), "{asked}");
    assert!(asked.contains(&edges[0].url()), "{asked}");
    let version = number(&world, "select max(version) from environment").await;
    assert_eq!(version, at, "nothing happens without --yes");
    let tombstone = "select max(version) from environment_tombstone";
    let (gone, audited) = (number(&world, tombstone).await, audit(&world).await);

    let yes = OverruleEdges { yes: true }.run(&pool).await.unwrap();
    assert!(yes.starts_with("Overruled 1 environments"), "{yes}");
    assert!(number(&world, tombstone).await > gone);
    let entry = "Edges overruled: every environment got a newer version";
    assert_eq!(
        audit(&world).await,
        [audited, vec![entry.to_owned()]].concat()
    );
    converge(&world, &edges, Duration::from_mins(1), 0).await;
    assert_eq!(value(edges[0].flags("env").await), "old");
}

async fn audit(world: &World) -> Vec<String> {
    let query = "select log from audit_log order by id";
    let rows = world.sql.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn number(world: &World, query: &str) -> i64 {
    world.sql.query_one(query, &[]).await.unwrap().get(0)
}

async fn text(world: &World, query: &str) -> String {
    world.sql.query_one(query, &[]).await.unwrap().get(0)
}
