//! In the place of looks where the feature `upstream` is not built in.

use yardarm_core::edge::Unavailable;
use yardarm_core::edge::upstream::KeyPair;

use super::Pulls;
use crate::config::UpstreamConfig;

/// Tells what is missing.
#[expect(clippy::unused_async, reason = "the other one waits")]
pub(super) async fn look(_: &Pulls, _: &UpstreamConfig, _: &KeyPair) -> Result<(), Unavailable> {
    let told = "built without the feature `upstream` (docs/edge-for-flagsmith.md)";
    Err(Unavailable(told.to_owned()))
}
