//! Little-endian bytes read in place: what plans, snapshots, buckets and packages are made of.
//!
//! Reading never fails: what lies outside the bytes, or is damaged, reads as zero or as nothing.

/// A range of bytes: where it starts and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) at: u32,
    /// Number of bytes.
    pub(crate) len: u32,
}

impl Span {
    /// Bytes that a span takes up when stored.
    pub(crate) const SIZE: usize = 8;

    /// The stored span at `at`.
    #[inline]
    pub(crate) fn read(bytes: &[u8], at: usize) -> Self {
        let rest = bytes.get(at..).unwrap_or_default();
        let stored = rest.first_chunk().unwrap_or(&[0; Self::SIZE]);
        Self {
            at: u32_at(stored, 0),
            len: u32_at(stored, 4),
        }
    }

    /// The bytes it covers, or none where it points outside.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let at = self.at as usize;
        at.checked_add(self.len as usize)
            .and_then(|end| bytes.get(at..end))
            .unwrap_or_default()
    }

    /// The text it covers, or none where that is no UTF-8.
    pub(crate) fn text(self, bytes: &[u8]) -> &str {
        str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

macro_rules! readers {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("The `", stringify!($type), "` stored at `at`.")]
        #[inline]
        pub(crate) fn $name(bytes: &[u8], at: usize) -> $type {
            bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or_else(Default::default, |chunk| <$type>::from_le_bytes(*chunk))
        }
    )*};
}

readers!(u8_at: u8, u32_at: u32, u64_at: u64, i64_at: i64, i128_at: i128, f64_at: f64);

/// Bytes being written.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// Appends a byte.
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Appends four bytes.
    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends eight bytes.
    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends eight bytes.
    pub(crate) fn f64(&mut self, value: f64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a span.
    pub(crate) fn span(&mut self, span: Span) -> &mut Self {
        self.u32(span.at).u32(span.len)
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends bytes and says where they are.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Span {
        let at = count(self.0.len());
        self.bytes(bytes);
        Span {
            at,
            len: count(bytes.len()),
        }
    }
}

/// Texts stored once each, however often they are used.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    bytes: Writer,
    known: std::collections::BTreeMap<Vec<u8>, Span>,
}

impl Pool {
    /// Longer texts are hardly ever repeated; remembering them would only cost memory.
    const REMEMBERED: usize = 256;

    /// An empty pool that starts with so many zero bytes, which are filled in later.
    pub(crate) fn after(header: usize) -> Self {
        Self {
            bytes: Writer(vec![0; header]),
            ..Self::default()
        }
    }

    /// Where `text` is, after adding it at the end without looking for an equal one.
    pub(crate) fn append(&mut self, text: &[u8]) -> Span {
        self.bytes.append(text)
    }

    /// Where `text` is, after adding it where it is new.
    pub(crate) fn add(&mut self, text: impl AsRef<[u8]>) -> Span {
        let text = text.as_ref();
        if text.is_empty() {
            return Span::default();
        }
        if text.len() > Self::REMEMBERED {
            return self.bytes.append(text);
        }
        if let Some(span) = self.known.get(text) {
            return *span;
        }
        let span = self.bytes.append(text);
        self.known.insert(text.to_vec(), span);
        span
    }

    /// All of it.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.0
    }
}

/// A number of things as stored. More than fit into 32 bits cannot be held in memory here.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A stable hash for look-up tables and buckets: FNV-1a, then mixed so that low bits depend on all.
#[inline]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// An open-addressing table of `entries` (a hash and what it leads to): slots of four bytes, each 0
/// for empty or 1 more than an entry. At most half full, so a probe always meets an empty slot.
pub(crate) fn hash_table(hashes: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let size = (hashes.len() * 2).next_power_of_two().max(2);
    let mut slots = vec![0_u32; size];
    for (entry, hash) in hashes.enumerate() {
        let mut slot = slot_of(hash, size);
        while slots[slot] != 0 {
            slot = (slot + 1) & (size - 1);
        }
        slots[slot] = count(entry + 1);
    }
    slots.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The entry of a table written by [`hash_table`] that `is_it` accepts.
#[inline]
pub(crate) fn look_up(table: &[u8], hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
    let (slots, _) = table.as_chunks::<4>();
    if !slots.len().is_power_of_two() {
        return None;
    }
    let mut slot = slot_of(hash, slots.len());
    for _ in 0..slots.len() {
        let entry = u32::from_le_bytes(*slots.get(slot)?).checked_sub(1)?;
        if is_it(entry) {
            return Some(entry);
        }
        slot = (slot + 1) & (slots.len() - 1);
    }
    None
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only the low bits are wanted"
)]
fn slot_of(hash: u64, size: usize) -> usize {
    hash as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nothing_outside() {
        assert_eq!(u32_at(&[1, 0, 0], 0), 0);
        assert_eq!(u32_at(&[1, 0, 0, 0], 0), 1);
        assert_eq!(u64_at(&[1; 8], usize::MAX), 0);
        assert_eq!(Span { at: 1, len: 3 }.of(&[1, 2, 3]), &[] as &[u8]);
        assert_eq!(Span { at: 1, len: 2 }.of(&[1, 2, 3]), &[2, 3]);
        let wraps = Span {
            at: u32::MAX,
            len: u32::MAX,
        };
        assert_eq!(wraps.of(&[1, 2, 3]), &[] as &[u8]);
        assert_eq!(Span { at: 0, len: 1 }.text(&[0xff]), "");
    }

    #[test]
    fn tables_find_what_they_hold() {
        let names: Vec<String> = (0..100).map(|n| format!("name_{n}")).collect();
        let table = hash_table(names.iter().map(|name| hash(name.as_bytes())));
        for (entry, name) in names.iter().enumerate() {
            let found = look_up(&table, hash(name.as_bytes()), |e| {
                names[e as usize] == *name
            });
            assert_eq!(found, Some(count(entry)));
        }
        assert_eq!(look_up(&table, hash(b"other"), |_| false), None);
        assert_eq!(look_up(&[], 7, |_| true), None);
        assert_eq!(look_up(&[1; 12], 7, |_| true), None);
    }
}
