//! The native edge: core's SDK API over sockets, with snapshots in memory and on disk.
//!
//! It is a small server of its own (`yardarm-edge`) that needs nothing but a directory, and what the
//! control plane mounts so that one self-hosted process serves both. Flag logic and HTTP semantics
//! are [`yardarm_core`]'s; this crate is glue.
//!
//! ```text
//! socket ── server ── service ── core::edge::handle ── host ─┬─ SnapshotStore ── package files
//!                        │                                   └─ Identities ──┬── identity files
//!                        └─ Usage                                            └── Postgres (control plane)
//! ```
//!
//! - [`SnapshotStore`]: every published environment, in memory, written through to disk. A restart
//!   with the control plane down answers at once; a damaged file is set aside and the rest serve.
//! - [`Identities`]: traits that SDKs store. [`IdentityFiles`] keeps them on disk and says what it
//!   promises; the control plane brings its own.
//! - [`Edge`]: answers requests; [`router`] is its axum form for mounting, [`serve`] the socket loop.
//! - [`Streams`]: who listens to an environment is told of each version that is installed.
//! - [`PullThrough`]: asks a control plane of keys that are not held.
//! - [`Upstream`]: pulls environments from an existing Flagsmith, where there is no control plane.
//! - [`Deliveries`]: bring identities that changed, and usage, home to the control plane.
//! - [`Usage`]: is told of every request that counts and of what SDKs report; [`CountedUsage`] adds up.
//!
//! A data directory looks like this, and belongs to one process at a time:
//!
//! ```text
//! lock
//! upstream.json
//! environments/<sha256 of the environment key>.package
//! identities/<sha256 of the environment key>/<2 digits>/<sha256 of the identifier>.json
//! deliveries/changes/<number>.log      changes of identities, not packed yet
//! deliveries/outbox/<number>-<kind>.json  deliveries, not confirmed yet
//! ```
//!
//! A full disk or a failing one makes the request that had to write answer 503; what was held keeps
//! serving. Files that were found damaged get `.damaged` appended to their names and are not read again.

#![forbid(unsafe_code)]

mod bodies;
mod compression;
mod deliveries;
mod durable;
mod head_timer;
mod host;
mod identities;
mod identity_files;
mod news;
mod open_files;
mod outbound;
mod package_files;
mod pull_through;
mod reply_body;
mod request_id;
mod server;
mod service;
mod sharded;
mod snapshots;
mod socket;
mod streams;
mod tls;
mod upstream;
mod usage;

pub use compression::{Accepted, pack};
pub use deliveries::{Deliveries, DeliveriesError, DeliverySettings, Journal};
pub use durable::{DataDirectory, DataDirectoryError};
pub use host::NativeHost;
pub use identities::Identities;
pub use identity_files::IdentityFiles;
pub use open_files::{raise_open_files, streams_within};
pub use outbound::{Answer, Client, ClientError};
pub use pull_through::PullThrough;
pub use reply_body::ReplyBody;
pub use server::{Patience, serve, serve_patiently, serve_with};
pub use service::{Edge, router};
pub use snapshots::SnapshotStore;
pub use streams::{EventStream, StreamSettings, Streams};
pub use tls::{Tls, TlsError};
pub use upstream::{Upstream, UpstreamSettings};
pub use usage::{CountedUsage, NoUsage, Usage};
