//! How much memory each process takes, from Linux's `/proc`. A process that was started anew begins anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pid: u32,
    first: u64,
    last: u64,
    peak: u64,
}

/// Looks every second, until it is dropped; `folder` has a file with a pid for each part.
pub(crate) async fn watch(folder: PathBuf, used: &std::sync::Mutex<BTreeMap<String, Use>>) {
    // The first requests fill caches and pools.
    sleep(Duration::from_secs(3)).await;
    loop {
        let found = look(&folder);
        if let Ok(mut used) = used.lock() {
            for (name, (pid, bytes)) in found {
                let fresh = Use {
                    pid,
                    first: bytes,
                    last: bytes,
                    peak: bytes,
                };
                let of = used.entry(name).or_insert(fresh);
                if of.pid != pid {
                    *of = fresh;
                }
                of.last = bytes;
                of.peak = of.peak.max(bytes);
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn look(folder: &PathBuf) -> Vec<(String, (u32, u64))> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let of = |entry: fs::DirEntry| {
        let pid: u32 = fs::read_to_string(entry.path()).ok()?.trim().parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some((
            entry.file_name().into_string().ok()?,
            (pid, kilobytes << 10),
        ))
    };
    entries.flatten().filter_map(of).collect()
}

/// A line for people.
pub(crate) fn describe(name: &str, used: &Use) -> String {
    let megabytes = |bytes: u64| bytes >> 20;
    format!(
        "{name:<10} {:>4} MB at first, {:>4} MB at last, {:>4} MB at most",
        megabytes(used.first),
        megabytes(used.last),
        megabytes(used.peak)
    )
}
