//! An identity's answer, copied together from a snapshot's fragments.

use super::layout::{Part, feature, flag, state};
use super::overrides::{Override, OverrideBucket, Overrides};
use super::view::{Side, Snapshot};
use crate::engine::Identity;
use crate::engine::binary::{self, Span, u32_at};
use crate::engine::plan::Plan;
use crate::engine::session::{Session, Split, Subject};

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

/// How much is written at once.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// One flag.
    Flag,
    /// The flags of a stretch in which the identity overrides nothing.
    Stretch,
}

/// One request's answer.
pub(super) struct Answer<'a> {
    bytes: &'a [u8],
    features: &'a [[u8; feature::SIZE]],
    /// Where each stretch ends.
    stretches: &'a [[u8; 4]],
    states: &'a [[u8; state::SIZE]],
    variants: &'a [[u8; Span::SIZE]],
    segments: &'a [[u8; Span::SIZE]],
    session: Session<'a>,
    overrides: Overrides<'a>,
    key: &'a str,
    is_client: bool,
    hides_disabled: bool,
    controls_only: bool,
    /// Flags that lie side by side and are still to be copied.
    run: Span,
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
        Self {
            bytes: snapshot.bytes(),
            features: snapshot.part(Part::Features).as_chunks().0,
            stretches: snapshot.part(Part::Stretches).as_chunks().0,
            states: snapshot.part(Part::States).as_chunks().0,
            variants: snapshot.part(Part::Variants).as_chunks().0,
            segments: snapshot.part(Part::Segments).as_chunks().0,
            session: Session::new(plan, snapshot.patterns(), Some(subject)),
            overrides: overrides
                .filter(|bucket| bucket.is_one())
                .map(|bucket| bucket.of(identity.identifier))
                .unwrap_or_default(),
            key,
            is_client: side == Side::Client,
            hides_disabled: snapshot.has(flag::HIDE_DISABLED_FLAGS),
            controls_only: false,
            run: Span::default(),
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

    /// The array of all flags that are to be shown.
    pub(super) fn write_all(mut self, out: &mut Vec<u8>) {
        const VARIANT: usize = 24;
        let body = Span::read(self.bytes, Part::ServerBody.at()).of(self.bytes);
        out.reserve(body.len() + self.features.len() * VARIANT);
        out.push(b'[');
        let mut first = 0;
        for end in self.stretches {
            let end = u32::from_le_bytes(*end).min(binary::count(self.features.len()));
            if self.overrides.has_before(end) {
                for number in first..end {
                    self.write_with_comma(number, Reach::Flag, out);
                }
            } else if first < end {
                self.write_with_comma(first, Reach::Stretch, out);
            }
            first = end;
        }
        self.write_run(out);
        // The last comma goes, where there is one.
        out.pop_if(|last| *last == b',');
        out.push(b']');
    }

    /// A flag, if it is to be shown. Features are asked for in ascending order.
    pub(super) fn write(&mut self, number: u32, out: &mut Vec<u8>) -> bool {
        self.write_and_tell(number, out).is_some()
    }

    /// The same, telling why it is what it is. It is not told which defaults are static.
    pub(super) fn write_and_tell(&mut self, number: u32, out: &mut Vec<u8>) -> Option<Cause> {
        let cause = self.write_with_comma(number, Reach::Flag, out)?;
        self.write_run(out);
        out.pop_if(|last| *last == b',');
        Some(cause)
    }

    /// A flag with the comma after it, or all of a stretch, by the first feature's number; written or added
    /// to the run.
    #[inline]
    fn write_with_comma(&mut self, number: u32, reach: Reach, out: &mut Vec<u8>) -> Option<Cause> {
        let record = self.features.get(number as usize)?;
        if self.is_client && u32_at(record, feature::SERVER_ONLY) != 0 {
            return None;
        }
        if let Some(overriding) = self.overrides.next_of(number) {
            return self.write_override(overriding, record, out);
        }
        let choice = self.session.choose(number)?;
        let of_state = self.states.get(choice.state as usize)?;
        let flag = Span {
            at: u32_at(of_state, state::AT),
            len: match reach {
                Reach::Flag => u32_at(of_state, state::FLAG),
                Reach::Stretch => u32_at(of_state, state::STRETCH),
            },
        };
        if flag.len == 0 {
            return None;
        }
        let variants = Span::read(of_state, state::VARIANTS);
        let is_split = variants.len > 0;
        let flag = if is_split {
            self.variant(choice.state, variants).unwrap_or(flag)
        } else {
            flag
        };
        self.add_to_run(flag, out);
        Some(match choice.segment {
            _ if is_split => Cause::Split,
            Some(_) => Cause::Override,
            None => Cause::Default,
        })
    }

    /// The flag of the variant that the identity gets of a state, if it is not the control value.
    fn variant(&self, state: u32, variants: Span) -> Option<Span> {
        if self.controls_only {
            return None;
        }
        let Split::Variant(number) = self.session.split(state) else {
            return None;
        };
        let place = variants.at.checked_add(number)?;
        let flag = self.variants.get(place as usize)?;
        (number < variants.len).then(|| Span::read(flag, 0))
    }

    fn write_override(
        &mut self,
        overriding: Override<'_>,
        record: &[u8; feature::SIZE],
        out: &mut Vec<u8>,
    ) -> Option<Cause> {
        if self.hides_disabled && !overriding.is_enabled() {
            return None;
        }
        self.write_run(out);
        out.extend_from_slice(overriding.head());
        out.extend_from_slice(Span::read(record, feature::FEATURE).of(self.bytes));
        out.extend_from_slice(if self.controls_only {
            overriding.control_tail()
        } else {
            overriding.tail(self.key)
        });
        Some(if overriding.is_split() {
            Cause::Split
        } else {
            Cause::Override
        })
    }

    /// Puts off the copying of a flag, as the next one may lie behind it.
    #[inline]
    fn add_to_run(&mut self, flag: Span, out: &mut Vec<u8>) {
        if flag.at == self.run.at.wrapping_add(self.run.len) {
            self.run.len = self.run.len.saturating_add(flag.len);
        } else {
            self.write_run(out);
            self.run = flag;
        }
    }

    #[inline(never)]
    fn write_run(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(std::mem::take(&mut self.run).of(self.bytes));
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
