//! The priorities of a feature's segment overrides in an environment: 0 wins, and no two share one.
//!
//! The reference moves overrides one by one with `django-ordered-model`, from stale copies, and frees a
//! priority that is taken by swapping; both leave ties and move bystanders (flagsmith-observed.md 4.4).
//! Here whoever asks for a priority gets it, and the others keep their order.

use std::collections::BTreeSet;

/// An override's id and its priority.
pub(super) type Place = (i64, i32);

/// The priority of a new override that asks for none: after all others.
pub(super) fn next(current: &[Place]) -> i32 {
    current
        .iter()
        .map(|(_, priority)| priority.saturating_add(1))
        .max()
        .unwrap_or(0)
}

/// Who has to move, and where to, for `priority` to be free: whoever has it and those right behind, each
/// down by one. `current` is in order.
pub(super) fn make_room(current: &[Place], priority: i32) -> Vec<Place> {
    let mut taken = priority;
    let mut moved = Vec::new();
    for (id, at) in current.iter().filter(|(_, at)| *at >= priority) {
        if *at > taken {
            break;
        }
        taken = taken.saturating_add(1);
        moved.push((*id, taken));
    }
    moved
}

/// Everybody's priority after those in `wanted` got theirs; the others share out what is left among
/// them, in the order they had. Of two that want the same, the second gets the next. `current` is in order.
pub(super) fn rearrange(current: &[Place], wanted: &[Place]) -> Vec<Place> {
    if wanted.iter().all(|place| current.contains(place)) {
        return current.to_vec();
    }
    let mut taken = BTreeSet::new();
    let mut named: Vec<Place> = wanted.to_vec();
    named.sort_by_key(|(_, priority)| *priority);
    for (_, priority) in &mut named {
        while !taken.insert(*priority) {
            *priority = priority.saturating_add(1);
        }
    }
    let mut free = (0..).filter(|priority| !taken.contains(priority));
    let others = current
        .iter()
        .filter(|(id, _)| named.iter().all(|(other, _)| other != id))
        .map(|(id, priority)| (*id, free.next().unwrap_or(*priority)));
    let mut all: Vec<Place> = named.iter().copied().chain(others).collect();
    all.sort_by_key(|(_, priority)| *priority);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ones_come_last() {
        assert_eq!(next(&[]), 0);
        assert_eq!(next(&[(1, 0), (2, 5)]), 6);
    }

    #[test]
    fn a_priority_that_is_taken_pushes_its_holder_down() {
        let current = [(1, 0), (2, 1), (3, 2)];
        assert_eq!(make_room(&current, 0), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(make_room(&current, 2), [(3, 3)]);
        assert_eq!(make_room(&current, 7), []);
        assert_eq!(make_room(&[(1, 0), (2, 1), (3, 5)], 0), [(1, 1), (2, 2)]);
        // Ties, which another Flagsmith may have left, are parted.
        assert_eq!(make_room(&[(1, 0), (2, 0)], 0), [(1, 1), (2, 2)]);
    }

    #[test]
    fn whoever_asks_gets_it() {
        let current = [(1, 0), (2, 1), (3, 2)];
        // The reference was recorded to leave 3, 2, 1 at this.
        assert_eq!(
            rearrange(&current, &[(3, 0), (1, 1)]),
            [(3, 0), (1, 1), (2, 2)]
        );
        assert_eq!(
            rearrange(&current, &[(1, 1), (2, 2), (3, 0)]),
            [(3, 0), (1, 1), (2, 2)]
        );
        assert_eq!(rearrange(&current, &[(1, 2)]), [(2, 0), (3, 1), (1, 2)]);
        assert_eq!(rearrange(&current, &[(1, 9)]), [(2, 0), (3, 1), (1, 9)]);
        assert_eq!(
            rearrange(&current, &[(1, 5), (2, 5)]),
            [(3, 0), (1, 5), (2, 6)]
        );
    }

    #[test]
    fn nothing_moves_for_what_is_so_already() {
        let gap = [(1, 3), (2, 9)];
        assert_eq!(rearrange(&gap, &[(2, 9)]), gap);
        assert_eq!(rearrange(&gap, &[]), gap);
    }
}
