//! Where snapshots come from: the capture of this program, or the statistics port of another.
//!
//! A thread asks once a second, so that the terminal never waits for an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::limits;
use crate::serve::Reader;
use crate::sink::stats::snapshot::{Snapshot, VERSION};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);

/// Whom to ask.
#[derive(Clone, Debug)]
pub enum Feed {
    /// The capture of this program.
    Here(Reader),
    /// The statistics port of a tcpkit that runs there.
    There(SocketAddr),
}

/// An answer, or a sentence that says why there is none.
pub type Told = Result<Arc<Snapshot>, String>;

impl Feed {
    /// Asks once.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn ask(&self) -> Told {
        match self {
            Self::Here(reader) => reader
                .snapshot()
                .ok_or_else(|| "the counts cannot be had".to_owned()),
            Self::There(address) => {
                let told = ask_there(*address).map_err(|error| format!("{address}: {error}"))?;
                Ok(Arc::new(told))
            }
        }
    }

    /// Asks once a second, in a thread that ends when nobody holds the other end.
    pub(super) fn start(self) -> io::Result<Questions> {
        let (answers, told) = channel();
        let (held, let_go) = channel();
        std::thread::Builder::new()
            .name("tcpkit-feed".to_owned())
            .spawn(move || self.keep_asking(&answers, &let_go))?;
        Ok(Questions { told, _held: held })
    }

    fn keep_asking(&self, answers: &Sender<Told>, let_go: &Receiver<()>) {
        loop {
            let begun = Instant::now();
            if answers.send(self.ask()).is_err() {
                return;
            }
            let left = EVERY.saturating_sub(begun.elapsed());
            if let_go.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

/// The end at which answers come out.
#[derive(Debug)]
pub(super) struct Questions {
    pub(super) told: Receiver<Told>,
    /// As long as it is there, questions go on.
    _held: Sender<()>,
}

fn ask_there(address: SocketAddr) -> Result<Snapshot, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(limits::ANSWER_TIME, get(address)).await;
        let body = asked.map_err(|_| format!("no answer within {:?}", limits::ANSWER_TIME))??;
        read(&body)
    })
}

/// The body of `GET /api/v1/snapshot`.
async fn get(address: SocketAddr) -> Result<Bytes, String> {
    let text = |error: hyper::Error| error.to_string();
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    tokio::spawn(connection);
    let request = Request::get("/api/v1/snapshot")
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(text)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), limits::SNAPSHOT_BYTES);
    let whole = body.collect().await.map_err(|error| error.to_string())?;
    Ok(whole.to_bytes())
}

fn read(body: &[u8]) -> Result<Snapshot, String> {
    let snapshot: Snapshot = serde_json::from_slice(body)
        .map_err(|error| format!("it answers with what is no snapshot: {error}"))?;
    match snapshot.v {
        VERSION => Ok(snapshot),
        other => Err(format!(
            "its snapshots are of version {other}, this program reads version {VERSION}"
        )),
    }
}
