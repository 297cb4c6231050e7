//! A segment's rules as a program: every condition once, with the place to go on at when it holds
//! and the place to go on at when it does not (flagsmith-api.md B.2).
//!
//! A rule matches if its quantifier holds over its conditions and over its sub-rules, where no
//! conditions, or no sub-rules, hold always. Evaluation stops as soon as the answer is known.

use super::{ACCEPT, Node, REJECT};
use crate::engine::binary::{self, Writer};
use crate::engine::context::{Condition, Rule};

/// Steps of all segments. They are written from the last one back, so that the places to go on at are
/// known; until they are stored, places count from the end.
#[derive(Debug, Default)]
pub(super) struct Program {
    nodes: Vec<Node>,
}

/// The quantifiers used in rules that are unknown, and so match nobody.
pub(super) fn unknown_quantifiers(rules: &[Rule]) -> Vec<&str> {
    let mut unknown = Vec::new();
    for rule in rules {
        let is_empty = rule.conditions.is_empty() && rule.rules.is_empty();
        if !is_empty && !matches!(rule.kind.as_str(), "ALL" | "ANY" | "NONE") {
            unknown.push(rule.kind.as_str());
        }
        unknown.extend(unknown_quantifiers(&rule.rules));
    }
    unknown
}

enum Item<'a> {
    Condition(&'a Condition),
    Rule(&'a Rule),
}

impl Program {
    /// Adds a segment, top-level rules under ALL, and gives the place it starts at. `number` gives
    /// the number a condition is stored under.
    pub(super) fn add(&mut self, rules: &[Rule], number: &mut dyn FnMut(&Condition) -> u32) -> u32 {
        if rules.is_empty() {
            return REJECT;
        }
        let items: Vec<Item<'_>> = rules.iter().map(Item::Rule).collect();
        self.quantify("ALL", &items, ACCEPT, REJECT, number)
    }

    fn quantify(
        &mut self,
        quantifier: &str,
        items: &[Item<'_>],
        on_true: u32,
        on_false: u32,
        number: &mut dyn FnMut(&Condition) -> u32,
    ) -> u32 {
        if items.is_empty() {
            return on_true;
        }
        // The place a run of items leads to when it is over undecided, and the places that decide.
        let (mut place, decided) = match quantifier {
            "ALL" | "NONE" => (on_true, on_false),
            "ANY" => (on_false, on_true),
            _ => return on_false,
        };
        for item in items.iter().rev() {
            place = match quantifier {
                "ALL" => self.item(item, place, decided, number),
                _ => self.item(item, decided, place, number),
            };
        }
        place
    }

    fn item(
        &mut self,
        item: &Item<'_>,
        on_true: u32,
        on_false: u32,
        number: &mut dyn FnMut(&Condition) -> u32,
    ) -> u32 {
        match item {
            Item::Condition(condition) => {
                self.nodes.push(Node {
                    condition: number(condition),
                    on_true,
                    on_false,
                });
                binary::count(self.nodes.len() - 1)
            }
            Item::Rule(rule) => {
                let rules: Vec<Item<'_>> = rule.rules.iter().map(Item::Rule).collect();
                let place = self.quantify(&rule.kind, &rules, on_true, on_false, number);
                let conditions: Vec<Item<'_>> =
                    rule.conditions.iter().map(Item::Condition).collect();
                self.quantify(&rule.kind, &conditions, place, on_false, number)
            }
        }
    }

    /// The place as stored of one that counts from the end.
    pub(super) fn place(&self, from_end: u32) -> u32 {
        match from_end {
            ACCEPT | REJECT => from_end,
            _ => binary::count(self.nodes.len()) - 1 - from_end,
        }
    }

    /// Writes the steps.
    pub(super) fn write(&self) -> Writer {
        let mut out = Writer::default();
        for node in self.nodes.iter().rev() {
            out.u32(node.condition)
                .u32(self.place(node.on_true))
                .u32(self.place(node.on_false));
        }
        out
    }
}
