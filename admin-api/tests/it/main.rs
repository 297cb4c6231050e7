//! The admin API over real HTTP requests on a real Postgres: one binary, a file a subject.

mod access;
mod accounts;
mod app;
mod convergence;
mod document;
mod edge;
mod edge_targets;
mod environments;
mod identities;
mod jobs;
mod mounted;
mod organisations;
mod projects;
mod published_document;
mod statements;
mod surroundings;
mod world;
