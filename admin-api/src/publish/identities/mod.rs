//! What people change of identities, handed down to the edges that keep identities of their own.
//!
//! A change marks, in its own transaction, which traits every target has to be told of; a job a target tells it what is
//! true by then, each trait with the time of its change, and takes the marks away once the edge has confirmed. So many
//! changes become one, a crash at any point and an edge that is away come to the same, and what an SDK
//! changed later at the edge stays. The process's own edge reads the same rows and needs to be told nothing.
//!
//! A new edge, or one that lost its store, is not told of what was changed before.

mod mark;
mod tell;

pub(crate) use mark::{
    bury_trait_everywhere, bury_traits, mark_identity, mark_renamed, mark_traits,
};
pub(crate) use tell::TellIdentities;
