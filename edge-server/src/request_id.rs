//! Names for requests: the caller's `x-request-id`, or one made here.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

/// The longest name taken over from a caller.
const LONGEST: usize = 128;

/// Makes names that are unique among processes (a random half) and within this one (a counter).
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// Its digits.
    process: [u8; 16],
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let mut process = [b'0'; 16];
        // The room is right.
        let _ = hex::encode_to_slice(rand::random::<[u8; 8]>(), &mut process);
        Self {
            process,
            next: AtomicU64::new(1),
        }
    }

    /// The caller's name for a request where it is fit for a log line, else a new one.
    pub(crate) fn of(&self, given: Option<&HeaderValue>) -> HeaderValue {
        let fit = |id: &&HeaderValue| {
            (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        given.filter(fit).cloned().unwrap_or_else(|| self.make())
    }

    fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut id = [0; 32];
        let (process, this) = id.split_at_mut(16);
        process.copy_from_slice(&self.process);
        // Neither can fail: the room is right, and digits can stand in a header.
        let _ = hex::encode_to_slice(number, this);
        HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_what_is_fit_for_a_log_line() {
        let ids = RequestIds::new();
        let given = HeaderValue::from_static("4bf92f35-77b34da6");
        assert_eq!(ids.of(Some(&given)), given);
        let longest = HeaderValue::from_str(&"x".repeat(LONGEST)).unwrap();
        assert_eq!(ids.of(Some(&longest)), longest);
    }

    #[test]
    fn makes_its_own_where_none_or_an_unfit_one_is_given() {
        let ids = RequestIds::new();
        let mut made = vec![ids.of(None)];
        for unfit in ["", "two words", &"x".repeat(LONGEST + 1), "caf\u{e9}"] {
            let unfit = HeaderValue::from_bytes(unfit.as_bytes()).unwrap();
            made.push(ids.of(Some(&unfit)));
        }
        assert!(made.iter().all(|id| id.len() == 32), "{made:?}");
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), made.len());
    }
}
