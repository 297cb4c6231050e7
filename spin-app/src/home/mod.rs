//! What goes home to the control plane: which identities changed ([`marks`]) and what was asked ([`counts`]), kept
//! until it is confirmed ([`slots`]), and sent after replies ([`turns`]). Why so: docs/adr/0012-spin-home.md.

mod counts;
mod marks;
#[cfg(test)]
mod plane;
mod slots;
#[cfg(test)]
mod tests;
mod turns;

pub(crate) use counts::after;
pub(crate) use marks::{covers, mark};
