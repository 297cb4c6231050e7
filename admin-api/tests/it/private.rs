//! The zero-setup Postgres.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use yardarm::app::{App, Clock, Random};
use yardarm::command::CreateAdmin;
use yardarm::store::Pool;
use yardarm::store::private::{Durability, Private};

use crate::app::{TestApp, connect};

#[tokio::test]
async fn it_is_shared_while_it_runs_and_starts_again_after_its_owner_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().join("postgres");
    let owner = Private::start(&path, Durability::None).await.unwrap();
    connect(&owner.url("yardarm"))
        .await
        .batch_execute("create table kept ()")
        .await
        .unwrap();

    let guest = Private::start(&path, Durability::None).await.unwrap();
    connect(&guest.url("yardarm"))
        .await
        .batch_execute("select from kept")
        .await
        .unwrap();
    guest.stop().await;
    connect(&owner.url("yardarm"))
        .await
        .batch_execute("select from kept")
        .await
        .unwrap();

    // As when the owner is killed: the pipe closes, nobody waits.
    drop(owner);
    let heir = Private::start(&path, Durability::None).await.unwrap();
    connect(&heir.url("yardarm"))
        .await
        .batch_execute("select from kept")
        .await
        .unwrap();
    heir.stop().await;

    // A process id that is somebody else's by now.
    let stale = path.join("data/postmaster.pid");
    std::fs::write(&stale, "1\n").unwrap();
    let again = Private::start(&path, Durability::None).await.unwrap();
    connect(&again.url("yardarm"))
        .await
        .batch_execute("select from kept")
        .await
        .unwrap();
    again.stop().await;
}

/// The real program without `DATABASE_URL`, where the places that distributions use are empty: in a mount namespace of
/// its own. `None`, with a word, where this process may make none.
fn on_a_machine_without_postgres(folder: &Path, pg_bin: Option<&str>) -> Option<Output> {
    const HIDE: &str = r#"
for root in /usr/lib/postgresql /opt/homebrew/opt /usr/local/opt; do
  [ ! -d "$root" ] || mount -t tmpfs none "$root" || exit 77
done
unset DATABASE_URL PG_BIN
[ -z "$2" ] || export PG_BIN="$2"
export PATH="$1"
exec "$0" migrate --data-dir "$1/data"
"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", HIDE])
        .arg(env!("CARGO_BIN_EXE_yardarm"))
        .arg(folder)
        .arg(pg_bin.unwrap_or_default())
        .output()
        .ok()?;
    let refused = output.status.code() == Some(77) || output.stderr.starts_with(b"unshare:");
    (!refused).then_some(output)
}

#[test]
fn who_has_no_postgres_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let Some(output) = on_a_machine_without_postgres(folder.path(), None) else {
        eprintln!("skipped: no mount namespace may be made here");
        return;
    };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for advice in [
        "no DATABASE_URL is set",
        "apt install postgresql (Debian, Ubuntu)",
        "DATABASE_URL=postgres://user:password@host/database",
        "PG_BIN=",
    ] {
        assert!(said.contains(advice), "no {advice:?} in:\n{said}");
    }
    let output = on_a_machine_without_postgres(folder.path(), Some("/nowhere")).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PG_BIN=/nowhere has no initdb and postgres"));
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn a_superuser_from_the_command_line() {
    let t = TestApp::start().await;
    let pool = Pool::new(&t.url, 2, t.clock.clone()).unwrap();
    let app = App::new(pool, Clock::system(), Random::system());
    let ask = |email: &str, password: &str| CreateAdmin {
        email: email.to_owned(),
        password: Some(password.to_owned()),
        first_name: String::new(),
        last_name: String::new(),
    };
    let weak = ask("root@example.com", "12345678")
        .run(&app)
        .await
        .unwrap_err();
    assert!(weak.to_string().contains("too common"), "{weak}");
    assert!(ask("nope", "Sup3r-s3cret-pw!").run(&app).await.is_err());
    let log_in = async |email: &str, password: &str| {
        let body = serde_json::json!({"email": email, "password": password});
        t.nobody()
            .post("/api/v1/auth/login/", body)
            .await
            .status
            .as_u16()
    };
    ask("Root@example.com", "Sup3r-s3cret-pw!")
        .run(&app)
        .await
        .unwrap();
    assert_eq!(log_in("root@example.com", "Sup3r-s3cret-pw!").await, 200);

    let ann = t.person("ann").await;
    ask(&ann.email, "An0ther-s3cret!").run(&app).await.unwrap();
    assert_eq!(log_in(&ann.email, "An0ther-s3cret!").await, 200);
    let me = ann.get("/api/v1/auth/users/me/").await.expect(200);
    assert_eq!(me["is_superuser"], true);
    assert_eq!(
        t.audit().await,
        [
            "New User created: root@example.com",
            "User made superuser: ann@example.com"
        ]
    );
}
