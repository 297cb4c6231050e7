//! `yardarm serve`, the real program, as its clients and its supervisor meet it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::app::database;

/// The program, and where it listens.
async fn start(folder: &tempfile::TempDir) -> (Child, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_yardarm"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("DATABASE_URL", database().await)
        .env("YARDARM_LOG_FORMAT", "json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(program.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("it listens");
        if let Some((_, rest)) = line.split_once("127.0.0.1:") {
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            break format!("127.0.0.1:{port}");
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (program, address)
}

const BODY_TO_COME: &str = "POST /api/v1/auth/login/ HTTP/1.1\r\nHost: admin\r\nContent-Type: application/json\r\n\
                            Content-Length: 100\r\n\r\n{";

/// What a client that says no more than this is answered until the connection ends.
async fn rest_of(address: &str, beginning: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(beginning.as_bytes()).await.unwrap();
    read_to_end(&mut client).await
}

async fn read_to_end(client: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let read = timeout(Duration::from_mins(2), client.read_to_end(&mut rest));
    let _ended = read.await.expect("an end");
    String::from_utf8(rest).unwrap()
}

/// The real program's own patience: half a minute for bodies, 75 seconds for heads. How the loop
/// hangs up is tested with less patience at the native edge (`edge-server/tests/edge/slow_clients.rs`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for more than a minute: cargo test -p yardarm --test it -- --ignored slow"]
async fn slow_clients_are_hung_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_program, address) = start(&folder).await;
    let (nothing, head, body) = tokio::join!(
        rest_of(&address, ""),
        rest_of(&address, "GET /api/v1/ HTTP/1.1\r\nHost: "),
        rest_of(&address, BODY_TO_COME),
    );
    assert_eq!(nothing, "");
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_program_answers_what_it_has_begun_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let (mut program, address) = start(&folder).await;
    let mut client = TcpStream::connect(&address).await.unwrap();
    client.write_all(BODY_TO_COME.as_bytes()).await.unwrap();
    // Whatever it answers says that the loop has taken the connection before, too.
    let health = "GET /health/liveness/ HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n";
    let alive = rest_of(&address, health).await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");

    let pid = program.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(told.unwrap().success());
    // Nobody new is served while the one that was there is waited for.
    timeout(Duration::from_secs(5), async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it listens no more");
    assert_eq!(program.try_wait().unwrap(), None);
    client.write_all(" ".repeat(98).as_bytes()).await.unwrap();
    client.write_all(b"}").await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let ended = timeout(Duration::from_secs(10), program.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(0));
}
