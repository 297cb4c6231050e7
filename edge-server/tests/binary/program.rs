//! Starting, stopping, and what it says when it cannot.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::serving::{Serving, command};

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
    let edge = Serving::start(directory.path());
    TcpStream::connect(&edge.address).unwrap();

    let second = command(directory.path()).output().unwrap();
    assert!(refused(&second).contains("in use by another process"));

    let (status, log) = edge.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("stopped"), "{log}");
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
    let edge = Serving::spawn(like_edge_proxy());
    let mut said = edge.said().to_owned();
    assert!(said.contains("novelty is not known"), "{said}");
    assert!(edge.address.starts_with("127.0.0.1:"));
    drop(edge);

    let mut command = like_edge_proxy();
    command.env("CONFIG_PATH", "elsewhere.json");
    let told = refused(&command.output().unwrap());
    assert_eq!(told, "there is no file elsewhere.json");
    command.args(["--environment", "ser.topSecret=client"]);
    command.env("LOGGING", r#"{"log_format": "json", "log_level": "DEBUG"}"#);
    command.env("SERVER", r#"{"host": "127.0.0.1", "port": 0}"#);
    command.env("UPSTREAM_URL", "http://127.0.0.1:1");
    let edge = Serving::spawn(command);
    said.push_str(edge.said());
    drop(edge);
    assert!(!said.contains("topSecret"), "{said}");
}
