//! Where an identity falls: Flagsmith's MD5 bucketing (flagsmith-api.md B.3).

use md5::{Digest, Md5, block_api};

/// A number in 0 ..= 100 below 100, the same every time for the same `salt` and `key`.
///
/// `salt` is the id of what is split (a feature state's key, a segment's key) followed by a comma,
/// `key` what identifies who asks.
pub fn percentage(salt: &[u8], key: &[u8]) -> f64 {
    // The rare hash that lands on 100 is taken again over the ids said once more. Ten such in a row
    // (one in 10^40) end the search, so that it ends for all inputs.
    for rounds in 1..=10 {
        let hash = match one_block(salt, key) {
            Some(hash) if rounds == 1 => hash,
            _ => many_blocks(salt, key, rounds),
        };
        let position = remainder(hash);
        if position != LAST {
            return f64::from(position) / f64::from(LAST) * 100.0;
        }
    }
    0.0
}

const LAST: u32 = 9998;

/// The hash of what fits into one block of MD5, as nearly all ids do: without the buffer that a
/// hasher keeps.
fn one_block(salt: &[u8], key: &[u8]) -> Option<u128> {
    const LENGTH: usize = 56;
    let mut block = [0; 64];
    let end = salt.len() + key.len();
    block.get_mut(..salt.len())?.copy_from_slice(salt);
    block.get_mut(salt.len()..end)?.copy_from_slice(key);
    // A one bit, zeros, and the number of bits (RFC 1321, 3.1 and 3.2).
    *block.get_mut(end).filter(|_| end < LENGTH)? = 0x80;
    block[LENGTH..].copy_from_slice(&(end as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    block_api::compress(&mut state, &[block]);
    let words = state.map(|word: u32| u128::from(word.swap_bytes()));
    Some(words[0] << 96 | words[1] << 64 | words[2] << 32 | words[3])
}

fn many_blocks(salt: &[u8], key: &[u8], rounds: u32) -> u128 {
    let mut hasher = Md5::new();
    for round in 0..rounds {
        if round > 0 {
            hasher.update(b",");
        }
        hasher.update(salt);
        hasher.update(key);
    }
    u128::from_be_bytes(hasher.finalize().into())
}

/// `hash % 9999`, by halves: division of 128 bits is slow where it has to be emulated.
#[expect(
    clippy::cast_possible_truncation,
    reason = "halves of 128 bits, and a remainder below 9999"
)]
fn remainder(hash: u128) -> u32 {
    const MODULUS: u64 = 9999;
    // 2^64 % 9999
    const SHIFT: u64 = (u64::MAX % MODULUS + 1) % MODULUS;
    let (high, low) = ((hash >> 64) as u64, hash as u64);
    (((high % MODULUS) * SHIFT + low % MODULUS) % MODULUS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "equal to the last bit is the rule")]
    fn equals_flagsmith() {
        // flagsmith-api.md B.3; the last one lands on 100 first.
        assert_eq!(percentage(b"1,", b"2"), 26.595_319_063_812_76);
        assert_eq!(
            percentage(b"1,", b"env_key_identifier"),
            4.450_890_178_035_607
        );
        assert_eq!(percentage(b"12,", b"93"), 27.655_531_106_221_243);
        assert_eq!(percentage(b"1,", b"8931"), 45.779_155_831_166_236);
    }

    #[test]
    fn one_block_is_as_good_as_many() {
        for length in 0..70 {
            let key = "x".repeat(length);
            let whole = many_blocks(b"12,", key.as_bytes(), 1);
            let fits = length + 3 < 56;
            assert_eq!(
                one_block(b"12,", key.as_bytes()),
                fits.then_some(whole),
                "{length}"
            );
        }
    }

    #[test]
    fn remainder_is_that_of_the_whole() {
        for hash in [
            0,
            1,
            9998,
            9999,
            u128::MAX,
            u128::MAX / 7,
            1 << 64,
            (1 << 64) - 1,
        ] {
            assert_eq!(u128::from(remainder(hash)), hash % 9999);
        }
    }
}
