//! The tasks.

use std::hint::black_box;

use bytes::Bytes;
use flagsmith_flag_engine::engine::get_evaluation_result;
use flagsmith_flag_engine::engine_eval::context::EngineEvaluationContext;
use flagsmith_flag_engine::engine_eval::mappers::{add_identity_to_context, environment_to_context};
use flagsmith_flag_engine::environments::builders::build_environment_struct;
use flagsmith_flag_engine::identities::Trait as TheirTrait;
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
    their_context: EngineEvaluationContext,
    their_traits: Vec<TheirTrait>,
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
    /// flagsmith-flag-engine: add the identity to the context, evaluate.
    Theirs,
    /// The same, and the result to JSON.
    TheirsToJson,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Answer,
        Self::FirstAnswer,
        Self::Flags,
        Self::Theirs,
        Self::TheirsToJson,
    ];
}

/// The publication of a document, in the slim shape or, with rows for all states, the full one.
pub fn publication(document: &serde_json::Value) -> Publication {
    let publication = json!({"version": 1, "updated_at_micros": 0, "document": document});
    serde_json::from_value(publication).expect("a document")
}

impl<'a> Tasks<'a> {
    /// Compiles a profile for both engines.
    pub fn new(profile: &'a Profile) -> Self {
        Self::with_their_document(profile, profile.document.clone())
    }

    /// Compiles a profile for Yardarm's engine only: the other one is given an empty environment.
    pub fn without_peer(profile: &'a Profile) -> Self {
        let mut document = profile.document.clone();
        for list in ["feature_states", "identity_overrides"] {
            document[list] = json!([]);
        }
        document["project"]["segments"] = json!([]);
        Self::with_their_document(profile, document)
    }

    fn with_their_document(profile: &'a Profile, their_document: serde_json::Value) -> Self {
        let (package, _) = compile(&publication(&profile.document));
        let cold = package.snapshot();
        let snapshot = Snapshot::open(cold.clone()).expect("just compiled");
        let environment = build_environment_struct(their_document);
        Self {
            profile,
            traits: profile.traits(),
            cold,
            snapshot,
            package,
            their_context: environment_to_context(environment),
            their_traits: profile
                .traits
                .iter()
                .map(|(key, value)| {
                    serde_json::from_value(json!({"trait_key": key, "trait_value": value}))
                        .expect("a trait")
                })
                .collect(),
        }
    }

    /// The compiled package.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// Does a task so many times; gives the number of bytes or flags that came out, so that nothing
    /// is optimised away.
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
            Task::Theirs => self.theirs().flags.len(),
            Task::TheirsToJson => serde_json::to_vec(&self.theirs()).expect("JSON").len(),
        }
    }

    fn answer(&self, snapshot: &Snapshot) -> usize {
        let identity = Identity {
            identifier: &self.profile.identifier,
            hash_key: None,
            traits: black_box(&self.traits),
        };
        let bucket = snapshot
            .override_bucket(identity.identifier)
            .and_then(|bucket| self.package.override_bucket(bucket))
            .map(OverrideBucket::new);
        let mut out = Vec::new();
        snapshot.write_identity_flags(Side::Client, &identity, bucket.as_ref(), &mut out);
        black_box(out).len()
    }

    fn theirs(&self) -> flagsmith_flag_engine::engine_eval::result::EvaluationResult {
        let context = add_identity_to_context(
            black_box(&self.their_context),
            &self.profile.identifier,
            &self.their_traits,
        );
        get_evaluation_result(&context)
    }
}
