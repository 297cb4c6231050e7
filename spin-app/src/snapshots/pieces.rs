//! Values larger than a key may hold, in pieces: the first tells how many there are, so that the
//! common case, one piece, is one read.

use yardarm_core::edge::Unavailable;

use crate::key_value::KeyValue;

/// Bytes in a piece, without its count.
pub(crate) const PIECE: usize = 900_000;
/// Bytes in front of the first piece: the number of pieces, little-endian.
const COUNT: usize = 4;

/// How many pieces a value of so many bytes has.
pub(crate) fn count(length: usize) -> u32 {
    u32::try_from(length.div_ceil(PIECE).max(1)).unwrap_or(u32::MAX)
}

fn piece_key(key: &str, piece: u32) -> String {
    if piece == 0 {
        key.to_owned()
    } else {
        format!("{key}/{piece}")
    }
}

/// Stores a value; the first piece comes last.
pub(crate) async fn write<K: KeyValue>(
    store: &K,
    key: &str,
    value: &[u8],
) -> Result<(), Unavailable> {
    for (piece, bytes) in (1..).zip(value.chunks(PIECE).skip(1)) {
        store.set(&piece_key(key, piece), bytes).await?;
    }
    let first = value.chunks(PIECE).next().unwrap_or_default();
    let mut counted = Vec::with_capacity(COUNT + first.len());
    counted.extend_from_slice(&count(value.len()).to_le_bytes());
    counted.extend_from_slice(first);
    store.set(key, &counted).await
}

/// A value, if all of it is there.
pub(crate) async fn read<K: KeyValue>(
    store: &K,
    key: &str,
) -> Result<Option<Vec<u8>>, Unavailable> {
    let Some(mut value) = store.get(key).await? else {
        return Ok(None);
    };
    let Some(count) = value
        .first_chunk::<COUNT>()
        .map(|count| u32::from_le_bytes(*count))
    else {
        return Err(Unavailable(format!("damaged value of {key}")));
    };
    value.drain(..COUNT);
    for piece in 1..count {
        match store.get(&piece_key(key, piece)).await? {
            Some(bytes) => value.extend_from_slice(&bytes),
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// Deletes a value of at most `count` pieces, the first piece first.
pub(crate) async fn delete<K: KeyValue>(
    store: &K,
    key: &str,
    count: u32,
) -> Result<(), Unavailable> {
    for piece in 0..count {
        store.delete(&piece_key(key, piece)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_value::memory::{Memory, block_on};

    #[test]
    fn every_length_comes_back() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7] {
            let store = Memory::new();
            let value: Vec<u8> = (0..=250).cycle().take(length).collect();
            block_on(write(&store, "v", &value)).unwrap();
            assert_eq!(store.keys().len(), usize::try_from(count(length)).unwrap());
            assert_eq!(
                block_on(read(&store, "v")).unwrap().unwrap(),
                value,
                "{length}"
            );
            block_on(delete(&store, "v", count(length))).unwrap();
            assert!(store.keys().is_empty());
        }
    }

    #[test]
    fn a_value_with_a_piece_missing_is_not_there() {
        let store = Memory::new();
        block_on(write(&store, "v", &vec![7; 2 * PIECE])).unwrap();
        block_on(store.delete("v/1")).unwrap();
        assert_eq!(block_on(read(&store, "v")).unwrap(), None);
        block_on(store.set("v", b"abc")).unwrap();
        assert!(block_on(read(&store, "v")).is_err());
    }
}
