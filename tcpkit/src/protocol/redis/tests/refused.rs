//! What the server refuses to do is not what the client asked for: it answers, or does not, as if it had not been asked.
//! All that is said here is what redis-server 7.0.15 said.

use super::cases::tell;
use super::drive::{Driver, words};
use crate::protocol::Message;

/// What is told of the server, and whether it is certain.
fn answers(script: &[&str]) -> Vec<String> {
    let driver = tell(script);
    let lines = driver.lines();
    let told = lines.into_iter().zip(&driver.told);
    told.filter(|(line, _)| line.starts_with('<'))
        .map(|(line, told)| match told.message.has(Message::UNSURE) {
            true => format!("{line} unsure"),
            false => line,
        })
        .collect()
}

#[test]
fn client_reply_with_too_many_words_is_one_reply() {
    let script = [
        "> SET a hello",
        "> CLIENT REPLY SKIP now",
        "> GET nosuch",
        "> GET a",
        "< +OK\n-ERR wrong number of arguments for 'client|reply' command\n$-1\n$5\nhello\n",
        "> CLIENT REPLY OFF now",
        "> GET a",
        "< -ERR wrong number of arguments for 'client|reply' command\n$5\nhello\n",
    ];
    let driver = tell(&script);
    assert!(driver.lines().iter().all(|line| !line.contains("one way")));
    assert_eq!(
        answers(&script),
        ["<", "< error ERR", "< 0/1", "< 1/1", "< error ERR", "< 1/1"]
    );
    // Within a transaction it is an error like any other, and the transaction is not run.
    let script = [
        "> MULTI",
        "> CLIENT REPLY SKIP x",
        "> PING 1",
        "> EXEC",
        "> GET a",
        "< +OK\n-ERR wrong number of arguments for 'client|reply' command\n+QUEUED\n",
        "< -EXECABORT Transaction discarded because of previous errors.\n$5\nhello\n",
    ];
    assert_eq!(
        answers(&script),
        ["<", "< error ERR", "<", "< error EXECABORT", "< 1/1"]
    );
}

/// The words may also come in parts.
#[test]
fn client_reply_with_too_many_words_however_it_comes() {
    let request = words("CLIENT REPLY SKIP now");
    for len in 1..request.len() {
        let mut driver = Driver::new();
        let (first, rest) = request.split_at(len);
        driver.request(first).request(rest).request("GET a\r\n");
        assert_eq!(driver.lines(), ["> CLIENT", "> GET"], "{len}");
    }
    let driver = tell(&[">> CLIENT REPLY SKIP now\nGET a\n"]);
    assert_eq!(driver.lines(), ["> CLIENT", "> GET"]);
}

/// Who asked behind it has no response of its own to wait for, or one that comes later than it seems.
#[test]
fn a_refused_client_reply_is_no_certainty() {
    let noauth = "-NOAUTH Authentication required.\n";
    let noauths = format!("< {}", noauth.repeat(3));
    let script = ["> CLIENT REPLY SKIP", "> SET a 1", "> GET b", &noauths];
    assert_eq!(
        answers(&script),
        ["< error NOAUTH unsure", "< error NOAUTH", "< error NOAUTH"]
    );
    let noperm = "-NOPERM this user has no permissions to run the 'client|reply' command\n";
    // Requests before it are answered as ever.
    let refusal = format!("< $1\nx\n{noperm}$1\ny\n$1\nz\n");
    for reply in ["> CLIENT REPLY SKIP", "> CLIENT REPLY OFF"] {
        let script = ["> GET x", reply, "> GET y", "> GET z", &refusal];
        assert_eq!(
            answers(&script)[..2],
            ["< 1/1", "< error NOPERM unsure"],
            "{reply}"
        );
    }
    // Nothing was silenced: all is as if it had not been said.
    let refusal = format!("< {noperm}");
    let script = ["> CLIENT REPLY OFF", &refusal, "> GET y", "< $1\ny\n"];
    assert_eq!(answers(&script), ["< error NOPERM", "< 1/1"]);
    let script = ["> CLIENT REPLY OFF", "> GET x", &refusal];
    assert_eq!(answers(&script), ["< error NOPERM unsure"]);
    // A subscribed client may not ask for it.
    let script = [
        "> SUBSCRIBE x",
        "< *3\n$9\nsubscribe\n$1\nx\n:1\n",
        "> CLIENT REPLY SKIP",
        "> PING a",
        "> PING b",
        "< -ERR Can't execute 'client|reply': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\n",
    ];
    assert_eq!(answers(&script)[1..], ["< error ERR unsure"]);
}

#[test]
fn errors_behind_an_obeyed_client_reply_are_the_requests_own() {
    let script = [
        "> CLIENT REPLY SKIP",
        "> SET a 1",
        "> INCR str",
        "> GET secret",
        "> GET a",
        "< -ERR value is not an integer or out of range\n-NOPERM this user has no permissions to access one of the keys\n$1\n1\n",
        "> CLIENT REPLY SKIP",
        "> SET a 1",
        "> GET a",
        "< $1\n1\n",
        "> CLIENT LIST x",
        "< -ERR wrong number of arguments for 'client|list' command\n",
    ];
    assert_eq!(
        answers(&script),
        [
            "< error ERR",
            "< error NOPERM",
            "< 1/1",
            "< 1/1",
            "< error ERR"
        ]
    );
}

const NO_MULTI: &str = "-NOPERM this user has no permissions to run the 'multi' command\n";

/// Were it a transaction, SUBSCRIBE would have one response.
#[test]
fn what_depends_on_a_refused_multi_is_no_certainty() {
    let refusal =
        format!("< {NO_MULTI}$1\nx\n*3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n");
    let script = [
        "> MULTI",
        "> GET x",
        "> SUBSCRIBE a b",
        "> PING",
        &refusal,
        "< *2\n$4\npong\n$0\n\n",
    ];
    assert_eq!(answers(&script)[..3], ["< error NOPERM", "<", "< unsure"]);
    // A subscribed client may not ask for it.
    let script = [
        "> SUBSCRIBE x",
        "< *3\n$9\nsubscribe\n$1\nx\n:1\n",
        "> MULTI",
        "> SUBSCRIBE a b",
        "> PING hey",
        "< -ERR Can't execute 'multi': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\n",
        "< *3\n$9\nsubscribe\n$1\na\n:2\n*3\n$9\nsubscribe\n$1\nb\n:3\n*2\n$4\npong\n$3\nhey\n",
    ];
    assert_eq!(answers(&script)[1..3], ["< error ERR", "< unsure"]);
    // So it is where the refusal is not sent, and in RESP3.
    for kind in ['*', '>'] {
        let confirmed = format!("< {kind}3\n$9\nsubscribe\n$1\na\n:1\n$1\nx\n");
        let script = [
            "> CLIENT REPLY SKIP",
            "> MULTI",
            "> SUBSCRIBE a",
            "> GET x",
            &confirmed,
        ];
        assert_eq!(answers(&script)[0], "< unsure", "{kind}");
    }
    // So it is where something was lost before.
    let mut driver = Driver::new().joined();
    driver.request(words("PING")).response("+PONG\r\n");
    driver.request(words("MULTI"));
    driver
        .request(words("SUBSCRIBE a b"))
        .request(words("PING"));
    driver.response(NO_MULTI.replace('\n', "\r\n"));
    driver.response("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    let last = driver
        .told
        .last()
        .map(|told| told.message.has(Message::UNSURE));
    assert_eq!(last, Some(true), "{:?}", driver.lines());
}

/// Nothing has to be seen of it: so it is also where the error is not sent.
#[test]
fn too_many_arguments_begin_and_end_no_transaction() {
    let confirmed = "*3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n";
    let reply = format!("< -ERR wrong number of arguments for 'multi' command\n{confirmed}");
    let script = ["> MULTI x", "> SUBSCRIBE a b", &reply];
    assert_eq!(answers(&script), ["< error ERR", "< more", "<"]);
    let reply = format!("< {confirmed}");
    let script = [
        "> CLIENT REPLY SKIP",
        "> MULTI x",
        "> SUBSCRIBE a b",
        &reply,
    ];
    assert_eq!(answers(&script), ["< more", "<"]);
    for end in ["> DISCARD x", "> RESET x"] {
        let script = [
            "> MULTI",
            end,
            "> SUBSCRIBE a b",
            "> EXEC",
            "< +OK\n-ERR wrong number of arguments for this command\n+QUEUED\n",
            "< -EXECABORT Transaction discarded because of previous errors.\n",
        ];
        assert_eq!(
            answers(&script),
            ["<", "< error ERR", "<", "< error EXECABORT"],
            "{end}"
        );
    }
}

/// The server is silent for one request, and the next response is not the one that CLIENT waits for.
#[test]
fn client_reply_behind_a_refused_multi_is_no_certainty() {
    let refusal = format!("< {NO_MULTI}:5\n");
    for reply in ["> CLIENT REPLY SKIP", "> CLIENT REPLY OFF", "> MONITOR"] {
        let script = ["> MULTI", reply, "> INCR a", "> INCR b", &refusal];
        assert_eq!(answers(&script), ["< error NOPERM", "< unsure"], "{reply}");
    }
}

#[test]
fn behind_a_refused_multi_there_is_no_transaction() {
    let refusal = format!("< {NO_MULTI}");
    let script = [
        "> MULTI",
        &refusal,
        "> SUBSCRIBE a b",
        "< *3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n",
        "> PING",
        "< *2\n$4\npong\n$0\n\n",
    ];
    assert_eq!(answers(&script), ["< error NOPERM", "< more", "<", "<"]);
    // Nothing in it depends on it, and the next one is one.
    let refusal = format!("< {NO_MULTI}+OK\n-ERR EXEC without MULTI\n");
    let script = [
        "> MULTI",
        "> SET a 1",
        "> EXEC",
        "> MULTI",
        "> SUBSCRIBE a b",
        &refusal,
        "> EXEC",
        "< +OK\n+QUEUED\n*1\n*3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n",
    ];
    assert_eq!(
        answers(&script),
        [
            "< error NOPERM",
            "<",
            "< error ERR",
            "<",
            "<",
            "< more",
            "< more",
            "<"
        ]
    );
    // Errors of others are none of MULTI.
    let script = [
        "> MULTI",
        "> INCR",
        "> SUBSCRIBE a b",
        "> EXEC",
        "< +OK\n-ERR wrong number of arguments for 'incr' command\n+QUEUED\n",
        "< -EXECABORT Transaction discarded because of previous errors.\n",
    ];
    assert_eq!(
        answers(&script),
        ["<", "< error ERR", "<", "< error EXECABORT"]
    );
}

/// It is answered at once, and is no element of EXEC's response.
#[test]
fn watch_within_a_transaction_is_no_part_of_it() {
    let script = [
        "> MULTI",
        "> WATCH k",
        "> SUBSCRIBE c",
        "> EXEC",
        "> PING",
        "< +OK\n-ERR WATCH inside MULTI is not allowed\n+QUEUED\n*1\n*3\n$9\nsubscribe\n$1\nc\n:1\n*2\n$4\npong\n$0\n\n",
    ];
    assert_eq!(
        answers(&script),
        ["<", "< error ERR", "<", "< more", "<", "<"]
    );
}

/// EXEC did what it could: so it is where the transaction does not subscribe, and the array is told in one piece.
#[test]
fn what_fails_within_a_transaction_is_no_failure_of_exec() {
    let failed = "-ERR value is not an integer or out of range\n";
    let head = "*3\n$9\nsubscribe\n$1\nc\n:1\n";
    let exec = format!("< +OK\n+QUEUED\n+QUEUED\n*2\n{head}{failed}");
    let script = ["> MULTI", "> SUBSCRIBE c", "> INCR str", "> EXEC", &exec];
    assert_eq!(answers(&script)[3..], ["< more", "< more", "<"]);
    let exec = format!("< +OK\n+QUEUED\n*1\n{failed}");
    let script = ["> MULTI", "> INCR str", "> EXEC", &exec];
    assert_eq!(answers(&script)[2..], ["<"]);
    let denied = "-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\n";
    let exec = format!("< +OK\n+QUEUED\n*1\n{denied}$1\nx\n");
    let script = ["> MULTI", "> SSUBSCRIBE c", "> EXEC", "> GET a", &exec];
    assert_eq!(answers(&script)[2..], ["< more", "<", "< 1/1"]);
}
