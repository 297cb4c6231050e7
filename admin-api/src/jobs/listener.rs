//! What the database announces: one connection that listens, and reconnects when it is lost.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use crate::store::Address;

/// Something heard from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The connection is new: what was announced before went unheard.
    Connected,
    /// A notification.
    Notification {
        /// The channel.
        channel: String,
        /// What it says.
        payload: String,
    },
}

/// Jobs were enqueued; says their kind.
pub(crate) const JOBS: &str = "yardarm_jobs";
/// An environment was created, changed or deleted; says its client-side key.
pub(crate) const PUBLICATION: &str = "yardarm_publication";

/// How long the database may be silent before we ask whether it is there.
const SILENCE: Duration = Duration::from_secs(15);

/// Listens on behalf of everyone in the process.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    heard: broadcast::Sender<Heard>,
}

impl Listener {
    /// A listener on a database; nothing is connected yet.
    pub fn new(address: Address) -> Self {
        let address = address.with(|config| {
            config
                .connect_timeout(Duration::from_secs(10))
                .keepalives_idle(SILENCE);
        });
        let (heard, _) = broadcast::channel(4096);
        Self { address, heard }
    }

    /// Everything heard from now on. Whoever falls behind misses some, and is told.
    pub fn subscribe(&self) -> broadcast::Receiver<Heard> {
        self.heard.subscribe()
    }

    /// Listens until `stop`, connecting again whenever the connection is lost.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.listen_on()).await;
    }

    async fn listen_on(&self) {
        let mut failures = 0;
        loop {
            let (connected, error) = self.listen().await;
            failures = if connected { 1 } else { failures + 1 };
            let pause = super::backoff(failures, Duration::from_secs(10));
            tracing::warn!(
                error = format!("{error:#}"),
                ?pause,
                "not listening to the database"
            );
            sleep(pause).await;
        }
    }

    /// Listens until the connection fails; tells whether there was one.
    async fn listen(&self) -> (bool, anyhow::Error) {
        let (client, mut connection) = match self.address.connect().await {
            Ok(pair) => pair,
            Err(error) => return (false, error.into()),
        };
        let announce = async {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message? {
                    // An error only says that nobody subscribes.
                    let _unheard = self.heard.send(Heard::Notification {
                        channel: notification.channel().to_owned(),
                        payload: notification.payload().to_owned(),
                    });
                }
            }
            anyhow::bail!("the connection was closed")
        };
        let stay = async {
            client
                .batch_execute(&format!("listen {JOBS}; listen {PUBLICATION}"))
                .await?;
            let _unheard = self.heard.send(Heard::Connected);
            loop {
                sleep(SILENCE).await;
                timeout(SILENCE, client.simple_query("")).await??;
            }
        };
        let ended: anyhow::Result<()> = tokio::select! {
            ended = announce => ended,
            ended = stay => ended,
        };
        (
            true,
            ended.err().unwrap_or_else(|| anyhow::anyhow!("stopped")),
        )
    }
}
