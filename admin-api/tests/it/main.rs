//! The admin API over real HTTP requests on a real Postgres: one binary, a file a subject.

mod app;
mod document;
mod identities;
mod projects;
mod statements;
