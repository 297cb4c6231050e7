//! The numbers at `/metrics`, in Prometheus' text format.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::jobs::QueueDepth;

/// Upper bounds in seconds: from a cached answer to one that has given up.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Upper bounds in seconds: from a neighbour to an edge that was away for hours.
const PUBLICATION: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0, 3600.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    target: String,
}

/// How far a target is behind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TargetLag {
    /// The target's name.
    pub(crate) target: String,
    /// How many environments it has not confirmed.
    pub(crate) environments: i64,
    /// For how long the oldest of these has been waiting, in seconds.
    pub(crate) seconds: f64,
}

/// All metrics of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram>,
    jobs_waiting: Family<KindLabels, Gauge>,
    jobs_running: Family<KindLabels, Gauge>,
    jobs_failing: Family<KindLabels, Gauge>,
    oldest_job_seconds: Family<KindLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    publication_seconds: Family<TargetLabels, Histogram>,
    target_lag_environments: Family<TargetLabels, Gauge>,
    target_lag_seconds: Family<TargetLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    mounted_environments: Gauge,
    event_streams: Gauge,
    evaluations: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that start at nothing.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("yardarm");
        let mut inner = Inner {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            jobs_waiting: Family::default(),
            jobs_running: Family::default(),
            jobs_failing: Family::default(),
            oldest_job_seconds: Family::default(),
            publication_seconds: Family::new_with_constructor(|| Histogram::new(PUBLICATION)),
            target_lag_environments: Family::default(),
            target_lag_seconds: Family::default(),
            mounted_environments: Gauge::default(),
            event_streams: Gauge::default(),
            evaluations: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests answered", inner.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time to answer a request",
            Unit::Seconds,
            inner.request_seconds.clone(),
        );
        registry.register(
            "jobs_waiting",
            "Jobs that nobody works on, due or not",
            inner.jobs_waiting.clone(),
        );
        registry.register(
            "jobs_running",
            "Jobs being worked on",
            inner.jobs_running.clone(),
        );
        registry.register(
            "jobs_failing",
            "Jobs that failed when last tried",
            inner.jobs_failing.clone(),
        );
        registry.register_with_unit(
            "job_oldest_due",
            "For how long the oldest job has been due",
            Unit::Seconds,
            inner.oldest_job_seconds.clone(),
        );
        registry.register_with_unit(
            "publication",
            "From a change to its confirmation by the target",
            Unit::Seconds,
            inner.publication_seconds.clone(),
        );
        registry.register(
            "target_lag_environments",
            "Environments that the target has not confirmed",
            inner.target_lag_environments.clone(),
        );
        registry.register_with_unit(
            "target_lag",
            "For how long the oldest of these has been waiting",
            Unit::Seconds,
            inner.target_lag_seconds.clone(),
        );
        registry.register(
            "mounted_environments",
            "Environments that this process serves itself, tombstones included",
            inner.mounted_environments.clone(),
        );
        registry.register(
            "event_streams",
            "Event streams that are open at this process",
            inner.event_streams.clone(),
        );
        registry.register(
            "flag_evaluations",
            "Evaluations that SDKs reported to this process",
            inner.evaluations.clone(),
        );
        inner.registry = registry;
        Self(Arc::new(inner))
    }

    /// A request was answered. `route` is the pattern, not the path, so that there are few of them.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let labels = RouteLabels {
            method: method.clone(),
            route: route.clone(),
        };
        self.0
            .request_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        self.0
            .requests
            .get_or_create(&RequestLabels {
                method,
                route,
                status,
            })
            .inc();
    }

    /// A target confirmed a change after so long.
    pub(crate) fn confirmed(&self, target: &str, after: TimeDelta) {
        let labels = TargetLabels {
            target: target.to_owned(),
        };
        let seconds = after.to_std().unwrap_or_default().as_secs_f64();
        self.0
            .publication_seconds
            .get_or_create(&labels)
            .observe(seconds);
    }

    /// SDKs reported evaluations.
    pub(crate) fn evaluated(&self, count: u64) {
        self.0.evaluations.inc_by(count);
    }

    /// The state of the queue now. Kinds that have no jobs any more vanish.
    pub(crate) fn set_queue(&self, depths: &[QueueDepth]) {
        self.0.jobs_waiting.clear();
        self.0.jobs_running.clear();
        self.0.jobs_failing.clear();
        self.0.oldest_job_seconds.clear();
        for depth in depths {
            let labels = KindLabels {
                kind: depth.kind.clone(),
            };
            self.0
                .jobs_waiting
                .get_or_create(&labels)
                .set(depth.waiting);
            self.0
                .jobs_running
                .get_or_create(&labels)
                .set(depth.running);
            self.0
                .jobs_failing
                .get_or_create(&labels)
                .set(depth.failing);
            self.0
                .oldest_job_seconds
                .get_or_create(&labels)
                .set(depth.oldest_seconds);
        }
    }

    /// How far the targets are behind now.
    pub(crate) fn set_targets(&self, targets: &[TargetLag]) {
        self.0.target_lag_environments.clear();
        self.0.target_lag_seconds.clear();
        for lag in targets {
            let labels = TargetLabels {
                target: lag.target.clone(),
            };
            self.0
                .target_lag_environments
                .get_or_create(&labels)
                .set(lag.environments);
            self.0
                .target_lag_seconds
                .get_or_create(&labels)
                .set(lag.seconds);
        }
    }

    /// How many environments the mounted edge serves.
    pub(crate) fn set_mounted(&self, environments: usize) {
        self.0
            .mounted_environments
            .set(i64::try_from(environments).unwrap_or(i64::MAX));
    }

    /// How many event streams are open.
    pub(crate) fn set_streams(&self, open: usize) {
        self.0
            .event_streams
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// The page.
    pub(crate) fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _infallible = encode(&mut page, &self.0.registry);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_happened() {
        let metrics = Metrics::new();
        metrics.answered("GET", "/api/v1/projects/", 200, Duration::from_millis(3));
        metrics.confirmed("paris", TimeDelta::milliseconds(40));
        metrics.set_targets(&[TargetLag {
            target: "paris".into(),
            environments: 2,
            seconds: 1.5,
        }]);
        metrics.set_targets(&[TargetLag {
            target: "oslo".into(),
            environments: 0,
            seconds: 0.0,
        }]);
        metrics.evaluated(7);
        let page = metrics.render();
        for line in [
            r#"yardarm_http_requests_total{method="GET",route="/api/v1/projects/",status="200"} 1"#,
            r#"yardarm_publication_seconds_bucket{le="0.05",target="paris"} 1"#,
            r#"yardarm_target_lag_environments{target="oslo"} 0"#,
            "yardarm_flag_evaluations_total 7",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(
            !page.contains(r#"lag_environments{target="paris"}"#),
            "{page}"
        );
    }
}
