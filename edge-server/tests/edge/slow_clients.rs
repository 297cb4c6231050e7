//! Clients that dawdle: with their first bytes, with the head of a request, with reading the answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use yardarm_edge::{Patience, serve_patiently};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);
/// More than the buffers of two sockets take.
const LARGE: usize = 64 << 20;

/// Serves a large answer to everybody.
async fn start(patience: Patience) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = Bytes::from(vec![b'x'; LARGE]);
    let answer = move |_, _| {
        let body = body.clone();
        async move { Response::new(Full::new(body)) }
    };
    let serving = serve_patiently(listener, None, patience, answer, std::future::pending());
    (address, tokio::spawn(serving))
}

fn impatient() -> Patience {
    Patience {
        head: SHORT,
        write: SHORT,
        ..Patience::default()
    }
}

/// Whether the server hangs up in time, having answered nothing.
async fn is_hung_up(mut client: TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = timeout(LONG, client.read_to_end(&mut rest)).await;
    read.is_ok() && !rest.starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn who_says_nothing_or_only_the_beginning_is_hung_up_on() {
    let (address, serving) = start(impatient()).await;
    for beginning in [
        "",
        // It could become HTTP/2's preface or POST.
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "GET /flags/ HTTP/1.1\r\nHost: edge\r\nX-Slow: ",
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(beginning.as_bytes()).await.unwrap();
        assert!(is_hung_up(client).await, "{beginning:?}");
    }
    // One byte after the other is no progress either.
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = b"GET /flags/ HTTP/1.1\r\nHost: edge\r\nX-Slow: yes, very slow indeed\r\n";
    let drip = async {
        for byte in head {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    drip.await;
    assert!(is_hung_up(client).await);
    serving.abort();
}

#[tokio::test]
async fn who_does_not_read_is_hung_up_on() {
    let (address, serving) = start(impatient()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    let request = b"GET /flags/ HTTP/1.1\r\nHost: edge\r\n\r\n";
    client.write_all(request).await.unwrap();
    tokio::time::sleep(SHORT * 10).await;
    let mut answer = Vec::new();
    let _ = timeout(LONG, client.read_to_end(&mut answer))
        .await
        .expect("an end");
    assert!(answer.len() < LARGE, "all of it came");
    serving.abort();
}

#[tokio::test]
async fn who_reads_slowly_but_reads_gets_it_all() {
    let patience = Patience {
        write: SHORT * 10,
        ..Patience::default()
    };
    let (address, serving) = start(patience).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"GET /flags/ HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut read = 0;
    let mut piece = vec![0; 8 << 20];
    loop {
        let count = client.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        read += count;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(read > LARGE);
    serving.abort();
}
