//! Flags one by one, each with what made it so: for protocols that tell reasons.

use super::answer::{Answer, Cause};
use super::layout::{Part, feature};
use super::overrides::OverrideBucket;
use super::view::{Side, Snapshot};
use crate::engine::binary::{Span, i64_at};
use crate::engine::plan::Plan;
use crate::engine::{Identity, binary};

/// A flag as somebody gets it.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    /// The feature's name.
    pub name: &'a str,
    /// The feature's id.
    pub id: i64,
    /// The flag's JSON as in an answer to an SDK.
    pub flag: &'a [u8],
    /// Why it is what it is.
    pub cause: Cause,
}

impl Snapshot {
    /// Gives `visit` every flag that is to be shown, or only the one of `name`, letter for letter. Without
    /// an identity these are the environment's defaults, as `GET /flags/` has them.
    pub fn resolve(
        &self,
        side: Side,
        identity: Option<&Identity<'_>>,
        overrides: Option<&OverrideBucket>,
        name: Option<&str>,
        visit: &mut dyn FnMut(Resolved<'_>),
    ) {
        let key = identity.map(|identity| self.hash_key(identity));
        let mut answer = identity
            .zip(key.as_deref())
            .map(|(identity, key)| Answer::new(self, side, identity, key, overrides));
        let plan = Plan::open(self.part(Part::Plan));
        let has_rules = |number: u32| {
            plan.feature(number).is_some_and(|feature| {
                feature.candidates.len > 0 || plan.state(feature.state).variants.len > 0
            })
        };
        let features: &[[u8; feature::SIZE]] = self.part(Part::Features).as_chunks().0;
        let numbers = match name {
            None => 0..binary::count(features.len()),
            Some(name) => self.feature_named(name).map_or(0..0, |at| at..at + 1),
        };
        let mut json = Vec::new();
        for number in numbers {
            let Some(record) = features.get(number as usize) else {
                return;
            };
            let own_name = self.name_of(record);
            if name.is_some_and(|name| name != own_name) {
                continue;
            }
            json.clear();
            let cause = match &mut answer {
                Some(answer) => answer.write_and_tell(number, &mut json),
                None => self.answers(number, side).then(|| {
                    json.extend_from_slice(Span::read(record, feature::FLAG).of(self.bytes()));
                    Cause::Default
                }),
            };
            let cause = match cause {
                None => continue,
                Some(Cause::Default) if !has_rules(number) => Cause::Static,
                Some(cause) => cause,
            };
            visit(Resolved {
                name: own_name,
                id: i64_at(record, feature::ID),
                flag: &json,
                cause,
            });
        }
    }
}
