//! What edges send home, taken in: identities with their traits, and counts of usage.
//!
//! ```text
//! POST /api/v1/edge/deliveries/ ─► take ─┬─► counts: usage (its own transaction, by the batch's id)
//!                                        └─► identities and the batch's id, in one transaction
//! ```
//!
//! A batch comes again until it is confirmed. Usage knows a batch's id by itself, since it may be kept in another
//! database; so a failure at any point and a repetition come to the same as one success. The id of the batch is
//! written last: while it is not there, everything is tried again.
//!
//! Not here: who may send (`api/edge_deliveries`), and what a batch looks like (`yardarm_core::edge::delivery`).

mod gather;
mod take;

pub(crate) use gather::fits;
pub(crate) use take::{Sender, Taken, forget_batches, forget_deleted, take};
