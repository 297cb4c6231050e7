//! The flags of a side in their default state, as an identity's answer has them: one text that is copied in runs
//! around the few flags that are different for somebody.

use crate::engine::binary::{self, Writer, u32_at};

/// What of a side's default flags is where. A flag that is not shown takes no room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults<'a> {
    text: &'a [u8],
    /// Where each flag starts, and where the last one ends.
    places: &'a [[u8; PLACE]],
}

const PLACE: usize = 4;

impl<'a> Defaults<'a> {
    /// Reads what [`DefaultsWriter`] has written. What is damaged shows no flag.
    pub(super) fn new(text: &'a [u8], places: &'a [u8]) -> Self {
        Self {
            text,
            places: places.as_chunks().0,
        }
    }

    /// The flags of these features, each with the comma that goes before the next.
    pub(super) fn of(&self, from: u32, to: u32) -> &'a [u8] {
        let place = |number: u32| {
            let place = self.places.get(number as usize)?;
            Some(u32_at(place, 0) as usize)
        };
        place(from)
            .zip(place(to))
            .and_then(|(from, to)| self.text.get(from..to))
            .unwrap_or_default()
    }

    /// How many bytes all flags take.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

/// Writes the default flags of a side.
#[derive(Debug, Default)]
pub(super) struct DefaultsWriter {
    text: Vec<u8>,
    places: Writer,
}

impl DefaultsWriter {
    /// Adds the next flag, as it is without `variant`; `None` where it is not shown. One that has variants has its control
    /// value by default.
    pub(super) fn add(&mut self, flag: Option<&[u8]>, has_variants: bool) {
        self.places.u32(binary::count(self.text.len()));
        if let Some((_, open)) = flag.and_then(<[u8]>::split_last) {
            self.text.extend_from_slice(open);
            self.text.extend_from_slice(if has_variants {
                br#","variant":"control"},"#
            } else {
                br#","variant":null},"#
            });
        }
    }

    /// The text, and where its flags are.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        self.places.u32(binary::count(self.text.len()));
        (self.text, self.places.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn flags_are_there_in_runs() {
        let mut writer = DefaultsWriter::default();
        writer.add(Some(br#"{"id":1}"#), false);
        writer.add(None, true);
        writer.add(Some(br#"{"id":3}"#), true);
        let (bytes, places) = writer.finish();
        let defaults = Defaults::new(&bytes, &places);
        let first = r#"{"id":1,"variant":null},"#;
        let third = r#"{"id":3,"variant":"control"},"#;
        assert_eq!(text(defaults.of(0, 3)), format!("{first}{third}"));
        assert_eq!(text(defaults.of(0, 1)), first);
        assert_eq!(text(defaults.of(1, 2)), "");
        assert_eq!(text(defaults.of(1, 3)), third);
        assert_eq!(text(defaults.of(3, 3)), "");
        assert_eq!(defaults.len(), first.len() + third.len());
    }

    #[test]
    fn what_is_damaged_shows_nothing() {
        let mut writer = DefaultsWriter::default();
        writer.add(Some(b"{}"), false);
        let (bytes, places) = writer.finish();
        for (defaults, from, to) in [
            (Defaults::new(&bytes, &places), 1, 0),
            (Defaults::new(&bytes, &places), 0, 2),
            (Defaults::new(&bytes[1..], &places), 0, 1),
            (Defaults::new(&bytes, &places[1..]), 0, 1),
            (Defaults::new(&bytes, &[]), 0, 0),
        ] {
            assert_eq!(text(defaults.of(from, to)), "");
        }
    }
}
