//! Clients that say how much they asked. Each runs in the namespace of whoever calls it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::net::Namespace;
use crate::servers::{DNS, HTTP, MEMCACHED};

/// redis-benchmark: SET and GET, each so often.
pub fn redis(namespace: &Namespace, host: &str, requests: u64, depth: u32, size: usize) {
    let mut command = namespace.command("redis-benchmark");
    command.args(["-h", host, "-t", "set,get", "-c", "8", "-q", "-r", "100"]);
    command.args(["-n", &requests.to_string(), "-P", &depth.to_string()]);
    command.args(["-d", &size.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// One `set` and then `depth` times `get` of a value, several times over, each turn sent at once.
pub fn memcached(host: &str, turns: u32, depth: u32, size: usize) {
    let mut stream = connect(host, MEMCACHED);
    let value = "x".repeat(size);
    let set = format!("set key 0 0 {size}\r\n{value}\r\n");
    let turn = set + &"get key\r\n".repeat(depth as usize);
    let hit = format!("VALUE key 0 {size}\r\n{value}\r\nEND\r\n").len();
    let expected = "STORED\r\n".len() + hit * depth as usize;
    for _ in 0..turns {
        // Read while it is written: neither side's buffers hold a turn.
        let mut reader = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let copied = std::io::copy(
                    &mut (&mut reader).take(expected as u64),
                    &mut std::io::sink(),
                );
                assert_eq!(copied.unwrap(), expected as u64);
            });
            stream.write_all(turn.as_bytes()).unwrap();
        });
    }
}

/// So many `get`s over UDP, one by one (protocol.txt, "UDP protocol").
pub fn memcached_udp(host: &str, requests: u16) {
    let socket = udp(host, MEMCACHED);
    let mut answer = [0; 2048];
    for number in 0..requests {
        let mut datagram = number.to_be_bytes().to_vec();
        datagram.extend([0, 0, 0, 1, 0, 0]);
        datagram.extend(b"get nothing\r\n");
        socket.send(&datagram).unwrap();
        let size = socket.recv(&mut answer).unwrap();
        assert!(answer[..size].ends_with(b"END\r\n"));
    }
}

/// `depth` requests at a time for a file of so many bytes, several times over.
pub fn http(host: &str, turns: u32, depth: u32, size: usize) {
    let stream = connect(host, HTTP);
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let turn = format!("GET /{size} HTTP/1.1\r\nHost: example.test\r\n\r\n").repeat(depth as usize);
    for _ in 0..turns {
        writer.write_all(turn.as_bytes()).unwrap();
        for _ in 0..depth {
            assert_eq!(response(&mut reader), size);
        }
    }
}

/// Reads a response with a length and returns it.
fn response(reader: &mut impl BufRead) -> usize {
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0);
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    body.len()
}

/// So many queries over UDP and as many over one TCP connection.
pub fn dns(host: &str, queries: u16) {
    let socket = udp(host, DNS);
    let mut stream = connect(host, DNS);
    let mut answer = [0; 2048];
    for id in 0..queries {
        let query = query(id);
        socket.send(&query).unwrap();
        assert!(socket.recv(&mut answer).unwrap() > query.len());
        let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        stream.write_all(&framed).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let length = usize::from(u16::from_be_bytes(length));
        stream.read_exact(&mut answer[..length]).unwrap();
    }
}

/// `A www.example.test.` with recursion desired (RFC 1035, section 4.1).
fn query(id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend(b"\x03www\x07example\x04test\x00\x00\x01\x00\x01");
    query
}

fn connect(host: &str, port: u16) -> TcpStream {
    let stream = TcpStream::connect((host, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn udp(host: &str, port: u16) -> UdpSocket {
    let server = SocketAddr::new(host.parse().unwrap(), port);
    let any = if server.is_ipv6() {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket
}
