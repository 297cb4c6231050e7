//! The evaluation rules: an evaluation context in, an evaluation result out.
//!
//! Semantics: flagsmith-api.md B.1 to B.6 and flagsmith-observed.md 3.7 and 3.8 (flag-engine 10.2.0).
//! There is one way to evaluate: what is asked is compiled to a [`plan`], and a [`session`] answers
//! one request from it. A snapshot stores its plan; [`evaluate`] makes one and drops it.
//!
//! Odd data has a defined result here (an unreadable pattern matches nothing, a division by zero
//! holds never); nothing fails and nothing panics.

pub(crate) mod binary;
mod bucket;
pub mod coerce;
mod context;
mod evaluation;
mod identity;
mod jsonpath;
mod operator;
mod pattern;
pub(crate) mod plan;
pub(crate) mod session;
mod value;

pub use bucket::percentage;
pub use context::{
    Condition, Context, Environment, Feature, IdentityContext, Number, Rule, Segment, Variant,
};
pub use evaluation::{Evaluation, Flag, SegmentMatch, evaluate};
pub use identity::{Identity, Trait, TraitValue};
pub use jsonpath::Query;
pub use pattern::matches_start;

pub(crate) use pattern::Patterns;
