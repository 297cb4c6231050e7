//! The queue: what is asked for is done, at least once, not twice at a time, and tried again when it
//! failed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use yardarm::app::Clock;
use yardarm::jobs::{Job, Listener, Next, Runner, Settings, queue_depth};
use yardarm::store::Pool;

use crate::app::{connect, database};

/// What the test job does, and what became of it.
#[derive(Clone, Default)]
struct Record(Arc<Inner>);

#[derive(Default)]
struct Inner {
    runs: Mutex<Vec<(String, String)>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    fail: Mutex<HashMap<String, usize>>,
    /// Jobs that say "wait" wait for this.
    go: Notify,
}

impl Record {
    fn runs(&self) -> Vec<(String, String)> {
        self.0.runs.lock().unwrap().clone()
    }

    async fn until_runs(&self, count: usize) -> Vec<(String, String)> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.runs().len() < count {
            assert!(Instant::now() < end, "only {:?} of {count}", self.runs());
            sleep(Duration::from_millis(5)).await;
        }
        self.runs()
    }
}

#[derive(Serialize, Deserialize)]
struct Probe {
    name: String,
    #[serde(default)]
    says: String,
}

impl Job for Probe {
    const KIND: &'static str = "probe";
    const AT_ONCE: usize = 4;
    type Context = Record;

    fn key(&self) -> String {
        self.name.clone()
    }

    async fn run(self, record: &Record) -> anyhow::Result<Next> {
        let now = record.0.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        record.0.most_at_once.fetch_max(now, Ordering::SeqCst);
        record
            .0
            .runs
            .lock()
            .unwrap()
            .push((self.name.clone(), self.says.clone()));
        if self.says == "wait" {
            record.0.go.notified().await;
        } else {
            sleep(Duration::from_millis(10)).await;
        }
        record.0.at_once.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(self.says, "panic", "as asked");
        if self.says == "again" {
            return Ok(Next::Again(Duration::from_millis(50)));
        }
        let mut fail = record.0.fail.lock().unwrap();
        match fail.get_mut(&self.name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                anyhow::bail!("not yet: {}", *left)
            }
            _ => Ok(Next::Done),
        }
    }
}

struct Queue {
    url: String,
    sql: Client,
    record: Record,
}

impl Queue {
    async fn new() -> Self {
        let url = database().await;
        let sql = connect(&url).await;
        Self {
            url,
            sql,
            record: Record::default(),
        }
    }

    async fn ask(&self, name: &str, says: &str) {
        let payload = json!({"name": name, "says": says});
        self.sql
            .execute(
                "select from enqueue_job('probe', $1, $2, now())",
                &[&name, &payload],
            )
            .await
            .unwrap();
    }

    fn run(&self, settings: Settings) -> (JoinHandle<()>, CancellationToken) {
        let pool = Pool::new(&self.url, 4, Clock::system()).unwrap();
        let listener = Listener::new(pool.address().clone());
        let stop = CancellationToken::new();
        let runner = Runner::new(pool, settings).with::<Probe>(self.record.clone());
        let (heard, stopping) = (listener.subscribe(), stop.clone());
        let task = tokio::spawn(async move {
            tokio::join!(listener.run(stopping.clone()), runner.run(heard, stopping));
        });
        (task, stop)
    }

    async fn rows(&self) -> i64 {
        self.sql
            .query_one("select count(*) from job", &[])
            .await
            .unwrap()
            .get(0)
    }

    /// What the job's failure was, once it is written down: a panic first prints its backtrace, which
    /// may take its time.
    async fn until_failed(&self, name: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let row = self
                .sql
                .query_one("select last_error from job where key = $1", &[&name])
                .await
                .unwrap();
            if let Some(error) = row.get::<_, Option<String>>(0) {
                return error;
            }
            assert!(Instant::now() < end, "nothing failed");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_empty(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.rows().await > 0 {
            assert!(Instant::now() < end, "jobs are left");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn quick() -> Settings {
    Settings {
        lease: Duration::from_millis(600),
        poll: Duration::from_millis(100),
        grace: Duration::from_millis(300),
    }
}

/// Nothing is found by looking: only by being told.
fn deaf_poll() -> Settings {
    Settings {
        poll: Duration::from_mins(1),
        ..Settings::default()
    }
}

#[tokio::test]
async fn what_is_asked_for_many_times_is_done_once_with_the_last_word() {
    let queue = Queue::new().await;
    for says in ["one", "two", "three"] {
        queue.ask("a", says).await;
    }
    queue.ask("b", "").await;
    let (task, stop) = queue.run(quick());
    queue.until_empty().await;
    let mut runs = queue.record.runs();
    runs.sort();
    assert_eq!(
        runs,
        [("a".into(), "three".into()), ("b".into(), String::new())]
    );
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_notification_starts_it_at_once() {
    let queue = Queue::new().await;
    let (task, stop) = queue.run(deaf_poll());
    // Until it listens, it has to poll.
    sleep(Duration::from_millis(300)).await;
    queue.ask("a", "").await;
    queue.record.until_runs(1).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn asked_for_while_it_runs_it_runs_again_after() {
    let queue = Queue::new().await;
    let (task, stop) = queue.run(quick());
    queue.ask("a", "wait").await;
    queue.record.until_runs(1).await;
    queue.ask("a", "meanwhile").await;
    queue.ask("a", "last").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(queue.record.runs().len(), 1, "not two of the same at once");
    queue.record.0.go.notify_one();
    queue.until_empty().await;
    let said: Vec<String> = queue
        .record
        .runs()
        .into_iter()
        .map(|(_, says)| says)
        .collect();
    assert_eq!(said, ["wait", "last"]);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn two_processes_share_the_work_and_never_do_the_same_at_once() {
    let queue = Queue::new().await;
    let (one, stop_one) = queue.run(quick());
    let (two, stop_two) = queue.run(quick());
    for round in 0..20 {
        for name in ["a", "b", "c"] {
            queue.ask(name, &round.to_string()).await;
        }
    }
    queue.until_empty().await;
    // Three keys: never more than three at once, whatever the number of processes.
    assert!(queue.record.0.most_at_once.load(Ordering::SeqCst) <= 3);
    let last = queue
        .record
        .runs()
        .iter()
        .filter(|(_, says)| says == "19")
        .count();
    assert!(last >= 3, "the last word of each was done");
    stop_one.cancel();
    stop_two.cancel();
    one.await.unwrap();
    two.await.unwrap();
}

#[tokio::test]
async fn failures_wait_longer_each_time_and_are_told() {
    let queue = Queue::new().await;
    queue.record.0.fail.lock().unwrap().insert("a".into(), 2);
    let (task, stop) = queue.run(quick());
    let begun = Instant::now();
    queue.ask("a", "").await;
    queue.record.until_runs(1).await;
    sleep(Duration::from_millis(200)).await;
    let row = queue
        .sql
        .query_one(
            "select attempts, last_error, lease, run_at > now() from job",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 1);
    assert_eq!(row.get::<_, String>(1), "not yet: 1");
    assert_eq!(row.get::<_, Option<i64>>(2), None);
    assert!(row.get::<_, bool>(3), "it waits");
    let db = Pool::new(&queue.url, 1, Clock::system())
        .unwrap()
        .get()
        .await
        .unwrap();
    assert_eq!(queue_depth(&*db).await.unwrap()[0].failing, 1);
    queue.until_empty().await;
    assert_eq!(queue.record.runs().len(), 3);
    // One second after the first failure, two after the second.
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn asking_again_does_not_wait_for_the_backoff() {
    let queue = Queue::new().await;
    queue.record.0.fail.lock().unwrap().insert("a".into(), 1);
    let (task, stop) = queue.run(deaf_poll());
    sleep(Duration::from_millis(300)).await;
    queue.ask("a", "").await;
    queue.record.until_runs(1).await;
    sleep(Duration::from_millis(100)).await;
    queue.ask("a", "now").await;
    timeout(Duration::from_millis(800), queue.record.until_runs(2))
        .await
        .expect("at once");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_panic_is_a_failure_of_that_job_alone() {
    let queue = Queue::new().await;
    let (task, stop) = queue.run(quick());
    queue.ask("a", "panic").await;
    queue.record.until_runs(1).await;
    queue.ask("b", "").await;
    queue.record.until_runs(2).await;
    assert_eq!(queue.until_failed("a").await, "the job panicked");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_a_dead_process_held_is_done_by_another_when_the_lease_ends() {
    let queue = Queue::new().await;
    let (dead, _) = queue.run(quick());
    queue.ask("a", "wait").await;
    queue.record.until_runs(1).await;
    dead.abort();
    let (task, stop) = queue.run(quick());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(queue.record.runs().len(), 1, "the lease holds");
    queue.record.until_runs(2).await;
    queue.record.0.go.notify_one();
    queue.until_empty().await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn leases_are_prolonged_while_the_work_lasts() {
    let queue = Queue::new().await;
    let (one, stop_one) = queue.run(quick());
    queue.ask("a", "wait").await;
    queue.record.until_runs(1).await;
    let (two, stop_two) = queue.run(quick());
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        queue.record.runs().len(),
        1,
        "longer than a lease, still the first"
    );
    queue.record.0.go.notify_one();
    queue.until_empty().await;
    stop_one.cancel();
    stop_two.cancel();
    one.await.unwrap();
    two.await.unwrap();
}

#[tokio::test]
async fn a_process_that_stops_gives_back_what_it_does_not_finish() {
    let queue = Queue::new().await;
    let (task, stop) = queue.run(quick());
    queue.ask("a", "wait").await;
    queue.record.until_runs(1).await;
    stop.cancel();
    task.await.unwrap();
    let row = queue
        .sql
        .query_one("select attempts, lease, run_at <= now() from job", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 0);
    assert_eq!(row.get::<_, Option<i64>>(1), None);
    assert!(row.get::<_, bool>(2));
}

#[tokio::test]
async fn some_come_again_by_themselves() {
    let queue = Queue::new().await;
    let (task, stop) = queue.run(Settings {
        poll: Duration::from_millis(20),
        ..quick()
    });
    queue.ask("a", "again").await;
    queue.record.until_runs(3).await;
    assert_eq!(queue.rows().await, 1);
    stop.cancel();
    task.await.unwrap();
}
