//! One case a rule of the protocol.

use super::drive::{Driver, Told, command, words};
use crate::flow::Direction;
use crate::protocol::{Message, Role};

/// Feeds lines: `> words` as a request, `>> text` as raw bytes to the server, `< text` as raw
/// bytes to the client, `\n` standing for a whole line end.
pub(super) fn tell(script: &[&str]) -> Driver {
    let mut driver = Driver::new();
    for line in script {
        let raw = |text: &str| text.replace('\n', "\r\n").into_bytes();
        if let Some(text) = line.strip_prefix(">> ") {
            driver.request(raw(text));
        } else if let Some(text) = line.strip_prefix("> ") {
            driver.request(words(text));
        } else {
            driver.response(raw(line.strip_prefix("< ").unwrap()));
        }
    }
    driver
}

/// What is told of the script.
fn told(script: &[&str]) -> Vec<String> {
    tell(script).lines()
}

#[test]
fn a_pipeline() {
    let script = [
        "> SET a 1",
        "> GET a",
        "> NOSUCH x",
        "< +OK\n$1\n1\n-ERR unknown command 'NOSUCH'\n",
    ];
    let driver = tell(&script);
    assert_eq!(
        driver.lines(),
        ["> SET", "> GET", "> other", "<", "< 1/1", "< error ERR"]
    );
    assert_eq!(driver.requests(), ["SET a 1", "GET a", "NOSUCH x"]);
    assert_eq!(
        driver.told.last().unwrap().text,
        b"ERR unknown command 'NOSUCH'"
    );
}

#[test]
fn times_and_places() {
    let mut driver = Driver::new();
    driver
        .request(b"*1\r\n$4\r\nPI")
        .request(b"NG\r\n*1\r\n")
        .request(b"$4\r\nPING\r\n");
    let places: Vec<_> = driver.told.iter().map(|told| &told.message).collect();
    let place = |message: &Message| {
        (
            message.start,
            message.end,
            message.first.frame,
            message.last.frame,
        )
    };
    assert_eq!(place(places[0]), (0, 14, 1, 2));
    assert_eq!(place(places[1]), (14, 28, 2, 3));
}

#[test]
fn inline_commands() {
    let script = [
        ">> \n\nping\nSET k \"a b\"\r\n \nGET k\n",
        "< +PONG\n+OK\n$3\na b\n",
    ];
    let driver = tell(&script);
    assert_eq!(
        driver.lines(),
        ["> PING", "> SET", "> GET", "<", "<", "< 1/1"]
    );
    assert_eq!(driver.requests(), ["ping", "SET k \"a b\"", "GET k"]);
    let start: Vec<u64> = driver.told.iter().map(|told| told.message.start).collect();
    assert_eq!(start[0], 4);
    // A server that cannot read quotes says so and closes.
    let script = [
        ">> set k \"open\n",
        "< -ERR Protocol error: unbalanced quotes in request\n",
    ];
    assert_eq!(told(&script), ["> SET", "< error ERR"]);
}

#[test]
fn arrays_of_nothing_are_nothing() {
    assert_eq!(
        told(&[">> *0\n*-1\n*1\n$4\nPING\n", "< +PONG\n"]),
        ["> PING", "<"]
    );
}

#[test]
fn limits_of_redis() {
    for bad in [
        "*1048577\r\n",
        "*x\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n$3\r\nGETX\r\n",
        "\x16\x03\x01\x02\r\n",
    ] {
        let mut driver = Driver::new();
        driver.request(words("PING")).request(bad);
        assert_eq!((driver.told.len(), driver.malformed), (1, 1), "{bad:?}");
        driver.request(words("GET a"));
        assert_eq!(driver.requests(), ["PING", "GET a"], "{bad:?}");
    }
    let mut driver = Driver::new();
    driver.request(vec![b'x'; 70_000]);
    assert_eq!(driver.malformed, 1);
    let mut driver = Driver::new();
    driver
        .request(b"*1048576\r\n")
        .request(b"$1\r\nx\r\n".repeat(1 << 20));
    assert_eq!((driver.told.len(), driver.malformed), (1, 0));
}

#[test]
fn a_transaction() {
    let script = [
        "> MULTI",
        "> GET a",
        "> BLPOP a 0",
        "> EXEC",
        "> GET a",
        "< +OK\n+QUEUED\n+QUEUED\n*2\n$-1\n*-1\n$-1\n",
    ];
    assert_eq!(
        told(&script),
        [
            "> MULTI", "> GET", "> BLPOP", "> EXEC", "> GET", "<", "<", "<", "<", "< 0/1"
        ]
    );
    let script = [
        "> MULTI",
        "> NOSUCH",
        "> EXEC",
        "< +OK\n-ERR unknown\n-EXECABORT Transaction discarded\n",
    ];
    assert_eq!(
        told(&script)[3..],
        ["<", "< error ERR", "< error EXECABORT"]
    );
    let script = [
        "> MULTI",
        "> GET a",
        "> DISCARD",
        "> GET a",
        "< +OK\n+QUEUED\n+OK\n$1\nx\n",
    ];
    assert_eq!(told(&script)[4..], ["<", "<", "<", "< 1/1"]);
}

#[test]
fn subscriptions_in_resp2() {
    let script = [
        "> SUBSCRIBE a b",
        "< *3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n",
        "< *3\n$7\nmessage\n$1\na\n$2\nhi\n",
        "> PSUBSCRIBE c*",
        "< *4\n$8\npmessage\n$2\nx*\n$1\na\n$2\nhi\n*3\n$10\npsubscribe\n$2\nc*\n:3\n",
        "> PING",
        "< *2\n$4\npong\n$0\n\n",
        "> UNSUBSCRIBE",
        "< *3\n$11\nunsubscribe\n$1\na\n:2\n",
        "< *3\n$7\nmessage\n$1\nb\n$2\nhi\n",
        "< *3\n$11\nunsubscribe\n$1\nb\n:1\n",
        "> PUNSUBSCRIBE c* d*",
        "< *3\n$12\npunsubscribe\n$2\nc*\n:0\n*3\n$12\npunsubscribe\n$2\nd*\n:0\n",
        "> UNSUBSCRIBE",
        "< *3\n$11\nunsubscribe\n$-1\n:0\n",
        "> LRANGE l 0 -1",
        "< *3\n$7\nmessage\n$1\na\n$1\nb\n",
    ];
    let expected = [
        "> SUBSCRIBE",
        "< more",
        "<",
        "< one way",
        "> PSUBSCRIBE",
        "< one way",
        "<",
        "> PING",
        "<",
        "> UNSUBSCRIBE",
        "< more",
        "< one way",
        "<",
        "> PUNSUBSCRIBE",
        "< more",
        "<",
        "> UNSUBSCRIBE",
        "<",
        "> LRANGE",
        "<",
    ];
    assert_eq!(told(&script), expected);
}

/// As redis-server 7.0.15 sent it. The whole of it is in the recording; here stands what is told.
#[test]
fn subscriptions_in_a_transaction() {
    let script = [
        "> MULTI",
        "> GET x",
        "> SUBSCRIBE a b",
        "> UNSUBSCRIBE",
        "> GET x",
        "> LRANGE l 0 -1",
        "> EXEC",
        "> GET x",
        "< +OK\n+QUEUED\n+QUEUED\n+QUEUED\n+QUEUED\n+QUEUED\n*5\n$-1\n*3\n$9\nsubscribe\n$1\na\n:1\n",
        "< *3\n$9\nsubscribe\n$1\nb\n:2\n*3\n$11\nunsubscribe\n$1\nb\n:1\n*3\n$11\nunsubscribe\n$1\na\n:0\n",
        "< $-1\n*1\n$1\ny\n$-1\n",
    ];
    let told = told(&script);
    assert_eq!(told[8..14], ["<"; 6]);
    assert_eq!(told[14..21], ["< more"; 7]);
    assert_eq!(told[21..], ["<", "< 0/1"]);
}

#[test]
fn a_transaction_that_subscribes_leaves_the_client_subscribed() {
    let array = "*1\n*3\n$9\nsubscribe\n$1\na\n:1\n";
    let push = "*1\n>3\n$9\nsubscribe\n$1\na\n:1\n";
    let message = "< *3\n$7\nmessage\n$1\na\n$2\nhi\n";
    for (exec, role) in [(array, "< one way"), (push, "<")] {
        let exec = format!("< +OK\n+QUEUED\n{exec}");
        let script = [
            "> MULTI",
            "> SUBSCRIBE a",
            "> EXEC",
            &exec,
            "> LRANGE l 0 -1",
            message,
        ];
        assert_eq!(
            told(&script)[3..],
            ["<", "<", "< more", "<", "> LRANGE", role]
        );
    }
}

#[test]
fn a_transaction_that_did_not_run_subscribes_to_nothing() {
    let message = "< *3\n$7\nmessage\n$1\na\n$2\nhi\n";
    for (end, reply, error) in [
        ("> DISCARD", "+OK", ""),
        ("> RESET", "+RESET", ""),
        ("> EXEC", "*-1", ""),
        ("> EXEC", "_", ""),
        (
            "> EXEC",
            "-EXECABORT Transaction discarded because of previous errors.",
            " error EXECABORT",
        ),
    ] {
        let reply = format!("< +OK\n+QUEUED\n+QUEUED\n{reply}\n");
        let script = [
            "> MULTI",
            "> SUBSCRIBE a b",
            "> UNSUBSCRIBE",
            end,
            &reply,
            "> LRANGE l 0 -1",
            message,
        ];
        let last = format!("<{error}");
        assert_eq!(
            told(&script)[4..],
            ["<", "<", "<", &last, "> LRANGE", "<"],
            "{end} {reply}"
        );
    }
}

/// The confirmations are all that comes.
#[test]
fn a_silent_transaction_that_subscribes() {
    let script = [
        "> CLIENT REPLY OFF",
        "> MULTI",
        "> SUBSCRIBE a b",
        "> GET x",
        "> EXEC",
        "< >3\n$9\nsubscribe\n$1\na\n:1\n>3\n$9\nsubscribe\n$1\nb\n:2\n",
        "> CLIENT REPLY ON",
        "< +OK\n",
    ];
    assert_eq!(
        told(&script)[3..],
        ["> GET one way", "> EXEC", "< more", "<", "> CLIENT", "<"]
    );
}

/// An array of two elements, of which none comes: the server was told to be silent by the first command. What
/// comes behind it cannot be told from elements.
#[test]
fn a_transaction_that_silences_the_server_is_no_certainty() {
    let script = [
        "> MULTI",
        "> CLIENT REPLY OFF",
        "> GET x",
        "> EXEC",
        "< +OK\n+QUEUED\n+QUEUED\n*2\n",
        "> CLIENT REPLY ON",
        "> GET x",
        "< +OK\n$-1\n",
    ];
    let driver = tell(&script);
    let unsure: Vec<_> = driver
        .told
        .iter()
        .filter(|told| told.message.has(Message::UNSURE))
        .collect();
    assert_eq!(unsure.len(), 1, "{:?}", driver.lines());
    assert_eq!(driver.told.last().map(Told::line), Some("<".to_owned()));
}

/// Another server may count otherwise.
#[test]
fn an_unknown_count_is_no_certainty() {
    let exec = "< +OK\n+QUEUED\n*7\n*3\n$9\nsubscribe\n$1\na\n:1\n";
    let driver = tell(&["> MULTI", "> SUBSCRIBE a", "> EXEC", exec]);
    assert!(driver.told[5].message.has(Message::UNSURE));
}

#[test]
fn a_refused_subscription_is_one_reply() {
    let script = [
        "> SUBSCRIBE a b c",
        "> GET a",
        "< -NOPERM No permissions to access a channel\n$1\nx\n",
    ];
    assert_eq!(
        told(&script),
        ["> SUBSCRIBE", "> GET", "< error NOPERM", "< 1/1"]
    );
}

#[test]
fn subscriptions_in_resp3() {
    let script = [
        "> HELLO 3",
        "< %1\n$6\nserver\n$5\nredis\n",
        "> SUBSCRIBE a b",
        "> GET k",
        "< >3\n$9\nsubscribe\n$1\na\n:1\n>3\n$9\nsubscribe\n$1\nb\n:2\n$1\nv\n",
        "< >3\n$7\nmessage\n$1\na\n$2\nhi\n",
        "> GET k",
        "< >2\n$10\ninvalidate\n*1\n$1\nk\n$1\nw\n",
        "> LRANGE l 0 -1",
        "< *3\n$7\nmessage\n$1\na\n$1\nb\n",
        "> UNSUBSCRIBE",
        "< >3\n$11\nunsubscribe\n$1\na\n:1\n>3\n$11\nunsubscribe\n$1\nb\n:0\n",
        "> SSUBSCRIBE s",
        "< >3\n$10\nssubscribe\n$1\ns\n:1\n",
        "< >3\n$12\nsunsubscribe\n$1\ns\n:0\n",
    ];
    let expected = [
        "> HELLO",
        "<",
        "> SUBSCRIBE",
        "> GET",
        "< more",
        "<",
        "< 1/1",
        "< one way",
        "> GET",
        "< one way",
        "< 1/1",
        "> LRANGE",
        "<",
        "> UNSUBSCRIBE",
        "< more",
        "<",
        "> SSUBSCRIBE",
        "<",
        "< one way",
    ];
    assert_eq!(told(&script), expected);
}

/// A server whose slot moved ends its subscriptions unasked, whatever waits.
#[test]
fn a_confirmation_of_something_else_is_unasked() {
    let subscribed = "< *3\n$10\nssubscribe\n$1\nb\n:1\n";
    let ended = "*3\n$12\nsunsubscribe\n$1\nb\n:0\n";
    let confirmed = "*3\n$9\nsubscribe\n$1\na\n:1\n";
    let pong = "*2\n$4\npong\n$0\n\n";
    for (request, reply) in [("> SUBSCRIBE a", confirmed), ("> PING", pong)] {
        let reply = format!("< {ended}{reply}");
        let script = ["> SSUBSCRIBE b", subscribed, request, &reply];
        assert_eq!(told(&script)[3..], ["< one way", "<"], "{request}");
    }
    let ended = format!("< {ended}");
    let script = [
        "> SSUBSCRIBE b",
        subscribed,
        &ended,
        "> SUNSUBSCRIBE b",
        &ended,
    ];
    assert_eq!(told(&script)[2..], ["< one way", "> SUNSUBSCRIBE", "<"]);
}

#[test]
fn attributes_belong_to_what_follows() {
    let driver = tell(&[
        "> GET a",
        "< |1\n+ttl\n:3600\n$1\nx\n",
        "> GET b",
        "< |1\n+ttl\n:1\n_\n",
    ]);
    assert_eq!(driver.lines(), ["> GET", "< 1/1", "> GET", "< 0/1"]);
    assert_eq!(driver.told[1].message.start, 0);
}

#[test]
fn monitor() {
    let script = [
        "> MONITOR",
        "< +OK\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\n",
        "< +1339518083.107413 [0 lua] \"get\" \"a\"\n",
        "> RESET",
        "< +RESET\n",
        "> PING",
        "< +PONG\n",
    ];
    assert_eq!(
        told(&script),
        [
            "> MONITOR",
            "<",
            "< one way",
            "< one way",
            "> RESET",
            "<",
            "> PING",
            "<"
        ]
    );
}

#[test]
fn client_reply() {
    let script = [
        "> CLIENT REPLY OFF",
        "> SET a 1",
        "> SET a 2",
        "> client reply on",
        "> GET a",
        "< +OK\n$1\n2\n",
        "> CLIENT REPLY SKIP",
        "> SET a 3",
        "> GET a",
        "< $1\n3\n",
        "> CLIENT REPLY SKIP",
        "> CLIENT REPLY ON",
        "> CLIENT ID",
        "< +OK\n:7\n",
    ];
    let expected = [
        "> CLIENT one way",
        "> SET one way",
        "> SET one way",
        "> CLIENT",
        "> GET",
        "<",
        "< 1/1",
        "> CLIENT one way",
        "> SET one way",
        "> GET",
        "< 1/1",
        "> CLIENT one way",
        "> CLIENT",
        "> CLIENT",
        "<",
        "<",
    ];
    let driver = tell(&script);
    assert_eq!(driver.lines(), expected);
    assert_eq!(driver.told[0].message.replies, 0);
    assert_eq!(driver.told[3].message.replies, 1);
}

#[test]
fn replication_links() {
    let driver = tell(&[
        "> PING",
        "< +PONG\n",
        "> REPLCONF listening-port 6380",
        "< +OK\n",
        "> REPLCONF capa eof capa psync2",
        "< +OK\n",
        "> PSYNC ? -1",
        "< +FULLRESYNC 5a0c1 0\n$175\nREDIS0009",
        "> REPLCONF ACK 0",
    ]);
    assert!(driver.opaque);
    assert_eq!(
        driver.lines(),
        [
            "> PING",
            "<",
            "> REPLCONF",
            "<",
            "> REPLCONF",
            "<",
            "> PSYNC",
            "<"
        ]
    );
    let mut driver = Driver::new();
    driver
        .request(b"SYNC\r\n")
        .response(b"\n")
        .response(b"\n")
        .response(b"$3")
        .response(b"2\r\nREDIS");
    assert!(driver.opaque);
    assert_eq!(driver.lines(), ["> SYNC", "<"]);
    assert_eq!(
        (driver.told[1].message.start, driver.told[1].message.end),
        (2, 7)
    );
    let driver = tell(&[
        "> PSYNC ? -1",
        "< -NOMASTERLINK Can't SYNC\n",
        "> REPLCONF ACK 1",
        "> GET a",
        "< $-1\n",
    ]);
    assert!(!driver.opaque);
    assert_eq!(
        driver.lines()[1..],
        [
            "< error NOMASTERLINK",
            "> REPLCONF one way",
            "> GET",
            "< 0/1"
        ]
    );
}

#[test]
fn a_script_that_says_so_begins_no_replication() {
    let driver = tell(&[
        "> EVAL return_redis.status_reply('CONTINUE') 0",
        "> GET a",
        "< +CONTINUE\n$1\nx\n",
    ]);
    assert!(!driver.opaque);
    assert_eq!(driver.lines(), ["> EVAL", "> GET", "<", "< 1/1"]);
    // Who asked for it may not have been seen.
    let driver = tell(&["< +CONTINUE\n"]);
    assert!(driver.opaque);
}

#[test]
fn blocking_commands() {
    for line in [
        "BLPOP a 0",
        "brpop a 0",
        "BRPOPLPUSH a b 0",
        "BLMOVE a b LEFT LEFT 0",
        "BLMPOP 0 1 a LEFT",
        "BZPOPMIN a 0",
        "BZPOPMAX a 0",
        "BZMPOP 0 1 a MIN",
        "WAIT 1 0",
        "WAITAOF 1 0 0",
        "XREAD COUNT 2 BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c block 5 STREAMS s >",
    ] {
        let mut driver = Driver::new();
        driver.request(words(line)).request(line).request("\r\n");
        for told in &driver.told {
            assert!(told.message.has(Message::BLOCKING), "{line}");
        }
        assert_eq!(driver.told.len(), 2, "{line}");
    }
    for line in [
        "XREAD STREAMS BLOCK 0",
        "XREAD COUNT BLOCK STREAMS s 0",
        "XREADGROUP GROUP BLOCK c STREAMS s >",
        "LPOP a",
        "CLIENT PAUSE 5",
    ] {
        let mut driver = Driver::new();
        driver.request(words(line)).request(line).request("\r\n");
        assert!(
            driver
                .told
                .iter()
                .all(|told| !told.message.has(Message::BLOCKING)),
            "{line}"
        );
    }
}

#[test]
fn errors_and_their_texts() {
    let script = [
        "> GET a",
        "> GET b",
        "> GET c",
        "< -MOVED 3999 127.0.0.1:6381\n!21\nSYNTAX invalid syntax\n-custom words\n",
    ];
    let driver = tell(&script);
    assert_eq!(
        driver.lines()[3..],
        ["< error MOVED", "< error SYNTAX", "< error other"]
    );
    let texts: Vec<_> = driver.told[3..]
        .iter()
        .map(|told| (told.text.as_slice(), told.message.text_len))
        .collect();
    let expected = [
        (&b"MOVED 3999 127.0.0.1:6381"[..], 25),
        (b"SYNTAX invalid syntax", 21),
        (b"custom words", 12),
    ];
    assert_eq!(texts, expected);
}

#[test]
fn hits_and_misses() {
    let script = [
        "> MGET a b c",
        "> HGET h f",
        "> SET k v NX",
        "> GET l",
        "> EXISTS a",
        "< *3\n$1\nx\n$-1\n$1\ny\n$-1\n$-1\n-WRONGTYPE Operation\n:0\n",
    ];
    assert_eq!(
        told(&script)[5..],
        ["< 2/3", "< 0/1", "<", "< error WRONGTYPE", "<"]
    );
}

#[test]
fn a_long_value_is_skipped() {
    let value = vec![b'v'; 1_000_000];
    let request = command(&[b"SET", b"k", &value]);
    let mut driver = Driver::without_text();
    driver.request(&request[..40]);
    driver.lose(Direction::ToServer, 900_000);
    driver.request(&request[900_040..]).response(b"+OK\r\n");
    assert_eq!(driver.lines(), ["> SET", "<"]);
    assert_eq!(
        (driver.told[0].message.end, driver.told[0].message.text_len),
        (request.len() as u64, 1_000_006)
    );
    // With text wanted the first bytes are, and the rest is not.
    let mut driver = Driver::new();
    driver.request(&request[..40]).request(&request[40..2000]);
    driver.lose(Direction::ToServer, 900_000);
    driver
        .request(&request[902_000..])
        .response(b"$1000000\r\n")
        .response(b"xx");
    driver.lose(Direction::ToClient, 999_998);
    driver.response(b"\r\n");
    assert_eq!(driver.lines(), ["> SET", "<"]);
    assert_eq!(driver.told[0].text, &request[..1024]);
    assert!(driver.requests()[0].starts_with("SET k vvvvvv"));
}

#[test]
fn what_is_no_message_where_one_must_begin_is_searched_past() {
    let request = command(&[b"SET", b"k", &[b'v'; 200]]);
    let mut driver = Driver::new();
    driver.request(&request[..60]);
    driver.lose(Direction::ToServer, request.len() as u64 - 60);
    driver.request("*none\r\n").request(command(&[b"PING"]));
    driver.response(b"$500\r\nabc");
    driver.lose(Direction::ToClient, 499);
    driver.response("?none\r\n").response("+PONG\r\n");
    assert_eq!(driver.lines(), ["> SET cut", "> PING", "< cut", "<"]);
    assert_eq!(driver.malformed, 0);
}

#[test]
fn what_was_cut_is_told_with_its_end() {
    // A snap length keeps the head of each segment.
    let request = command(&[b"SET", b"k", &[b'v'; 200]]);
    let mut driver = Driver::new();
    for _ in 0..2 {
        driver.request(&request[..60]);
        driver.lose(Direction::ToServer, request.len() as u64 - 60);
        driver.response(b"$500\r\nabc");
        driver.lose(Direction::ToClient, 499);
    }
    assert_eq!(driver.lines(), ["> SET cut", "< cut", "> SET cut", "< cut"]);
    let ends: Vec<_> = driver
        .told
        .iter()
        .map(|told| (told.message.start, told.message.end))
        .collect();
    let len = request.len() as u64;
    assert_eq!(ends, [(0, len), (0, 508), (len, 2 * len), (508, 1016)]);
    assert_eq!(
        driver.requests()[0],
        format!("SET k {}", "v".repeat(60 - 26))
    );
}

#[test]
fn a_server_that_speaks_first() {
    let script = ["< -DENIED Redis is running in protected mode.\n"];
    let driver = tell(&script);
    assert_eq!(driver.lines(), ["< error DENIED"]);
    assert_eq!(driver.told[0].message.role, Role::Response);
}

#[test]
fn joined_in_the_middle() {
    let mut driver = Driver::new().joined();
    driver
        .request(b"alue of something\r\n")
        .request(words("GET a"))
        .response(b"$1\r\nx\r\n");
    driver.response(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n");
    driver.response(b"+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n");
    assert_eq!(driver.lines(), ["> GET", "< 1/1", "< one way", "< one way"]);
    let mut driver = Driver::new().joined();
    driver
        .request(b"*2\r\n")
        .request(b"$3\r\nGE")
        .request(b"T\r\n$1\r\na\r\n");
    assert_eq!(driver.lines(), ["> GET"]);
    let mut driver = Driver::new().joined();
    driver
        .request(b"value\r\n*2\r\n$3")
        .request(b"\r\nGET\r\n$1\r\na\r\n");
    assert_eq!(driver.lines(), ["> GET"]);
    let mut driver = Driver::new().joined();
    driver.request(b"garbage\r\n").request(b"PING\r\n");
    assert_eq!(driver.lines(), ["> PING"]);
}

#[test]
fn a_conversation_is_small() {
    assert!(size_of::<crate::protocol::redis::RedisDissector>() <= 96);
}
