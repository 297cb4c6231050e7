//! What is known of identities, handed down to the edges that keep identities of their own, in two ways.
//!
//! **What people change goes at once** (`mark`, `tell`). A change marks, in its own transaction, which traits every target has to be told of; a job a target tells it what is
//! true by then, each trait with the time of its change, and takes the marks away once the edge has confirmed. So many
//! changes become one, a crash at any point and an edge that is away come to the same, and what an SDK
//! changed later at the edge stays.
//!
//! **Everything goes by and by** (`number`, `hand_over`): whatever changes an identity's traits, at any edge or here, gives it the
//! next number of a row, and a target is told of what has a higher number than it was told of before; a new one, of all (ADR 0014).
//! What an edge knows already changes nothing there, so that both ways and repetition do no harm.
//!
//! The process's own edge reads the same rows and needs to be told nothing.

mod hand_over;
mod mark;
mod number;
mod tell;

pub(crate) use hand_over::HandOver;
pub(crate) use mark::{
    bury_trait_everywhere, bury_traits, mark_identity, mark_renamed, mark_traits,
};
pub(crate) use tell::TellIdentities;

use anyhow::ensure;

/// Fails where an edge refused identities, for these reasons, one an environment; the others were told.
fn all_taken(reasons: &[String]) -> anyhow::Result<()> {
    ensure!(
        reasons.is_empty(),
        "identities of {} environments not taken, such as {}",
        reasons.len(),
        reasons[0]
    );
    Ok(())
}
