//! The resources, one folder each: `mod.rs` says what it is, `routes.rs` is thin, `model.rs` holds the
//! types, `rules.rs` pure rules, `queries.sql` the statements.

pub(crate) mod account;
pub(crate) mod edge_deliveries;
pub(crate) mod edge_packages;
pub(crate) mod edge_targets;
pub(crate) mod environment_keys;
pub(crate) mod environments;
pub(crate) mod feature_segments;
pub(crate) mod feature_states;
pub(crate) mod features;
pub(crate) mod identities;
pub(crate) mod multivariate;
pub(crate) mod organisations;
pub(crate) mod projects;
pub(crate) mod segments;
pub(crate) mod sessions;
pub(crate) mod setup;
pub(crate) mod system;
pub(crate) mod tags;
pub(crate) mod usage;
