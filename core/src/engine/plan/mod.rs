//! A plan: the rules of an environment in the form they are evaluated from, read in place.
//!
//! Properties are interned, so a request's traits are looked up once each; equal conditions are one
//! condition; a segment's rules are a program of conditions, each with the place to go on at when it
//! holds and when it does not. Places only lie ahead, so that a program ends however damaged it is.
//! Layout: docs/adr/0002-snapshot-format.md.

mod compile;
mod condition;
mod property;
mod rules;

use super::binary::{self, Span, f64_at, u32_at};

pub(crate) use compile::{compile, write_variants};
pub(crate) use condition::Condition;
pub(crate) use property::PropertyKind;

/// What a condition without a property has in its place.
pub(crate) const NO_PROPERTY: u32 = u32::MAX;
/// The end of a segment's program: it matches.
pub(crate) const ACCEPT: u32 = u32::MAX;
/// The end of a segment's program: it does not match.
pub(crate) const REJECT: u32 = u32::MAX - 1;

/// The parts of a plan, in the order of the header.
#[derive(Clone, Copy)]
enum Part {
    Texts,
    TraitTable,
    Traits,
    Paths,
    Conditions,
    Members,
    Nodes,
    Segments,
    Features,
    Candidates,
    States,
    Variants,
}

impl Part {
    const COUNT: usize = 12;
}

/// Where the header ends: the parts' spans, the number of patterns, and four bytes that say nothing.
const HEADER: usize = Part::COUNT * Span::SIZE + 8;

/// A property other than a plain trait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    /// How its value is found.
    pub(crate) kind: PropertyKind<'a>,
    /// The trait named like the whole path, which comes first.
    pub(crate) literal: u32,
}

/// A step of a segment's program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// The condition to try.
    pub(crate) condition: u32,
    /// Where to go on when it holds.
    pub(crate) on_true: u32,
    /// Where to go on when it does not.
    pub(crate) on_false: u32,
}

/// A feature: its default state, and the overrides that may replace it, strongest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    /// The default state.
    pub(crate) state: u32,
    /// Candidates.
    pub(crate) candidates: Span,
}

/// An override that may apply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// The segment that must match.
    pub(crate) segment: u32,
    /// The state that then applies.
    pub(crate) state: u32,
}

/// What splits a state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State<'a> {
    /// Its salt, comma included.
    pub(crate) salt: &'a [u8],
    /// Its variants, in the order they are tried.
    pub(crate) variants: Span,
}

/// The part of the percentages that a variant takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// From here.
    pub(crate) start: f64,
    /// To below here.
    pub(crate) limit: f64,
    /// Its place in the list it was given in.
    pub(crate) index: u32,
}

/// A plan's bytes with its parts at hand. Opening reads the header only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    texts: &'a [u8],
    trait_table: &'a [u8],
    traits: &'a [[u8; Span::SIZE]],
    paths: &'a [[u8; property::SIZE]],
    conditions: &'a [[u8; condition::SIZE]],
    members: &'a [[u8; Span::SIZE]],
    nodes: &'a [[u8; 12]],
    segments: &'a [[u8; 4]],
    features: &'a [[u8; 12]],
    candidates: &'a [[u8; 8]],
    states: &'a [[u8; 16]],
    variants: &'a [[u8; 20]],
    patterns: u32,
}

impl<'a> Plan<'a> {
    /// Reads the header. Damaged parts are empty.
    pub(crate) fn open(bytes: &'a [u8]) -> Self {
        let header = bytes.first_chunk().unwrap_or(&[0; HEADER]);
        let part = |part: Part| Span::read(header, part as usize * Span::SIZE).of(bytes);
        Self {
            texts: part(Part::Texts),
            trait_table: part(Part::TraitTable),
            traits: part(Part::Traits).as_chunks().0,
            paths: part(Part::Paths).as_chunks().0,
            conditions: part(Part::Conditions).as_chunks().0,
            members: part(Part::Members).as_chunks().0,
            nodes: part(Part::Nodes).as_chunks().0,
            segments: part(Part::Segments).as_chunks().0,
            features: part(Part::Features).as_chunks().0,
            candidates: part(Part::Candidates).as_chunks().0,
            states: part(Part::States).as_chunks().0,
            variants: part(Part::Variants).as_chunks().0,
            patterns: u32_at(header, Part::COUNT * Span::SIZE),
        }
    }

    /// How many traits are asked for; they are the first properties.
    pub(crate) fn traits(&self) -> usize {
        self.traits.len()
    }

    /// How many properties are asked for.
    pub(crate) fn properties(&self) -> usize {
        self.traits.len() + self.paths.len()
    }

    /// How many segments there are.
    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// How many conditions there are.
    pub(crate) fn conditions(&self) -> usize {
        self.conditions.len()
    }

    /// How many patterns there are.
    pub(crate) fn patterns(&self) -> u32 {
        // No more than there are conditions, whatever a damaged header says.
        self.patterns.min(binary::count(self.conditions.len()))
    }

    /// The property that a trait is, where any condition asks for it.
    #[inline]
    pub(crate) fn trait_named(&self, key: &str) -> Option<u32> {
        let key = key.as_bytes();
        binary::look_up(self.trait_table, binary::hash(key), |property| {
            self.traits
                .get(property as usize)
                .is_some_and(|name| Span::read(name, 0).of(self.texts) == key)
        })
    }

    /// A property that is no plain trait.
    pub(crate) fn path(&self, property: u32) -> Option<Path<'a>> {
        let index = (property as usize).checked_sub(self.traits.len())?;
        Some(property::read(self.paths.get(index)?, self.texts))
    }

    /// A condition.
    #[inline]
    pub(crate) fn condition(&self, index: u32) -> Option<Condition<'a>> {
        let record = self.conditions.get(index as usize)?;
        Some(Condition {
            record,
            texts: self.texts,
        })
    }

    /// Whether text is among the members that an `IN` condition has; they are sorted.
    pub(crate) fn has_member(&self, members: Span, text: &str) -> bool {
        let at = members.at as usize;
        at.checked_add(members.len as usize)
            .and_then(|end| self.members.get(at..end))
            .is_some_and(|members| {
                members
                    .binary_search_by(|member| {
                        Span::read(member, 0).of(self.texts).cmp(text.as_bytes())
                    })
                    .is_ok()
            })
    }

    /// Where a segment's program starts.
    #[inline]
    pub(crate) fn segment(&self, index: u32) -> u32 {
        self.segments
            .get(index as usize)
            .map_or(REJECT, |entry| u32_at(entry, 0))
    }

    /// A step of a program.
    #[inline]
    pub(crate) fn node(&self, index: u32) -> Option<Node> {
        let record = self.nodes.get(index as usize)?;
        Some(Node {
            condition: u32_at(record, 0),
            on_true: u32_at(record, 4),
            on_false: u32_at(record, 8),
        })
    }

    /// A feature.
    #[inline]
    pub(crate) fn feature(&self, index: u32) -> Option<Feature> {
        let record = self.features.get(index as usize)?;
        Some(Feature {
            state: u32_at(record, 0),
            candidates: Span::read(record, 4),
        })
    }

    /// The candidates in a range.
    #[inline]
    pub(crate) fn candidates(&self, range: Span) -> impl Iterator<Item = Candidate> + use<'a> {
        let at = range.at as usize;
        let end = at.saturating_add(range.len as usize);
        let records = self.candidates.get(at..end).unwrap_or_default();
        records.iter().map(|record| Candidate {
            segment: u32_at(record, 0),
            state: u32_at(record, 4),
        })
    }

    /// A state.
    #[inline]
    pub(crate) fn state(&self, index: u32) -> State<'a> {
        self.states.get(index as usize).map_or(
            State {
                salt: &[],
                variants: Span::default(),
            },
            |record| State {
                salt: Span::read(record, 0).of(self.texts),
                variants: Span::read(record, 8),
            },
        )
    }

    /// The variants in a range.
    pub(crate) fn variants(&self, range: Span) -> impl Iterator<Item = Variant> + use<'a> {
        let at = range.at as usize;
        let end = at.saturating_add(range.len as usize);
        let records = self.variants.get(at..end).unwrap_or_default();
        records.iter().map(|record| Variant {
            start: f64_at(record, 0),
            limit: f64_at(record, 8),
            index: u32_at(record, 16),
        })
    }
}
