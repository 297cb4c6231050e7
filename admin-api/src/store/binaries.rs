//! Where this machine keeps the programs of a Postgres server.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Where to look, the first that has them wins.
#[derive(Debug)]
pub(super) struct Places {
    /// A folder that somebody named: there or nowhere.
    named: Option<PathBuf>,
    /// Folders as PATH lists them.
    path: OsString,
    /// Where distributions put them, each version in a folder of its own; the newest wins.
    roots: Vec<PathBuf>,
}

impl Places {
    /// `PG_BIN`, then PATH, then where Debian, Ubuntu and Homebrew put them.
    pub(super) fn of_this_machine() -> Self {
        let roots = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];
        Self {
            named: std::env::var_os("PG_BIN").map(PathBuf::from),
            path: std::env::var_os("PATH").unwrap_or_default(),
            roots: roots.map(PathBuf::from).into(),
        }
    }

    /// The folder with `initdb` and `postgres`.
    ///
    /// # Errors
    /// When there is none; says what to do.
    pub(super) fn find(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.named {
            ensure!(
                is_complete(folder),
                "PG_BIN={} has no initdb and postgres: name the folder that holds both, or unset it",
                folder.display()
            );
            return Ok(folder.clone());
        }
        if let Some(folder) = std::env::split_paths(&self.path).find(|folder| is_complete(folder)) {
            return Ok(folder);
        }
        let installed = self
            .roots
            .iter()
            .filter_map(|root| fs::read_dir(root).ok())
            .flat_map(Iterator::flatten)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix("postgresql@").unwrap_or(&name);
                Some((version.parse::<u32>().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, folder)| is_complete(folder));
        installed.max().map(|(_, folder)| folder).context(
            "no DATABASE_URL is set, and this machine has no Postgres server to run privately instead.\n\
             Do one of these, then start again:\n\
             - install one: apt install postgresql (Debian, Ubuntu), brew install postgresql@17 (macOS)\n\
             - name one that runs: DATABASE_URL=postgres://user:password@host/database\n\
             - name the folder that holds initdb and postgres, if they are here after all: PG_BIN=/folder/bin",
        )
    }
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these programs in it.
    fn folder(path: &Path, programs: &[&str]) -> PathBuf {
        fs::create_dir_all(path).unwrap();
        for program in programs {
            fs::write(path.join(program), "").unwrap();
        }
        path.to_owned()
    }

    const BOTH: [&str; 2] = ["initdb", "postgres"];

    #[test]
    fn what_is_named_wins_over_path_and_that_over_what_is_installed() {
        let here = tempfile::tempdir().unwrap();
        let within = |name: &str| here.path().join(name);
        let half = folder(&within("half"), &["initdb"]);
        let listed = folder(&within("listed"), &BOTH);
        let mut places = Places {
            named: Some(folder(&within("named"), &BOTH)),
            path: std::env::join_paths([&half, &listed]).unwrap(),
            roots: vec![within("nothing"), within("debian"), within("homebrew")],
        };
        let old = folder(&within("debian/9/bin"), &BOTH);
        let new = folder(&within("debian/15/bin"), &BOTH);
        folder(&within("debian/16/bin"), &["postgres"]);
        folder(&within("debian/later/bin"), &BOTH);
        assert_eq!(places.find().unwrap(), within("named"));
        places.named = None;
        assert_eq!(places.find().unwrap(), listed);
        places.path = half.clone().into();
        assert_eq!(places.find().unwrap(), new);
        let newest = folder(&within("homebrew/postgresql@17/bin"), &BOTH);
        folder(&within("homebrew/postgresql@18/bin"), &[]);
        assert_eq!(places.find().unwrap(), newest);
        places.roots = vec![within("debian")];
        fs::remove_dir_all(new).unwrap();
        assert_eq!(places.find().unwrap(), old);

        // Where somebody named a folder, no other is taken.
        places.named = Some(half);
        let said = places.find().unwrap_err().to_string();
        assert!(said.starts_with("PG_BIN=") && said.contains("half has no initdb and postgres"));
    }
}
