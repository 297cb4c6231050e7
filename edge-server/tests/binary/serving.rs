//! The program, running within a test.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use yardarm_conformance::Target;
use yardarm_conformance::environment::Environment;

const SECRET: &str = "secret of the tests";
/// How long a line of the log may keep a test waiting.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program on a free port, with nothing of this process's environment.
pub(crate) fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yardarm-edge"));
    command.arg("--data-dir").arg(data_dir);
    configured(command)
}

/// The same below a limit: no file may grow past so many blocks of 512 bytes. It is told so by an error, as on
/// a full disk, and not killed.
pub(crate) fn limited(data_dir: &Path, blocks: u32) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --data-dir \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_yardarm-edge")]);
    command.arg(data_dir);
    configured(command)
}

fn configured(mut command: Command) -> Command {
    command.env_clear();
    command.env("YARDARM_EDGE_LISTEN", "127.0.0.1:0");
    command.env("YARDARM_PUBLISHING_SECRET", SECRET);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// One that serves; killed where a test fails before it has ended.
pub(crate) struct Serving {
    child: Child,
    log: Receiver<String>,
    said: String,
    pub(crate) address: String,
    pub(crate) target: Target,
}

impl Serving {
    /// Starts it and waits for the line that says where it serves.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::spawn(command(data_dir))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = lines(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let line = log.recv_timeout(PATIENCE).expect("it serves");
            said.push_str(&line);
            let entry: Value = serde_json::from_str(&line).unwrap();
            if entry["message"] == "serving" {
                break entry["listen"].as_str().unwrap().to_owned();
            }
        };
        let target = Target::new(&format!("http://{address}"), SECRET).unwrap();
        Self {
            child,
            log,
            said,
            address,
            target,
        }
    }

    /// What it logged until it served.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is flushed or tidied.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as a supervisor does; tells how it ended and what it said.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status, self.log.iter().collect())
    }

    /// Waits for a line of the log with some text.
    pub(crate) fn says(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it says nothing of {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.target.send(request).await.unwrap()
    }

    /// Publishes a version of an environment; tells the status.
    pub(crate) async fn publish(&self, environment: &Environment, version: u64) -> StatusCode {
        let package = environment.package(version);
        self.target.publish(&package).await.unwrap().status()
    }

    /// The first flag's value, or the status that was answered instead.
    pub(crate) async fn value(&self, environment: &Environment) -> Result<String, StatusCode> {
        let answer = self.send(flags(&environment.key)).await;
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        let flags: Value = serde_json::from_slice(answer.body()).unwrap();
        Ok(flags[0]["feature_state_value"].as_str().unwrap().to_owned())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log as it comes: a full pipe would stop the program.
fn lines(log: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines() {
            let Ok(line) = line else { return };
            // Who has stopped listening has seen enough.
            let _ = sender.send(line + "\n");
        }
    });
    receiver
}

/// `GET /flags/` with a key.
pub(crate) fn flags(environment_key: &str) -> Request<Bytes> {
    let request = Request::get("/api/v1/flags/").header("x-environment-key", environment_key);
    request.body(Bytes::new()).unwrap()
}

/// `POST /identities/` with a body.
pub(crate) fn identify(environment_key: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post("/api/v1/identities/")
        .header("x-environment-key", environment_key)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}
