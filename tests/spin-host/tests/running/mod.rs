//! The real component in the test host, as the tests of this folder start, ask and kill it.

#![expect(dead_code, reason = "not every test needs everything")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::Value;
use yardarm_conformance::Target;

/// What the component takes publications with, and signs deliveries and questions.
pub(crate) const SECRET: &str = "spin-host-test";

/// The host with the component, and where it keeps its state.
pub(crate) struct Running {
    process: Child,
    pub(crate) target: Target,
}

impl Running {
    pub(crate) fn start(component: &Path, state: &Path) -> Self {
        let host = Command::new(env!("CARGO_BIN_EXE_yardarm-spin-host"));
        Self::spawn(host, component, state)
    }

    /// That sends what it has to tell to a control plane, every second.
    pub(crate) fn start_with_home(component: &Path, state: &Path, home: &str) -> Self {
        let mut host = with_home(home, home);
        host.args(["--variable", "delivery_seconds=1"]);
        Self::spawn(host, component, state)
    }

    /// That asks a control plane for what it does not hold, where calls may only go to `allowed`.
    pub(crate) fn start_asking(
        component: &Path,
        state: &Path,
        control_plane: &str,
        allowed: &str,
    ) -> Self {
        Self::spawn(with_home(control_plane, allowed), component, state)
    }

    /// Where no file may grow past so many blocks of 512 bytes: as on a full disk.
    pub(crate) fn start_limited(component: &Path, state: &Path, blocks: u64) -> Self {
        let mut shell = Command::new("/bin/sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_yardarm-spin-host")]);
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

    pub(crate) async fn get(&self, path: &str, key: &str) -> (StatusCode, Bytes) {
        let request = Request::get(path).header("x-environment-key", key);
        let reply = self
            .target
            .send(request.body(Bytes::new()).unwrap())
            .await
            .unwrap();
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

fn with_home(home: &str, allowed: &str) -> Command {
    let mut host = Command::new(env!("CARGO_BIN_EXE_yardarm-spin-host"));
    host.args(["--allow", allowed]);
    host.args(["--variable", &format!("control_plane_url={home}")]);
    host
}

/// The component, or a word that there is none.
pub(crate) fn component() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let component = root.join("build/spin/yardarm.wasm");
    if component.exists() {
        return Some(component);
    }
    eprintln!(
        "skipped: no {} (scripts/build-spin makes it)",
        component.display()
    );
    None
}
