//! Filter expressions, and what they compare.

use std::cmp::Ordering;

use serde_json::Value;

use super::evaluate::Walk;
use super::{Query, Selector};
use crate::engine::pattern;

/// A filter expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    Or(Vec<Filter>),
    And(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Operand, Comparison, Operand),
    Exists(Source),
    Test(TextTest),
}

/// A query in a filter, from the current node or from the root.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub(super) from_root: bool,
    pub(super) query: Query,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    /// A query of names and indexes only: one node or none.
    Singular(Source),
    /// `length(…)`
    Length(Box<Operand>),
    /// `count(…)`
    Count(Source),
    /// `value(…)`
    Value(Source),
}

/// `match(…)` and `search(…)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextTest {
    pub(super) whole: bool,
    pub(super) text: Operand,
    pub(super) pattern: Operand,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Source {
    fn looks_at_root(&self) -> bool {
        self.from_root || self.query.looks_at_root()
    }

    /// Whether it selects one node at most.
    pub(super) fn is_singular(&self) -> bool {
        self.query.segments.iter().all(|segment| {
            !segment.descendant
                && matches!(
                    segment.selectors.as_slice(),
                    [Selector::Name(_) | Selector::Index(_)]
                )
        })
    }

    fn start<'v>(&self, current: &'v Value, walk: &Walk<'v>) -> &'v Value {
        if self.from_root { walk.root } else { current }
    }
}

impl Operand {
    fn looks_at_root(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Singular(source) | Self::Count(source) | Self::Value(source) => {
                source.looks_at_root()
            }
            Self::Length(of) => of.looks_at_root(),
        }
    }

    /// Its value; `None` is the RFC's Nothing.
    fn value<'v>(&self, current: &'v Value, walk: &mut Walk<'v>) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Singular(source) => {
                let start = source.start(current, walk);
                walk.first(&source.query, start).cloned()
            }
            Self::Length(of) => match of.value(current, walk)? {
                Value::String(text) => Some(text.chars().count().into()),
                Value::Array(items) => Some(items.len().into()),
                Value::Object(members) => Some(members.len().into()),
                _ => None,
            },
            Self::Count(source) => {
                let start = source.start(current, walk);
                let mut count = 0_usize;
                walk.visit(&source.query.segments, start, &mut |_, _| {
                    count += 1;
                    false
                });
                Some(count.into())
            }
            Self::Value(source) => {
                let start = source.start(current, walk);
                let mut found = Vec::new();
                walk.visit(&source.query.segments, start, &mut |_, node| {
                    found.push(node);
                    found.len() > 1
                });
                match found.as_slice() {
                    [only] => Some((*only).clone()),
                    _ => None,
                }
            }
        }
    }
}

impl Filter {
    /// Whether anything in it looks at the root.
    pub(super) fn looks_at_root(&self) -> bool {
        match self {
            Self::Or(filters) | Self::And(filters) => filters.iter().any(Self::looks_at_root),
            Self::Not(filter) => filter.looks_at_root(),
            Self::Compare(left, _, right) => left.looks_at_root() || right.looks_at_root(),
            Self::Exists(source) => source.looks_at_root(),
            Self::Test(test) => test.text.looks_at_root() || test.pattern.looks_at_root(),
        }
    }

    /// Whether it holds for a node.
    pub(super) fn holds<'v>(&self, current: &'v Value, walk: &mut Walk<'v>) -> bool {
        match self {
            Self::Or(filters) => filters.iter().any(|filter| filter.holds(current, walk)),
            Self::And(filters) => filters.iter().all(|filter| filter.holds(current, walk)),
            Self::Not(filter) => !filter.holds(current, walk),
            Self::Compare(left, comparison, right) => {
                let (left, right) = (left.value(current, walk), right.value(current, walk));
                comparison.holds(left.as_ref(), right.as_ref())
            }
            Self::Exists(source) => {
                let start = source.start(current, walk);
                walk.first(&source.query, start).is_some()
            }
            Self::Test(test) => {
                let (text, pattern) = (
                    test.text.value(current, walk),
                    test.pattern.value(current, walk),
                );
                let (Some(Value::String(text)), Some(Value::String(pattern))) = (text, pattern)
                else {
                    return false;
                };
                let anchored = if test.whole {
                    format!(r"(?:{pattern})\Z")
                } else {
                    format!("(?s:.*?)(?:{pattern})")
                };
                pattern::matches_start(&anchored, &text)
            }
        }
    }
}

impl Comparison {
    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let equal = || are_equal(left, right);
        let less = |left, right| is_less(left, right) == Some(Ordering::Less);
        match self {
            Self::Equal => equal(),
            Self::NotEqual => !equal(),
            Self::Less => less(left, right),
            Self::Greater => less(right, left),
            Self::LessOrEqual => less(left, right) || equal(),
            Self::GreaterOrEqual => less(right, left) || equal(),
        }
    }
}

fn are_equal(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => {
            left == right || left.as_f64() == right.as_f64()
        }
        _ => left == right,
    }
}

fn is_less(left: Option<&Value>, right: Option<&Value>) -> Option<Ordering> {
    match (left?, right?) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
