//! An identity's answer, copied together from a snapshot's fragments.

use super::defaults::Defaults;
use super::layout::{Part, feature, flag, state};
use super::overrides::{OverrideBucket, Overrides};
use super::view::{Side, Snapshot};
use crate::engine::Identity;
use crate::engine::binary::{self, Span, u32_at};
use crate::engine::plan::Plan;
use crate::engine::session::{Choice, Session, Split, Subject};

/// What made an identity get what it gets of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The environment's default of a feature without segment overrides and variants.
    Static,
    /// The environment's default of a feature that has such: none of them applied.
    Default,
    /// An override: of the identity, or of a segment it is in.
    Override,
    /// The weights of the variants, the control value included.
    Split,
}

/// What somebody gets of a feature.
enum Flag<'a> {
    /// Nothing.
    Hidden,
    /// The environment's default, which stands ready.
    Default(Cause),
    /// What these make, one after the other.
    Made([&'a [u8]; 3], Cause),
}

/// One request's answer.
pub(super) struct Answer<'a> {
    bytes: &'a [u8],
    features: &'a [[u8; feature::SIZE]],
    states: &'a [[u8; state::SIZE]],
    tails: &'a [[u8; Span::SIZE]],
    segments: &'a [[u8; Span::SIZE]],
    defaults: Defaults<'a>,
    varying: &'a [[u8; 4]],
    session: Session<'a>,
    overrides: Overrides<'a>,
    key: &'a str,
    is_client: bool,
    hides_disabled: bool,
    controls_only: bool,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        side: Side,
        identity: &'a Identity<'a>,
        key: &'a str,
        overrides: Option<&'a OverrideBucket>,
    ) -> Self {
        let subject = Subject {
            identity,
            key,
            whole: None,
        };
        let plan = Plan::open(snapshot.part(Part::Plan));
        let (text, places) = match side {
            Side::Client => (Part::ClientDefaults, Part::ClientPlaces),
            Side::Server => (Part::ServerDefaults, Part::ServerPlaces),
        };
        Self {
            bytes: snapshot.bytes(),
            features: snapshot.part(Part::Features).as_chunks().0,
            states: snapshot.part(Part::States).as_chunks().0,
            tails: snapshot.part(Part::Tails).as_chunks().0,
            segments: snapshot.part(Part::Segments).as_chunks().0,
            defaults: Defaults::new(snapshot.part(text), snapshot.part(places)),
            varying: snapshot.part(Part::Varying).as_chunks().0,
            session: Session::new(plan, snapshot.patterns(), Some(subject)),
            overrides: overrides
                .filter(|bucket| bucket.is_one())
                .map(|bucket| bucket.of(identity.identifier))
                .unwrap_or_default(),
            key,
            is_client: side == Side::Client,
            hides_disabled: snapshot.has(flag::HIDE_DISABLED_FLAGS),
            controls_only: false,
        }
    }

    /// With the control value of every multivariate flag.
    pub(super) fn with_controls_only(mut self) -> Self {
        self.controls_only = true;
        self
    }

    /// The record of a feature's default state.
    pub(super) fn state(snapshot: &Snapshot, feature: u32) -> Option<&[u8; state::SIZE]> {
        let states: &[[u8; state::SIZE]] = snapshot.part(Part::States).as_chunks().0;
        states.get(feature as usize)
    }

    /// The array of all flags that are to be shown: the defaults in runs, and between them what is different.
    pub(super) fn write_all(mut self, out: &mut Vec<u8>) {
        out.reserve(self.defaults.len() + 2);
        out.push(b'[');
        let mut written = 0;
        for number in self.varying {
            let number = u32::from_le_bytes(*number);
            if self.write_overridden(number, &mut written, out) {
                continue;
            }
            let Some(choice) = self.session.choose(number) else {
                continue;
            };
            if choice.segment.is_some() || self.session.splits(choice.state) {
                self.put(number, &self.chosen(number, choice), &mut written, out);
            }
        }
        self.write_overridden(u32::MAX, &mut written, out);
        let end = binary::count(self.features.len());
        out.extend_from_slice(self.defaults.of(written, end));
        // The last comma goes, where there is one.
        out.pop_if(|last| *last == b',');
        out.push(b']');
    }

    /// Writes what is overridden for the identity up to a feature. Whether that one was among it.
    #[inline]
    fn write_overridden(&mut self, last: u32, written: &mut u32, out: &mut Vec<u8>) -> bool {
        let mut is_last = false;
        while let Some(number) = self.overrides.feature().filter(|number| *number <= last)
            && let Some(flag) = self.overridden(number)
        {
            self.put(number, &flag, written, out);
            is_last = number == last;
        }
        is_last
    }

    /// Writes a flag after the defaults that go before it, of which `written` is the first.
    #[inline]
    fn put(&self, number: u32, flag: &Flag<'a>, written: &mut u32, out: &mut Vec<u8>) {
        if matches!(flag, Flag::Default(_)) {
            return;
        }
        out.extend_from_slice(self.defaults.of(*written, number));
        if let Flag::Made(pieces, _) = flag {
            for piece in pieces {
                out.extend_from_slice(piece);
            }
        }
        *written = number.saturating_add(1);
    }

    /// A flag, if it is to be shown. Features are asked for in ascending order.
    pub(super) fn write(&mut self, number: u32, out: &mut Vec<u8>) -> bool {
        self.write_and_tell(number, out).is_some()
    }

    /// The same, telling why it is what it is. It is not told which defaults are static.
    pub(super) fn write_and_tell(&mut self, number: u32, out: &mut Vec<u8>) -> Option<Cause> {
        let flag = self.overridden(number).or_else(|| {
            let choice = self.session.choose(number)?;
            Some(self.chosen(number, choice))
        });
        let cause = match flag? {
            Flag::Hidden => return None,
            Flag::Default(cause) => {
                out.extend_from_slice(self.defaults.of(number, number.saturating_add(1)));
                cause
            }
            Flag::Made(pieces, cause) => {
                for piece in pieces {
                    out.extend_from_slice(piece);
                }
                cause
            }
        };
        out.pop_if(|last| *last == b',');
        Some(cause)
    }

    /// The flag of a feature that is overridden for the identity.
    fn overridden(&mut self, number: u32) -> Option<Flag<'a>> {
        let overriding = self.overrides.next_of(number)?;
        let is_hidden = self.hides_disabled && !overriding.is_enabled();
        let Some(record) = self.record(number).filter(|_| !is_hidden) else {
            return Some(Flag::Hidden);
        };
        let the_feature = Span::read(record, feature::FEATURE).of(self.bytes);
        let tail = if self.controls_only {
            overriding.control_tail()
        } else {
            overriding.tail(self.key)
        };
        let cause = if overriding.is_split() {
            Cause::Split
        } else {
            Cause::Override
        };
        Some(Flag::Made([overriding.head(), the_feature, tail], cause))
    }

    /// A feature's record, if who asks may know of it.
    #[inline]
    fn record(&self, number: u32) -> Option<&'a [u8; feature::SIZE]> {
        let record = self.features.get(number as usize)?;
        (!self.is_client || u32_at(record, feature::SERVER_ONLY) == 0).then_some(record)
    }

    /// The flag of a feature in a state.
    #[inline]
    fn chosen(&self, number: u32, choice: Choice) -> Flag<'a> {
        let of_state = self.states.get(choice.state as usize);
        let Some((record, of_state)) = self.record(number).zip(of_state) else {
            return Flag::Hidden;
        };
        if self.hides_disabled && u32_at(of_state, state::ENABLED) == 0 {
            return Flag::Hidden;
        }
        let bytes = self.bytes;
        let tails = Span::read(of_state, state::TAILS);
        let cause = if tails.len > 1 {
            Cause::Split
        } else if choice.segment.is_some() {
            Cause::Override
        } else {
            Cause::Default
        };
        let tail = match self.session.split(choice.state) {
            Split::Variant(number) if !self.controls_only => number.saturating_add(1),
            _ => 0,
        };
        if tail == 0 && choice.segment.is_none() {
            return Flag::Default(cause);
        }
        let tail = self
            .tails
            .get((tails.at as usize).saturating_add(tail as usize))
            .filter(|_| tail < tails.len)
            .map_or(&[][..], |span| Span::read(span, 0).of(bytes));
        let head = Span::read(of_state, state::HEAD);
        let the_feature = Span::read(record, feature::FEATURE);
        let pieces = if head.len == 0 {
            // Head and feature are side by side.
            let at = Span::read(record, feature::FLAG).at;
            let end = the_feature.at.saturating_add(the_feature.len);
            let both = Span {
                at,
                len: end.saturating_sub(at),
            };
            [both.of(bytes), &[], tail]
        } else {
            [head.of(bytes), the_feature.of(bytes), tail]
        };
        Flag::Made(pieces, cause)
    }

    /// The array of the segments that the identity is in.
    pub(super) fn write_segments(mut self, out: &mut Vec<u8>) {
        out.push(b'[');
        let mut is_first = true;
        for (number, record) in (0..).zip(self.segments) {
            if self.session.is_in_segment(number) {
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                out.extend_from_slice(Span::read(record, 0).of(self.bytes));
            }
        }
        out.push(b']');
    }
}
