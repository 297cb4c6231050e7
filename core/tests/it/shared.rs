//! Data that lies beside the repository, for developers and CI: `../shared`, or `YARDARM_SHARED`.

use std::path::PathBuf;

/// A file or folder of it; `None`, after saying so, where it is absent.
pub(crate) fn path(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("YARDARM_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    // A worktree may lie deeper than the repository.
    let found = [
        root.join(relative),
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared")
            .join(relative),
    ]
    .into_iter()
    .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: no {relative} in {}", root.display());
    }
    found
}

/// The text of a file of it.
pub(crate) fn text(relative: &str) -> Option<String> {
    let path = path(relative)?;
    Some(std::fs::read_to_string(path).expect("readable"))
}
