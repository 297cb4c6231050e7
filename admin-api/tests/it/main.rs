//! The admin API over real HTTP requests on a real Postgres: one binary, a file a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod accounts;
mod app;
mod beyond_edges;
mod convergence;
mod database_tls;
mod deleted_traits;
mod deliveries;
mod document;
mod edge;
mod edge_packages;
mod edge_targets;
mod environments;
mod faults;
mod feature_segments;
mod feature_states;
mod features;
mod fixture;
mod handed_over;
mod identities;
mod identity_overrides;
mod influx;
mod jobs;
mod large;
mod mounted;
mod multivariate;
mod organisations;
mod packed;
mod private;
mod program;
mod projects;
mod published_document;
mod pulling_edge;
mod segments;
mod statements;
mod surroundings;
mod tags;
mod told;
mod usage;
mod usage_database;
mod world;
