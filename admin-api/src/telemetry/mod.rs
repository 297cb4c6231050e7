//! What the program tells of itself to whoever operates it: the numbers at `/metrics`. Log lines are
//! written where things happen.

mod metrics;
mod page;
mod requests;

pub use metrics::Metrics;
pub(crate) use page::page;
pub(crate) use requests::watch;
