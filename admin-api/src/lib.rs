//! Yardarm's control plane: the admin API on Postgres, background jobs, publication to the edges.
//!
//! `api/` holds one folder a resource; the other modules are what every resource shares. See
//! `docs/adding-an-endpoint.md`.

#![expect(unused_qualifications, reason = "utoipa's derives write paths in full")]

pub mod api;
pub mod app;
pub mod background;
pub mod command;
pub mod config;
pub mod edge_host;
pub mod http;
pub mod jobs;
pub mod publish;
pub mod router;
pub mod store;
pub mod telemetry;
pub mod usage;

pub(crate) mod access;
mod intake;
mod outbound;

/// The statements of every `queries.sql`, as `build.rs` read them.
pub mod sql {
    include!(concat!(env!("OUT_DIR"), "/sql.rs"));
}
