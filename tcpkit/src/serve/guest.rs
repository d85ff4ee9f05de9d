//! One client of the statistics port: what it speaks, and its answer.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::pages::Form;
use super::routes::{self, Routes};
use crate::limits;

/// Methods of HTTP, each with the space behind it.
const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
];

/// What a client that had its answer still sends is read for so long, so that its system does not take the answer for
/// broken off.
const DRAIN: Duration = Duration::from_millis(500);

/// Serves a client, for no longer than [`limits::READER_TIME`].
pub(super) async fn serve(stream: TcpStream, routes: Arc<Routes>) {
    let _ = timeout(limits::READER_TIME, async {
        if speaks_http(&stream).await {
            serve_http(stream, routes).await;
        } else {
            serve_classic(stream, &routes).await;
        }
    })
    .await;
}

/// Whether a client begins with what may become an HTTP method, before it was silent for too long.
async fn speaks_http(stream: &TcpStream) -> bool {
    let mut first = [0; 8];
    let until = Instant::now() + limits::SILENCE;
    let seen = match timeout_at(until, stream.peek(&mut first)).await {
        Ok(seen) => seen,
        // This thread may have been put aside while the client spoke: what has come by now counts.
        Err(_) => peek_at_once(stream, &mut first),
    };
    let begun = match seen {
        Ok(count @ 1..) => first.get(..count).unwrap_or(&first),
        _ => return false,
    };
    if METHODS.iter().any(|method| begun.starts_with(method)) {
        return true;
    }
    let may_become = METHODS.iter().any(|method| method.starts_with(begun));
    may_become && !ends(stream, until).await
}

/// The first bytes of a client, if they are there: asked of the system, which may know more than the runtime.
fn peek_at_once(stream: &TcpStream, first: &mut [u8]) -> io::Result<usize> {
    let same = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    same.peek(first)
}

/// Whether a client has ended its input by then.
async fn ends(stream: &TcpStream, until: Instant) -> bool {
    sleep_until(until).await;
    let ready = timeout(Duration::ZERO, stream.ready(Interest::READABLE)).await;
    matches!(ready, Ok(Ok(ready)) if ready.is_read_closed())
}

async fn serve_classic(mut stream: TcpStream, routes: &Routes) {
    let Some(bytes) = routes.pages.get(Form::Classic).await else {
        return;
    };
    if stream.write_all(&bytes).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = [0; 1024];
    let drain = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(DRAIN, drain).await;
}

async fn serve_http(stream: TcpStream, routes: Arc<Routes>) {
    let service = service_fn(move |request| routes::answer(Arc::clone(&routes), request));
    // What a client does wrong is its own affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_TIME)
        .max_buf_size(limits::REQUEST_HEAD)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
