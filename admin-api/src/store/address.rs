//! Where a database is, as `DATABASE_URL` says it, and how its connections are secured. `tokio_postgres` reads most of it;
//! what it does not know, which are the words about certificates, is taken out and read here.

use std::fmt;
use std::str::FromStr as _;

use anyhow::Context as _;
use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::Tls;

/// What libpq calls them, and the variables that speak where the URL does not.
const WORDS: [(&str, &str); 4] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
];
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// How to reach a database.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: MakeRustlsConnect,
    /// `None` where no connection can be one with TLS.
    told: Option<String>,
}

/// A connection's two halves: the second has to be polled for the first to work.
type Halves = (
    Client,
    Connection<Socket, <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream>,
);

impl Address {
    /// Reads a `postgres://` URL or libpq's `key=value` form, and whatever certificates it names. `PGSSLMODE`,
    /// `PGSSLROOTCERT`, `PGSSLCERT` and `PGSSLKEY` stand in for what it does not say. Nothing is connected.
    ///
    /// # Errors
    /// When it cannot be read, a file it names neither, or its words contradict each other.
    pub fn read(url: &str) -> anyhow::Result<Self> {
        Self::read_with(url, |variable| std::env::var(variable).ok())
    }

    fn read_with(url: &str, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let (rest, mut said) = take_words(url);
        for (word, (_, name)) in said.iter_mut().zip(WORDS) {
            if word.is_none() {
                *word = variable(name);
            }
            // As libpq has it.
            *word = word.take().filter(|word| !word.is_empty());
        }
        let mut config =
            Config::from_str(&rest).context("the database's address cannot be read")?;
        if config.get_application_name().is_none() {
            config.application_name("yardarm");
        }
        name_by_address(&mut config);
        let tls = Tls::new(said)?;
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let sockets = hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        // Postgres speaks no TLS on sockets, and libpq asks for none.
        let plain = (sockets && addresses.is_empty()) || tls.mode() == SslMode::Disable;
        config.ssl_mode(if plain { SslMode::Disable } else { tls.mode() });
        Ok(Self {
            config,
            tls: tls.connector()?,
            told: (!plain).then(|| tls.to_string()),
        })
    }

    /// Connects, once.
    ///
    /// # Errors
    /// As `tokio_postgres` says.
    pub async fn connect(&self) -> Result<Halves, tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// What a connection needs besides TLS.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The same place, reached with other patience.
    pub(crate) fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config;
        change(&mut config);
        Self { config, ..self }
    }

    /// What makes the connections' TLS.
    pub(crate) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }
}

/// What an operator would look at when it cannot be reached: hosts and how TLS is spoken; no secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate();
        let hosts = hosts.map(|(number, host)| match host {
            Host::Tcp(name) => {
                // One port is that of all hosts.
                let port = ports.get(number).or(ports.first()).unwrap_or(&5432);
                format!("{name}:{port}")
            }
            Host::Unix(path) => path.display().to_string(),
        });
        f.write_str(&hosts.collect::<Vec<_>>().join(", "))?;
        match &self.told {
            Some(told) => write!(f, " ({told})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// TLS needs a name to ask for; where only addresses are given, they are the names.
fn name_by_address(config: &mut Config) {
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
}

/// Takes the words that are ours out, in the order of [`WORDS`].
fn take_words(url: &str) -> (String, [Option<String>; 4]) {
    let mut said = [const { None }; 4];
    let mut take = |key: &str, value: &str| {
        let ours = WORDS.iter().position(|(word, _)| *word == key);
        ours.map(|word| said[word] = Some(value.to_owned()))
            .is_some()
    };
    let rest = if SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        without_parameters(url, &mut take)
    } else {
        without_pairs(url, &mut take)
    };
    (rest, said)
}

/// The URL without those parameters of its query that `take` takes.
fn without_parameters(url: &str, mut take: impl FnMut(&str, &str) -> bool) -> String {
    // A password may have question marks.
    let credentials = url.find('@').unwrap_or(0);
    let Some(mark) = url[credentials..].find('?') else {
        return url.to_owned();
    };
    let (place, query) = url.split_at(credentials + mark);
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let kept = query[1..].split('&').filter(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !take(&decoded(key), &decoded(value))
    });
    let kept = kept.collect::<Vec<_>>().join("&");
    if kept.is_empty() {
        place.to_owned()
    } else {
        format!("{place}?{kept}")
    }
}

/// The `key=value` form without those pairs that `take` takes.
fn without_pairs(text: &str, mut take: impl FnMut(&str, &str) -> bool) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(pair) = next_pair(rest) {
        if !take(pair.key, &pair.value) {
            kept.push_str(pair.written);
            kept.push(' ');
        }
        rest = pair.rest;
    }
    // Whatever is wrong with it, `tokio_postgres` says.
    kept + rest
}

struct Pair<'a> {
    key: &'a str,
    value: String,
    written: &'a str,
    rest: &'a str,
}

/// The pair that `text` begins with. A value is quoted or ends with a space, and a backslash takes the next character
/// as it is (libpq's "connection strings").
fn next_pair(text: &str) -> Option<Pair<'_>> {
    let (key, after) = text.split_once('=')?;
    let said = after.trim_start();
    let quoted = said.starts_with('\'');
    let mut letters = said.char_indices().skip(usize::from(quoted));
    let mut value = String::new();
    let mut end = said.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            '\'' if quoted => {
                end = at + 1;
                break;
            }
            space if !quoted && space.is_whitespace() => {
                end = at;
                break;
            }
            letter => value.push(letter),
        }
    }
    let rest = &said[end..];
    Some(Pair {
        key: key.trim(),
        value,
        written: text[..text.len() - rest.len()].trim(),
        rest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(url: &str) -> (String, Vec<String>) {
        let (rest, said) = take_words(url);
        (rest, said.into_iter().flatten().collect())
    }

    fn read(url: &str) -> anyhow::Result<Address> {
        Address::read_with(url, |_| None)
    }

    #[test]
    fn words_about_certificates_are_taken_out_of_urls() {
        for (url, rest, said) in [
            ("postgres://h/d", "postgres://h/d", &[][..]),
            (
                "postgres://h/d?sslmode=require",
                "postgres://h/d",
                &["require"],
            ),
            (
                "postgresql://u:p%40?@h:1/d?sslrootcert=%2Fa%20b.pem&connect_timeout=3&sslmode=verify-full&options=-c%20x",
                "postgresql://u:p%40?@h:1/d?connect_timeout=3&options=-c%20x",
                &["verify-full", "/a b.pem"],
            ),
            ("postgres://h/d?odd", "postgres://h/d?odd", &[]),
        ] {
            assert_eq!(
                taken(url),
                (
                    rest.to_owned(),
                    said.iter().map(ToString::to_string).collect()
                )
            );
        }
    }

    #[test]
    fn and_out_of_pairs() {
        for (url, rest, said) in [
            ("host=h user=u", "host=h user=u ", &[][..]),
            (
                "host=h sslmode = require user=u",
                "host=h user=u ",
                &["require"],
            ),
            (
                r"sslrootcert='/a b\'s.pem' password='p sslmode=x \' y' sslmode=verify-ca",
                r"password='p sslmode=x \' y' ",
                &["verify-ca", "/a b's.pem"],
            ),
            (r"sslkey=a\ b host=h", "host=h ", &["a b"]),
            ("host=h nonsense", "host=h  nonsense", &[]),
            ("host=h user='open", "host=h user='open ", &[]),
            ("", "", &[]),
        ] {
            assert_eq!(
                taken(url),
                (
                    rest.to_owned(),
                    said.iter().map(ToString::to_string).collect()
                ),
                "{url}"
            );
        }
    }

    #[test]
    fn tls_is_spoken_where_it_can_be() {
        let mode = |url| read(url).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://h/d"), SslMode::Prefer);
        assert_eq!(mode("host=h sslmode=allow"), SslMode::Prefer);
        assert_eq!(mode("host=h sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("host=h sslmode=require"), SslMode::Require);
        assert_eq!(
            mode("host=/run/postgresql sslmode=require"),
            SslMode::Disable
        );
        assert_eq!(
            mode("host=/run/postgresql,h sslmode=require"),
            SslMode::Require
        );
    }

    #[test]
    fn an_address_is_a_name_to_ask_for() {
        let address = read("hostaddr=127.0.0.1 sslmode=require").unwrap();
        assert_eq!(
            address.config.get_hosts(),
            [Host::Tcp("127.0.0.1".to_owned())]
        );
        assert_eq!(address.to_string(), "127.0.0.1:5432 (sslmode=require)");
    }

    #[test]
    fn variables_speak_where_the_url_does_not() {
        let variable = |name: &str| (name == "PGSSLMODE").then(|| "require".to_owned());
        let mode = |url| {
            Address::read_with(url, variable)
                .unwrap()
                .config
                .get_ssl_mode()
        };
        assert_eq!(mode("host=h"), SslMode::Require);
        assert_eq!(mode("host=h sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("host=/run"), SslMode::Disable);
    }

    #[test]
    fn contradictions_and_what_is_not_there_are_told() {
        for (url, told) in [
            ("host=h sslmode=sure", "sslmode=sure is none of"),
            ("host=h sslmode=verify-ca", "needs sslrootcert"),
            (
                "host=h sslmode=require sslrootcert=system",
                "needs sslmode=verify-full",
            ),
            ("host=h sslrootcert=/nowhere.pem", "/nowhere.pem"),
            ("host=h sslcert=/nowhere.pem", "belong together"),
            ("host=h sslcrl=x", "sslcrl"),
        ] {
            let error = format!("{:#}", read(url).unwrap_err());
            assert!(error.contains(told), "{url}: {error}");
        }
    }

    #[test]
    fn an_operator_sees_where_it_leads() {
        for (url, told) in [
            ("postgres://h:6432/d", "h:6432 (sslmode=prefer)"),
            ("postgres://h,i:1/d?sslmode=disable", "h:5432, i:1"),
            ("host=h,i port=7 sslmode=disable", "h:7, i:7"),
            ("host=/run/postgresql", "/run/postgresql"),
        ] {
            assert_eq!(read(url).unwrap().to_string(), told);
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let address = read("postgres://u:hidden@h/d").unwrap();
        assert!(!format!("{address} {address:?}").contains("hidden"));
    }
}
