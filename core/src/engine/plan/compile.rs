//! An evaluation context's rules, compiled.

use std::collections::BTreeMap;

use serde_json::Value;

use super::condition::Tables;
use super::property::{self, Resolved};
use super::rules::{Program, unknown_quantifiers};
use super::{HEADER, NO_PROPERTY, Part};
use crate::engine::binary::{self, Pool, Span, Writer};
use crate::engine::context::{Condition, Context, Feature};
use crate::engine::jsonpath::Query;
use crate::engine::operator::Operator;

/// Marks the number of a path, until it is known how many traits come before it.
const PATH: u32 = 1 << 31;

/// Compiles a context's rules. States are numbered: first the features' defaults in their order, then
/// the segments' overrides in theirs. Odd data becomes a warning and a defined behaviour.
pub(crate) fn compile(context: &Context, warnings: &mut Vec<String>) -> Vec<u8> {
    let mut compiler = Compiler::new(context);
    let mut program = Program::default();
    let mut starts = Vec::with_capacity(context.segments.len());
    for (_, segment) in &context.segments {
        let salt = format!("{},", segment.key);
        let mut odd = Vec::new();
        let start = program.add(&segment.rules, &mut |condition| {
            compiler.condition(condition, &salt, &mut odd)
        });
        for quantifier in unknown_quantifiers(&segment.rules) {
            odd.push(format!(
                "quantifier {quantifier:?} is unknown and matches nobody"
            ));
        }
        warnings.extend(
            odd.iter()
                .map(|odd| format!("segment {:?}: {odd}", segment.name)),
        );
        starts.push(start);
    }
    let mut segments = Writer::default();
    for start in starts {
        segments.u32(program.place(start));
    }
    let nodes = program.write();
    let (features, candidates) = write_features(context);
    let (states, variants) = compiler.write_states(context);
    compiler.finish(segments, nodes, features, candidates, states, variants)
}

/// Every state in the order of their numbers.
fn states(context: &Context) -> impl Iterator<Item = &Feature> {
    let defaults = context.features.iter().map(|(_, feature)| feature);
    let overrides = context
        .segments
        .iter()
        .flat_map(|(_, segment)| &segment.overrides);
    defaults.chain(overrides)
}

/// For each feature its default and the overrides that may replace it, strongest first: by priority,
/// then in the order of the segments.
fn write_features(context: &Context) -> (Writer, Writer) {
    let mut by_name: BTreeMap<&str, Vec<(f64, u32, u32)>> = BTreeMap::new();
    let mut state = binary::count(context.features.len());
    for (segment, (_, of)) in (0..).zip(&context.segments) {
        for feature in &of.overrides {
            let priority = feature.priority.unwrap_or(f64::INFINITY);
            by_name
                .entry(&feature.name)
                .or_default()
                .push((priority, segment, state));
            state += 1;
        }
    }
    let (mut features, mut candidates) = (Writer::default(), Writer::default());
    for (number, (_, feature)) in (0..).zip(&context.features) {
        let mut strongest_first = by_name
            .get(feature.name.as_str())
            .cloned()
            .unwrap_or_default();
        strongest_first.sort_by(|a, b| a.0.total_cmp(&b.0));
        features.u32(number).span(Span {
            at: binary::count(candidates.0.len() / 8),
            len: binary::count(strongest_first.len()),
        });
        for (_, segment, state) in strongest_first {
            candidates.u32(segment).u32(state);
        }
    }
    (features, candidates)
}

struct Compiler<'a> {
    context: &'a Context,
    /// The context as JSON, without the identity; made when a path first needs it.
    fixed: Option<Value>,
    texts: Pool,
    traits: BTreeMap<String, u32>,
    paths: BTreeMap<String, u32>,
    resolved: Vec<(Resolved, u32)>,
    conditions: Vec<[u8; super::condition::SIZE]>,
    known_conditions: BTreeMap<(String, u32, String, String), u32>,
    tables: Tables,
}

impl<'a> Compiler<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            fixed: None,
            texts: Pool::default(),
            traits: BTreeMap::new(),
            paths: BTreeMap::new(),
            resolved: Vec::new(),
            conditions: Vec::new(),
            known_conditions: BTreeMap::new(),
            tables: Tables::default(),
        }
    }

    /// The number of a condition, which is that of an equal one where there is one.
    fn condition(&mut self, condition: &Condition, salt: &str, odd: &mut Vec<String>) -> u32 {
        let is_split = condition.operator == "PERCENTAGE_SPLIT";
        let property = match condition.property.as_deref() {
            None => NO_PROPERTY,
            Some("") if is_split => NO_PROPERTY,
            Some(property) => self.property(property),
        };
        if property == NO_PROPERTY && !is_split && Operator::named(&condition.operator).is_some() {
            odd.push(format!(
                "{} without a property sees no value",
                condition.operator
            ));
        }
        let salt = if is_split { salt } else { "" };
        let key = (
            condition.operator.clone(),
            property,
            condition.value.to_string(),
            salt.to_owned(),
        );
        if let Some(known) = self.known_conditions.get(&key) {
            return *known;
        }
        let number = binary::count(self.conditions.len());
        let record = self
            .tables
            .write(condition, property, salt, &mut self.texts, odd);
        self.conditions.push(record);
        self.known_conditions.insert(key, number);
        number
    }

    fn property(&mut self, property: &str) -> u32 {
        if property.starts_with("$.") {
            self.path(property)
        } else {
            self.trait_named(property)
        }
    }

    fn trait_named(&mut self, name: &str) -> u32 {
        let next = binary::count(self.traits.len());
        *self.traits.entry(name.to_owned()).or_insert(next)
    }

    /// A `$.` path: first the trait of that very name, then what it leads to. One that is no path is
    /// only the trait.
    fn path(&mut self, path: &str) -> u32 {
        if let Some(known) = self.paths.get(path) {
            return *known;
        }
        let literal = self.trait_named(path);
        let Some(query) = Query::parse(path) else {
            return literal;
        };
        let resolved = self.resolve(path, &query);
        let number = PATH | binary::count(self.resolved.len());
        self.resolved.push((resolved, literal));
        self.paths.insert(path.to_owned(), number);
        number
    }

    fn resolve(&mut self, path: &str, query: &Query) -> Resolved {
        let names = query.leading_names();
        match (names.as_slice(), query.is_plain()) {
            (["identity", "identifier"], true) => return Resolved::Identifier,
            (["identity", "key"], true) => return Resolved::Key,
            (["identity", "traits", name], true) => {
                return Resolved::Trait(self.trait_named(name), (*name).to_owned());
            }
            (["identity", ..], _) => return Resolved::Dynamic(path.to_owned()),
            _ => {}
        }
        let is_fixed = !names.is_empty() && !query.looks_at_root();
        let context = self.context;
        let fixed = self.fixed.get_or_insert_with(|| {
            let without_identity = Context {
                identity: None,
                ..context.clone()
            };
            serde_json::to_value(without_identity).unwrap_or_default()
        });
        match query.first(fixed) {
            Some(value) => Resolved::Constant(Some(value.clone())),
            None if is_fixed => Resolved::Constant(None),
            None => Resolved::Dynamic(path.to_owned()),
        }
    }

    /// The states' salts, and the ranges that their variants take.
    fn write_states(&mut self, context: &Context) -> (Writer, Writer) {
        let (mut out, mut variants) = (Writer::default(), Writer::default());
        for state in states(context) {
            out.span(self.texts.add(format!("{},", state.key)))
                .span(Span {
                    at: binary::count(variants.0.len() / 20),
                    len: binary::count(state.variants.len()),
                });
            write_variants(&state.variants, &mut variants);
        }
        (out, variants)
    }

    fn finish(
        mut self,
        segments: Writer,
        nodes: Writer,
        features: Writer,
        candidates: Writer,
        states: Writer,
        variants: Writer,
    ) -> Vec<u8> {
        let trait_count = binary::count(self.traits.len());
        let final_number = |number: u32| match number {
            NO_PROPERTY => NO_PROPERTY,
            number if number & PATH != 0 => trait_count + (number & !PATH),
            number => number,
        };
        let mut conditions = Writer::default();
        for record in &self.conditions {
            let property = final_number(binary::u32_at(record, 4));
            conditions
                .bytes(&record[..4])
                .u32(property)
                .bytes(&record[8..]);
        }
        let mut paths = Writer::default();
        for (resolved, literal) in &self.resolved {
            property::write(resolved, *literal, &mut self.texts, &mut paths);
        }
        let mut names: Vec<(&String, u32)> = self.traits.iter().map(|(k, v)| (k, *v)).collect();
        names.sort_by_key(|(_, number)| *number);
        let table = binary::hash_table(names.iter().map(|(name, _)| binary::hash(name.as_bytes())));
        let mut traits = Writer::default();
        for (name, _) in names {
            traits.span(self.texts.add(name));
        }

        // In the order of `Part`.
        let parts: [Vec<u8>; Part::COUNT] = [
            self.texts.into_bytes(),
            table,
            traits.0,
            paths.0,
            conditions.0,
            self.tables.members.0,
            nodes.0,
            segments.0,
            features.0,
            candidates.0,
            states.0,
            variants.0,
        ];
        let mut header = Writer::default();
        let mut at = HEADER;
        for part in &parts {
            header.span(Span {
                at: binary::count(at),
                len: binary::count(part.len()),
            });
            at += part.len();
        }
        header.u32(self.tables.patterns).u32(0);
        for part in &parts {
            header.bytes(part);
        }
        header.0
    }
}

/// Writes the ranges that variants take, in the order they are tried: by priority, a missing one
/// last, and equal ones as given.
pub(crate) fn write_variants(variants: &[crate::engine::context::Variant], out: &mut Writer) {
    let mut order: Vec<(usize, f64)> = variants
        .iter()
        .map(|variant| variant.priority.unwrap_or(f64::INFINITY))
        .enumerate()
        .collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut start = 0.0;
    for (index, _) in order {
        let weight = variants[index].weight.as_f64().unwrap_or_default();
        let limit = start + weight;
        out.f64(start).f64(limit).u32(binary::count(index));
        start = limit;
    }
}
