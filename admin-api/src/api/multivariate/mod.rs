//! An option: one of a feature's variants, with the share of identities that a new state gives it. Each
//! state keeps its own shares in `feature_states`.

mod model;
mod routes;
mod rows;
mod rules;

pub(crate) use model::{OptionIn, OptionOut, OptionRow};
pub(crate) use routes::routes;
pub(crate) use rows::{apply_list, of_features};
pub(crate) use rules::{ListedOption, read_list};
