//! What `scripts/soak --chaos` has done to the parts, so that nobody is blamed for an answer that did not come
//! from a part that was dead. The script writes `down NAME` before it kills and `up NAME` after the part answers again.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The script's diary.
#[derive(Debug)]
pub(crate) struct Disturbances {
    path: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    lines: usize,
    kills: usize,
    parts: HashMap<String, Part>,
}

#[derive(Debug)]
struct Part {
    is_down: bool,
    since: Instant,
}

impl Disturbances {
    /// Reads the diary at this path; without one nothing is disturbed.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            known: Mutex::default(),
        }
    }

    /// Whether one of the parts is down, or was at any time in the past so long.
    pub(crate) fn touch(&self, parts: &[&str], past: Duration) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut known);
        parts.iter().any(|part| {
            known
                .parts
                .get(*part)
                .is_some_and(|part| part.is_down || part.since.elapsed() < past)
        })
    }

    /// How many parts were killed.
    pub(crate) fn kills(&self) -> usize {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut known);
        known.kills
    }

    fn read(&self, known: &mut Known) {
        let Some(path) = &self.path else { return };
        let diary = fs::read_to_string(path).unwrap_or_default();
        let whole = diary.rfind('\n').map_or("", |end| &diary[..end]);
        let lines: Vec<&str> = whole.lines().collect();
        for line in lines.iter().skip(known.lines) {
            if let Some((what, part)) = line.split_once(' ') {
                let is_down = what == "down";
                known.kills += usize::from(is_down);
                let since = Instant::now();
                known.parts.insert(part.to_owned(), Part { is_down, since });
            }
        }
        known.lines = lines.len();
    }
}
