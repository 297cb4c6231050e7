//! Where the effects of answered requests go.

use yardarm_core::edge::Effect;

/// Takes what answering a request caused besides the reply.
pub trait Usage: Send + Sync + 'static {
    /// Called for every request that caused something, in a task of its own, so that the reply does
    /// not wait. It must not block: what has to be stored goes to a channel.
    fn record(&self, effects: Vec<Effect>);
}

/// Logs what was counted, at level debug, and forgets it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoggedUsage;

impl Usage for LoggedUsage {
    fn record(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Evaluations {
                    environment_key,
                    rows,
                } => tracing::debug!(
                    environment = %environment_key,
                    rows = rows.len(),
                    evaluations = rows.iter().map(|row| row.count).sum::<i64>(),
                    "flag usage",
                ),
            }
        }
    }
}
