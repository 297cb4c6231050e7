//! What is published and what an edge reads.
//!
//! A [`Publication`] (Flagsmith's environment document, what `/flags/` shows beyond it, and the
//! hashed server keys) is compiled once into a [`Package`]: the [`Snapshot`] that answers are made
//! from, the document's JSON for local-evaluation SDKs, and the identity overrides in buckets.

pub mod document;
mod package;
pub mod publication;
mod view;

pub use package::{Package, PackageError, PackageMeta, compile};
pub use publication::{Publication, ServerKey};
pub use crate::engine::{Identity, Trait, TraitValue};
pub use view::{OverrideBucket, Settings, Side, Snapshot, SnapshotError};
