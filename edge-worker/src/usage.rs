//! Usage reported by SDKs: one structured line a report in the Worker's log.

use serde_json::json;
use worker::console_log;
use yardarm_core::edge::Effect;

/// Writes what a request reported to the log.
pub(crate) fn record(effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::Evaluations {
                environment_key,
                rows,
                ..
            } => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|row| (&row.feature_name, row.count))
                    .collect();
                let line = json!({"event": "evaluations", "environment_key": environment_key, "counts": rows});
                console_log!("{line}");
            }
        }
    }
}
