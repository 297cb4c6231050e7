//! An application on a database of its own, and people who call it.

use std::fs::{DirEntry, Permissions, remove_dir_all, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use yardarm::app::{App, Clock, Random};
use yardarm::store::private::{Durability, Private};
use yardarm::store::{Pool, migrate, migrate_usage};
use yardarm::usage::{Retention, UsageStore};

/// When every test begins.
pub(crate) const START: &str = "2026-01-02T03:04:05.678901Z";

/// A Postgres for this run: `TEST_DATABASE_URL`, or a private one that ends with the run.
struct Cluster {
    url: Box<dyn Fn(&str) -> String + Send + Sync>,
    _private: Option<Private>,
}

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

async fn cluster() -> &'static Cluster {
    CLUSTER
        .get_or_init(|| async {
            let cluster = if let Ok(base) = std::env::var("TEST_DATABASE_URL") {
                Cluster {
                    url: Box::new(move |database| format!("{base} dbname={database}")),
                    _private: None,
                }
            } else {
                let private = Private::start(&folder().join("p"), Durability::None)
                    .await
                    .unwrap();
                let sample = private.url("DATABASE");
                Cluster {
                    url: Box::new(move |database| sample.replace("DATABASE", database)),
                    _private: Some(private),
                }
            };
            let template = template();
            admin(&cluster, &format!("create database {template}")).await;
            let mut client = connect(&(cluster.url)(&template)).await;
            migrate(&mut client).await.unwrap();
            migrate_usage(&mut client).await.unwrap();
            cluster
        })
        .await
}

/// A folder for this run's cluster. Statics are never dropped, so nobody removes it when the run ends: the
/// next run does, aside, for it is a gigabyte of small files.
fn folder() -> PathBuf {
    const NAME: &str = "yardarm-it-";
    let temporary = std::env::temp_dir();
    let over = |entry: &DirEntry| {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(NAME));
        run.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    if Path::new("/proc/self").exists() {
        let entries = std::fs::read_dir(&temporary).unwrap().flatten();
        let left: Vec<_> = entries.filter(over).map(|entry| entry.path()).collect();
        std::thread::spawn(move || left.iter().for_each(|path| drop(remove_dir_all(path))));
    }
    let folder = temporary.join(format!("{NAME}{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    // Postgres may run as another user, who has to reach its folder.
    set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    folder
}

fn template() -> String {
    format!("template_{}", std::process::id())
}

pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn admin(cluster: &Cluster, statement: &str) {
    connect(&(cluster.url)("postgres"))
        .await
        .batch_execute(statement)
        .await
        .unwrap();
}

/// The URL of a fresh, migrated database.
pub(crate) async fn database() -> String {
    let cluster = cluster().await;
    let number = DATABASES.fetch_add(1, Ordering::SeqCst);
    let name = format!("test_{}_{number}", std::process::id());
    let template = template();
    // The connection that migrated may still be closing.
    for _ in 0..50 {
        let client = connect(&(cluster.url)("postgres")).await;
        let made = client
            .batch_execute(&format!(
                "create database {name} template {template} strategy wal_log"
            ))
            .await;
        match made {
            Ok(()) => return (cluster.url)(&name),
            Err(error) if error.code().is_some_and(|code| code.code() == "55006") => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the template database is still in use");
}

/// The URL of a database in which there is nothing.
pub(crate) async fn empty_database() -> String {
    let cluster = cluster().await;
    let number = DATABASES.fetch_add(1, Ordering::SeqCst);
    let name = format!("empty_{}_{number}", std::process::id());
    admin(cluster, &format!("create database {name}")).await;
    (cluster.url)(&name)
}

async fn in_database(pool: &Pool, _: Clock) -> UsageStore {
    UsageStore::postgres(pool.clone(), Retention::default())
}

/// The application under test.
#[derive(Clone)]
pub(crate) struct TestApp {
    pub(crate) router: Router,
    pub(crate) clock: Clock,
    pub(crate) url: String,
}

impl TestApp {
    /// On an empty database, at [`START`].
    pub(crate) async fn start() -> Self {
        Self::at(Clock::fixed(START.parse().unwrap()), in_database).await
    }

    /// The same at the computer's time, for who looks at its own clock.
    pub(crate) async fn with_the_computers_clock() -> Self {
        Self::at(Clock::system(), in_database).await
    }

    /// At [`START`], with usage wherever the caller wants it.
    pub(crate) async fn start_with(usage: impl AsyncFnOnce(&Pool, Clock) -> UsageStore) -> Self {
        Self::at(Clock::fixed(START.parse().unwrap()), usage).await
    }

    async fn at(clock: Clock, usage: impl AsyncFnOnce(&Pool, Clock) -> UsageStore) -> Self {
        let url = database().await;
        let pool = Pool::new(&url, 4, clock.clone()).unwrap();
        let usage = usage(&pool, clock.clone()).await;
        let app = App::with_usage(pool, usage, clock.clone(), Random::seeded(7));
        Self {
            router: yardarm::router::router(app),
            clock,
            url,
        }
    }

    /// A connection of the test's own.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }

    /// Somebody who is not logged in.
    pub(crate) fn nobody(&self) -> Person {
        Person {
            app: self.clone(),
            id: 0,
            email: String::new(),
            token: None,
        }
    }

    /// Somebody with an account, in no organisation.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let sql = self.sql().await;
        let now: DateTime<Utc> = self.clock.now();
        let email = format!("{name}@example.com");
        let row = sql
            .query_one(
                "insert into users (email, password_hash, first_name, last_name, created_at)
                 values ($1, '!', $2, 'Test', $3) returning id",
                &[&email, &name, &now],
            )
            .await
            .unwrap();
        let id: i64 = row.get(0);
        let token = hex::encode(&Sha256::digest(email.as_bytes())[..20]);
        let hash = Sha256::digest(token.as_bytes()).to_vec();
        sql.execute(
            "insert into auth_token (sha256, user_id, created_at) values ($1, $2, $3)",
            &[&hash, &id, &now],
        )
        .await
        .unwrap();
        Person {
            app: self.clone(),
            id,
            email,
            token: Some(token),
        }
    }

    /// An organisation whose admin is `admin`.
    pub(crate) async fn organisation(&self, name: &str, admin: &Person) -> i64 {
        let row = self
            .sql()
            .await
            .query_one(
                "insert into organisation (name, created_at) values ($1, $2) returning id",
                &[&name, &self.clock.now()],
            )
            .await
            .unwrap();
        let id = row.get(0);
        self.join(id, admin, "ADMIN").await;
        id
    }

    /// Makes `person` a member.
    pub(crate) async fn join(&self, organisation: i64, person: &Person, role: &str) {
        self.sql()
            .await
            .execute(
                "insert into organisation_member (organisation_id, user_id, role, joined_at)
                 values ($1, $2, $3, $4)",
                &[&organisation, &person.id, &role, &self.clock.now()],
            )
            .await
            .unwrap();
    }

    /// The sentences of the audit log, oldest first.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let rows = self
            .sql()
            .await
            .query("select log from audit_log order by id", &[])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The keys that wait to be published.
    pub(crate) async fn to_publish(&self) -> Vec<String> {
        let rows = self
            .sql()
            .await
            .query(
                "select key from job where kind = 'publish' order by key",
                &[],
            )
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets what waits to be published.
    pub(crate) async fn clear_jobs(&self) {
        self.sql()
            .await
            .execute("delete from job", &[])
            .await
            .unwrap();
    }

    /// Sends any request.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        send(&self.router, request).await
    }
}

/// Serves a router on a socket until the task is aborted or the test ends; tells its URL, without a slash at its end.
pub(crate) async fn serve(router: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, serving)
}

/// Has a router answer a request.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Somebody who sends requests.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) app: TestApp,
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) token: Option<String>,
}

impl Person {
    /// The same person, at another server on the same database.
    pub(crate) fn at(mut self, router: &Router) -> Self {
        self.app.router = router.clone();
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.request(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.request(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.request(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.request(Method::DELETE, path, None).await
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "test");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Token {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.app.send(request.body(body).unwrap()).await
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The body as JSON, once the status is as expected.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}
