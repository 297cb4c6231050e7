//! Packages on disk: one file an environment, in the very bytes that were published. A large package
//! has its parts in a folder beside it, each under its hash, so that a new version writes only those
//! that are new.
//!
//! They are read once, at start; afterwards the memory is what answers. Packages and parts carry
//! their own hashes, so a damaged file is recognised and set aside while the others serve.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use yardarm_core::snapshot::{Package, PackageError, PartName};

use crate::durable;

const EXTENSION: &str = "package";
/// Of the folder with the parts of a large package.
const PARTS: &str = "parts";
/// A package up to so many bytes is one file.
const ONE_FILE: usize = 4 << 20;

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

    /// Replaces an environment's file. Parts are written before the file that names them, and go
    /// after it has stopped to.
    pub(crate) fn save(&self, package: &Package, environment_key: &str) -> io::Result<()> {
        let path = self.path(environment_key);
        let folder = path.with_extension(PARTS);
        if package.size() <= ONE_FILE {
            durable::replace(&path, &package.bytes())?;
            return match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        durable::create_directory(&folder)?;
        let named: HashMap<OsString, &Bytes> = package
            .named_parts()
            .map(|(hash, part)| (hex::encode(hash).into(), part))
            .collect();
        let mut present = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            present.insert(entry?.file_name());
        }
        let new = named.iter().filter(|(name, _)| !present.contains(*name));
        durable::add(
            &folder,
            new.map(|(name, part)| (name.as_os_str(), part.as_ref())),
        )?;
        durable::replace(&path, &package.snapshot())?;
        for name in present.iter().filter(|name| !named.contains_key(*name)) {
            // It costs room and nothing else; the next version tries again.
            let _ = fs::remove_file(folder.join(name));
        }
        Ok(())
    }

    fn load_one(&self, path: &Path) -> Option<Package> {
        let content = fs::read(path)
            .inspect_err(|error| {
                tracing::warn!(file = %path.display(), %error, "package file cannot be read");
            })
            .ok()?;
        match Package::open(Bytes::from(content)) {
            Ok(package) if path == self.path(&package.meta().environment_key) => {
                with_parts(package, path)
            }
            Ok(_) => {
                set_aside(path, "it belongs to another environment than its name says");
                None
            }
            // Not damaged: the binary that wrote it may come back, and the next publication replaces it.
            Err(error @ (PackageError::TooNew(_) | PackageError::TooOld(_))) => {
                tracing::warn!(
                    file = %path.display(), %error,
                    "package was stored by another Yardarm; its environment waits for the next publication",
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

/// A package with its parts from the folder beside it.
fn with_parts(package: Package, path: &Path) -> Option<Package> {
    if package.is_whole() {
        return Some(package);
    }
    let folder = path.with_extension(PARTS);
    let snapshot = package.opened();
    let lengths = (0..snapshot.parts()).filter_map(|number| snapshot.part_name(number));
    let names: HashMap<[u8; 32], PartName<'_>> = lengths.map(|name| (*name.sha256, name)).collect();
    let whole = package.completed(|hash| {
        let content = fs::read(folder.join(hex::encode(hash))).ok()?;
        names.get(hash)?.is_of(&content).then(|| content.into())
    });
    if whole.is_whole() {
        return Some(whole);
    }
    tracing::warn!(
        file = %path.display(), damaged = whole.missing().len(),
        "parts of a package are missing or damaged; its environment waits for the next publication",
    );
    // So that they are written again rather than taken for what they should be.
    for number in whole.missing() {
        if let Some(name) = snapshot.part_name(number) {
            let _ = fs::remove_file(folder.join(name.to_hex()));
        }
    }
    None
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
