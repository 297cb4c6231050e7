//! An identity: somebody or something that asks for flags in one environment, with the traits that are
//! stored of it. SDKs make most of them; people look them up, correct their traits and override flags
//! for them.

mod model;
mod overrides;
mod resolved;
mod routes;
mod traits;

use routes::identity;
pub(crate) use routes::routes;
