//! The text protocol over UDP: a header of 8 bytes before each datagram.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result};

use super::server::{Memcached, PORT, agree, record};
use crate::record::Folder;
use crate::record::truth::add;

pub fn udp(folder: &Folder) -> Result<()> {
    let server = Memcached::start()?;
    let large = format!("set large 0 0 1000\r\n{}\r\n", "L".repeat(1000));
    let grow = format!("append large 0 0 1200\r\n{}\r\n", "M".repeat(1200));
    let requests: &[&str] = &[
        "version\r\n",
        "set a 0 0 5\r\nhello\r\n",
        "get a\r\n",
        "get missing\r\n",
        "get a missing\r\n",
        "incr a 1\r\n",
        &large,
        &grow,
        &grow,
        "get large\r\n",
        "delete a\r\n",
        "stats\r\n",
    ];
    let mut truth = record(folder, |truth| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", PORT))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        for (id, request) in (100..).zip(requests) {
            ask(&socket, id, request)?;
            add(
                &mut truth.exchanges,
                request.split([' ', '\r']).next().unwrap_or(request),
            );
        }
        // Two requests before the first reply, paired by their numbers.
        for (id, request) in [(200, "get large\r\n"), (201, "get missing\r\n")] {
            send(&socket, id, request)?;
            add(
                &mut truth.exchanges,
                request.split(' ').next().unwrap_or(request),
            );
        }
        answer(&socket, "get")?;
        answer(&socket, "get")?;
        Ok(())
    })?;
    truth.hits = Some((4, 3));
    agree(&truth, &["get_hits"], 4)?;
    agree(&truth, &["get_misses"], 3)?;
    folder.truth(&truth)?;
    let what = "The text protocol over UDP: requests in one datagram each, replies in one and in several (a read of \
        two keys is answered in datagrams that each claim to be the only one), two requests on the way at once, \
        paired by the request number of the datagram's header.";
    folder.readme(server.version(), what)
}

fn ask(socket: &UdpSocket, id: u16, request: &str) -> Result<()> {
    send(socket, id, request)?;
    let answered = answer(socket, request)?;
    (answered == id)
        .then_some(())
        .with_context(|| format!("request {id}, reply {answered}"))
}

fn send(socket: &UdpSocket, id: u16, request: &str) -> Result<()> {
    let mut datagram = Vec::from(id.to_be_bytes());
    datagram.extend([0, 0, 0, 1, 0, 0]);
    datagram.extend(request.bytes());
    socket.send(&datagram)?;
    Ok(())
}

/// Waits for all datagrams of one reply; its request's number.
///
/// The headers do not say which is the last: memcached 1.6 answers `get` of several keys in
/// datagrams that all claim to be the only one, and just the last holds `END`.
fn answer(socket: &UdpSocket, request: &str) -> Result<u16> {
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).context("no reply")?;
        let listed = request.starts_with("get") || request.starts_with("stats");
        if !listed || buffer[..length].ends_with(b"END\r\n") {
            return Ok(u16::from_be_bytes([buffer[0], buffer[1]]));
        }
    }
}
