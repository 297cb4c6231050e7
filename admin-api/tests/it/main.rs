//! The admin API over real HTTP requests on a real Postgres: one binary, a file a subject.

mod app;
mod convergence;
mod document;
mod edge;
mod edge_targets;
mod identities;
mod jobs;
mod mounted;
mod projects;
mod published_document;
mod statements;
mod world;
