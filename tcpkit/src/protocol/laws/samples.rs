//! Conversations that the laws are tried on: bytes as clients and servers send them, one part a
//! segment or datagram.

use crate::flow::Direction::{self, ToClient, ToServer};
use crate::wire::Transport;

/// A conversation that ends between messages, so that it can be sent again behind itself.
pub struct Sample {
    /// Its protocol's name.
    pub protocol: &'static str,
    /// What carries it.
    pub transport: Transport,
    /// Who sent what, in order.
    pub parts: &'static [(Direction, &'static [u8])],
    /// How many requests it holds.
    pub requests: usize,
    /// How many responses.
    pub responses: usize,
}

/// Protocols whose dissectors are still to come.
pub const UNWRITTEN: &[&str] = &[];

/// At least one for each protocol and transport.
pub static SAMPLES: &[Sample] = &[
    Sample {
        protocol: "http",
        transport: Transport::Tcp,
        parts: &[
            (ToServer, b"GET /a HTTP/1.1\r\nHost: one.example\r\nAccept: */*\r\n\r\n"),
            (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            (ToServer, b"POST /b HTTP/1.1\r\nHost: one.example\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"),
            (ToClient, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (ToServer, b"some data"),
            (ToClient, b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\ngone\r\n10\r\n0123456789abcdef\r\n0\r\nDigest: x\r\n\r\n"),
        ],
        requests: 2,
        responses: 2,
    },
    Sample {
        protocol: "http",
        transport: Transport::Tcp,
        parts: &[
            (ToServer, b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nPUT /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\nHTTP/1.1 204 No Content\r\nServer: s\r\n\r\n"),
        ],
        requests: 3,
        responses: 3,
    },
    Sample {
        protocol: "redis",
        transport: Transport::Tcp,
        parts: &[
            (ToServer, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n"),
            (ToClient, b"+OK\r\n"),
            (ToServer, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n"),
            (ToClient, b"$5\r\nhello\r\n$-1\r\n"),
            (ToServer, b"*2\r\n$4\r\nLLEN\r\n$1\r\nk\r\n"),
            (ToClient, b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
            (ToServer, b"*4\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n$1\r\n0\r\n$2\r\n-1\r\n"),
            (ToClient, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ],
        requests: 5,
        responses: 5,
    },
    Sample {
        protocol: "memcached",
        transport: Transport::Tcp,
        parts: &[
            (ToServer, b"set key 0 60 5\r\nhello\r\n"),
            (ToClient, b"STORED\r\n"),
            (ToServer, b"get key none\r\n"),
            (ToClient, b"VALUE key 0 5\r\nhello\r\nEND\r\n"),
            (ToServer, b"delete none\r\nget none\r\n"),
            (ToClient, b"NOT_FOUND\r\nEND\r\n"),
        ],
        requests: 4,
        responses: 4,
    },
    Sample {
        protocol: "memcached",
        transport: Transport::Udp,
        parts: &[
            (ToServer, b"\x00\x01\x00\x00\x00\x01\x00\x00get key\r\n"),
            (ToClient, b"\x00\x01\x00\x00\x00\x01\x00\x00VALUE key 0 5\r\nhello\r\nEND\r\n"),
        ],
        requests: 1,
        responses: 1,
    },
    Sample {
        protocol: "dns",
        transport: Transport::Udp,
        parts: &[
            (ToServer, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"),
            (ToClient, b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x5d\xb8\xd8\x22"),
        ],
        requests: 1,
        responses: 1,
    },
    Sample {
        protocol: "dns",
        transport: Transport::Tcp,
        parts: &[
            (ToServer, b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"),
            (ToClient, b"\x00\x2d\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x5d\xb8\xd8\x22"),
            (ToServer, b"\x00\x1d\x56\x78\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x1c\x00\x01"),
            (ToClient, b"\x00\x1d\x56\x78\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x1c\x00\x01"),
        ],
        requests: 2,
        responses: 2,
    },
];
