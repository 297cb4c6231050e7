//! What SDKs did, as people read it: requests of an organisation, evaluations of a feature, by day
//! (flagsmith-api.md A.6, C.5, C.11). Where the numbers come from is `usage`'s business.

mod model;
mod routes;

pub(crate) use routes::{routes, total};
