//! `JSONPath` (RFC 9535), as far as a property path needs it: the first match of a query.
//!
//! All of the RFC's selectors, filters and functions are here, on borrowed JSON. Evaluation is
//! bounded, as a query of many descendant segments can visit more nodes than there are grains of
//! sand; one that goes past the bound finds nothing.

mod evaluate;
mod filter;
mod parse;

use filter::Filter;
use serde_json::Value;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    segments: Vec<Segment>,
}

/// A step from nodes to nodes.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    /// `..`: applies to the nodes and all their descendants.
    descendant: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug, Clone, PartialEq)]
enum Selector {
    Name(String),
    Wildcard,
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    Filter(Filter),
}

impl Query {
    /// Parses a query; `None` where it is not well-formed.
    pub fn parse(text: &str) -> Option<Self> {
        parse::parse(text)
    }

    /// The first node that the query selects.
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        evaluate::first(self, root)
    }

    /// The names the query starts with, as far as it does so with one name a segment.
    pub(super) fn leading_names(&self) -> Vec<&str> {
        self.segments.iter().map_while(Segment::name).collect()
    }

    /// Whether the query is names all through.
    pub(super) fn is_plain(&self) -> bool {
        self.segments.iter().all(|segment| segment.name().is_some())
    }

    /// Whether a filter in it looks at the root.
    pub(super) fn looks_at_root(&self) -> bool {
        self.segments
            .iter()
            .flat_map(|segment| &segment.selectors)
            .any(|selector| matches!(selector, Selector::Filter(filter) if filter.looks_at_root()))
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self.selectors.as_slice() {
            [Selector::Name(name)] if !self.descendant => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn first(path: &str) -> Option<Value> {
        let root = json!({
            "identity": {"traits": {"サイズ": "medium", "a b": 1, "it's": 2, "list": [1, 2, 3, 4],
                "😀": true, "objects": [{"n": 1, "t": "x"}, {"n": 2, "t": "yy"}, {"t": "abc"}]}},
            "environment": {"name": "Production"}
        });
        Query::parse(path)?.first(&root).cloned()
    }

    #[test]
    fn selects() {
        for (path, expected) in [
            ("$.environment.name", json!("Production")),
            ("$ .environment [ 'name' ]", json!("Production")),
            ("$.identity.traits.サイズ", json!("medium")),
            ("$.identity.traits.😀", json!(true)),
            ("$.identity.traits['a b']", json!(1)),
            (r"$.identity.traits['it\'s']", json!(2)),
            (r#"$.identity.traits["\u30b5イズ"]"#, json!("medium")),
            ("$.identity.traits.list[0]", json!(1)),
            ("$.identity.traits.list[-1]", json!(4)),
            ("$.identity.traits.list[1:]", json!(2)),
            ("$.identity.traits.list[::-1]", json!(4)),
            ("$.identity.traits.list[9,2]", json!(3)),
            ("$..name", json!("Production")),
            ("$.environment.*", json!("Production")),
            ("$..*[2]", json!(3)),
            ("$.identity.traits.objects[?@.n > 1].t", json!("yy")),
            ("$.identity.traits.objects[?!@.n].t", json!("abc")),
            (
                "$.identity.traits.objects[?@.n == 1 || @.t == 'abc'].t",
                json!("x"),
            ),
            (
                "$.identity.traits.objects[?length(@.t) >= 2 && @.n].n",
                json!(2),
            ),
            ("$.identity.traits.objects[?match(@.t, 'y+')].n", json!(2)),
            (
                "$.identity.traits.objects[?search(@.t, 'b')].t",
                json!("abc"),
            ),
            (
                "$.identity.traits.objects[?count(@.*) == 1].t",
                json!("abc"),
            ),
            (
                "$.identity.traits.objects[?value(@..n) == 2].t",
                json!("yy"),
            ),
            (
                "$.identity.traits.objects[?@.n == $.identity.traits.list[1]].t",
                json!("yy"),
            ),
        ] {
            assert_eq!(first(path), Some(expected), "{path}");
        }
        for path in [
            "$.nope",
            "$.identity.traits.list[4]",
            "$.identity.traits.list[0:4:0]",
        ] {
            assert_eq!(first(path), None, "{path}");
        }
    }

    #[test]
    fn refuses_what_is_not_well_formed() {
        for path in [
            "",
            "$.",
            "$..",
            "$.a.",
            "$. a",
            "$.a b",
            "$.1a",
            "$[",
            "$[]",
            "$['a]",
            "$[01]",
            "$[-0]",
            "$[1 2]",
            "$ ",
            "$.a ",
            "a",
            "$['\\x']",
            "$['\u{1}']",
            "$[?]",
            "$[?@.a ==]",
            "$[?nope(@)]",
            "$[?@.* == 1]",
            "$[?length(@.*) == 1]",
            "$[?(@.a]",
            "$[?1]",
            "$[?'a']",
            "$[?count(1) == 1]",
            "$[?length(@.a)]",
            "$[?match(@.a, 'b') == true]",
        ] {
            assert_eq!(Query::parse(path), None, "{path:?}");
        }
        assert_eq!(
            Query::parse(&format!("$[?{}@.a{}]", "(".repeat(9999), ")".repeat(9999))),
            None
        );
    }

    #[test]
    fn endless_queries_end() {
        let mut value = json!(1);
        for _ in 0..30 {
            value = json!({"a": value, "b": [value]});
            if value.to_string().len() > 100_000 {
                break;
            }
        }
        let query = Query::parse(&format!("${}.nope", "..*".repeat(30))).expect("well-formed");
        assert_eq!(query.first(&value), None);
    }
}
