//! One request's evaluation of a plan. What is worked out once (a property, a condition, a segment)
//! is remembered, and only what an answer depends on is worked out at all.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::bucket;
use super::identity::{Identity, TraitValue};
use super::jsonpath::Query;
use super::operator::{self, Operator};
use super::pattern::Patterns;
use super::plan::{ACCEPT, Candidate, Condition, NO_PROPERTY, Plan, PropertyKind};
use super::value::Value;

/// Who asks, with the key that buckets are hashed by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Identifier and traits.
    pub(crate) identity: &'a Identity<'a>,
    /// What buckets are hashed by.
    pub(crate) key: &'a str,
    /// The identity as it was given, where it may hold more than [`Identity`] does.
    pub(crate) whole: Option<&'a Json>,
}

/// Which state of a feature applies, and the segment that made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The state.
    pub(crate) state: u32,
    /// The segment, unless it is the default state.
    pub(crate) segment: Option<u32>,
}

/// Which variant of a state an identity gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// The state has no variants, or nobody in particular asks.
    None,
    /// None of them: the control value.
    Control,
    /// This one of the list as it was given.
    Variant(u32),
}

const UNKNOWN: u8 = 0;
const HOLDS: u8 = 1;
const FAILS: u8 = 2;

/// One request.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    plan: Plan<'a>,
    patterns: &'a Patterns,
    subject: Option<Subject<'a>>,
    values: Vec<Value<'a>>,
    /// What is known of segments, then of conditions.
    known: Vec<u8>,
}

impl<'a> Session<'a> {
    /// Looks up the traits that the plan asks for.
    pub(crate) fn new(
        plan: Plan<'a>,
        patterns: &'a Patterns,
        subject: Option<Subject<'a>>,
    ) -> Self {
        let mut values = Vec::with_capacity(plan.properties());
        values.resize_with(plan.traits(), || Value::Missing);
        values.resize_with(plan.properties(), || Value::Pending);
        for entry in subject.iter().flat_map(|subject| subject.identity.traits) {
            if let Some(property) = plan.trait_named(entry.key)
                && let Some(value) = values.get_mut(property as usize)
            {
                *value = Value::from_trait(entry.value);
            }
        }
        Self {
            plan,
            patterns,
            subject,
            values,
            known: vec![UNKNOWN; plan.segments() + plan.conditions()],
        }
    }

    /// The state that applies of a feature: the first override whose segment matches, or the default.
    #[inline]
    pub(crate) fn choose(&mut self, feature: u32) -> Option<Choice> {
        let feature = self.plan.feature(feature)?;
        for Candidate { segment, state } in self.plan.candidates(feature.candidates) {
            if self.is_in_segment(segment) {
                return Some(Choice {
                    state,
                    segment: Some(segment),
                });
            }
        }
        Some(Choice {
            state: feature.state,
            segment: None,
        })
    }

    /// The variant of a state.
    #[inline]
    pub(crate) fn split(&self, state: u32) -> Split {
        let state = self.plan.state(state);
        let Some(subject) = self.subject.filter(|_| state.variants.len > 0) else {
            return Split::None;
        };
        let position = bucket::percentage(state.salt, subject.key.as_bytes());
        self.plan
            .variants(state.variants)
            .find(|variant| variant.start <= position && position < variant.limit)
            .map_or(Split::Control, |variant| Split::Variant(variant.index))
    }

    /// Whether the identity is in a segment.
    #[inline]
    pub(crate) fn is_in_segment(&mut self, segment: u32) -> bool {
        match self.known.get(segment as usize) {
            Some(&HOLDS) => true,
            Some(&UNKNOWN) => self.run(segment),
            _ => false,
        }
    }

    fn run(&mut self, segment: u32) -> bool {
        let mut place = self.plan.segment(segment);
        while let Some(node) = self.plan.node(place) {
            let next = if self.condition(node.condition) {
                node.on_true
            } else {
                node.on_false
            };
            // Only a damaged program goes back.
            if next <= place {
                break;
            }
            place = next;
        }
        self.remember(segment as usize, place == ACCEPT)
    }

    fn remember(&mut self, at: usize, holds: bool) -> bool {
        if let Some(known) = self.known.get_mut(at) {
            *known = if holds { HOLDS } else { FAILS };
        }
        holds
    }

    #[inline]
    fn condition(&mut self, index: u32) -> bool {
        let at = self.plan.segments() + index as usize;
        match self.known.get(at) {
            Some(&HOLDS) => true,
            Some(&UNKNOWN) => {
                let condition = self.plan.condition(index);
                let holds = condition.is_some_and(|condition| self.holds(condition));
                self.remember(at, holds)
            }
            _ => false,
        }
    }

    fn holds(&mut self, condition: Condition<'a>) -> bool {
        let Some(operator) = condition.operator() else {
            return false;
        };
        let (plan, patterns, subject) = (self.plan, self.patterns, self.subject);
        let property = condition.property();
        if operator == Operator::PercentageSplit && property == NO_PROPERTY {
            let key = subject.map(|subject| subject.key);
            return operator::percentage_split(condition.text(), key, condition.float());
        }
        let value = self.value(property);
        match operator {
            Operator::Equal
            | Operator::NotEqual
            | Operator::GreaterThan
            | Operator::GreaterThanInclusive
            | Operator::LessThan
            | Operator::LessThanInclusive => operator::compares(operator, value, condition),
            Operator::Contains => operator::contains(value, condition),
            Operator::NotContains => operator::not_contains(value, condition.text()),
            Operator::In => operator::is_in(value, |text| plan.has_member(condition.range(), text)),
            Operator::Modulo => condition
                .numbers()
                .is_some_and(|(divisor, remainder)| operator::modulo(value, divisor, remainder)),
            Operator::IsSet => operator::is_set(value),
            Operator::IsNotSet => !operator::is_set(value),
            Operator::PercentageSplit => {
                let text = value.text();
                operator::percentage_split(condition.text(), text.as_deref(), condition.float())
            }
            Operator::Regex => value
                .text()
                .filter(|_| condition.is_text())
                .is_some_and(|value| {
                    let number = condition.range().at;
                    patterns.is_match(number, plan.patterns(), condition.text(), &value)
                }),
        }
    }

    fn value(&mut self, property: u32) -> &Value<'a> {
        let at = property as usize;
        if self.values.get(at) == Some(&Value::Pending) {
            let value = self.follow(property);
            self.values[at] = value;
        }
        self.values.get(at).unwrap_or(&Value::Missing)
    }

    /// The value that a path leads to; the trait named like the whole path comes first.
    fn follow(&self, property: u32) -> Value<'a> {
        let Some(path) = self.plan.path(property) else {
            return Value::Missing;
        };
        let trait_value = |property: u32| match self.values.get(property as usize) {
            Some(Value::Pending) | None => Value::Missing,
            Some(value) => value.clone(),
        };
        let literal = trait_value(path.literal);
        if operator::is_set(&literal) {
            return literal;
        }
        match (path.kind, self.subject) {
            (PropertyKind::Bool(value), _) => Value::Bool(value),
            (PropertyKind::Int(value), _) => Value::Int(value),
            (PropertyKind::Float(value), _) => Value::Float(value),
            (PropertyKind::Text(text), _) => Value::from_text(Cow::Borrowed(text)),
            (PropertyKind::Nothing, _) | (_, None) => Value::Missing,
            (PropertyKind::Identifier, Some(subject)) => {
                Value::from_text(Cow::Borrowed(subject.identity.identifier))
            }
            (PropertyKind::Key, Some(subject)) => Value::from_text(Cow::Borrowed(subject.key)),
            (PropertyKind::Trait(property, name), Some(subject)) => match subject.whole {
                None => trait_value(property),
                // A list given as a trait is text to the operators, but no scalar to a path.
                Some(whole) => whole["traits"]
                    .get(name)
                    .map_or(Value::Missing, Value::from_json),
            },
            (PropertyKind::Dynamic(path), Some(subject)) => {
                let root = subject.as_json();
                Query::parse(path)
                    .and_then(|query| query.first(&root).map(Value::from_json))
                    .unwrap_or(Value::Missing)
            }
        }
    }
}

impl Subject<'_> {
    /// The identity as a context holds it, for paths that are not plain.
    fn as_json(&self) -> Json {
        let whole = self.whole.cloned().unwrap_or_else(|| {
            let traits: Map<String, Json> = self
                .identity
                .traits
                .iter()
                .map(|entry| {
                    let value = match entry.value {
                        TraitValue::Bool(value) => value.into(),
                        TraitValue::Int(value) => value.into(),
                        TraitValue::Float(value) => value.into(),
                        TraitValue::Text(text) => text.into(),
                    };
                    (entry.key.to_owned(), value)
                })
                .collect();
            serde_json::json!({
                "identifier": self.identity.identifier,
                "key": self.key,
                "traits": traits,
            })
        });
        serde_json::json!({ "identity": whole })
    }
}
