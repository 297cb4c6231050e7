//! Packages that edges ask for: what they lack of a key that somebody asks them with (pull-through,
//! `yardarm_core::edge::pull_through`). Publication hands over all the others.

mod routes;

pub(crate) use routes::routes;
