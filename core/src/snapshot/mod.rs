//! What is published and what an edge reads.
//!
//! A [`Publication`] (Flagsmith's environment document, what `/flags/` shows beyond it, and the
//! hashed server keys) is compiled once into a [`Package`]: the [`Snapshot`] that answers are made
//! from, and parts: the document's JSON for local-evaluation SDKs and the identity overrides in
//! buckets.

mod answer;
pub mod ascii_json;
mod compile;
pub mod document;
mod fragments;
mod inspect;
mod layout;
mod mapping;
mod overrides;
mod package;
mod pages;
pub mod publication;
mod resolved;
mod stretches;
mod view;

pub use crate::engine::{Identity, Trait, TraitValue};
pub use answer::Cause;
pub use compile::compile;
pub use inspect::inspect;
pub use mapping::context;
pub use overrides::OverrideBucket;
pub use package::{Package, PackageError, PackageMeta};
pub use publication::{Publication, ServerKey};
pub use resolved::Resolved;
pub use view::{DocumentPage, PartName, Settings, Side, Snapshot, SnapshotError};

use crate::hex;
