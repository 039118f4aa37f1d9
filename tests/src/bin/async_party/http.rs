//! An HTTP server by hyper, over streams.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use smstream::tokio::Listener;
use smstream_tests::flow::Flow;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The bytes of one piece of a body.
const PIECE: u64 = 8 * 1024;

/// Serves each connector.
pub async fn serve(listener: Listener, http2: bool) {
    loop {
        let io = TokioIo::new(listener.accept().await.expect("a connector"));
        tokio::spawn(async move {
            // A client that hangs up in the middle ends its own connection and nothing else.
            let _ = if http2 {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service_fn(answer))
                    .await
            } else {
                hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(answer)).await
            };
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let path = request.uri().path().to_owned();
    let number = path.strip_prefix("/bytes/").and_then(|n| n.parse().ok());
    let response = match (request.method(), &*path, number) {
        (&Method::POST, "/echo", _) => Response::new(request.into_body().boxed()),
        (&Method::GET, _, Some(bytes)) => Response::new(Pattern::new(bytes).map_err(|never| match never {}).boxed()),
        _ => {
            let mut response = Response::new(Full::from("no such thing").map_err(|never| match never {}).boxed());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    Ok(response)
}

/// A body of bytes that the client can check.
struct Pattern {
    left: u64,
    flow: Flow,
}

impl Pattern {
    fn new(bytes: u64) -> Self {
        Pattern { left: bytes, flow: Flow::new(bytes, PIECE as usize) }
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; self.left.min(PIECE) as usize];
        self.left -= piece.len() as u64;
        self.flow.fill(&mut piece);
        self.flow.skip(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
