//! What the jobs of publication work with.

use std::sync::Arc;
use std::time::Duration;

use super::deliver::{Deliver, Publish};
use super::export::ExportSettings;
use super::identities::{HandOver, TellIdentities};
use super::packages::Packages;
use super::purge::{Cloudflare, Purge};
use super::reconcile::Reconcile;
use crate::app::Clock;
use crate::jobs::Runner;
use crate::outbound::OperatorClient;
use crate::sql::publish as sql;
use crate::store::{Pool, Queries as _};
use crate::telemetry::Metrics;

/// How publication goes about it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often each target is asked what it holds.
    pub reconcile_every: Duration,
    /// How often each target is told of identities that changed elsewhere; `None`: never.
    pub identities_every: Option<Duration>,
    /// Where static files may go.
    pub export: ExportSettings,
    /// The CDN to purge, if any.
    pub cloudflare: Option<Cloudflare>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reconcile_every: Duration::from_mins(1),
            identities_every: Some(Duration::from_secs(10)),
            export: ExportSettings::default(),
            cloudflare: None,
        }
    }
}

/// Publishes to the targets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    http: OperatorClient,
    packages: Arc<Packages>,
    settings: Settings,
    metrics: Metrics,
}

impl Publisher {
    /// A publisher of what the database behind `pool` says.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(pool: Pool, settings: Settings, metrics: Metrics) -> anyhow::Result<Self> {
        let http = OperatorClient::new()?;
        let packages = Arc::new(Packages::new(pool.clone()));
        Ok(Self(Arc::new(Inner {
            pool,
            http,
            packages,
            settings,
            metrics,
        })))
    }

    /// Registers the jobs of publication with a runner.
    pub fn register(&self, runner: Runner) -> Runner {
        runner
            .with::<Publish>(self.clone())
            .with::<Deliver>(self.clone())
            .with::<Purge>(self.clone())
            .with::<Reconcile>(self.clone())
            .with::<TellIdentities>(self.clone())
            .with::<HandOver>(self.clone())
    }

    /// Has every target asked what it holds, and given what it lacks: for the start of a process.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reconcile_all(&self) -> anyhow::Result<()> {
        let db = self.pool().get().await?;
        let _targets: i64 = db.one(sql::ENQUEUE_RECONCILIATIONS, []).await?;
        Ok(())
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(super) fn http(&self) -> &OperatorClient {
        &self.0.http
    }

    pub(super) fn packages(&self) -> &Arc<Packages> {
        &self.0.packages
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The computer's clock: what is compared with it are the clocks of edges and of databases.
    #[expect(
        clippy::unused_self,
        reason = "reads as what it is: the publisher's clock"
    )]
    pub(super) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        Clock::system().now()
    }
}
