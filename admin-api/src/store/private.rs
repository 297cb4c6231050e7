//! The zero-setup Postgres: a cluster of our own in the data directory, reached by a unix socket only,
//! for people who name no `DATABASE_URL`, and for the tests. It ends with the program that started
//! it, however that ends: Postgres is started by a small shell that watches a pipe from us.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::binaries::Places;

/// Asks Postgres to stop when our end of the pipe closes.
const KEEPER: &str = r#"
"$@" &
server=$!
read -r _
kill -INT "$server" 2>/dev/null
wait "$server"
"#;

/// Where a cluster is found without being told.
const PORT: u16 = 5432;

/// How careful the cluster is with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As Postgres ships.
    Full,
    /// Nothing survives a crash: for tests.
    None,
}

/// A running private cluster.
#[derive(Debug)]
pub struct Private {
    /// `None` when another process runs it and we only use it.
    keeper: Option<Child>,
    /// Held by the process that runs it.
    _lock: Option<File>,
    socket: PathBuf,
    /// The socket's name has it at its end.
    port: u16,
    /// The socket's folder when it is not inside the data directory.
    _elsewhere: Option<Elsewhere>,
}

/// Who runs Postgres, which refuses to run as root.
#[derive(Clone, Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Private {
    /// Starts the cluster in `folder`, making it first where there is none. Where another process runs it
    /// already, that one is used, as long as it runs.
    ///
    /// # Errors
    /// When no Postgres is installed, the folder cannot be used, or Postgres does not come up.
    pub async fn start(folder: &Path, durability: Durability) -> anyhow::Result<Self> {
        Self::start_with(folder, durability, PORT, &[]).await
    }

    /// The same at another port, with settings (`name=value`) that win over ours: for tests of servers that are
    /// reached otherwise.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub async fn start_with(
        folder: &Path,
        durability: Durability,
        port: u16,
        further: &[String],
    ) -> anyhow::Result<Self> {
        let binaries = Places::of_this_machine().find()?;
        let account = account_for_root()?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = fs::canonicalize(folder)?;
        if let Some(account) = &account {
            give(&folder, account)?;
        }
        let (socket, elsewhere) = socket_folder(&folder)?;
        let lock = File::create(folder.join("owner.lock"))?;
        if lock.try_lock().is_err() {
            let mut private = Self {
                keeper: None,
                _lock: None,
                socket,
                port,
                _elsewhere: None,
            };
            private.wait_until_ready(&folder).await?;
            return Ok(private);
        }
        if let Some(account) = &account {
            give(&socket, account)?;
        }
        let data = folder.join("data");
        if !data.join("PG_VERSION").exists() {
            create(&binaries, account.as_ref(), &data).await?;
        }
        wait_for_predecessor(&data).await?;
        let mut settings = settings(&socket, durability);
        settings.push(format!("port={port}"));
        settings.extend_from_slice(further);
        let keeper = spawn(&binaries, account.as_ref(), &data, &settings)?;
        let mut private = Self {
            keeper: Some(keeper),
            _lock: Some(lock),
            socket,
            port,
            _elsewhere: elsewhere,
        };
        private.wait_until_ready(&folder).await?;
        private.make_database("yardarm").await?;
        Ok(private)
    }

    /// What `DATABASE_URL` would be for one of the cluster's databases.
    pub fn url(&self, database: &str) -> String {
        format!(
            "host={} port={} user=yardarm dbname={database}",
            self.socket.display(),
            self.port
        )
    }

    /// Stops the cluster, if it is ours, and waits until it has written everything down.
    pub async fn stop(mut self) {
        let Some(mut keeper) = self.keeper.take() else {
            return;
        };
        drop(keeper.stdin.take());
        if timeout(Duration::from_secs(30), keeper.wait())
            .await
            .is_err()
        {
            tracing::warn!("the private Postgres takes more than 30 seconds to stop");
        }
    }

    async fn wait_until_ready(&mut self, folder: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls)
                .await
                .is_ok()
            {
                return Ok(());
            }
            let ended = self
                .keeper
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten();
            if let Some(status) = ended {
                let log = fs::read_to_string(folder.join("postgres.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "the private Postgres in {} ended ({status}):\n{}",
                    folder.display(),
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            ensure!(
                Instant::now() < deadline,
                "the private Postgres in {} does not answer after 60 seconds",
                folder.display()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn make_database(&self, name: &str) -> anyhow::Result<()> {
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls).await?;
        let work = async move {
            let found = client
                .query_opt("select 1 from pg_database where datname = $1", &[&name])
                .await?;
            if found.is_none() {
                client
                    .batch_execute(&format!("create database {name}"))
                    .await?;
            }
            drop(client);
            Ok::<_, tokio_postgres::Error>(())
        };
        let (work, _closed) = tokio::join!(work, connection);
        Ok(work?)
    }
}

/// As root, the account to run Postgres as; otherwise ourselves.
fn account_for_root() -> anyhow::Result<Option<Account>> {
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|wanted| {
            accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| name == wanted)?;
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                Some(Account {
                    name: name.to_owned(),
                    uid,
                    gid,
                })
            })
        })
        .map(Some)
        .context(
            "Postgres does not run as root, and there is no account `postgres` to run it as: \
             start Yardarm as another user or set DATABASE_URL",
        )
}

fn give(folder: &Path, account: &Account) -> anyhow::Result<()> {
    std::os::unix::fs::chown(folder, Some(account.uid), Some(account.gid))
        .with_context(|| format!("cannot give {} to {}", folder.display(), account.name))
}

/// A command that runs as the account.
fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = match account {
        Some(account) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", account.uid))
                .arg(format!("--regid={}", account.gid))
                .arg("--clear-groups")
                .arg("--")
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    command.current_dir("/").env("LC_ALL", "C");
    command
}

/// Waits until the Postgres of a process that was killed has ended, and removes what it left behind if it
/// was killed too: its process id may be somebody else's by now, which Postgres would take for its own.
async fn wait_for_predecessor(data: &Path) -> anyhow::Result<()> {
    let file = data.join("postmaster.pid");
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Ok(text) = fs::read_to_string(&file) {
        let pid = text.lines().next().unwrap_or_default().trim().to_owned();
        if !Path::new("/proc/self").exists() {
            return Ok(());
        }
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if !command.contains("postgres") {
            fs::remove_file(&file)?;
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "another Postgres (process {pid}) still uses {}",
            data.display()
        );
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn create(binaries: &Path, account: Option<&Account>, data: &Path) -> anyhow::Result<()> {
    tracing::info!(folder = %data.display(), "making a private Postgres cluster");
    let output = command(&binaries.join("initdb"), account)
        .args([
            "--username=yardarm",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--pgdata",
        ])
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run initdb")?;
    ensure!(
        output.status.success(),
        "initdb failed in {} (every folder above must be open to the account `{}`):\n{}",
        data.display(),
        account.map_or("this one", |account| account.name.as_str()),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn settings(socket: &Path, durability: Durability) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", socket.display()),
        "unix_socket_permissions=0700".to_owned(),
    ];
    if durability == Durability::None {
        for setting in [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
        ] {
            settings.push(setting.to_owned());
        }
    }
    settings
}

fn spawn(
    binaries: &Path,
    account: Option<&Account>,
    data: &Path,
    settings: &[String],
) -> anyhow::Result<Child> {
    let log = data.with_file_name("postgres.log");
    let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut keeper = command(Path::new("/bin/sh"), account);
    keeper
        .args(["-c", KEEPER, "keeper"])
        .arg(binaries.join("postgres"))
        .arg("-D")
        .arg(data);
    for setting in settings {
        keeper.arg("-c").arg(setting);
    }
    keeper
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for us: we stop Postgres after the last request.
        .process_group(0)
        .spawn()
        .context("cannot start Postgres")
}

/// A folder that exists while this value does.
#[derive(Debug)]
struct Elsewhere(PathBuf);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // Postgres may still be removing its socket; what is left behind is an empty folder.
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

/// Where the socket goes: beside the data, or in the temporary directory where that path would be
/// longer than a socket's may be (107 bytes).
fn socket_folder(folder: &Path) -> anyhow::Result<(PathBuf, Option<Elsewhere>)> {
    let beside = folder.join("run");
    let (socket, elsewhere) = if beside.as_os_str().len() <= 80 {
        (beside, None)
    } else {
        let path = std::env::temp_dir().join(format!("yardarm-{}", std::process::id()));
        (path.clone(), Some(Elsewhere(path)))
    };
    fs::create_dir_all(&socket)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o700))?;
    Ok((socket, elsewhere))
}
