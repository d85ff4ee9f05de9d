//! What the server refuses to do is not what the client asked for: it answers, or does not, as if it had not been asked.
//! All that is said here is what redis-server 7.0.15 said.

use super::cases::tell;
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
