//! A client of the statistics port, on a machine that may be busy with others.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use tcpkit::limits::SILENCE;

/// Sends this and reads until the other side ends. Who is silent for a moment after connecting is told the classic form,
/// and on a busy machine that may be who meant to speak HTTP at once: where it was silent for so long, it asks again.
pub fn ask(address: impl ToSocketAddrs, sent: &[u8]) -> String {
    loop {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(&address).unwrap();
        let time = Some(Duration::from_secs(60));
        stream.set_read_timeout(time).unwrap();
        let written = stream.write_all(sent);
        let was_silent = !sent.is_empty() && begun.elapsed() >= SILENCE;
        let told = written.and_then(|()| read(stream));
        if !was_silent {
            return told.unwrap();
        }
        if let Some(told) = told.ok().filter(|told| told.starts_with("HTTP/")) {
            return told;
        }
    }
}

fn read(mut stream: TcpStream) -> io::Result<String> {
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    Ok(told)
}

/// How long something takes, the middle of five times: what the program does shows in most of them, what else the machine
/// does in one or two.
pub fn middle(mut act: impl FnMut()) -> Duration {
    let mut times = [(); 5].map(|()| {
        let begun = Instant::now();
        act();
        begun.elapsed()
    });
    times.sort_unstable();
    times[2]
}
