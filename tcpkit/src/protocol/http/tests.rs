#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

use proptest::prelude::*;

use super::*;
use crate::flow::Direction::{self, ToClient, ToServer};
use crate::limits::{HTTP_HEAD_BYTES, KEPT_BYTES};
use crate::protocol::driven::{Told, Wire, drive};
use crate::protocol::{Input, Mark, Message, Output, Past, Phase, Resync, Role};

fn whole(parts: &[(Direction, &[u8])]) -> Wire {
    drive(&Http, Transport::Tcp, parts, &mut || usize::MAX)
}

fn told(wire: &Wire, direction: Direction) -> Vec<&Told> {
    wire.told
        .iter()
        .filter(|told| told.direction == direction)
        .collect()
}

/// Status and end of each response.
fn responses(wire: &Wire) -> Vec<(u16, u64)> {
    told(wire, ToClient)
        .iter()
        .map(|told| (told.status, told.end))
        .collect()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The rules of RFC 9112, section 6.3, each with what the response's length must come to; the byte
/// `|` marks the end of the message and is not sent.
#[test]
fn responses_end_where_the_rules_say() {
    for (request, response) in [
        // 1: no body, whatever the fields say.
        (
            "HEAD / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n|HTTP/1.1 ",
        ),
        (
            "HEAD / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n|",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n|",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n|",
        ),
        // 3 and 4: Transfer-Encoding wins, and chunked must be last.
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n|HTTP",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n|HTTP",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\nto the end|",
        ),
        // RFC 2616's identity, and a folded field (RFC 9112, section 5.2).
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nab|HTTP",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n|HTTP",
        ),
        // 5 and 6: one length, even if said more than once.
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length : 2\r\n\r\nab|HTTP",
        ),
        // 8: until the connection closes.
        (
            "GET / HTTP/1.0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n|",
        ),
        // A success without CONNECT's meaning, and a refused CONNECT.
        (
            "CONNECT h:1 HTTP/1.1\r\n\r\n",
            "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx|HTTP",
        ),
    ] {
        let end = response.find('|').unwrap();
        let sent = response.replace('|', "");
        let wire = whole(&[(ToServer, request.as_bytes()), (ToClient, sent.as_bytes())]);
        assert_eq!(told(&wire, ToClient)[0].end, end as u64, "{response}");
        assert_eq!(
            told(&wire, ToClient)[0].flags & Message::CUT,
            0,
            "{response}"
        );
    }
}

#[test]
fn requests_end_where_the_rules_say() {
    for request in [
        "GET / HTTP/1.1\r\n\r\n|GET",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc|GET",
        "POST / HTTP/1.1\r\nContent-Length: 003\r\n\r\nabc|GET",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nA: b\r\n\r\n|GET",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nContent-Length: -1\r\n\r\nFf \r\n",
        // Bare line feeds (section 2.2), odd fields and a NUL: all outside the framing.
        "BREW /pot HTTP/1.1\nContent-Length: 1\n\nx|GET",
        "GET / HTTP/1.1\r\n folded\r\nno colon\r\n: no name\r\n\x00\r\nA: b\r\n\r\n|GET",
        // Words parted by other white space (section 3), a target with spaces, a version to come.
        "GET\t/ \tHTTP/1.1 \r\n\r\n|GET",
        "GET /a b c HTTP/1.1\r\n\r\n|GET",
        "GET / HTTP/1.9\r\n\r\n|GET",
    ] {
        let end = request.find('|').unwrap_or(request.len());
        let wire = whole(&[(ToServer, request.replace('|', "").as_bytes())]);
        assert_eq!(told(&wire, ToServer)[0].end, end as u64, "{request}");
        assert_eq!(wire.malformed, [""; 0], "{request}");
    }
}

#[test]
fn what_cannot_be_framed_is_told_and_left() {
    for (request, reason) in [
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "invalid content-length",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "invalid content-length",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "invalid content-length",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "transfer-encoding of a request without chunked",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
            "invalid chunk size",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "invalid chunk size",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "invalid chunk size",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "no line end behind a chunk",
        ),
    ] {
        let wire = whole(&[
            (ToServer, request.as_bytes()),
            (ToServer, GET),
            (ToClient, OK),
        ]);
        assert_eq!(wire.malformed, [reason], "{request}");
        let requests = told(&wire, ToServer);
        assert_eq!(requests.len(), 2, "{request}");
        assert_eq!(requests[0].flags, Message::CUT, "{request}");
        assert_eq!(
            requests[1].end,
            (request.len() + GET.len()) as u64,
            "{request}"
        );
    }
}

#[test]
fn no_start_line_is_malformed() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"BREW /\r\n",
        b"T / HTTP\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"\x01",
        b"\0\0\0\0\n",
    ] {
        let wire = whole(&[(ToServer, bytes), (ToServer, GET)]);
        assert_eq!(wire.malformed, ["no request line"], "{bytes:?}");
        assert_eq!(wire.count(Role::Request), 1, "{bytes:?}");
    }
    for bytes in [
        &b"ICY 200 OK\r\n"[..],
        b"HTTP/1.1 20\r\n",
        b"HTTP/1.1 2000\r\n",
        b"<html>",
    ] {
        let wire = whole(&[(ToServer, GET), (ToClient, bytes), (ToClient, OK)]);
        assert_eq!(wire.malformed, ["no status line"], "{bytes:?}");
        assert_eq!(responses(&wire).len(), 1, "{bytes:?}");
    }
}

/// An invalid request line is answered with 400 (RFC 9112, section 3).
#[test]
fn an_attempt_at_http_is_a_request() {
    for line in [
        "OPTIONSHTTP/1.1",
        "GET /HTTP/1.1",
        "GET / HTTP/1.",
        "DELETE",
        "GET /",
        "\u{e9} / HTTP/1.1",
        "BREW / HTTP/1.10",
    ] {
        let request = format!("{line}\r\nHost: h\r\n\r\n");
        for size in [1, usize::MAX] {
            let parts = [(ToServer, request.as_bytes()), (ToServer, GET)];
            let wire = drive(&Http, Transport::Tcp, &parts, &mut || size);
            assert_eq!(wire.malformed, [""; 0], "{line}");
            assert_eq!(told(&wire, ToServer).len(), 2, "{line}");
            assert_eq!(told(&wire, ToServer)[0].end, request.len() as u64, "{line}");
        }
    }
}

#[test]
fn a_head_that_never_ends_is_nothing() {
    let wire = whole(&[
        (ToServer, GET),
        (ToClient, b"HTTP/1.1 200 OK\r\nContent-Le"),
        (ToServer, b"GET /2 HTTP/1.1\r\nHost"),
    ]);
    assert_eq!(
        (wire.count(Role::Request), wire.count(Role::Response)),
        (1, 0)
    );
}

#[test]
fn status_lines_may_lack_what_they_may() {
    for line in [
        "HTTP/1.1 200 \r\n",
        "HTTP/1.1 200\r\n",
        "HTTP/1.0  200  Fine  by me\n",
        "\r\nHTTP/1.1 200 caf\u{e9}\r\n",
    ] {
        let response = format!("{line}Content-Length: 0\r\n\r\n");
        let wire = whole(&[(ToServer, GET), (ToClient, response.as_bytes())]);
        assert_eq!(responses(&wire), [(200, response.len() as u64)], "{line:?}");
    }
}

#[test]
fn errors_carry_their_reason() {
    let wire = whole(&[
        (ToServer, GET),
        (
            ToClient,
            b"HTTP/1.1 503 Try later\r\nContent-Length: 0\r\n\r\n",
        ),
    ]);
    let response = told(&wire, ToClient)[0];
    assert_eq!(response.flags, Message::ERROR);
    assert_eq!(response.text, b"Try later");
    assert_eq!(response.text_len, 9);
}

#[test]
fn interim_responses_answer_nothing() {
    let parts: &[(Direction, &[u8])] = &[
        (ToServer, b"HEAD / HTTP/1.1\r\n\r\n"),
        (
            ToClient,
            b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        ),
        (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (ToServer, GET),
        (ToClient, OK),
    ];
    let wire = whole(parts);
    let roles: Vec<_> = told(&wire, ToClient)
        .iter()
        .map(|told| (told.role, told.status))
        .collect();
    let expected = [
        (Role::OneWay, 103),
        (Role::OneWay, 100),
        (Role::Response, 200),
        (Role::Response, 200),
    ];
    assert_eq!(roles, expected);
    assert_eq!(wire.malformed, [""; 0]);
}

#[test]
fn a_head_is_told_before_its_body() {
    let mut dissector = Http.dissector(Transport::Tcp);
    let mut out = Output::default();
    let mut offset = 0;
    let mut show = |bytes: &[u8], frame| {
        let mark = Mark {
            frame,
            ..Mark::default()
        };
        let input = Input {
            bytes,
            offset,
            old: 0,
            first: mark,
            last: mark,
            datagram: false,
            lost: 0,
            received: 0,
        };
        out.clear();
        let parsed = dissector.parse(ToServer, &input, &mut out);
        offset += parsed.consumed as u64 + parsed.skip;
        (parsed, out.messages.clone())
    };
    let (parsed, head) = show(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc", 1);
    assert_eq!((parsed.consumed, parsed.skip), (44, 997));
    assert_eq!(
        (head[0].phase, head[0].command, head[0].first.frame),
        (Phase::Head, 2, 1)
    );
    let (_, end) = show(b"", 7);
    assert_eq!(
        (end[0].phase, end[0].end, end[0].last.frame),
        (Phase::End, 1041, 7)
    );
    let (_, next) = show(GET, 8);
    assert_eq!(
        (next.len(), next[0].phase, next[0].start),
        (1, Phase::Whole, 1041)
    );
}

#[test]
fn connect_and_upgrade_wait_for_their_answers() {
    let connect: &[u8] = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n\x16\x03\x01";
    let upgrade: &[u8] =
        b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05";
    for (request, answer, what) in [
        (
            connect,
            &b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n\x16"[..],
            "tunnel",
        ),
        (
            upgrade,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81",
            "upgrade",
        ),
    ] {
        let wire = whole(&[(ToServer, request), (ToClient, answer), (ToServer, b"\x17")]);
        assert_eq!(wire.opaque, Some(what));
        assert_eq!(wire.malformed, [""; 0]);
        assert_eq!(
            (wire.count(Role::Request), wire.count(Role::Response)),
            (1, 1)
        );
    }
}

#[test]
fn a_refused_connect_lets_requests_go_on() {
    let connect: &[u8] = b"CONNECT h:443 HTTP/1.1\r\n\r\n";
    let wire = whole(&[
        (ToServer, &[connect, GET].concat()),
        (
            ToClient,
            b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n",
        ),
        (ToClient, OK),
    ]);
    assert_eq!(
        (wire.count(Role::Request), wire.count(Role::Response)),
        (2, 2)
    );
    assert_eq!(wire.opaque, None);
}

/// What is held back behind a request that may end HTTP is shown before what follows the answer, which may be the
/// answer to it, however both come in pieces.
#[test]
fn what_waited_for_a_refusal_is_read_before_the_next_answer() {
    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n";
    const CONNECT: &[u8] = b"CONNECT h:443 HTTP/1.1\r\n\r\n";
    const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\n\r\n";
    let refused: &[u8] = b"HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nno!";
    let no_body: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n";
    for asks in [UPGRADE, CONNECT] {
        let requests = [asks, HEAD, GET, asks, HEAD].concat();
        let answers = [refused, no_body, OK, refused, no_body].concat();
        for size in [1, 7, 30, 60, 90, usize::MAX] {
            let parts = [(ToServer, &requests[..]), (ToClient, &answers[..])];
            let wire = drive(&Http, Transport::Tcp, &parts, &mut || size);
            let statuses: Vec<_> = told(&wire, ToClient)
                .iter()
                .map(|told| told.status)
                .collect();
            assert_eq!(statuses, [407, 200, 200, 407, 200], "in pieces of {size}");
            assert_eq!(
                (wire.count(Role::Request), &wire.malformed[..]),
                (5, &[][..])
            );
            let mut open = 0_i32;
            for told in &wire.told {
                open += if told.direction == ToServer { 1 } else { -1 };
                assert!(
                    open >= 0,
                    "an answer before its request, in pieces of {size}"
                );
            }
        }
    }
}

#[test]
fn a_lost_answer_to_connect_lets_the_client_decide() {
    let connect: &[u8] = b"CONNECT h:443 HTTP/1.1\r\n\r\n";
    for (next, opaque) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], Some("tunnel")),
        (GET, None),
    ] {
        let mut wire = Wire::new(&Http, Transport::Tcp);
        wire.send(ToServer, connect);
        wire.lose(ToClient, 40);
        wire.send(ToServer, next);
        assert_eq!(wire.opaque, opaque);
        assert_eq!(wire.malformed, [""; 0]);
    }
}

#[test]
fn an_http2_preface_is_opaque() {
    let wire = whole(&[(ToServer, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]);
    assert_eq!(
        (wire.opaque, wire.count(Role::Request)),
        (Some("HTTP/2"), 0)
    );
}

#[test]
fn an_answer_before_the_head_is_whole_counts_once() {
    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.send(ToServer, b"GET / HTTP/1.1\r\nCookie: a-very-long-");
    wire.send(
        ToClient,
        b"HTTP/1.1 431 Too large\r\nContent-Length: 0\r\n\r\n",
    );
    wire.send(ToServer, b"one\r\n\r\nHEAD / HTTP/1.1\r\n\r\n");
    wire.send(
        ToClient,
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    );
    wire.close();
    assert_eq!(responses(&wire).len(), 3);
    // Pairing has no response left for it.
    let asked: Vec<_> = told(&wire, ToServer).iter().map(|told| told.role).collect();
    assert_eq!(asked, [Role::OneWay, Role::Request]);
}

/// The rest of a head that was answered is lost too: as much of it as there is asks for nothing more.
#[test]
fn an_answered_head_that_is_cut_counts_once() {
    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.send(ToServer, b"GET / HTTP/1.1\r\nCookie: a-very-long-");
    wire.send(ToClient, b"HTTP/1.1 431 Too large\r\n\r\n");
    wire.lose(ToServer, 100);
    assert_eq!(told(&wire, ToServer)[0].role, Role::OneWay);
}

#[test]
fn a_cut_head_is_told_by_its_start_line() {
    for (seen, text) in [
        ("GET /path HTTP/1.1\r\nHost: some", "GET /path HTTP/1.1"),
        ("GET /path HTTP/1.1\r\n", "GET /path HTTP/1.1"),
        ("GET /path HT", "GET /path HT"),
        ("GET /p", "GET /p"),
    ] {
        let mut wire = Wire::new(&Http, Transport::Tcp);
        wire.send(ToServer, seen.as_bytes());
        wire.lose(ToServer, 30);
        wire.send(ToClient, b"HTTP/1.1 404 Not");
        wire.lose(ToClient, 300);
        wire.send(ToServer, GET);
        wire.send(ToClient, OK);
        wire.close();
        let requests = told(&wire, ToServer);
        assert_eq!(requests.len(), 2, "{seen}");
        assert_eq!(
            (requests[0].flags, requests[0].command),
            (Message::CUT, 1),
            "{seen}"
        );
        assert_eq!(requests[0].text, text.as_bytes(), "{seen}");
        let statuses: Vec<_> = told(&wire, ToClient)
            .iter()
            .map(|told| told.status)
            .collect();
        assert_eq!(statuses, [404, 200], "{seen}");
    }
}

#[test]
fn less_than_a_start_line_is_nothing() {
    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.send(ToServer, b"GET ");
    wire.send(ToClient, b"HTTP/1.1 20");
    wire.lose(ToServer, 1);
    wire.lose(ToClient, 1);
    assert!(wire.told.is_empty());
}

#[test]
fn a_gap_in_a_body_costs_what_it_must() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.send(ToServer, GET);
    wire.send(ToClient, head);
    wire.lose(ToClient, 1000);
    wire.send(ToClient, OK);
    wire.close();
    let ends = [
        head.len() as u64 + 1000,
        (head.len() + 1000 + OK.len()) as u64,
    ];
    assert_eq!(responses(&wire), ends.map(|end| (200, end)));
    assert!(wire.told.iter().all(|told| told.flags == 0));

    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.send(ToServer, GET);
    wire.send(
        ToClient,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    );
    wire.lose(ToClient, 6);
    wire.send(ToClient, b"lost in here\r\n0\r\n\r\n");
    wire.send(ToClient, OK);
    wire.close();
    let flags: Vec<_> = told(&wire, ToClient)
        .iter()
        .map(|told| told.flags)
        .collect();
    assert_eq!(flags, [Message::CUT, 0]);
}

/// The request of a response is not known behind a loss, but of those that came before it: what follows the head tells whether it
/// has the body that it announces, however it comes in pieces.
#[test]
fn behind_a_loss_an_answer_to_head_is_told_by_what_follows() {
    const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    let announced = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nServer: s\r\n\r\n",
    ];
    let with_body = "HTTP/1.1 404 No\r\nContent-Length: 20\r\n\r\nHTTP/1. is no status";
    for (first, lost) in [(HEAD, GET), (GET, HEAD)] {
        for head in announced {
            for size in [1, 2, 7, 13, 40, 1000] {
                let mut wire = Wire::new(&Http, Transport::Tcp);
                wire.send(ToServer, first);
                wire.lose(ToServer, lost.len() as u64);
                wire.send(ToServer, &[GET, HEAD, GET].concat());
                let responses_of = [first, lost, GET, HEAD, GET].map(|request| match request {
                    HEAD => head,
                    _ => with_body,
                });
                wire.send_cut(ToClient, responses_of.concat().as_bytes(), &mut || size);
                wire.close();
                let mut end = 0;
                let expected = responses_of.map(|response| {
                    end += response.len() as u64;
                    (if response == head { 200 } else { 404 }, end)
                });
                assert_eq!(responses(&wire), expected, "{head} in pieces of {size}");
                assert_eq!(wire.malformed, [""; 0], "{head} in pieces of {size}");
                assert!(
                    told(&wire, ToClient)
                        .iter()
                        .all(|told| told.flags & Message::CUT == 0)
                );
            }
        }
    }
}

/// A request at rest is the only one: its response has the body that it announces, whatever that is.
#[test]
fn a_request_at_rest_behind_a_loss_finds_order_again() {
    let like_a_head = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nHTTP/1.1 299 No head\r\n";
    for lost in [ToServer, ToClient] {
        for size in [1, 40, 1000] {
            let mut wire = Wire::new(&Http, Transport::Tcp);
            wire.lose(lost, 10);
            for _ in 0..2 {
                wire.send(ToServer, GET);
                wire.send(ToClient, OK);
            }
            let before = responses(&wire).len();
            for _ in 0..2 {
                wire.send_cut(ToServer, GET, &mut || size);
                wire.send_cut(ToClient, like_a_head.as_bytes(), &mut || size);
            }
            assert_eq!(responses(&wire).len() - before, 2, "in pieces of {size}");
            assert_eq!(wire.past(), Some(Past::Lossy));
        }
    }
}

/// A body that is as short as it says is not waited for beyond its end.
#[test]
fn behind_a_loss_a_body_like_the_beginning_of_a_head_ends_where_it_says() {
    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.lose(ToServer, 10);
    wire.send(ToServer, GET);
    wire.send(ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTT");
    assert!(wire.told.iter().all(|told| told.ended), "{:?}", wire.told);
    wire.send(ToServer, GET);
    wire.send(ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(wire.told.iter().filter(|told| told.ended).count(), 3);
    wire.close();
}

#[test]
fn a_closed_connection_ends_what_is_open() {
    let until_close: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nbody";
    let wire = whole(&[(ToServer, GET), (ToClient, until_close)]);
    assert_eq!(responses(&wire), [(200, until_close.len() as u64)]);
    assert_eq!(told(&wire, ToClient)[0].flags, 0);
    for short in [
        "Content-Length: 9\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nbody",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{short}");
        let wire = whole(&[(ToServer, GET), (ToClient, response.as_bytes())]);
        assert_eq!(responses(&wire), [(200, response.len() as u64)], "{short}");
        assert_eq!(told(&wire, ToClient)[0].flags, Message::CUT, "{short}");
    }
}

/// Heads that never end are left at a bound, and long lines are not held.
#[test]
fn endless_heads_are_left() {
    let mut wire = Wire::new(&Http, Transport::Tcp);
    wire.send(ToServer, b"GET /");
    for _ in 0..HTTP_HEAD_BYTES / 4096 + 1 {
        wire.send(ToServer, &[b'a'; 4096]);
    }
    assert_eq!(wire.malformed, ["head too long"]);
}

#[test]
fn a_long_target_in_pieces_is_read() {
    let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(9000));
    for size in [1, 700, 1460, 20_000] {
        let wire = drive(
            &Http,
            Transport::Tcp,
            &[(ToServer, request.as_bytes())],
            &mut || size,
        );
        let told = told(&wire, ToServer);
        assert_eq!(
            (told.len(), told[0].end),
            (1, request.len() as u64),
            "{size}"
        );
        assert_eq!(told[0].text, &request.as_bytes()[..KEPT_BYTES], "{size}");
        assert_eq!(told[0].text_len, 9014, "{size}");
    }
}

#[test]
fn the_text_reaches_to_the_host_and_no_further() {
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: secret\r\nAuthorization: Basic c2VjcmV0\r\n\r\n";
    let wire = whole(&[(ToServer, request)]);
    assert_eq!(
        told(&wire, ToServer)[0].text,
        b"GET / HTTP/1.1\r\nHost: a.example"
    );
    assert_eq!(
        host(&told(&wire, ToServer)[0].text),
        Some(&b"a.example"[..])
    );
}

#[test]
fn hosts_are_found() {
    for (head, expected) in [
        (
            "GET / HTTP/1.1\r\nAccept: a\r\nhost:\t h.example:80 \r\n",
            Some("h.example:80"),
        ),
        (
            "GET http://user:pw@abs.example/x HTTP/1.1\r\nHost: other\r\n",
            Some("abs.example"),
        ),
        (
            "CONNECT far.example:443 HTTP/1.1\r\nHost: x\r\n",
            Some("far.example:443"),
        ),
        ("GET / HTTP/1.1\r\nHost:\r\n", None),
        ("GET / HTTP/1.1\r\nHost: u:p@w@h:80\r\n", Some("h:80")),
        (
            "GET / HTTP/1.1\r\nHost: h\rAuthorization: Basic x\r\n",
            Some("h"),
        ),
        (" GET http://u:pw@h HTTP/1.1\r\nHost: x\r\n", Some("h")),
        ("GET http://[::1]:80/ HTTP/1.1", Some("[::1]:80")),
        ("GET http://[::1]/ HTTP/1.1", Some("[::1]")),
        // The rest may say that this was user information.
        ("GET http://user:password", None),
        ("GET http://user:pass@word", None),
        ("CONNECT user", None),
        ("GET http://user:p/w@h/ HTTP/1.1\r\nHost: h\r\n", None),
        ("GET / HTTP/1.1\r\n\r\nHost: body", None),
        ("", None),
    ] {
        assert_eq!(host(head.as_bytes()), expected.map(str::as_bytes), "{head}");
    }
}

#[test]
fn requests_are_shown_as_sent_but_for_passwords() {
    for (line, shown) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: h", "GET /a?b=c HTTP/1.1"),
        (
            "GET http://u:secret@h/ HTTP/1.1",
            "GET http://u:***@h/ HTTP/1.1",
        ),
        (
            "GET http://u:se@cret@h/ HTTP/1.1",
            "GET http://u:***@h/ HTTP/1.1",
        ),
        (
            "GET http://u@h/a:b@c HTTP/1.1",
            "GET http://u@h/a:b@c HTTP/1.1",
        ),
        (
            "GET http://h:80/a@b HTTP/1.1",
            "GET http://h:80/a@b HTTP/1.1",
        ),
        (
            "CONNECT u:secret@h:1 HTTP/1.1",
            "CONNECT u:***@h:1 HTTP/1.1",
        ),
        ("GET http://u:half-a-secr", "GET http://u:***"),
        ("GET http://u:half@a-secr", "GET http://u:***"),
        (
            "GET git+a.b-c://u:secret@h/ HTTP/1.1",
            "GET git+a.b-c://u:***@h/ HTTP/1.1",
        ),
        (
            " GET http://u:secret@h/ HTTP/1.1",
            " GET http://u:***@h/ HTTP/1.1",
        ),
        (
            "G(T\x0bhttp://u:secret@h/ HTTP/1.1",
            "G(T\\x0bhttp://u:***@h/ HTTP/1.1",
        ),
        (
            "GET / HTTP/1.1\rAuthorization: Basic c2VjcmV0",
            "GET / HTTP/1.1",
        ),
        ("GET /\x1b[2J\\ HTTP/1.1", "GET /\\x1b[2J\\\\ HTTP/1.1"),
    ] {
        let mut out = Vec::new();
        let written = Http.render(line.as_bytes(), 255, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), shown);
        let line = line.split("\r\n").next().unwrap();
        assert_eq!(
            written as u64,
            render::rendered_len(line.as_bytes(), line.len() as u64)
        );
    }
    let mut out = Vec::new();
    assert_eq!(Http.render(b"GET /abc\x01 HTTP/1.1", 10, &mut out), 8);
    assert_eq!(out, b"GET /abc");
}

#[test]
fn reasons_are_shown_without_passwords() {
    for (phrase, shown) in [
        ("No: try later", "No: try later"),
        ("mail me: a@b or http://h:80", "mail me: a@b or http://h:80"),
        (
            "no way to http://u:secret@h/x: down",
            "no way to http://u:***@h/x: down",
        ),
        (
            "http://u:se@cret@h,ftp://v:secret@h, u:secret@h:1",
            "http://u:***@h,ftp://v:***@h, u:***@h:1",
        ),
    ] {
        let response = format!("HTTP/1.1 502 {phrase}\r\nContent-Length: 0\r\n\r\n");
        for size in [1, 20, usize::MAX] {
            let parts = [(ToServer, GET), (ToClient, response.as_bytes())];
            let wire = drive(&Http, Transport::Tcp, &parts, &mut || size);
            let text = &told(&wire, ToClient)[0].text;
            assert_eq!(String::from_utf8_lossy(text), shown);
        }
        for end in 13..response.len() {
            let mut wire = Wire::new(&Http, Transport::Tcp);
            wire.send(ToServer, GET);
            wire.send(ToClient, &response.as_bytes()[..end]);
            wire.lose(ToClient, 1);
            let texts = wire.told.iter().map(|told| told.text.escape_ascii());
            let text: String = texts.map(|text| text.to_string()).collect();
            assert!(!text.contains("se") && !text.contains("cret"), "{text}");
        }
    }
}

#[test]
fn first_bytes_are_told() {
    for (bytes, expected) in [
        ("GET / HTTP/1.1\r\n", Probe::Request),
        ("x-new!method http://h/ HTTP/1.0\n", Probe::Request),
        ("\r\nGET / HTTP/1.1\r\n", Probe::Request),
        ("GET / HTTP/1.1", Probe::More),
        ("G", Probe::More),
        ("", Probe::More),
        ("HTTP/1.1 200 OK", Probe::Response),
        ("HTTP/1.0 404\r\n", Probe::Response),
        ("HTTP/1.1 20", Probe::More),
        ("GET / HTTP/2.0\r\n", Probe::No),
        ("GET /\r\n", Probe::No),
        ("get some keys\r\n", Probe::No),
        ("*1\r\n$4\r\nPING\r\n", Probe::No),
        ("GET /a b HTTP/1.1\r\n", Probe::Request),
        ("odd /a b HTTP/1.1\r\n", Probe::No),
        ("GET /\x01", Probe::No),
        ("HTTP/1.1 2x0", Probe::No),
    ] {
        assert_eq!(
            Http.probe(Transport::Tcp, bytes.as_bytes()),
            expected,
            "{bytes:?}"
        );
    }
    let long = [&b"GET /"[..], &[b'a'; HTTP_PROBE_BYTES]].concat();
    assert_eq!(Http.probe(Transport::Tcp, &long), Probe::No);
}

#[test]
fn a_message_is_found_again() {
    let found = |direction, bytes: &[u8], old| {
        let mark = Mark::default();
        let input = Input {
            bytes,
            offset: 9,
            old,
            first: mark,
            last: mark,
            datagram: false,
            lost: 0,
            received: 0,
        };
        Http.dissector(Transport::Tcp).resync(direction, &input)
    };
    for (direction, bytes, old, expected) in [
        (ToServer, "GET / HTTP/1.1\r\n", 0, Resync::Found(0)),
        (
            ToServer,
            "cut: b\r\n\r\nGET / HTTP/1.1\r\n",
            0,
            Resync::Found(10),
        ),
        (
            ToServer,
            "cut: b\r\n\r\nBREW / HTTP/1.1\r\n",
            0,
            Resync::Nowhere { keep: 2 },
        ),
        (
            ToServer,
            "cut: b\r\n\r\nGET / HTT",
            0,
            Resync::Nowhere { keep: 13 },
        ),
        (
            ToServer,
            "in a body: GET / HTTP/1.1\r\n\r\n",
            0,
            Resync::Nowhere { keep: 4 },
        ),
        (ToServer, "}GET / HTTP/1.1\r\n", 1, Resync::Found(1)),
        (ToServer, "GET /long", 0, Resync::Nowhere { keep: 9 }),
        (ToServer, "GET /long", 4, Resync::Nowhere { keep: 9 }),
        (ToClient, "HTTP/1.1 200 OK", 0, Resync::Found(0)),
        (
            ToClient,
            "bodyHTTP/1.1 200 OK\r\nDate: x\r\n",
            0,
            Resync::Found(4),
        ),
        (
            ToClient,
            "textHTTP/1.1 200 OK\nDate: x\n",
            0,
            Resync::Nowhere { keep: 0 },
        ),
        (
            ToClient,
            "textHTTP/1.1 200 OK\r\nand so on\r\n",
            0,
            Resync::Nowhere { keep: 0 },
        ),
        (
            ToClient,
            "bodyHTTP/1.1 200 OK\r\nDa",
            0,
            Resync::Nowhere { keep: 19 },
        ),
        (ToClient, "bodyHTT", 0, Resync::Nowhere { keep: 3 }),
        (
            ToClient,
            "GET / HTTP/1.1\r\n",
            0,
            Resync::Nowhere { keep: 0 },
        ),
    ] {
        assert_eq!(
            found(direction, bytes.as_bytes(), old),
            expected,
            "{bytes:?}"
        );
    }
}

/// Pieces of heads that httparse takes as well.
fn head() -> impl Strategy<Value = (String, String, Vec<(String, String)>)> {
    let field = ("[A-Za-z][A-Za-z0-9-]{0,20}", "[!-~][ -~]{0,30}[!-~]");
    (
        "[A-Z]{1,12}",
        "/[!-~]{0,60}",
        prop::collection::vec(field, 0..12),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Where httparse finds a request, so do we, with the same end, method and target.
    #[test]
    fn heads_are_read_as_httparse_reads_them((method, target, fields) in head(), size in 1..50_usize) {
        let fields: Vec<_> = fields
            .into_iter()
            .filter(|(name, _)| {
                let framing = ["content-length", "transfer-encoding"];
                !framing.contains(&name.to_ascii_lowercase().as_str())
            })
            .collect();
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n");
        let mut space = [httparse::EMPTY_HEADER; 16];
        let mut theirs = httparse::Request::new(&mut space);
        let end = theirs.parse(text.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(theirs.method, Some(method.as_str()));

        let wire = drive(&Http, Transport::Tcp, &[(ToServer, text.as_bytes())], &mut || size);
        let ours = told(&wire, ToServer)[0];
        prop_assert_eq!(ours.end, end as u64);
        prop_assert_eq!(ours.command, request::command(method.as_bytes()));
        let line = format!("{method} {target} HTTP/1.1");
        prop_assert_eq!(&ours.text[..line.len()], line.as_bytes());
        let theirs = theirs.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
        prop_assert_eq!(host(&ours.text), theirs.map(|field| field.value));
    }

    #[test]
    fn status_lines_are_read_as_httparse_reads_them(line in "HTTP/1\\.[01] [0-9]{3}( [ -~]{0,20})?") {
        let text = format!("{line}\r\n\r\n");
        let mut space = [httparse::EMPTY_HEADER; 1];
        let mut theirs = httparse::Response::new(&mut space);
        if theirs.parse(text.as_bytes()).is_ok_and(|status| status.is_complete()) {
            prop_assert_eq!(response::status_line(line.as_bytes()).map(|line| line.status), theirs.code);
        }
    }
}
