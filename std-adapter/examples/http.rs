//! HTTP over shared memory, by hyper: to copy from.
//!
//! ```sh
//! cargo run --example http --features tokio -- serve unix:/tmp/web &
//! cargo run --example http --features tokio -- get unix:/tmp/web /hello
//! ```
//!
//! All that is special about it is where the connection comes from: a `Stream` is `AsyncRead + AsyncWrite`, and `TokioIo` makes of
//! that what hyper wants. HTTP/2 is the same with `http2` for `http1` and an executor (`TokioExecutor::new()`).

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use smstream::tokio::{Listener, connect};

/// Answers one request.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("You asked for {} over shared memory.\n", request.uri().path());
    Ok(Response::new(Full::from(text)))
}

/// Serves every client, for ever.
async fn serve(addr: &str) -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind(addr)?;
    loop {
        let stream = listener.accept().await?;
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that hangs up in the middle ends its own connection and nothing else.
            if let Err(e) = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await {
                eprintln!("a connection broke: {e}");
            }
        });
    }
}

/// Asks for one path and returns the answer.
async fn get(addr: &str, path: &str) -> Result<Bytes, Box<dyn Error>> {
    let stream = connect(addr).await?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It moves the bytes while the client waits for answers.
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let response = client.send_request(request).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", addr] => serve(addr).await,
        ["get", addr, path] => {
            print!("{}", String::from_utf8_lossy(&get(addr, path).await?));
            Ok(())
        }
        _ => Err("usage: http serve ADDR | http get ADDR PATH".into()),
    }
}
