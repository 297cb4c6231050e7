//! What the program tells of itself to whoever operates it: metrics, and a log line a request.

mod metrics;
mod requests;

pub use metrics::Metrics;
pub(crate) use requests::watch;
