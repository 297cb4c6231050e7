//! `yardarm-edge` as a person or a supervisor runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yardarm-edge"));
    command.env_clear().arg("--data-dir").arg(data_dir);
    command.env("YARDARM_EDGE_LISTEN", "127.0.0.1:0");
    command.env("YARDARM_PUBLISHING_SECRET", "secret of the tests");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// One that serves; killed where a test fails before it has ended.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Serving {
    /// Starts it and waits for the line that says where it serves.
    fn start(data_dir: &Path) -> Self {
        Self::spawn(command(data_dir)).0
    }

    /// The same with any command; also gives what it logged before that line.
    fn spawn(mut command: Command) -> (Self, String) {
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut serving = Self {
            child,
            log,
            address: String::new(),
        };
        while serving.address.is_empty() {
            let mut line = String::new();
            assert_ne!(
                serving.log.read_line(&mut line).unwrap(),
                0,
                "ended before it served"
            );
            said.push_str(&line);
            let entry: Value = serde_json::from_str(&line).unwrap();
            if entry["message"] == "serving" {
                entry["listen"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut serving.address);
            }
        }
        (serving, said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    last["message"].as_str().unwrap().to_owned()
}

#[test]
fn serves_until_it_is_told_to_stop() {
    let directory = TempDir::new().unwrap();
    let mut edge = Serving::start(directory.path());
    TcpStream::connect(&edge.address).unwrap();

    let second = command(directory.path()).output().unwrap();
    assert!(refused(&second).contains("in use by another process"));

    let pid = edge.child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(edge.child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    edge.log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopped"), "{rest}");
}

#[test]
fn tells_what_keeps_it_from_starting() {
    let directory = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();

    let output = command(directory.path())
        .args(["--listen", &address])
        .output()
        .unwrap();
    assert!(refused(&output).contains(&format!("cannot listen on {address}")));
    let output = command(&file.join("data")).output().unwrap();
    assert!(refused(&output).starts_with(&format!("data directory {}", file.display())));
    let output = command(directory.path())
        .env("YARDARM_PUBLISHING_SECRET", "")
        .output()
        .unwrap();
    assert!(refused(&output).contains("YARDARM_PUBLISHING_SECRET is empty"));
    let output = command(directory.path())
        .args(["--publishing-secret-file", "none"])
        .output();
    assert!(refused(&output.unwrap()).starts_with("publishing secret file none: "));
    let output = command(directory.path())
        .args(["--log-format", "xml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_tells_every_setting() {
    let output = Command::new(env!("CARGO_BIN_EXE_yardarm-edge"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for setting in [
        "--listen",
        "--data-dir",
        "--publishing-secret-file",
        "--identity-memory",
        "--upstream-url",
        "UPSTREAM_URL",
        "--environment",
        "ENVIRONMENT_KEY_PAIRS",
        "--edge-proxy-config",
        "CONFIG_PATH",
        "--streams",
        "--heartbeat-seconds",
        "--log-level",
        "--log-format",
        "YARDARM_PUBLISHING_SECRET",
        "YARDARM_EDGE_LISTEN",
        "YARDARM_EDGE_DATA_DIR",
    ] {
        assert!(help.contains(setting), "{setting} is missing in {help}");
    }
}

const EDGE_PROXY: &str = r#"{
    "environment_key_pairs": [{"server_side_key": "ser.topSecret", "client_side_key": "client"}],
    "api_url": "http://127.0.0.1:1/api/v1",
    "logging": {"log_format": "json"},
    "server": {"host": "127.0.0.1", "port": 0},
    "novelty": 1
}"#;

#[test]
fn reads_the_settings_of_edge_proxy_as_they_are() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("config.json"), EDGE_PROXY).unwrap();
    let like_edge_proxy = || {
        let mut command = command(&directory.path().join("data"));
        command.env_remove("YARDARM_EDGE_LISTEN");
        command.env_remove("YARDARM_PUBLISHING_SECRET");
        command.current_dir(directory.path());
        command
    };
    let (edge, mut said) = Serving::spawn(like_edge_proxy());
    assert!(said.contains("novelty is not known"), "{said}");
    assert!(edge.address.starts_with("127.0.0.1:"));
    drop(edge);

    let mut command = like_edge_proxy();
    command.env("CONFIG_PATH", "elsewhere.json");
    assert!(refused(&command.output().unwrap()).contains("no environment"));
    command.args(["--environment", "ser.topSecret=client"]);
    command.env("LOGGING", r#"{"log_format": "json", "log_level": "DEBUG"}"#);
    command.env("SERVER", r#"{"host": "127.0.0.1", "port": 0}"#);
    command.env("UPSTREAM_URL", "http://127.0.0.1:1");
    let (edge, more) = Serving::spawn(command);
    drop(edge);
    said.push_str(&more);
    assert!(!said.contains("topSecret"), "{said}");
}
