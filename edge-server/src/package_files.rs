//! Packages on disk: one file an environment, in the very bytes that were published.
//!
//! They are read once, at start; afterwards the memory is what answers. A package carries its own
//! content hash, so a damaged file is recognised and set aside while the others serve.

use std::path::{Path, PathBuf};
use std::{fs, io};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use yardarm_core::snapshot::{Package, PackageError};

use crate::durable;

const EXTENSION: &str = "package";

/// The directory of package files.
#[derive(Debug)]
pub(crate) struct PackageFiles {
    directory: PathBuf,
}

impl PackageFiles {
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        durable::create_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Every package that is whole. Half-written and damaged files are reported and never stop the
    /// rest; only a directory that cannot be listed is an error.
    pub(crate) fn load(&self) -> io::Result<Vec<Package>> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if durable::is_unfinished(&path) {
                let _ = fs::remove_file(&path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                packages.extend(self.load_one(&path));
            }
        }
        Ok(packages)
    }

    /// Replaces an environment's file.
    pub(crate) fn save(&self, package: &Package, environment_key: &str) -> io::Result<()> {
        durable::replace(&self.path(environment_key), package.bytes())
    }

    fn load_one(&self, path: &Path) -> Option<Package> {
        let content = fs::read(path)
            .inspect_err(|error| {
                tracing::warn!(file = %path.display(), %error, "package file cannot be read");
            })
            .ok()?;
        match Package::open(Bytes::from(content)) {
            Ok(package) if path == self.path(&package.meta().environment_key) => Some(package),
            Ok(_) => {
                set_aside(path, "it belongs to another environment than its name says");
                None
            }
            // Not damaged: an upgraded binary will read it, so it stays where it is.
            Err(PackageError::TooNew(format)) => {
                tracing::warn!(
                    file = %path.display(), format,
                    "package was stored by a newer Yardarm; its environment is not served",
                );
                None
            }
            Err(error) => {
                set_aside(path, &error.to_string());
                None
            }
        }
    }

    fn path(&self, environment_key: &str) -> PathBuf {
        let name = hex::encode(Sha256::digest(environment_key));
        self.directory.join(name).with_extension(EXTENSION)
    }
}

fn set_aside(path: &Path, reason: &str) {
    match durable::set_aside(path) {
        Ok(aside) => tracing::warn!(
            file = %path.display(), aside = %aside.display(), reason,
            "damaged package set aside; its environment waits for the next publication",
        ),
        Err(error) => tracing::warn!(
            file = %path.display(), reason, %error, "damaged package ignored",
        ),
    }
}
