//! The real component in the test host, as the tests of this folder start, ask and kill it.

#![expect(dead_code, reason = "not every test needs everything")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde_json::Value;
use yardarm_conformance::Target;

/// What the component takes publications with, and signs deliveries and questions.
pub(crate) const SECRET: &str = "spin-host-test";

/// One test at a time where a request waits 1.5 s at most, also while another host compiles the component.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The test host.
const HOST: &str = env!("CARGO_BIN_EXE_yardarm-spin-host");

/// The host with the component, and where it keeps its state.
pub(crate) struct Running {
    process: Child,
    pub(crate) target: Target,
}

impl Running {
    pub(crate) fn start(component: &Path, state: &Path) -> Self {
        Self::spawn(Command::new(HOST), component, state)
    }

    /// With more variables than the secret, where calls may only go to `allowed`.
    pub(crate) fn start_calling(
        component: &Path,
        state: &Path,
        allowed: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut host = Command::new(HOST);
        host.args(["--allow", allowed]);
        for (name, value) in variables {
            host.args(["--variable", &format!("{name}={value}")]);
        }
        Self::spawn(host, component, state)
    }

    /// That sends what it has to tell to a control plane, every second.
    pub(crate) fn start_with_home(component: &Path, state: &Path, home: &str) -> Self {
        let variables = [("control_plane_url", home), ("delivery_seconds", "1")];
        Self::start_calling(component, state, home, &variables)
    }

    /// Where no file may grow past so many blocks of 512 bytes: as on a full disk.
    pub(crate) fn start_limited(component: &Path, state: &Path, blocks: u64) -> Self {
        let mut shell = Command::new("/bin/sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, HOST]);
        Self::spawn(shell, component, state)
    }

    fn spawn(mut host: Command, component: &Path, state: &Path) -> Self {
        let mut process = host
            .args(["--listen", "127.0.0.1:0", "--component"])
            .arg(component)
            .arg("--state")
            .arg(state)
            .args(["--variable", &format!("publishing_secret={SECRET}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().rsplit(' ').next().unwrap();
        let target = Target::new(url, SECRET).unwrap();
        Self { process, target }
    }

    /// SIGKILL: nothing is flushed or tidied.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) async fn reply(&self, path: &str, key: &str) -> Response<Bytes> {
        let request = Request::get(path).header("x-environment-key", key);
        let request = request.body(Bytes::new()).unwrap();
        self.target.send(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> (StatusCode, Bytes) {
        let reply = self.reply(path, key).await;
        (reply.status(), reply.into_body())
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        let request = Request::post(path)
            .header("x-environment-key", key)
            .header(header::CONTENT_TYPE, "application/json");
        let request = request.body(body.to_string().into()).unwrap();
        let reply = self.target.send(request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{reply:?}");
        serde_json::from_slice(reply.body()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The component, or a word that there is none.
pub(crate) fn component() -> Option<PathBuf> {
    built("spin")
}

/// The component that can serve an existing Flagsmith, or a word that there is none.
pub(crate) fn component_with_upstream() -> Option<PathBuf> {
    built("spin-upstream")
}

fn built(folder: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let component = root.join("build").join(folder).join("yardarm.wasm");
    if component.exists() {
        return Some(component);
    }
    eprintln!(
        "skipped: no {} (scripts/build-spin makes it)",
        component.display()
    );
    None
}
