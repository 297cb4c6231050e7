//! Counts by minute and label, in bounded memory.
//!
//! Counting something that was counted before in this minute allocates nothing. Labels come from clients, so
//! there is a bound: what would pass it is only added to a number.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hash};

use super::asked::Counted;
use crate::edge::Effect;
use crate::edge::delivery::{Delivery, EvaluationCount, Labels, RequestCount, Resource};
use crate::time::Timestamp;

/// What an entry takes besides its text, in bytes, roughly.
const ENTRY_OVERHEAD: usize = 256;

/// Counts since they were last taken.
#[derive(Debug)]
pub struct Tally<S = RandomState> {
    requests: Table<RequestCount, S>,
    evaluations: Table<EvaluationCount, S>,
    /// How many bytes more may be held.
    room: usize,
    most: usize,
    dropped: u64,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Requests.
    pub requests: Vec<RequestCount>,
    /// Evaluations.
    pub evaluations: Vec<EvaluationCount>,
    /// How many requests and evaluations found no room.
    pub dropped: u64,
}

impl<S: BuildHasher + Clone + Default> Tally<S> {
    /// One that holds about `most` bytes.
    pub fn new(most: usize) -> Self {
        let hasher = S::default();
        Self {
            requests: Table::new(hasher.clone()),
            evaluations: Table::new(hasher),
            room: most,
            most,
            dropped: 0,
        }
    }

    /// Whether nothing was counted since it was taken.
    pub fn is_empty(&self) -> bool {
        self.dropped == 0 && self.requests.0.is_empty() && self.evaluations.0.is_empty()
    }

    /// Counts a request made at `now`.
    pub fn count(&mut self, request: &Counted, now: Timestamp) {
        let key = RequestKey {
            minute: minute(now),
            environment_key: request.snapshot.environment_key(),
            resource: request.resource,
            host: request.origin.host(),
            labels: request.origin.labels(),
        };
        let added = self.requests.add(&key, 1, &mut self.room, || RequestCount {
            environment_key: key.environment_key.to_owned(),
            resource: key.resource,
            host: key.host.to_owned(),
            labels: request.origin.to_labels(),
            minute: key.minute,
            count: 0,
        });
        if !added {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Counts what a request reported at `now`.
    pub fn record(&mut self, effect: Effect, now: Timestamp) {
        let Effect::Evaluations {
            environment_key,
            labels,
            rows,
        } = effect;
        for row in rows {
            let wanted = EvaluationCount {
                environment_key: environment_key.clone(),
                feature_name: row.feature_name,
                identity_identifier: row.identity_identifier,
                enabled_when_evaluated: row.enabled_when_evaluated,
                labels: labels.clone(),
                minute: minute(now),
                count: 0,
            };
            self.add_evaluations(&wanted, row.count);
        }
    }

    /// Adds counts that were taken from another tally.
    pub fn absorb(&mut self, counts: Counts) {
        self.dropped = self.dropped.saturating_add(counts.dropped);
        for mut row in counts.requests {
            let count = std::mem::take(&mut row.count);
            let key = row.key();
            if !self
                .requests
                .add(&key, count, &mut self.room, || row.clone())
            {
                self.dropped = self.dropped.saturating_add(count);
            }
        }
        for mut row in counts.evaluations {
            let count = std::mem::take(&mut row.count);
            self.add_evaluations(&row, count);
        }
    }

    /// Takes everything counted so far.
    pub fn take(&mut self) -> Counts {
        self.room = self.most;
        Counts {
            requests: self.requests.0.drain().map(|(_, row)| row).collect(),
            evaluations: self.evaluations.0.drain().map(|(_, row)| row).collect(),
            dropped: std::mem::take(&mut self.dropped),
        }
    }

    fn add_evaluations(&mut self, row: &EvaluationCount, count: i64) {
        let make = || row.clone();
        if !self
            .evaluations
            .add(&row.key(), count, &mut self.room, make)
        {
            let count = u64::try_from(count).unwrap_or(0);
            self.dropped = self.dropped.saturating_add(count);
        }
    }
}

impl Counts {
    /// Cuts them into deliveries of at most `rows` rows, still without ids.
    pub fn into_deliveries(self, edge: &str, rows: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let empty = || Delivery {
            edge: edge.to_owned(),
            ..Delivery::default()
        };
        let (mut requests, mut evaluations) = (self.requests, self.evaluations);
        let mut dropped = self.dropped;
        while !requests.is_empty() || !evaluations.is_empty() || dropped > 0 {
            let requests = last(&mut requests, rows);
            let evaluations = last(&mut evaluations, rows - requests.len());
            deliveries.push(Delivery {
                requests,
                evaluations,
                dropped: std::mem::take(&mut dropped),
                ..empty()
            });
        }
        deliveries
    }
}

impl From<Delivery> for Counts {
    fn from(delivery: Delivery) -> Self {
        Self {
            requests: delivery.requests,
            evaluations: delivery.evaluations,
            dropped: delivery.dropped,
        }
    }
}

/// Takes up to `most` from the end.
fn last<T>(rows: &mut Vec<T>, most: usize) -> Vec<T> {
    rows.split_off(rows.len().saturating_sub(most))
}

/// Start of the minute, Unix seconds.
const fn minute(now: Timestamp) -> i64 {
    now.secs() - now.secs().rem_euclid(60)
}

/// Rows by the hash of what they are counted by. Two with one hash lie side by side: the second takes the next number.
#[derive(Debug)]
struct Table<R, S>(HashMap<u64, R, S>);

/// A row of a table.
trait Row {
    /// What is counted by.
    type Key<'a>: Hash;
    fn key(&self) -> Self::Key<'_>;
    fn is_of(&self, key: &Self::Key<'_>) -> bool;
    /// Bytes of text.
    fn text(&self) -> usize;
    type Count;
    fn add(&mut self, count: Self::Count);
}

impl<R: Row, S: BuildHasher> Table<R, S> {
    fn new(hasher: S) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    /// Adds to the row of `key`, made where it is missing; false where there is no room for it.
    fn add(
        &mut self,
        key: &R::Key<'_>,
        count: R::Count,
        room: &mut usize,
        make: impl FnOnce() -> R,
    ) -> bool {
        let mut at = self.0.hasher().hash_one(key);
        loop {
            match self.0.entry(at) {
                Entry::Occupied(mut row) => {
                    if row.get().is_of(key) {
                        row.get_mut().add(count);
                        return true;
                    }
                }
                Entry::Vacant(place) => {
                    let row = make();
                    let Some(rest) = room.checked_sub(ENTRY_OVERHEAD + row.text()) else {
                        return false;
                    };
                    *room = rest;
                    place.insert(row).add(count);
                    return true;
                }
            }
            at = at.wrapping_add(1);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RequestKey<'a> {
    minute: i64,
    environment_key: &'a str,
    resource: Resource,
    host: &'a str,
    labels: [Option<&'a str>; 3],
}

impl Row for RequestCount {
    type Key<'a> = RequestKey<'a>;
    type Count = u64;

    fn key(&self) -> RequestKey<'_> {
        RequestKey {
            minute: self.minute,
            environment_key: &self.environment_key,
            resource: self.resource,
            host: &self.host,
            labels: views(&self.labels),
        }
    }

    fn is_of(&self, key: &RequestKey<'_>) -> bool {
        self.key() == *key
    }

    fn text(&self) -> usize {
        self.environment_key.len() + self.host.len() + length(&self.labels)
    }

    fn add(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct EvaluationKey<'a> {
    minute: i64,
    environment_key: &'a str,
    feature_name: &'a str,
    identity_identifier: Option<&'a str>,
    enabled_when_evaluated: Option<bool>,
    labels: [Option<&'a str>; 3],
}

impl Row for EvaluationCount {
    type Key<'a> = EvaluationKey<'a>;
    type Count = i64;

    fn key(&self) -> EvaluationKey<'_> {
        EvaluationKey {
            minute: self.minute,
            environment_key: &self.environment_key,
            feature_name: &self.feature_name,
            identity_identifier: self.identity_identifier.as_deref(),
            enabled_when_evaluated: self.enabled_when_evaluated,
            labels: views(&self.labels),
        }
    }

    fn is_of(&self, key: &EvaluationKey<'_>) -> bool {
        self.key() == *key
    }

    fn text(&self) -> usize {
        let identity = self.identity_identifier.as_ref().map_or(0, String::len);
        self.environment_key.len() + self.feature_name.len() + identity + length(&self.labels)
    }

    fn add(&mut self, count: i64) {
        self.count = self.count.saturating_add(count);
    }
}

fn views(labels: &Labels) -> [Option<&str>; 3] {
    [
        labels.client_application_name.as_deref(),
        labels.client_application_version.as_deref(),
        labels.user_agent.as_deref(),
    ]
}

fn length(labels: &Labels) -> usize {
    views(labels).into_iter().flatten().map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edge::Evaluation;
    use crate::edge::usage::Origin;
    use crate::snapshot::{Package, Snapshot};

    fn request(key: &str, resource: Resource, agent: &str) -> Counted {
        let snapshot = Snapshot::open(Package::tombstone(key, 1, 0).snapshot()).unwrap();
        let head = http::Request::builder()
            .header("host", "edge.example")
            .header("user-agent", agent)
            .body(())
            .unwrap();
        Counted {
            resource,
            snapshot,
            origin: Origin::of(&head.into_parts().0),
        }
    }

    fn evaluations(feature: &str, identity: Option<&str>, count: i64) -> Effect {
        Effect::Evaluations {
            environment_key: "env".to_owned(),
            labels: Labels::default(),
            rows: vec![Evaluation {
                feature_name: feature.to_owned(),
                identity_identifier: identity.map(str::to_owned),
                enabled_when_evaluated: None,
                count,
            }],
        }
    }

    #[test]
    fn what_is_alike_within_a_minute_is_one_row() {
        let mut tally = Tally::<RandomState>::new(1 << 20);
        assert!(tally.is_empty());
        let flags = request("env", Resource::Flags, "flagsmith-a");
        for at in [60, 119, 120] {
            tally.count(&flags, Timestamp::from_secs(at));
        }
        tally.count(
            &request("env", Resource::Traits, "flagsmith-a"),
            Timestamp::from_secs(60),
        );
        tally.record(evaluations("f", None, 3), Timestamp::from_secs(61));
        tally.record(evaluations("f", None, 4), Timestamp::from_secs(62));
        tally.record(evaluations("f", Some("ann"), 5), Timestamp::from_secs(62));
        let mut counts = tally.take();
        counts
            .requests
            .sort_by_key(|row| (row.minute, row.resource));
        let rows: Vec<_> = counts
            .requests
            .iter()
            .map(|row| (row.minute, row.resource, row.count, row.host.as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                (60, Resource::Flags, 2, "edge.example"),
                (60, Resource::Traits, 1, "edge.example"),
                (120, Resource::Flags, 1, "edge.example"),
            ]
        );
        let agent = counts.requests[0].labels.user_agent.as_deref();
        assert_eq!(agent, Some("flagsmith-a"));
        let mut sums: Vec<_> = counts.evaluations.iter().map(|row| row.count).collect();
        sums.sort_unstable();
        assert_eq!(sums, [5, 7]);
        assert!(tally.is_empty());
        assert_eq!(tally.take(), Counts::default());
    }

    #[test]
    fn deliveries_are_bounded_and_tell_once_what_was_dropped() {
        let mut tally = Tally::<RandomState>::new(1 << 20);
        for minute in 0..7 {
            let flags = request("env", Resource::Flags, "flagsmith-a");
            tally.count(&flags, Timestamp::from_secs(minute * 60));
            tally.record(evaluations("f", None, 1), Timestamp::from_secs(minute * 60));
        }
        let mut counts = tally.take();
        counts.dropped = 9;
        let deliveries = counts.into_deliveries("native", 5);
        let sizes: Vec<_> = deliveries
            .iter()
            .map(|batch| batch.requests.len() + batch.evaluations.len())
            .collect();
        assert_eq!(sizes, [5, 5, 4]);
        assert_eq!(deliveries.iter().map(|batch| batch.dropped).sum::<u64>(), 9);
        let lost = Counts {
            dropped: 1,
            ..Counts::default()
        };
        assert_eq!(lost.into_deliveries("native", 5).len(), 1);
        assert!(Counts::default().into_deliveries("native", 5).is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Count(u8, u8, i64),
        Record(u8, Option<u8>, i64),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..3_u8, 0..9_u8, 0..400_i64).prop_map(|(key, agent, at)| Step::Count(key, agent, at)),
            8 => (0..9_u8, prop::option::of(0..9_u8), 0..100_i64)
                .prop_map(|(feature, identity, count)| Step::Record(feature, identity, count)),
            1 => Just(Step::Take),
        ]
    }

    fn sum(counts: &Counts) -> (u64, i64) {
        (
            counts.requests.iter().map(|row| row.count).sum(),
            counts.evaluations.iter().map(|row| row.count).sum(),
        )
    }

    proptest! {
        /// Whatever the bound: what was taken and what was dropped is what was counted, also by way of
        /// another tally.
        #[test]
        fn nothing_is_lost_without_being_told(
            steps in prop::collection::vec(step(), 0..120),
            most in 0..12_000_usize,
            second in 0..12_000_usize,
        ) {
            let mut tally = Tally::<RandomState>::new(most);
            let mut home = Tally::<RandomState>::new(second);
            let (mut requests, mut evaluated) = (0_u64, 0_i64);
            for step in steps {
                match step {
                    Step::Count(key, agent, at) => {
                        let counted = request(
                            &format!("env{key}"),
                            Resource::Flags,
                            &format!("flagsmith-{agent}"),
                        );
                        tally.count(&counted, Timestamp::from_secs(at));
                        requests += 1;
                    }
                    Step::Record(feature, identity, count) => {
                        let identity = identity.map(|identity| identity.to_string());
                        tally.record(
                            evaluations(&feature.to_string(), identity.as_deref(), count),
                            Timestamp(0),
                        );
                        evaluated += count;
                    }
                    Step::Take => home.absorb(tally.take()),
                }
            }
            home.absorb(tally.take());
            let counts = home.take();
            let dropped = i64::try_from(counts.dropped).unwrap();
            let (got, sum) = sum(&counts);
            prop_assert_eq!(i64::try_from(got).unwrap() + sum + dropped, i64::try_from(requests).unwrap() + evaluated);
            let rows = counts.requests.len() + counts.evaluations.len();
            prop_assert!(rows * ENTRY_OVERHEAD <= second);
        }
    }
}
