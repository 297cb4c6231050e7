//! TLS to Postgres, with a real one that takes nothing else.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use yardarm::app::Clock;
use yardarm::jobs::{Heard, Listener};
use yardarm::store::private::{Durability, Private};
use yardarm::store::{Address, Pool};

/// Who may come in how; a client's certificate has to name the user.
const RULES: &str = "\
local     all all                 trust
hostssl   all careful 127.0.0.1/32 scram-sha-256
hostssl   all shown   127.0.0.1/32 cert
hostssl   all all     127.0.0.1/32 trust
hostnossl all plain   127.0.0.1/32 trust
";

/// A cluster on a TCP port with a certificate for `localhost`, which an authority of its own signed.
struct Cluster {
    folder: TempDir,
    port: u16,
    private: Private,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let named = |name: &str, names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let authority = |name| {
            let mut params = named(name, &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (ours, other) = (authority("ours"), authority("other"));
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("ours.pem"), ours.pem()).unwrap();
        std::fs::write(at("other.pem"), other.pem()).unwrap();
        for (name, names) in [("server", &["localhost"][..]), ("shown", &[])] {
            let key = KeyPair::generate().unwrap();
            let certificate = named(name, names).signed_by(&key, &ours).unwrap();
            std::fs::write(at(&format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(at(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        std::fs::write(at("rules"), RULES).unwrap();

        // Whoever runs Postgres here owns the cluster and has to own its key.
        let cluster = at("p");
        let first = Private::start(&cluster, Durability::None).await.unwrap();
        first.stop().await;
        let owner = std::fs::metadata(cluster.join("data")).unwrap();
        chown(at("server.key"), Some(owner.uid()), Some(owner.gid())).unwrap();
        let secret = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(at("server.key"), secret).unwrap();

        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let path = |name: &str| at(name).display().to_string();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", path("server.pem")),
            format!("ssl_key_file={}", path("server.key")),
            format!("ssl_ca_file={}", path("ours.pem")),
            format!("hba_file={}", path("rules")),
        ];
        let private = Private::start_with(&cluster, Durability::None, port, &settings)
            .await
            .unwrap();
        Self {
            folder,
            port,
            private,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, host: &str, user: &str, more: &str) -> String {
        format!("postgres://{user}@{host}:{}/yardarm?{more}", self.port)
    }

    /// Whether a connection speaks TLS, or why there is none.
    async fn ask(&self, host: &str, user: &str, more: &str) -> Result<bool, String> {
        speaks_tls(&self.url(host, user, more)).await
    }
}

async fn speaks_tls(url: &str) -> Result<bool, String> {
    let told = |error: anyhow::Error| format!("{error:#}");
    let pool = Pool::new(url, 1, Clock::system()).map_err(told)?;
    let db = pool.first().await.map_err(told)?;
    let asked = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let row = db.query_one(asked, &[]).await.unwrap();
    Ok(row.get(0))
}

fn root(path: &Path) -> String {
    format!("sslrootcert={}", path.display())
}

#[tokio::test]
async fn as_secure_as_the_address_says() {
    let cluster = Cluster::start().await;
    let (ours, other) = (
        root(&cluster.file("ours.pem")),
        root(&cluster.file("other.pem")),
    );
    let itself = root(&cluster.file("server.pem"));
    for (host, user, words, outcome) in [
        // Encrypted wherever the server can, as with libpq.
        ("127.0.0.1", "yardarm", String::new(), Ok(true)),
        (
            "127.0.0.1",
            "yardarm",
            "sslmode=prefer".to_owned(),
            Ok(true),
        ),
        (
            "127.0.0.1",
            "yardarm",
            "sslmode=require".to_owned(),
            Ok(true),
        ),
        (
            "127.0.0.1",
            "yardarm",
            "sslmode=disable".to_owned(),
            Err("no encryption"),
        ),
        (
            "127.0.0.1",
            "plain",
            "sslmode=disable".to_owned(),
            Err("role \"plain\" does not exist"),
        ),
        // Authorities that are named are asked.
        (
            "127.0.0.1",
            "yardarm",
            format!("sslmode=require&{ours}"),
            Ok(true),
        ),
        (
            "127.0.0.1",
            "yardarm",
            format!("sslmode=require&{other}"),
            Err("UnknownIssuer"),
        ),
        (
            "127.0.0.1",
            "yardarm",
            format!("sslmode=verify-ca&{ours}"),
            Ok(true),
        ),
        (
            "127.0.0.1",
            "yardarm",
            format!("sslmode=verify-ca&{other}"),
            Err("UnknownIssuer"),
        ),
        // And so is the name.
        (
            "localhost",
            "yardarm",
            format!("sslmode=verify-full&{ours}"),
            Ok(true),
        ),
        (
            "127.0.0.1",
            "yardarm",
            format!("sslmode=verify-full&{ours}"),
            Err("not valid for name"),
        ),
        (
            "localhost",
            "yardarm",
            format!("sslmode=verify-full&{other}"),
            Err("UnknownIssuer"),
        ),
        (
            "localhost",
            "yardarm",
            "sslmode=verify-full".to_owned(),
            Err("UnknownIssuer"),
        ),
        // The server's own certificate in place of an authority's.
        (
            "localhost",
            "yardarm",
            format!("sslmode=verify-full&{itself}"),
            Ok(true),
        ),
    ] {
        let found = cluster.ask(host, user, &words).await;
        match (&found, outcome) {
            (Ok(found), Ok(wanted)) => assert_eq!(*found, wanted, "{host} {words}"),
            (Err(found), Err(wanted)) => assert!(found.contains(wanted), "{host} {words}: {found}"),
            _ => panic!("{host} {words}: {found:?}"),
        }
    }
    let refused = cluster.ask("127.0.0.1", "yardarm", "sslmode=disable").await;
    let address = format!("cannot connect to Postgres at 127.0.0.1:{}: ", cluster.port);
    assert!(refused.unwrap_err().starts_with(&address));
    // Postgres speaks no TLS on its socket, whatever is asked for.
    let socket = format!("{} sslmode=require", cluster.private.url("yardarm"));
    assert_eq!(speaks_tls(&socket).await, Ok(false));
    cluster.private.stop().await;
}

#[tokio::test]
async fn passwords_are_bound_to_the_connection_certificates_are_shown_and_listeners_hear() {
    let cluster = Cluster::start().await;
    let socket = Pool::new(&cluster.private.url("yardarm"), 1, Clock::system()).unwrap();
    let db = socket.get().await.unwrap();
    db.batch_execute("create role careful login password 'pass'; create role shown login")
        .await
        .unwrap();

    let bound = "sslmode=require&channel_binding=require";
    let asked = cluster.ask("127.0.0.1", "careful:pass", bound).await;
    assert_eq!(asked, Ok(true));
    let wrong = cluster.ask("127.0.0.1", "careful:word", bound).await;
    assert!(wrong.unwrap_err().contains("authentication failed"));

    let without = cluster.ask("127.0.0.1", "shown", "sslmode=require").await;
    assert!(without.unwrap_err().contains("certificate"));
    let (certificate, key) = (cluster.file("shown.pem"), cluster.file("shown.key"));
    let with = format!(
        "sslmode=require&sslcert={}&sslkey={}",
        certificate.display(),
        key.display()
    );
    assert_eq!(cluster.ask("127.0.0.1", "shown", &with).await, Ok(true));

    let words = format!("sslmode=verify-full&{}", root(&cluster.file("ours.pem")));
    let address = Address::read(&cluster.url("localhost", "yardarm", &words)).unwrap();
    let listener = Listener::new(address);
    let (mut heard, stop) = (listener.subscribe(), CancellationToken::new());
    let listening = tokio::spawn(listener.run(stop.clone()));
    let mut next = async || timeout(Duration::from_secs(10), heard.recv()).await;
    assert_eq!(next().await.unwrap().unwrap(), Heard::Connected);
    db.batch_execute("notify yardarm_jobs, 'publish'")
        .await
        .unwrap();
    let notification = Heard::Notification {
        channel: "yardarm_jobs".to_owned(),
        payload: "publish".to_owned(),
    };
    assert_eq!(next().await.unwrap().unwrap(), notification);
    stop.cancel();
    listening.await.unwrap();
    drop((db, socket));
    cluster.private.stop().await;
}
