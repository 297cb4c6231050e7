//! How many files and sockets the process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as the process may itself, since every event stream takes one: shells
/// still start programs with 1,024. Tells the limit, `None` where there is none.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            ..limit
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
        }
    }
    limit.current
}

/// How many of `wanted` streams leave a quarter of the open files to everything else.
pub fn streams_within(wanted: usize, open_files: Option<u64>) -> usize {
    let Some(open_files) = open_files else {
        return wanted;
    };
    let room = usize::try_from(open_files / 4 * 3).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            open_files,
            streams = room,
            "fewer event streams than configured: raise the limit of open files (ulimit -n)"
        );
    }
    wanted.min(room)
}

#[cfg(test)]
mod tests {
    use super::streams_within;

    #[test]
    fn streams_leave_room_for_the_rest() {
        assert_eq!(streams_within(10_000, None), 10_000);
        assert_eq!(streams_within(10_000, Some(1 << 20)), 10_000);
        assert_eq!(streams_within(10_000, Some(1_024)), 768);
    }
}
