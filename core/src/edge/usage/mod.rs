//! Usage: who asked for what, and how it is counted (flagsmith-api.md A.6).
//!
//! [`Counted`] is what a request leaves behind, without a copy; [`Tally`] adds such requests and the evaluations
//! that SDKs report up, within a bound of memory; a host drains it into [`super::delivery`]'s rows and
//! sends them home. Where they go and when is the host's.

mod asked;
mod tally;

pub(super) use asked::resource_of;
pub use asked::{Counted, LABEL_HEADERS, Origin, is_labelled};
pub use tally::{Counts, Tally};
