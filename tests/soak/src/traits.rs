//! What is known of the traits that one host stores of an identity. Only one driver changes an identity, so
//! that this is all there is to know; a request that was not answered leaves two possibilities.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The stored traits of one identity.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// What each may be; `None` is "not there". A trait that is not listed is not there.
    possible: BTreeMap<String, Vec<Option<Value>>>,
}

/// A change of one trait; a value of `None` deletes.
pub(crate) type Change = (String, Option<Value>);

impl Stored {
    /// The host confirmed the change.
    pub(crate) fn confirm(&mut self, changes: &[Change]) {
        for (key, value) in changes {
            self.possible.insert(key.clone(), vec![value.clone()]);
        }
    }

    /// The host did not answer: it may have made the change or not.
    pub(crate) fn doubt(&mut self, changes: &[Change]) {
        for (key, value) in changes {
            let possible = self
                .possible
                .entry(key.clone())
                .or_insert_with(|| vec![None]);
            if !possible.contains(value) {
                possible.push(value.clone());
            }
        }
    }

    /// The whole number that is stored, where that is certain; nothing counts as 0.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        match self.possible.get(key).map(Vec::as_slice) {
            None | Some([None]) => Some(0),
            Some([Some(value)]) => value.as_i64(),
            Some(_) => None,
        }
    }

    /// Compares with the stored traits that an answer shows, but for those that the request hid, and takes
    /// over what was in doubt.
    pub(crate) fn compare(
        &mut self,
        shown: &Map<String, Value>,
        hidden: &[String],
    ) -> Result<(), String> {
        for (key, value) in shown {
            if !hidden.contains(key) && !self.possible.contains_key(key) {
                return Err(format!("trait {key}={value} was never set"));
            }
        }
        for (key, possible) in &mut self.possible {
            if hidden.contains(key) {
                continue;
            }
            let value = shown.get(key).cloned();
            if !possible.contains(&value) {
                return Err(format!("trait {key} is {value:?}, set was {possible:?}"));
            }
            *possible = vec![value];
        }
        Ok(())
    }

    /// How many are certainly there.
    pub(crate) fn count(&self) -> usize {
        let certain = self.possible.values();
        certain
            .filter(|possible| possible.iter().all(Option::is_some))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn what_was_confirmed_must_be_there() {
        let mut stored = Stored::default();
        stored.confirm(&[("a".to_owned(), Some(json!(1)))]);
        assert!(stored.compare(&map(&json!({"a": 1})), &[]).is_ok());
        assert!(stored.compare(&map(&json!({})), &[]).is_err());
        assert!(stored.compare(&map(&json!({"a": 2})), &[]).is_err());
        assert!(
            stored
                .compare(&map(&json!({"a": 2})), &["a".to_owned()])
                .is_ok()
        );
        assert!(stored.compare(&map(&json!({"a": 1, "b": 1})), &[]).is_err());
        stored.confirm(&[("a".to_owned(), None)]);
        assert!(stored.compare(&map(&json!({})), &[]).is_ok());
        assert_eq!(stored.number("a"), Some(0));
    }

    #[test]
    fn a_doubt_is_settled_by_the_next_answer() {
        let mut stored = Stored::default();
        stored.confirm(&[("a".to_owned(), Some(json!(1)))]);
        stored.doubt(&[("a".to_owned(), Some(json!(2)))]);
        assert_eq!((stored.number("a"), stored.count()), (None, 1));
        assert!(stored.compare(&map(&json!({"a": 2})), &[]).is_ok());
        assert!(stored.compare(&map(&json!({"a": 1})), &[]).is_err());
    }
}
