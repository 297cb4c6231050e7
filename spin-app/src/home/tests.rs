//! Everything comes home once, whoever dies or meets whom on the way: over a map, with a control plane that checks.

use std::pin::Pin;

use yardarm_core::edge::delivery::{IdentityChange, TraitVersion};
use yardarm_core::edge::usage::Counts;
use yardarm_core::edge::{TraitChange, TraitScalar};

use super::plane::{
    EVERY, Mood, Plane, SECOND, change, gone, leave, pages, requests, set, waiting,
};
use super::turns;
use crate::identities;
use crate::key_value::memory::{Memory, block_on, join};
use crate::key_value::{KeyValue as _, MAX_VALUE};

#[test]
fn what_was_answered_comes_home_wherever_somebody_died() {
    for mood in [Mood::Takes, Mood::LosesReplies, Mood::Small(600)] {
        let mut writes = 0;
        loop {
            let store = Memory::new();
            let plane = Plane::new(&store);
            plane.mood.set(mood);
            assert!(block_on(change(
                &plane,
                "ann",
                vec![set("old", 1), set("other", 1)]
            )));
            assert!(block_on(leave(&store, requests(0, 1))));
            store.die_after(writes);
            let answered = [
                block_on(change(&plane, "ann", vec![set("a", 1), gone("old")])),
                block_on(change(&plane, "bob", Vec::new())),
            ];
            let ten = (0..10).flat_map(|minute| requests(minute, 1).requests);
            let ten = Counts {
                requests: ten.collect(),
                ..Counts::default()
            };
            let is_left = block_on(leave(&store, ten));
            let sent = block_on(turns::take(&store, &plane, EVERY)).is_ok();
            let changed = block_on(change(&plane, "ann", vec![set("a", 2)]));
            let died = store.revive();
            plane.mood.set(Mood::Takes);
            plane.gather();
            plane.knows_all(&["ann", "bob"]);
            let known = plane.identities.borrow().get("ann").cloned().unwrap();
            if answered[0] {
                assert_eq!(known.get("old"), None);
                assert!(known.get("a").is_some());
            }
            if answered[1] {
                assert!(plane.identities.borrow().contains_key("bob"));
            }
            if changed {
                assert_eq!(known.get("a"), Some(&TraitScalar::Int(2)));
            }
            let counted = plane.counted.get();
            assert!(
                counted == 11 || (!is_left && counted == 1),
                "{counted} after {writes}"
            );
            writes += 1;
            if !died {
                assert!(sent && changed && writes > 10, "{writes}");
                break;
            }
        }
    }
}

#[test]
fn nothing_is_lost_or_told_twice_however_writers_and_senders_meet() {
    for seed in 0..60_u64 {
        let store = Memory::interleaved(seed);
        let plane = Plane::new(&store);
        plane.mood.set(Mood::Moody);
        let names = ["ann", "bob", "eve"];
        let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for n in 0..24_i64 {
            let plane = &plane;
            tasks.push(Box::pin(async move {
                let name = names[usize::try_from(n).unwrap() % names.len()];
                let own = format!("t{n}");
                assert!(change(plane, name, vec![set(&own, n), set("shared", n)]).await);
                assert!(change(plane, name, vec![set("shared", -n), gone("here")]).await);
                assert!(change(plane, name, vec![set("here", n)]).await);
                assert!(leave(plane.store, requests(n % 3, 1)).await);
            }));
        }
        for _ in 0..3 {
            let plane = &plane;
            tasks.push(Box::pin(async move {
                for _ in 0..12 {
                    // Longer than a lease: senders meet.
                    plane.wait(25 * SECOND);
                    turns::take(plane.store, plane, EVERY).await.unwrap();
                }
            }));
        }
        block_on(join(tasks));
        plane.mood.set(Mood::Takes);
        plane.gather();
        plane.knows_all(&names);
        assert_eq!(plane.counted.get(), 24, "seed {seed}");
        assert!(pages(&store).is_empty());
        let ann = plane.identities.borrow()["ann"].clone();
        assert_eq!(
            (0..24)
                .step_by(3)
                .filter(|n| ann.get(&format!("t{n}")).is_some())
                .count(),
            8
        );
    }
}

#[test]
fn two_hundred_parallel_changes_come_home() {
    let store = Memory::interleaved(3);
    let plane = Plane::new(&store);
    let names: Vec<String> = (0..200).map(|n| format!("t{n}")).collect();
    let changes = names
        .iter()
        .map(|name| change(&plane, "ann", vec![set(name, 1)]));
    assert!(
        block_on(join(changes.collect()))
            .into_iter()
            .all(|made| made)
    );
    plane.gather();
    plane.knows_all(&["ann"]);
    assert_eq!(plane.identities.borrow()["ann"].traits.len(), 200);
}

#[test]
fn increments_at_once_come_home() {
    let store = Memory::interleaved(5);
    let plane = Plane::new(&store);
    let by = TraitChange::Increment {
        key: "n".to_owned(),
        by: 1,
    };
    let increments = (0..50)
        .map(|_| identities::change(&store, ("env", "ann"), &by, plane.tick(), true))
        .collect();
    for answer in block_on(join(increments)) {
        answer.unwrap().unwrap();
    }
    plane.gather();
    let known = plane.identities.borrow()["ann"].clone();
    assert_eq!(known.get("n"), Some(&TraitScalar::Int(50)));
}

/// As if the change had been marked, and its writer had stood still.
fn mark_only(plane: &Plane<'_>, identifier: &str, traits: Vec<TraitVersion>) {
    let news = IdentityChange {
        environment_key: "env".to_owned(),
        identifier: identifier.to_owned(),
        created_at_micros: 0,
        traits,
    };
    let key = identities::key("env", identifier);
    block_on(super::mark(plane.store, &key, &news, plane.tick())).unwrap();
}

#[test]
fn a_change_that_is_made_long_after_its_mark_was_looked_up_comes_home() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    for stored in [false, true] {
        let at = plane.tick();
        let version = TraitVersion {
            key: "a".to_owned(),
            value: Some(TraitScalar::Bool(true)),
            changed_at_micros: at.micros(),
        };
        mark_only(&plane, "ann", vec![version]);
        for _ in 0..3 {
            plane.wait(EVERY + SECOND);
            block_on(turns::take(&store, &plane, EVERY)).unwrap();
        }
        assert_eq!(plane.identities.borrow().contains_key("ann"), stored);
        let late = TraitChange::Merge(vec![set("a", i64::from(stored))]);
        let made = identities::change(&store, ("env", "ann"), &late, at, false);
        block_on(made).unwrap().unwrap();
        plane.gather();
        plane.knows_all(&["ann"]);
    }
}

#[test]
fn a_change_that_was_never_made_is_given_up() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    mark_only(&plane, "ann", Vec::new());
    plane.wait(4 * 60 * SECOND);
    block_on(turns::take(&store, &plane, EVERY)).unwrap();
    assert!(waiting(&store) > 0);
    plane.gather();
    assert_eq!(plane.attempts.get(), 0);
}

#[test]
fn what_is_too_large_comes_in_halves_and_what_is_refused_goes() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    plane.mood.set(Mood::Small(400));
    let names: Vec<String> = (0..60).map(|n| format!("identity {n}")).collect();
    for name in &names {
        assert!(block_on(change(&plane, name, vec![set("a", 1)])));
    }
    for minute in 0..20 {
        assert!(block_on(leave(&store, requests(minute, 2))));
    }
    plane.gather();
    plane.knows_all(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(plane.counted.get(), 40);
    plane.mood.set(Mood::Refuses);
    assert!(block_on(change(&plane, "eve", vec![set("a", 1)])));
    plane.gather();
    plane.mood.set(Mood::Takes);
    assert!(block_on(change(&plane, "eve", vec![set("b", 1)])));
    plane.gather();
    let eve = plane.identities.borrow()["eve"].clone();
    assert_eq!(
        (eve.get("a"), eve.get("b")),
        (None, Some(&TraitScalar::Int(1)))
    );
}

#[test]
fn identities_have_no_bound_while_nobody_takes_them() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    plane.mood.set(Mood::Away);
    let names: Vec<String> = (0..1_500).map(|n| format!("identity {n}")).collect();
    for (n, name) in names.iter().enumerate() {
        assert!(block_on(change(
            &plane,
            name,
            vec![set("n", 1), set("m", 2)]
        )));
        if n % 300 == 0 {
            plane.wait(61 * SECOND);
            block_on(turns::take(&store, &plane, EVERY)).unwrap();
        }
    }
    assert!(store.largest() < 64 << 10, "{}", store.largest());
    plane.mood.set(Mood::Takes);
    plane.gather();
    plane.knows_all(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(plane.longest.get() < 256 << 10);
}

#[test]
fn the_largest_identity_fits() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    // As long as text gets in JSON, and as many traits as a record holds.
    let text = "\u{1}".repeat(2_000);
    let long: Vec<_> = (0..75)
        .map(|n| (format!("{n:0200}"), Some(TraitScalar::Text(text.clone()))))
        .collect();
    assert!(block_on(change(&plane, "long", long)));
    let many: Vec<_> = (0..6_000).map(|n| set(&format!("t{n}"), n)).collect();
    assert!(block_on(change(&plane, "many", many)));
    plane.gather();
    plane.knows_all(&["long", "many"]);
    assert!(store.largest() <= MAX_VALUE);
}

#[test]
fn usage_has_a_bound_and_what_is_beyond_is_counted() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    let host = "h".repeat(200);
    let flood = |first: i64| {
        let rows = (first..first + 150).map(|minute| {
            let mut row = requests(minute, 3).requests.remove(0);
            row.host.clone_from(&host);
            row
        });
        Counts {
            requests: rows.collect(),
            ..Counts::default()
        }
    };
    for n in 0..200 {
        assert!(block_on(leave(&store, flood(n * 150))));
    }
    assert!(store.bytes() < 7 << 20, "{}", store.bytes());
    plane.gather();
    let (counted, dropped) = (plane.counted.get(), plane.dropped.get());
    assert!(counted > 30_000 && dropped > 3_000, "{counted} {dropped}");
    assert_eq!(plane.counted.get() + plane.dropped.get(), 200 * 450);
}

#[test]
fn attempts_pause_longer_and_longer_up_to_a_minute() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    plane.mood.set(Mood::Away);
    assert!(block_on(change(&plane, "ann", Vec::new())));
    let mut pauses = Vec::new();
    for attempt in 1..=12 {
        let next = block_on(turns::take(&store, &plane, EVERY)).unwrap();
        assert_eq!(plane.attempts.get(), attempt);
        pauses.push(next - plane.clock.get());
        // Nobody asks before.
        block_on(turns::take(&store, &plane, EVERY)).unwrap();
        assert_eq!(plane.attempts.get(), attempt);
        plane.clock.set(next + 1);
    }
    assert!((SECOND / 2..=SECOND).contains(&pauses[0]), "{pauses:?}");
    assert!(
        (30 * SECOND..=60 * SECOND).contains(&pauses[11]),
        "{pauses:?}"
    );
    plane.mood.set(Mood::Takes);
    let next = block_on(turns::take(&store, &plane, EVERY)).unwrap();
    assert_eq!(next - plane.clock.get(), EVERY);
}

#[test]
fn what_the_control_plane_fails_with_keeps_only_its_own_slot_waiting() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    plane.mood.set(Mood::Troubled);
    let names: Vec<String> = (0..40).map(|n| format!("identity {n}")).collect();
    assert!(block_on(change(&plane, "poison", Vec::new())));
    for name in &names {
        assert!(block_on(change(&plane, name, Vec::new())));
    }
    block_on(turns::take(&store, &plane, EVERY)).unwrap();
    assert!((25..40).contains(&plane.identities.borrow().len()));
    plane.mood.set(Mood::Takes);
    plane.gather();
    assert_eq!(plane.identities.borrow().len(), 41);
}

#[test]
fn a_clock_that_was_wrong_stops_nobody() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    let ahead = 500 * 60 * SECOND;
    plane.wait(ahead);
    block_on(turns::take(&store, &plane, EVERY)).unwrap();
    plane.wait(-ahead);
    assert!(block_on(change(&plane, "ann", Vec::new())));
    block_on(turns::take(&store, &plane, EVERY)).unwrap();
    plane.knows_all(&["ann"]);
}

#[test]
fn what_is_not_told_leaves_no_trace() {
    let store = Memory::new();
    let plane = Plane::new(&store);
    let now = plane.tick();
    let make = |change: TraitChange, tells| {
        let made = identities::change(&store, ("env", "ann"), &change, now, tells);
        block_on(made).unwrap().unwrap();
    };
    let version = TraitVersion {
        key: "plan".to_owned(),
        value: Some(TraitScalar::Int(1)),
        changed_at_micros: 7,
    };
    make(TraitChange::Adopt(vec![version]), true);
    make(TraitChange::Merge(vec![set("a", 1)]), false);
    make(TraitChange::Merge(vec![set("a", 1)]), true);
    assert!(!store.keys().iter().any(|key| key.starts_with("home/")));
}

#[test]
fn a_damaged_or_missing_page_keeps_nothing_else_away() {
    for missing in [false, true] {
        let store = Memory::new();
        let plane = Plane::new(&store);
        assert!(block_on(change(&plane, "ann", vec![set("a", 1)])));
        plane.mood.set(Mood::Away);
        block_on(turns::take(&store, &plane, EVERY)).unwrap();
        let page = &pages(&store)[0];
        if missing {
            block_on(store.delete(page)).unwrap();
        } else {
            block_on(store.set(page, b"{")).unwrap();
        }
        plane.mood.set(Mood::Takes);
        assert!(block_on(change(&plane, "ann", vec![set("b", 1)])));
        plane.gather();
        let known = plane.identities.borrow()["ann"].clone();
        assert!(known.get("b").is_some());
    }
}
