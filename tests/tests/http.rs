//! HTTP/1.1 and HTTP/2 by hyper, over streams, against a server in another process.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use smstream::tokio::connect;
use smstream_tests::flow::Flow;
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const ASYNC_PARTY: &str = env!("CARGO_BIN_EXE_async_party");
/// The bytes of a lane: bodies go round it hundreds of times.
const CAPACITY: usize = 16 * 1024;
const LARGE: usize = 8 << 20;

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;
type Content = BoxBody<Bytes, hyper::Error>;

fn full(bytes: Vec<u8>) -> Content {
    Full::from(bytes).map_err(|never| match never {}).boxed()
}

fn empty() -> Content {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A client of either version.
enum Client {
    One(hyper::client::conn::http1::SendRequest<Content>),
    Two(hyper::client::conn::http2::SendRequest<Content>),
}

impl Client {
    async fn new(addr: &str, http2: bool) -> Self {
        let io = TokioIo::new(connect(addr).await.unwrap());
        if http2 {
            let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Client::Two(client)
        } else {
            let (client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Client::One(client)
        }
    }

    /// Sends a request when there is room for one. The response is to be waited for.
    async fn ask(&mut self, method: &str, path: &str, body: Content) -> Answer {
        let uri = match self {
            Client::One(_) => path.to_owned(),
            Client::Two(_) => format!("http://server{path}"),
        };
        let request = Request::builder().method(method).uri(uri).header("host", "server").body(body).unwrap();
        match self {
            Client::One(client) => {
                client.ready().await.unwrap();
                Box::pin(client.send_request(request))
            }
            Client::Two(client) => {
                client.ready().await.unwrap();
                Box::pin(client.send_request(request))
            }
        }
    }

    async fn get(&mut self, method: &str, path: &str, body: Content) -> Bytes {
        content(self.ask(method, path, body).await).await
    }
}

async fn content(answer: Answer) -> Bytes {
    let response = answer.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap().to_bytes()
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Flow::new(seed, CAPACITY).fill(&mut bytes);
    bytes
}

/// What a client and a server do with each other.
async fn exchange(addr: &str, http2: bool) {
    let mut client = Client::new(addr, http2).await;
    // Small ones, one after the other.
    for n in 0..100 {
        let body = pattern(n, 100);
        assert_eq!(client.get("POST", "/echo", full(body.clone())).await, body);
    }
    // One body that goes round the lane hundreds of times, in both directions at once.
    let body = pattern(1, LARGE);
    let back = client.get("POST", "/echo", full(body.clone())).await;
    assert!(back == body, "{} bytes came back, and not what was sent", back.len());
    let got = client.get("GET", &format!("/bytes/{LARGE}"), empty()).await;
    assert!(got == pattern(LARGE as u64, LARGE), "{} bytes came, and not what was asked for", got.len());
    let response = client.ask("GET", "/nothing", empty()).await.await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    drop(response);
    if http2 {
        // Several at once over one connection.
        let mut many = Vec::new();
        for n in 0..16 {
            many.push(client.ask("POST", "/echo", full(pattern(n, 300_000))).await);
        }
        for (n, answer) in many.into_iter().enumerate() {
            let back = content(answer).await;
            assert!(back == pattern(n as u64, 300_000), "the answer to request {n} is another");
        }
    }
}

fn with_servers(http2: bool) {
    let _watchdog = Watchdog::after(3 * PATIENCE);
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let mut server = Party::start(ASYNC_PARTY);
    server.does(format!("{} {addr} {CAPACITY}", if http2 { "http2" } else { "http1" }));
    let one = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    one.block_on(exchange(&addr, http2));
    let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    two.block_on(exchange(&addr, http2));
}

#[test]
fn http_1_goes_over_a_stream() {
    with_servers(false);
}

#[test]
fn http_2_goes_over_a_stream() {
    with_servers(true);
}
