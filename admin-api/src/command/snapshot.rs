//! `yardarm snapshot`: looking into what is published.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use yardarm_core::snapshot::{Package, inspect};

/// What to do with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Snapshot {
    /// Prints what a published package holds.
    Inspect {
        /// The package, as it was sent to an edge.
        file: PathBuf,
    },
}

impl Snapshot {
    /// What is to be printed.
    ///
    /// # Errors
    /// When the file cannot be read, or is no package.
    pub fn run(&self) -> anyhow::Result<String> {
        let Self::Inspect { file } = self;
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let package = Package::open(bytes.into())
            .with_context(|| format!("{} cannot be understood", file.display()))?;
        Ok(inspect(&package))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("package");
        let package = Package::tombstone("the-key", 7, 0);
        std::fs::write(&file, package.bytes()).unwrap();
        let told = Snapshot::Inspect { file: file.clone() }.run().unwrap();
        assert!(told.contains("the-key"), "{told}");
        std::fs::write(&file, b"nothing of the kind").unwrap();
        let error = Snapshot::Inspect { file }.run().unwrap_err();
        assert!(
            format!("{error:#}").contains("damaged package"),
            "{error:#}"
        );
    }
}
