//! Following a query through JSON, depth first, in document order.

use serde_json::Value;

use super::{Query, Segment, Selector};

/// How many nodes an evaluation may visit.
const BOUND: u32 = 100_000;

/// Called with each selected node; says whether to stop.
type Found<'f, 'v> = &'f mut dyn FnMut(&mut Walk<'v>, &'v Value) -> bool;

/// One evaluation.
pub(super) struct Walk<'v> {
    pub(super) root: &'v Value,
    left: u32,
}

/// The first node that a query selects.
pub(super) fn first<'v>(query: &Query, root: &'v Value) -> Option<&'v Value> {
    Walk { root, left: BOUND }.first(query, root)
}

impl<'v> Walk<'v> {
    /// The first node that a query selects from `start`.
    pub(super) fn first(&mut self, query: &Query, start: &'v Value) -> Option<&'v Value> {
        let mut first = None;
        self.visit(&query.segments, start, &mut |_, node| {
            first = Some(node);
            true
        });
        first
    }

    /// Calls `found` with each node that the segments select from `node`, until it says to stop.
    /// Says whether it was stopped.
    pub(super) fn visit(
        &mut self,
        segments: &[Segment],
        node: &'v Value,
        found: Found<'_, 'v>,
    ) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            return true;
        };
        self.left = left;
        match segments.split_first() {
            None => found(self, node),
            Some((segment, rest)) if segment.descendant => self.descend(segment, rest, node, found),
            Some((segment, rest)) => self.select(&segment.selectors, rest, node, found),
        }
    }

    fn descend(
        &mut self,
        segment: &Segment,
        rest: &[Segment],
        node: &'v Value,
        found: Found<'_, 'v>,
    ) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            return true;
        };
        self.left = left;
        if self.select(&segment.selectors, rest, node, found) {
            return true;
        }
        match node {
            Value::Array(items) => items
                .iter()
                .any(|item| self.descend(segment, rest, item, found)),
            Value::Object(members) => members
                .values()
                .any(|item| self.descend(segment, rest, item, found)),
            _ => false,
        }
    }

    fn select(
        &mut self,
        selectors: &[Selector],
        rest: &[Segment],
        node: &'v Value,
        found: Found<'_, 'v>,
    ) -> bool {
        for selector in selectors {
            let stopped = match (selector, node) {
                (Selector::Name(name), Value::Object(members)) => members
                    .get(name)
                    .is_some_and(|member| self.visit(rest, member, found)),
                (Selector::Index(index), Value::Array(items)) => absolute(*index, items.len())
                    .and_then(|index| items.get(index))
                    .is_some_and(|item| self.visit(rest, item, found)),
                (Selector::Slice { start, end, step }, Value::Array(items)) => {
                    slice(*start, *end, *step, items.len())
                        .filter_map(|index| items.get(index))
                        .any(|item| self.visit(rest, item, found))
                }
                (Selector::Wildcard, Value::Array(items)) => {
                    items.iter().any(|item| self.visit(rest, item, found))
                }
                (Selector::Wildcard, Value::Object(members)) => {
                    members.values().any(|item| self.visit(rest, item, found))
                }
                (Selector::Filter(filter), Value::Array(items)) => items
                    .iter()
                    .any(|item| filter.holds(item, self) && self.visit(rest, item, found)),
                (Selector::Filter(filter), Value::Object(members)) => members
                    .values()
                    .any(|item| filter.holds(item, self) && self.visit(rest, item, found)),
                _ => false,
            };
            if stopped {
                return true;
            }
        }
        false
    }
}

/// An index counted from the end where it is negative.
fn absolute(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { length + index } else { index }).ok()
}

/// The indexes of a slice (RFC 9535, 2.3.4.2.2).
fn slice(
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    length: usize,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { length + index } else { index };
    let (first, last) = if step >= 0 {
        (
            from_end(start.unwrap_or(0)).clamp(0, length),
            from_end(end.unwrap_or(length)).clamp(0, length),
        )
    } else {
        (
            start.map_or(length - 1, from_end).clamp(-1, length - 1),
            end.map_or(-1, from_end).clamp(-1, length - 1),
        )
    };
    let mut index = first;
    std::iter::from_fn(move || {
        let inside = (step > 0 && index < last) || (step < 0 && index > last);
        let current = usize::try_from(index).ok().filter(|_| inside)?;
        index = index.saturating_add(step);
        Some(current)
    })
}
