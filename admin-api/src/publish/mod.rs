//! The road from a committed change to an answer at the edge.
//!
//! ```text
//! write transaction ── version, job `publish` (by trigger) ──► commit ──► this process's own edge, before the answer
//!                                                                 │ NOTIFY
//!        other processes' own edges ◄─────────────────────────────┤
//!        job `publish` ─► job `deliver` a target ─► assemble ─► compile ─► signed PUT ─► confirmed ─► job `purge`
//!                                                                       └► files of an export ─► confirmed
//! ```
//!
//! Everything looks at states, never at events: what an edge should hold is the view `publication`,
//! what it confirmed is `edge_delivery`, and the difference is sent. What people change of identities goes a road of its
//! own (`identities`). Not here: what a package is
//! (`yardarm_core::snapshot`), and what an edge does with it (`yardarm_core::edge`).

mod assemble;
mod deliver;
mod export;
mod identities;
mod mounted;
mod outbox;
mod packages;
mod publisher;
mod purge;
mod push;
mod reconcile;
mod targets;

pub(crate) use assemble::{Assembled, assemble};
pub use export::ExportSettings;
pub(crate) use export::{is_export, objection as export_objection};
pub(crate) use identities::{
    bury_trait_everywhere, bury_traits, mark_identity, mark_renamed, mark_traits,
};
pub use mounted::Mounted;
pub(crate) use mounted::MountedSlot;
pub(crate) use outbox::changed_keys;
pub(crate) use packages::Packages;
pub use publisher::{Publisher, Settings};
pub use purge::Cloudflare;
pub(crate) use reconcile::Reconcile;
