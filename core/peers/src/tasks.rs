//! Yardarm's side: a request's work, done from an open snapshot or from bytes.

use std::hint::black_box;

use bytes::Bytes;
use serde_json::json;
use yardarm_core::snapshot::{
    Identity, OverrideBucket, Package, Publication, Side, Snapshot, Trait, compile,
};

use crate::profile::Profile;

/// Everything the tasks need, made beforehand.
pub struct Tasks<'a> {
    profile: &'a Profile,
    traits: Vec<Trait<'a>>,
    package: Package,
    snapshot: Snapshot,
    cold: Bytes,
}

/// What can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// An identity's flags as JSON from an open snapshot.
    Answer,
    /// The same from bytes: open, then answer. Nothing is kept in between.
    FirstAnswer,
    /// `GET /flags/`.
    Flags,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Answer, Self::FirstAnswer, Self::Flags];
}

/// The publication of a document, in the slim shape.
pub fn publication(document: &serde_json::Value) -> Publication {
    let publication = json!({"version": 1, "updated_at_micros": 0, "document": document});
    serde_json::from_value(publication).expect("a document")
}

impl<'a> Tasks<'a> {
    /// Compiles a profile.
    pub fn new(profile: &'a Profile) -> Self {
        let (package, _) = compile(&publication(&profile.document));
        let cold = package.snapshot();
        Self {
            profile,
            traits: profile.traits(),
            snapshot: Snapshot::open(cold.clone()).expect("just compiled"),
            cold,
            package,
        }
    }

    /// The compiled package.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// Does a task so many times; gives the number of bytes that came out, so that nothing is
    /// optimised away.
    pub fn run(&self, task: Task, times: u32) -> usize {
        (0..times).map(|_| self.once(task)).sum()
    }

    fn once(&self, task: Task) -> usize {
        match task {
            Task::Answer => self.answer(black_box(&self.snapshot)),
            Task::FirstAnswer => {
                let snapshot = Snapshot::open(black_box(self.cold.clone())).expect("a snapshot");
                self.answer(&snapshot)
            }
            Task::Flags => black_box(&self.snapshot).flags(Side::Client).0.len(),
        }
    }

    fn answer(&self, snapshot: &Snapshot) -> usize {
        let identity = Identity {
            identifier: &self.profile.identifier,
            hash_key: None,
            traits: black_box(&self.traits),
        };
        let bucket = snapshot
            .override_part(identity.identifier)
            .and_then(|bucket| self.package.part(bucket))
            .map(OverrideBucket::new);
        let mut out = Vec::new();
        snapshot.write_identity_flags(Side::Client, &identity, bucket.as_ref(), &mut out);
        black_box(out).len()
    }
}
