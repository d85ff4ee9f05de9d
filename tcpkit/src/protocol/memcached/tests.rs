#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::flow::Direction::{self, ToClient, ToServer};
use crate::protocol::testing::{Driver, Pair, Pairs, rendered};
use crate::protocol::{Mark, Message, Role, Text};

fn tcp() -> Driver {
    Driver::new(&Memcached, Transport::Tcp)
}

fn udp() -> Driver {
    Driver::new(&Memcached, Transport::Udp)
}

/// Requests in one segment, responses in one segment.
fn talk(requests: &[u8], responses: &[u8]) -> Pairs {
    let mut driver = tcp();
    driver.ask(requests).reply(responses);
    assert_eq!(driver.refused, [""; 0]);
    driver.pairs()
}

/// `request => status [hits/misses]` of each pair.
fn lines(pairs: &Pairs) -> Vec<String> {
    let line = |pair: &Pair| {
        let (asked, _) = rendered(&Memcached, &pair.asked, 255);
        let status = Memcached.status(pair.response.status);
        let (hits, misses) = (pair.response.hits, pair.response.misses);
        let counts = if hits + misses > 0 {
            format!(" {hits}/{misses}")
        } else {
            String::new()
        };
        format!("{asked} => {status}{counts}")
    };
    pairs.made.iter().map(line).collect()
}

// --- conversations recorded from a server -------------------------------------------------------

/// A recorded conversation, and what client and server knew of it.
struct Recorded {
    segments: Vec<(Direction, Vec<u8>)>,
    answered: BTreeMap<String, usize>,
    quiet: usize,
    one_way: usize,
    stats: BTreeMap<String, u32>,
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        match (first, more) {
            (b'\\', [b'x', high, low, more @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = more;
            }
            (b'\\', [_, more @ ..]) => {
                bytes.push(b'\\');
                rest = more;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn recorded(file: &str) -> Recorded {
    let mut recorded = Recorded {
        segments: Vec::new(),
        answered: BTreeMap::new(),
        quiet: 0,
        one_way: 0,
        stats: BTreeMap::new(),
    };
    for line in file.lines() {
        let (mark, rest) = line.split_once(' ').unwrap();
        match mark {
            ">" => recorded.segments.push((ToServer, unescape(rest))),
            "<" => recorded.segments.push((ToClient, unescape(rest))),
            "=" => {
                let mut words = rest.split(' ');
                let (kind, name) = (words.next().unwrap(), words.next().unwrap());
                let count: usize = words.next().unwrap().parse().unwrap();
                match kind {
                    "answered" => drop(recorded.answered.insert(name.to_owned(), count)),
                    "quiet" => recorded.quiet += count,
                    "one-way" => recorded.one_way += count,
                    _ => drop(recorded.stats.insert(name.to_owned(), count as u32)),
                }
            }
            _ => {}
        }
    }
    recorded
}

fn check(file: &str, mut driver: Driver) {
    let recorded = recorded(file);
    for (direction, bytes) in &recorded.segments {
        driver.feed(*direction, bytes);
    }
    driver.close();
    assert_eq!(driver.refused, [""; 0]);
    let pairs = driver.pairs();
    assert_eq!(
        (pairs.unanswered, pairs.orphans),
        (0, 0),
        "{:#?}",
        lines(&pairs)
    );
    assert_eq!(pairs.one_way, recorded.one_way, "{:#?}", lines(&pairs));
    let mut answered: BTreeMap<String, usize> = BTreeMap::new();
    let mut heard = 0;
    for pair in pairs
        .made
        .iter()
        .filter(|pair| !pair.response.has(Message::MORE))
    {
        if pair.request.has(Message::QUIET) && pair.request.command != command("shutdown") {
            heard += 1;
            continue;
        }
        let label = Memcached.commands()[usize::from(pair.request.command)];
        *answered.entry(label.to_owned()).or_default() += 1;
    }
    assert_eq!(answered, recorded.answered);
    assert!(heard <= recorded.quiet);
    if let (Some(hits), Some(misses)) = (
        recorded.stats.get("get_hits"),
        recorded.stats.get("get_misses"),
    ) {
        let sum = |field: fn(&Message) -> u32| -> u32 {
            pairs.made.iter().map(|pair| field(&pair.response)).sum()
        };
        assert_eq!(
            (sum(|m| m.hits), sum(|m| m.misses)),
            (*hits, *misses),
            "{:#?}",
            lines(&pairs)
        );
    }
}

fn command(name: &str) -> u16 {
    Memcached
        .commands()
        .iter()
        .position(|label| *label == name)
        .unwrap() as u16
}

#[test]
fn a_recorded_text_conversation_gives_what_client_and_server_counted() {
    check(include_str!("recorded/text.txt"), tcp());
}

#[test]
fn a_recorded_meta_conversation_gives_what_client_and_server_counted() {
    check(include_str!("recorded/meta.txt"), tcp());
}

#[test]
fn a_recorded_binary_conversation_gives_what_its_client_counted() {
    check(include_str!("recorded/binary.txt"), tcp());
}

#[test]
fn a_binary_conversation_without_opaques_gives_the_same() {
    check(include_str!("recorded/binary-zero.txt"), tcp());
}

#[test]
fn a_recorded_udp_conversation_gives_what_client_and_server_counted() {
    check(include_str!("recorded/udp.txt"), udp());
}

// --- text --------------------------------------------------------------------------------------

#[test]
fn a_get_of_many_keys_is_one_exchange_with_hits_and_misses() {
    let pairs = talk(
        b"get a b c\r\ngets x\r\n",
        b"VALUE a 0 5\r\nEND\r\n\r\nVALUE c 1 0\r\n\r\nEND\r\nEND\r\n",
    );
    assert_eq!(lines(&pairs), ["get a b c => OK 2/1", "gets x => OK 0/1"]);
}

#[test]
fn noreply_and_quit_are_one_way() {
    let mut driver = tcp();
    driver.ask(b"set a 0 0 1 noreply\r\nx\r\nincr a 1 noreply\r\nflush_all noreply\r\nquit\r\n");
    assert_eq!(driver.pairs().one_way, 4);
    assert_eq!(driver.pairs().unanswered, 0);
}

/// Asks and hears one after the other, and says what became of it.
fn in_turn(turns: &[(&str, &str)]) -> Vec<String> {
    let mut driver = tcp();
    for (asked, said) in turns {
        driver.ask(asked.as_bytes()).reply(said.as_bytes());
    }
    assert_eq!(driver.refused, [""; 0]);
    assert!(certain(&driver).iter().all(|certain| *certain));
    lines(&driver.pairs())
}

/// What a server says to commands that end in `noreply`, each alone.
#[test]
fn noreply_is_heard_where_the_command_has_it() {
    let silent = [
        "touch a noreply",
        "touch a x noreply",
        "incr a noreply",
        "incr a 1 noreply",
        "decr a 1 noreply ",
        "delete a noreply",
        "delete a 1 noreply",
        "verbosity noreply",
        "verbosity 0 noreply",
        "flush_all x noreply",
        "cache_memlimit 64 noreply",
        "set a 0 0 noreply",
        "set a 0 0 -1 noreply",
        "cas a 0 0 1 noreply",
    ];
    for asked in silent {
        let mut driver = tcp();
        driver.ask(b"get a\r\n").reply(b"END\r\n");
        driver.ask(format!("{asked}\r\nget a\r\n").as_bytes());
        driver.reply(b"END\r\n");
        let pairs = driver.pairs();
        assert_eq!(pairs.one_way, 1, "{asked}");
        assert_eq!(lines(&pairs), ["get a => OK 0/1"; 2], "{asked}");
    }
    let answered = [
        ("touch noreply", "ERROR"),
        ("touch a 0 0 noreply", "ERROR"),
        ("incr noreply", "ERROR"),
        ("incr a 1 2 noreply", "ERROR"),
        ("delete noreply", "NOT_FOUND"),
        ("delete a 1 2 noreply", "ERROR"),
        ("verbosity 0 0 noreply", "ERROR"),
        ("flush_all 0 0 noreply", "ERROR"),
        ("cache_memlimit 64 0 noreply", "ERROR"),
        ("set a 0 noreply", "ERROR"),
        ("cas a 0 0 noreply", "ERROR"),
    ];
    for (asked, said) in answered {
        let requests = format!("{asked}\r\nget a\r\n");
        let pairs = talk(requests.as_bytes(), format!("{said}\r\nEND\r\n").as_bytes());
        let expected = [format!("{asked} => {said}"), "get a => OK 0/1".to_owned()];
        assert_eq!(lines(&pairs), expected);
    }
}

/// Some of them know the word: `lru mode noreply` is silent, `slabs reassign 1 2 noreply` an error.
#[test]
fn an_administrators_noreply_may_be_answered() {
    for said in ["", "ERROR\r\n"] {
        let mut driver = tcp();
        driver
            .ask(b"lru mode noreply\r\n")
            .reply(said.as_bytes())
            .ask(b"get a\r\n")
            .reply(b"END\r\n");
        let pairs = driver.pairs();
        assert_eq!(lines(&pairs).last().unwrap(), "get a => OK 0/1");
        assert_eq!((pairs.orphans, pairs.unanswered), (0, 0));
    }
}

/// `stats sizes_enable` and `sizes_disable` are answered without an `END`, `stats sizes` with one.
#[test]
fn statistics_of_sizes_end_where_the_server_ends_them() {
    let disabled = "STAT sizes_status disabled\r\n";
    let error = "STAT sizes_status error\r\nSTAT sizes_error cas_support_disabled\r\n";
    let turns = [
        ("stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n"),
        ("stats sizes_enable\r\n", "STAT sizes_status enabled\r\n"),
        ("get a\r\n", "END\r\n"),
        ("stats sizes\r\n", "STAT 64 3\r\nEND\r\n"),
        ("stats sizes_disable\r\n", disabled),
        ("get b\r\n", "END\r\n"),
        ("stats sizes_enable\r\n", error),
        ("get c\r\n", "END\r\n"),
    ];
    let said = in_turn(&turns);
    assert_eq!(said.len(), turns.len(), "{said:#?}");
    for ((asked, _), line) in turns.iter().zip(&said) {
        assert!(line.starts_with(asked.trim_end()), "{said:#?}");
    }
    let [requests, responses] =
        [0, 1].map(|side| turns.map(|(asked, said)| [asked, said][side]).concat());
    let pairs = talk(requests.as_bytes(), responses.as_bytes());
    assert_eq!(lines(&pairs), said);
}

#[test]
fn a_key_called_noreply_is_a_key() {
    let pairs = talk(b"get noreply\r\n", b"END\r\n");
    assert_eq!(lines(&pairs), ["get noreply => OK 0/1"]);
}

#[test]
fn errors_carry_their_text() {
    let pairs = talk(b"set a 0 0 x\r\nincr a 1\r\nfoo\r\n",
        b"CLIENT_ERROR bad command line format\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\nERROR\r\n");
    assert!(
        pairs
            .made
            .iter()
            .all(|pair| pair.response.has(Message::ERROR))
    );
    assert_eq!(pairs.made[0].text, b"bad command line format");
    assert_eq!(pairs.made[2].text, b"");
    assert_eq!(lines(&pairs)[2], "foo => ERROR");
}

#[test]
fn outcomes_are_no_errors() {
    let pairs = talk(
        b"add a 0 0 0\r\n\r\ncas a 0 0 0 1\r\n\r\ndelete a\r\n",
        b"NOT_STORED\r\nEXISTS\r\nNOT_FOUND\r\n",
    );
    assert!(
        pairs
            .made
            .iter()
            .all(|pair| !pair.response.has(Message::ERROR))
    );
    assert_eq!(lines(&pairs)[0], "add a 0 0 0 => NOT_STORED");
}

#[test]
fn a_value_that_the_server_swallows_is_stepped_over() {
    let mut driver = tcp();
    driver.ask(b"set a 0 0 2000000\r\n");
    for _ in 0..20 {
        driver.ask(&[b'y'; 100_000]);
    }
    driver
        .ask(b"\r\nget a\r\n")
        .reply(b"SERVER_ERROR object too large for cache\r\nEND\r\n");
    let pairs = driver.pairs();
    assert_eq!(
        lines(&pairs),
        ["set a 0 0 2000000 => SERVER_ERROR", "get a => OK 0/1"]
    );
    assert_eq!(pairs.made[0].request.end, 19 + 2_000_000 + 2);
    assert_eq!(pairs.made[0].request.last.frame, 22);
}

#[test]
fn the_credentials_of_a_first_set_are_not_shown() {
    let mut driver = tcp();
    driver
        .ask(b"set auth 0 0 9\r\nuser hush\r\n")
        .reply(b"STORED\r\n");
    assert_eq!(lines(&driver.pairs()), ["set auth 0 0 9 => OK"]);
    assert!(driver.told.iter().all(|(_, text)| !text.ends_with(b"hush")));
}

/// What a server with `-Y` takes for credentials, and one without takes for a command and another, of which only the
/// second is answered where there is `noreply`.
#[test]
fn the_credentials_of_a_malformed_set_are_not_shown() {
    let long = format!("set {} 0 0 9", "k".repeat(300));
    for set in [
        "set a x y 9",
        "set a x y 9 noreply",
        "set a 0 0 9 b c d",
        "set a 0 0 x",
        "set a 0 0",
        &long,
    ] {
        for said in ["STORED\r\n", "CLIENT_ERROR x\r\nERROR\r\n"] {
            let mut driver = tcp();
            driver.ask(format!("{set}\r\nuser hush\r\n").as_bytes());
            driver.reply(said.as_bytes());
            driver.ask(b"get a\r\n").reply(b"END\r\n");
            let told = &driver.told;
            let shows = |text: &[u8]| text.windows(4).any(|part| part == b"hush");
            assert!(!told.iter().any(|(_, text)| shows(text)), "{set}");
            let pairs = driver.pairs();
            assert_eq!(lines(&pairs).last().unwrap(), "get a => OK 0/1", "{set}");
            assert_eq!((pairs.orphans, pairs.unanswered), (0, 0), "{set}");
        }
    }
    let mut driver = tcp();
    driver
        .ask(b"set a x y 10\r\nstats hush\r\n")
        .reply(b"STORED\r\n");
    assert!(driver.told.iter().all(|(_, text)| !text.ends_with(b"hush")));
    let mut driver = tcp();
    driver.ask(b"set a 0 0 4\r\nuser hush\r\n");
    assert!(driver.told.iter().all(|(_, text)| !text.ends_with(b"sh")));
}

/// Once the server has answered it is known to want no credentials, and what is said to it is shown.
#[test]
fn what_follows_an_answer_is_no_secret() {
    let turns = [
        ("get a\r\n", "END\r\n"),
        (
            "set a x y 9\r\n",
            "CLIENT_ERROR bad command line format\r\n",
        ),
        ("user pass\r\n", "ERROR\r\n"),
    ];
    assert_eq!(in_turn(&turns)[2], "user pass => ERROR");
}

/// A server with `-Y` answers the `set` that logs in, whatever it says; one without does as it is told.
#[test]
fn a_set_that_may_log_in_may_be_answered() {
    let mut driver = tcp();
    driver
        .ask(b"set a 0 0 9 noreply\r\nuser")
        .ask(b" pass\r\n")
        .reply(b"STORED\r\n")
        .ask(b"set b 0 0 1\r\nx\r\n")
        .reply(b"NOT_STORED\r\n");
    let expected = ["set a 0 0 9 noreply => OK", "set b 0 0 1 => NOT_STORED"];
    assert_eq!(lines(&driver.pairs()), expected);
    assert_eq!(certain(&driver), [true, true]);
    assert!(driver.told.iter().all(|(_, text)| !text.ends_with(b"pass")));

    let mut driver = tcp();
    driver
        .ask(b"set a 0 0 9 noreply\r\nuser pass\r\nset b 0 0 1\r\nx\r\n")
        .reply(b"STORED\r\n");
    assert_eq!(certain(&driver), [false]);

    let mut driver = tcp();
    driver
        .ask(b"set a 0 0 9 noreply\r\nuser pass\r\nget b\r\n")
        .reply(b"END\r\n");
    assert_eq!(lines(&driver.pairs()), ["get b => OK 0/1"]);
    assert_eq!(certain(&driver), [true]);
}

/// What is too much of its data is a line of its own, to which such a server says its error.
#[test]
fn what_a_first_set_leaves_over_is_answered_once() {
    let mut driver = tcp();
    driver
        .ask(b"set a 0 0 1 noreply\r\nxyz\r\nget a\r\n")
        .reply(b"ERROR\r\nEND\r\n");
    assert_eq!(certain(&driver), [true, true]);
    assert_eq!(lines(&driver.pairs())[1], "get a => OK 0/1");
}

/// Data of one word are no name and password.
#[test]
fn a_first_set_without_a_password_is_one_way() {
    let mut driver = tcp();
    driver.ask(b"set a 0 0 5 noreply\r\nvalue\r\nset b 0 0 1\r\nx\r\n");
    driver.reply(b"STORED\r\n");
    assert_eq!(driver.pairs().one_way, 1);
    assert_eq!(lines(&driver.pairs()), ["set b 0 0 1 => OK"]);
    assert_eq!(certain(&driver), [true]);
}

/// All that comes at once before the credentials is answered by one line.
#[test]
fn what_is_refused_together_is_unsure() {
    let mut driver = tcp();
    driver
        .ask(b"get a\r\nget b\r\n")
        .reply(b"CLIENT_ERROR unauthenticated\r\n")
        .ask(b"set a 0 0 9\r\nuser pass\r\n")
        .reply(b"STORED\r\n");
    assert_eq!(certain(&driver), [false, true]);
    let mut driver = tcp();
    driver
        .ask(b"get a\r\nset a 0 0 9\r\nuser pass\r\n")
        .reply(b"STORED\r\n");
    assert_eq!(certain(&driver), [false]);
}

#[test]
fn a_watcher_ends_the_conversation() {
    let mut driver = tcp();
    driver
        .ask(b"watch fetchers\r\n")
        .reply(b"OK\r\nts=1 gid=2 type=item_get\r\n");
    assert_eq!(driver.refused, ["watch"]);
    assert_eq!(lines(&driver.pairs()), ["watch fetchers => OK"]);
}

#[test]
fn a_watcher_joined_late_is_known_by_its_lines() {
    let mut driver = tcp();
    driver.reply(b"ts=1.2 gid=2 type=item_get key=a\r\n");
    assert_eq!(driver.refused, ["watch"]);
}

#[test]
fn a_response_cut_by_the_end_is_told_as_cut() {
    let mut driver = tcp();
    driver
        .ask(b"get a b\r\n")
        .reply(b"VALUE a 0 100\r\nxx")
        .close();
    let pairs = driver.pairs();
    assert!(pairs.made[0].response.has(Message::CUT));
    assert_eq!(pairs.made[0].response.hits, 1);
}

#[test]
fn a_request_cut_by_a_gap_is_told_as_cut() {
    let mut driver = tcp();
    driver.ask(b"set a 0 0 10\r\nxxxx").lose(ToServer, 12);
    let told = driver.whole();
    assert!(told[0].0.has(Message::CUT));
}

#[test]
fn what_began_as_a_packet_and_is_none_is_searched_from_its_beginning() {
    // A key longer than the body that holds it, once the header is whole.
    let broken = |magic: u8, line: &[u8]| [&[magic, 0, 0, 5], &[0; 8][..], b"\r\n", line].concat();
    let mut driver = tcp();
    driver.ask(&broken(binary::REQUEST, b"get a\r\n"));
    driver.ask(b"get b\r\nget c\r\n");
    driver.reply(&broken(binary::RESPONSE, b"END\r\n"));
    driver.reply(b"END\r\nEND\r\n");
    let told = driver.whole();
    let count = |role| {
        told.iter()
            .filter(|(message, _)| message.role == role)
            .count()
    };
    assert_eq!((count(Role::Request), count(Role::Response)), (3, 3));
}

#[test]
fn a_gap_in_a_data_block_costs_nothing() {
    let mut driver = tcp();
    driver
        .ask(b"get a\r\nget b\r\n")
        .reply(b"VALUE a 0 5000\r\nzz")
        .lose(ToClient, 4000);
    driver.reply(&[b'z'; 998]).reply(b"\r\nEND\r\nEND\r\n");
    assert_eq!(
        lines(&driver.pairs()),
        ["get a => OK 1/0", "get b => OK 0/1"]
    );
}

/// What a snap length leaves: heads whole, and of data blocks the beginning.
#[test]
fn what_is_cut_off_behind_a_data_block_is_known() {
    let mut driver = tcp();
    driver.ask(b"set a 0 0 900\r\nxx").lose(ToServer, 900);
    driver.reply(b"STORED\r\n");
    driver.ask(b"get a\r\n").reply(b"VALUE a 0 900\r\nxx");
    driver.lose(ToClient, 898 + 7);
    driver.ask(b"mg a v\r\n").reply(b"VA 900\r\nxx");
    driver.lose(ToClient, 898 + 2);
    driver
        .ask(b"get b c\r\n")
        .reply(b"VALUE b 0 2\r\nxx\r\nVALUE c 0 900\r\n");
    driver.lose(ToClient, 900 + 7);
    driver.ask(b"version\r\n").reply(b"VERSION 1.6.18\r\n");
    let pairs = driver.pairs();
    let expected = [
        "set a 0 0 900 => OK",
        "get a => OK 1/0",
        "mg a v => OK 1/0",
        "get b c => OK 2/0",
        "version => OK",
    ];
    assert_eq!(lines(&pairs), expected);
    let broken = Message::CUT | Message::UNSURE;
    assert!(pairs.made.iter().all(|pair| !pair.response.has(broken)));
}

/// Five bytes may be `END` and its line end, or the beginning of the next item.
#[test]
fn what_is_cut_off_before_all_keys_have_come_is_not_known() {
    let mut driver = tcp();
    driver.ask(b"get a b\r\n").reply(b"VALUE a 0 900\r\nxx");
    driver.lose(ToClient, 898 + 7);
    driver.reply(b" b 0 1\r\nx\r\nEND\r\n");
    assert!(
        driver
            .pairs()
            .made
            .iter()
            .all(|pair| pair.response.has(Message::CUT))
    );
}

// --- meta --------------------------------------------------------------------------------------

#[test]
fn a_silent_quiet_request_does_not_take_the_next_ones_response() {
    let pairs = talk(
        b"mg a v q k\r\nmg b v q k\r\nmn\r\n",
        b"VA 1 kb\r\nx\r\nMN\r\n",
    );
    assert_eq!(lines(&pairs), ["mg b v q k => OK 1/1", "mn => OK"]);
    assert_eq!(pairs.silent, 0);
}

#[test]
fn keys_that_were_found_for_nobody_in_particular_are_no_misses() {
    let pairs = talk(
        b"mg a v q\r\nmg b v q\r\nmg c v q\r\nmn\r\nmg d v q\r\nmg e v q\r\nmn\r\n",
        b"VA 1\r\nx\r\nMN\r\nMN\r\n",
    );
    assert_eq!(lines(&pairs), ["mn => OK 1/2", "mn => OK 0/2"]);
}

#[test]
fn the_opaque_flag_tells_quiet_requests_apart() {
    let pairs = talk(
        b"ms a 1 ME q O1\r\nx\r\nms b 1 ME q O2\r\nx\r\nms c 1 O3\r\nx\r\n",
        b"NS O2\r\nNS O3\r\n",
    );
    assert_eq!(
        lines(&pairs),
        ["ms b 1 ME q O2 => NOT_STORED", "ms c 1 O3 => NOT_STORED"]
    );
}

#[test]
fn a_response_that_fits_two_quiet_requests_is_nobodys() {
    let pairs = talk(b"mg a q\r\nmg b q\r\nmn\r\n", b"HD\r\nMN\r\n");
    // A quiet `mg` says HD where the key is there, and nothing where not (memcached's protocol.txt, "Meta Get").
    assert_eq!(lines(&pairs), ["mn => OK 1/1"]);
    assert_eq!((pairs.one_way, pairs.orphans, pairs.unanswered), (1, 0, 0));
}

/// Whether each response is certain to be of the request that it would pair with.
fn certain(driver: &Driver) -> Vec<bool> {
    let responses = driver
        .told
        .iter()
        .filter(|(message, _)| message.role == Role::Response);
    responses
        .map(|(message, _)| !message.has(Message::UNSURE))
        .collect()
}

/// `mg a q` may have been answered or not: nothing on the wire tells whose the first `HD` is, nor whether
/// another follows.
#[test]
fn a_response_that_fits_a_quiet_request_and_the_one_behind_it_is_unsure() {
    for second in [&b"HD\r\n"[..], b""] {
        let mut driver = tcp();
        driver.ask(b"mg a q\r\nmg b\r\n").reply(b"HD\r\n");
        driver.reply(second).ask(b"get x\r\n").reply(b"END\r\n");
        assert!(!certain(&driver)[0]);
        assert!(*certain(&driver).last().unwrap());
        let (last, _) = driver.told.last().unwrap();
        assert_eq!((last.hits, last.misses), (0, 1));
    }
}

#[test]
fn a_quiet_count_that_makes_its_key_says_so() {
    let turns = [
        ("ma a q N0\r\n", "HD\r\n"),
        ("md a\r\n", "HD\r\n"),
        ("ma a q N0 v\r\n", "VA 1\r\n0\r\n"),
        ("md b\r\n", "NF\r\n"),
    ];
    let expected = [
        "ma a q N0 => OK",
        "md a => OK",
        "ma a q N0 v => OK",
        "md b => NOT_FOUND",
    ];
    assert_eq!(in_turn(&turns), expected);
}

#[test]
fn a_quiet_count_of_a_key_that_is_there_says_nothing() {
    let mut driver = tcp();
    driver
        .ask(b"ma a q v\r\nmg b v\r\nma a q\r\nma b\r\n")
        .reply(b"VA 1\r\n2\r\nHD\r\n");
    assert_eq!(certain(&driver), [true, true]);
    assert_eq!(lines(&driver.pairs()), ["mg b v => OK 1/0", "ma b => OK"]);
}

/// A quiet request may have stayed silent; what a lost one was told must not be taken for its response.
#[test]
fn after_a_loss_a_response_that_fits_a_quiet_request_is_unsure() {
    let mut driver = tcp();
    driver.ask(b"mn\r\n").reply(b"MN\r\n");
    driver.ask(b"mg a q v\r\n").lose(ToServer, 10);
    driver.reply(b"VA 1\r\nx\r\n");
    assert_eq!(certain(&driver), [true, false]);

    let mut driver = tcp();
    driver.ask(b"mn\r\n").reply(b"MN\r\n");
    driver.lose(ToServer, 9).ask(b"mg a q t\r\nmn\r\n");
    driver.reply(b"HD\r\n");
    assert_eq!(certain(&driver), [true, false]);
}

/// Once a request that was asked after the loss is answered, and no other waits, nothing is open of the lost ones.
#[test]
fn quiet_requests_behind_what_was_lost_are_found() {
    let mut driver = tcp();
    driver
        .ask(b"mg a q v\r\n")
        .lose(ToServer, 10)
        .ask(b"mn\r\n")
        .reply(b"MN\r\n")
        .ask(b"mg b q v\r\nmn\r\n")
        .reply(b"VA 1\r\nx\r\nMN\r\n");
    assert_eq!(certain(&driver), [true; 3]);
    assert_eq!(
        lines(&driver.pairs()),
        ["mn => OK", "mg b q v => OK 1/0", "mn => OK"]
    );
}

#[test]
fn quiet_requests_that_are_named_are_found_after_a_loss() {
    let mut driver = tcp();
    driver
        .ask(b"mg a q v O1\r\nmg b q v k\r\n")
        .lose(ToServer, 10)
        .reply(b"VA 1 O1\r\nx\r\nVA 1 kb\r\nx\r\n");
    assert_eq!(certain(&driver), [true, true]);
    let mut driver = tcp();
    driver
        .ask(&asks(0x09, 7, [b"", b"a", b""]))
        .lose(ToServer, 30)
        .reply(&answers(0x09, 0, 7, [&[0; 4], b"", b"v"]));
    assert_eq!(certain(&driver), [true]);
    let mut driver = tcp();
    driver
        .ask(&asks(0x09, 0, [b"", b"a", b""]))
        .lose(ToServer, 30)
        .reply(&answers(0x09, 0, 0, [&[0; 4], b"", b"v"]));
    assert_eq!(certain(&driver), [false]);
}

#[test]
fn what_a_quiet_request_is_never_told_is_the_next_ones() {
    let mut driver = tcp();
    driver
        .ask(b"mg a q\r\nmg b\r\nms c 1 q\r\nx\r\nms d 1\r\nx\r\n")
        .reply(b"EN\r\nHD\r\n");
    assert_eq!(certain(&driver), [true, true]);
    assert_eq!(
        lines(&driver.pairs()),
        ["mg b => NOT_FOUND 0/2", "ms d 1 => OK"]
    );
}

/// A response behind which an always answered request was left waiting shows that an answer was lost.
#[test]
fn after_a_loss_a_response_that_is_not_the_next_ones_is_unsure() {
    let mut driver = tcp();
    driver.lose(ToServer, 10).ask(b"get a\r\ndelete b\r\n");
    driver.reply(b"NOT_FOUND\r\nEND\r\n");
    assert_eq!(certain(&driver), [false, true]);
}

#[test]
fn quiet_requests_that_nothing_follows_stay_silent() {
    let mut driver = tcp();
    driver.ask(b"ms a 1 q\r\nx\r\nmd b q\r\n").close();
    let pairs = driver.pairs();
    assert_eq!((pairs.silent, pairs.unanswered), (2, 0));
}

#[test]
fn a_key_made_on_a_miss_is_a_miss() {
    let pairs = talk(
        b"mg a v N30\r\nmg a v N30\r\nmg s v N30\r\n",
        b"VA 0 W\r\n\r\nVA 0 Z\r\n\r\nVA 1 X W\r\nx\r\n",
    );
    assert_eq!(
        lines(&pairs),
        [
            "mg a v N30 => OK 0/1",
            "mg a v N30 => OK 1/0",
            "mg s v N30 => OK 1/0"
        ]
    );
}

// --- binary ------------------------------------------------------------------------------------

fn packet(magic: u8, opcode: u8, status: u16, opaque: u32, parts: [&[u8]; 3]) -> Vec<u8> {
    let [extras, key, value] = parts;
    let mut packet = vec![magic, opcode];
    packet.extend_from_slice(&(key.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[extras.len() as u8, 0]);
    packet.extend_from_slice(&status.to_be_bytes());
    packet.extend_from_slice(&((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
    packet.extend_from_slice(&opaque.to_be_bytes());
    packet.extend_from_slice(&[0; 8]);
    [extras, key, value]
        .iter()
        .for_each(|part| packet.extend_from_slice(part));
    packet
}

fn asks(opcode: u8, opaque: u32, parts: [&[u8]; 3]) -> Vec<u8> {
    packet(0x80, opcode, 0, opaque, parts)
}

fn answers(opcode: u8, status: u16, opaque: u32, parts: [&[u8]; 3]) -> Vec<u8> {
    packet(0x81, opcode, status, opaque, parts)
}

const NONE: [&[u8]; 3] = [b"", b"", b""];

#[test]
fn quiet_binary_reads_pair_by_key_where_the_opaque_is_the_same() {
    let requests = [
        asks(0x0d, 0, [b"", b"a", b""]),
        asks(0x0d, 0, [b"", b"b", b""]),
        asks(0x0d, 0, [b"", b"c", b""]),
        asks(0x0a, 0, NONE),
    ];
    let responses = [
        answers(0x0d, 0, 0, [&[0; 4], b"b", b"value"]),
        answers(0x0a, 0, 0, NONE),
    ];
    let pairs = talk(&requests.concat(), &responses.concat());
    assert_eq!(lines(&pairs), ["getkq b => OK 1/1", "noop => OK 0/1"]);
}

#[test]
fn an_opaque_of_its_own_pairs_after_a_loss() {
    let mut driver = tcp();
    driver
        .ask(&asks(0, 7, [b"", b"a", b""]))
        .ask(&asks(0, 8, [b"", b"b", b""]));
    driver
        .lose(ToClient, 28)
        .reply(&answers(0, 1, 8, [b"", b"", b"Not found"]));
    let pairs = driver.pairs();
    assert_eq!(lines(&pairs), ["get b => NOT_FOUND 0/1"]);
    assert_eq!(pairs.unanswered, 1);
}

#[test]
fn a_constant_opaque_is_no_identifier() {
    let mut driver = tcp();
    let get = asks(0, 0xdead, [b"", b"a", b""]);
    let hit = answers(0, 0, 0xdead, [&[0; 4], b"", b"v"]);
    driver
        .ask(&get)
        .reply(&hit)
        .ask(&get)
        .reply(&hit)
        .ask(&get)
        .ask(&get)
        .reply(&hit)
        .reply(&hit);
    let pairs = driver.pairs();
    assert_eq!(
        (pairs.made.len(), pairs.unanswered, pairs.orphans),
        (4, 0, 0)
    );
    assert_eq!(pairs.made[3].request.id, None);
}

#[test]
fn statistics_of_many_packets_are_one_response() {
    let responses = [
        answers(0x10, 0, 5, [b"", b"pid", b"1"]),
        answers(0x10, 0, 5, [b"", b"uptime", b"2"]),
        answers(0x10, 0, 5, NONE),
    ];
    let pairs = talk(&asks(0x10, 5, NONE), &responses.concat());
    assert_eq!(pairs.made.len(), 1);
    assert_eq!(pairs.made[0].response.end, responses.concat().len() as u64);
}

#[test]
fn binary_requests_are_shown_as_commands() {
    let shown = |packet: Vec<u8>| {
        let mut driver = tcp();
        driver.ask(&packet);
        let (message, text) = driver.told[0].clone();
        let (shown, written) = rendered(&Memcached, &text, 255);
        assert_eq!(written, message.text_len as usize);
        shown
    };
    let store = [0, 0, 0, 1, 0, 0, 0, 60];
    assert_eq!(
        shown(asks(0x01, 1, [&store, b"k", b"hush"])),
        "set k 1 60 4"
    );
    assert_eq!(
        shown(asks(0x11, 1, [&store, b"k", b"hush"])),
        "setq k 1 60 4"
    );
    assert_eq!(shown(asks(0x0e, 1, [b"", b"k", b"hush"])), "append k 4");
    assert_eq!(shown(asks(0x1d, 1, [&[0, 0, 0, 9], b"k", b""])), "gat 9 k");
    let count = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(shown(asks(0x05, 1, [&count, b"n", b""])), "incr n 5");
    assert_eq!(shown(asks(0x10, 1, [b"", b"items", b""])), "stats items");
    assert_eq!(shown(asks(0x0a, 1, NONE)), "noop");
    assert_eq!(shown(asks(0x50, 1, [b"", b"k", b""])), "unknown 80 k");
    assert_eq!(
        shown(asks(0x21, 1, [b"", b"PLAIN", b"\0user\0hush"])),
        "sasl_auth PLAIN ***"
    );
}

#[test]
fn binary_values_are_not_kept() {
    let mut driver = tcp();
    driver.ask(&asks(0x21, 1, [b"", b"PLAIN", b"\0user\0hush"]));
    assert!(!driver.told[0].1.windows(4).any(|window| window == b"hush"));
}

#[test]
fn text_is_shown_as_sent_and_escaped() {
    assert_eq!(
        rendered(&Memcached, b"get a\x07\xffb", 255),
        ("get a\\x07\\xffb".into(), 8)
    );
    assert_eq!(rendered(&Memcached, b"get abcdef", 5), ("get a".into(), 5));
}

// --- datagrams ---------------------------------------------------------------------------------

fn datagram(id: u16, sequence: u16, total: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram: Vec<u8> = [id, sequence, total, 0]
        .iter()
        .flat_map(|field| field.to_be_bytes())
        .collect();
    datagram.extend_from_slice(payload);
    datagram
}

#[test]
fn datagrams_pair_by_request_id() {
    let mut driver = udp();
    driver
        .ask(&datagram(1, 0, 1, b"get a\r\n"))
        .ask(&datagram(2, 0, 1, b"get b c\r\n"));
    driver.reply(&datagram(2, 0, 1, b"END\r\n"));
    driver.reply(&datagram(1, 0, 1, b"VALUE a 0 1\r\nx\r\nEND\r\n"));
    driver.wait(201);
    assert_eq!(
        lines(&driver.pairs()),
        ["get a => OK 1/0", "get b c => OK 0/2"]
    );
}

/// What is told of these datagrams in whatever order they come, after an exchange of another id: pairs and the sizes of
/// their responses, sorted; orphans, one-way messages and requests without a response.
fn told_of(order: &[Vec<u8>]) -> (Vec<(String, usize)>, [usize; 3]) {
    let mut driver = udp();
    driver.ask(&datagram(1, 0, 1, b"version\r\n"));
    driver.reply(&datagram(1, 0, 1, b"VERSION 1.6\r\n"));
    for datagram in order {
        let asks = [&b"get"[..], b"set", b"mg", b"mn"];
        let direction = match asks.iter().any(|word| datagram[8..].starts_with(word)) {
            true => ToServer,
            false => ToClient,
        };
        driver.feed(direction, datagram);
    }
    driver.close();
    let mut pairs = driver.pairs();
    pairs.made.remove(0);
    let mut told: Vec<_> = lines(&pairs)
        .into_iter()
        .zip(&pairs.made)
        .map(size)
        .collect();
    told.sort();
    (told, [pairs.orphans, pairs.one_way, pairs.unanswered])
}

/// The line and the size of the response, 0 where it is not sure which it is.
fn size((line, pair): (String, &Pair)) -> (String, usize) {
    let size = pair.response.end - pair.response.start;
    match pair.response.has(Message::UNSURE) {
        true => (line + " unsure", 0),
        false => (line, size as usize),
    }
}

/// Every order of these.
fn orders(all: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let Some((first, rest)) = all.split_first() else {
        return vec![Vec::new()];
    };
    let insert = |order: Vec<Vec<u8>>| {
        (0..=order.len()).map(move |place| {
            let mut order = order.clone();
            order.insert(place, first.clone());
            order
        })
    };
    orders(rest).into_iter().flat_map(insert).collect()
}

/// A `get` of three keys, two of which are there: 1.6 answers each item, and the end, by a series of its own.
fn three_keys() -> Vec<Vec<u8>> {
    vec![
        datagram(8, 0, 1, b"get x\r\n"),
        datagram(9, 0, 1, b"get a b c\r\n"),
        datagram(9, 0, 2, b"VALUE a 0 10\r\n0123"),
        datagram(9, 1, 2, b"456789\r\n"),
        datagram(9, 0, 2, b"VALUE b 0 14\r\n0123"),
        datagram(9, 1, 2, b"0123456789\r\nEND\r\n"),
        datagram(8, 0, 1, b"END\r\n"),
    ]
}

#[test]
fn a_response_of_many_datagrams_is_the_same_in_any_order() {
    let all = three_keys();
    let size = all[2..6].iter().map(Vec::len).sum();
    let expected = [
        ("get a b c => OK 2/1".to_owned(), size),
        ("get x => OK 0/1".to_owned(), 13),
    ];
    let orders = orders(&all);
    assert_eq!(orders.len(), 5040);
    for order in orders {
        let (told, others) = told_of(&order);
        assert_eq!((&told[..], others), (&expected[..], [0; 3]), "{order:?}");
    }
}

/// Copies that come before the answer is complete are one-way, whatever they are copies of.
#[test]
fn copies_of_datagrams_change_no_pair() {
    let all = three_keys();
    let (expected, _) = told_of(&all);
    for (index, copied) in all.iter().enumerate() {
        let mut order = all.clone();
        order.insert(index, copied.clone());
        assert_eq!(told_of(&order), (expected.clone(), [0, 1, 0]), "{index}");
    }
}

/// Whatever is lost, what is told of the rest is right: nothing that lost datagrams is told whole, or the end of which nobody saw.
#[test]
fn what_is_lost_of_a_response_is_said() {
    let asked = datagram(9, 0, 1, b"get a\r\n");
    let parts = [
        datagram(9, 0, 3, b"VALUE a 0 10\r\n0123"),
        datagram(9, 1, 3, b"456789"),
        datagram(9, 2, 3, b"\r\nEND\r\n"),
    ];
    for lost in 0..3 {
        let mut order = vec![asked.clone()];
        order.extend(parts.iter().cloned());
        order.remove(1 + lost);
        let mut driver = udp();
        driver.ask(&order[0]);
        for part in &order[1..] {
            driver.reply(part);
        }
        driver.close();
        let pairs = driver.pairs();
        let pair = &pairs.made[0];
        assert!(pair.response.has(Message::CUT), "{lost}");
        assert_eq!(pair.response.has(Message::UNSURE), lost == 0);
        let size = pair.response.end - pair.response.start;
        assert_eq!(size as usize, order[1].len() + order[2].len());
    }
}

/// A hole is waited for as long as the window, and what comes behind it is counted.
#[test]
fn a_large_response_with_a_hole_is_one_that_is_cut() {
    let mut driver = udp();
    driver.ask(&datagram(9, 0, 1, b"get a\r\n"));
    driver.reply(&datagram(9, 0, 100, b"VALUE a 0 9900\r\n0123"));
    for sequence in 2..100 {
        driver.reply(&datagram(9, sequence, 100, &[b'x'; 92]));
    }
    assert_eq!(driver.told.len(), 1);
    driver.wait(201);
    let pairs = driver.pairs();
    let response = &pairs.made[0].response;
    assert!(response.has(Message::CUT) && !response.has(Message::UNSURE));
    assert_eq!(response.end - response.start, 28 + 98 * 100);
    assert_eq!((pairs.orphans, pairs.made.len()), (0, 1));
}

/// When a response began is not known where its first datagram is missing.
#[test]
fn a_response_without_its_first_datagram_is_unsure() {
    let mut driver = udp();
    driver.ask(&datagram(9, 0, 1, b"get a\r\n"));
    driver.reply(&datagram(9, 1, 3, b"345\r\n"));
    driver.reply(&datagram(9, 2, 3, b"END\r\n"));
    driver.wait(201).wait(201);
    assert_eq!(certain(&driver), [false]);
}

/// Commands in one datagram have one id: the kind of the response says whose it is, or nothing does.
#[test]
fn commands_in_one_datagram_are_told_apart_by_their_responses() {
    let commands = datagram(3, 0, 1, b"get a\r\nset b 0 0 1\r\nx\r\nmn\r\n");
    let all = [
        commands,
        datagram(3, 0, 1, b"VALUE a 0 1\r\nx\r\nEND\r\n"),
        datagram(3, 0, 1, b"STORED\r\n"),
        datagram(3, 0, 1, b"MN\r\n"),
    ];
    for order in orders(&all) {
        let (told, others) = told_of(&order);
        let lines: Vec<_> = told.iter().map(|(line, _)| &line[..]).collect();
        assert_eq!(lines, ["get a => OK 1/0", "mn => OK", "set b 0 0 1 => OK"]);
        assert_eq!(others, [0; 3]);
    }
    let alike = [
        datagram(3, 0, 1, b"get a\r\nget b\r\n"),
        datagram(3, 0, 1, b"VALUE a 0 1\r\nx\r\nEND\r\n"),
        datagram(3, 0, 1, b"END\r\n"),
    ];
    for mut order in orders(&alike) {
        for lost in [false, true] {
            if lost {
                order.retain(|datagram| !datagram.ends_with(b"x\r\nEND\r\n"));
            }
            let (told, [orphans, ..]) = told_of(&order);
            assert!(
                told.iter().all(|(line, _)| line.ends_with("unsure")),
                "{told:?}"
            );
            assert_eq!((told.len(), orphans), (2, 0));
        }
    }
}

/// A response that no waiting request can get is nobody's, whatever its id, and so is an item of another key.
#[test]
fn a_response_of_another_kind_or_key_is_nobodys() {
    for (asked, answered) in [
        (&b"incr a 1\r\n"[..], &b"STORED\r\n"[..]),
        (b"get a\r\n", b"VALUE b 0 1\r\nx\r\nEND\r\n"),
        (b"md a q\r\n", b"VA 1\r\nx\r\n"),
    ] {
        let mut driver = udp();
        driver.ask(&datagram(0, 0, 1, asked));
        driver.reply(&datagram(0, 0, 1, answered)).close();
        let pairs = driver.pairs();
        assert_eq!(
            (pairs.made.len(), pairs.orphans),
            (0, 1),
            "{}",
            asked.escape_ascii()
        );
    }
}

/// A value of the binary protocol's that is longer than a datagram.
#[test]
fn a_binary_value_of_several_datagrams_ends_with_the_last() {
    let value = [b'v'; 60];
    let answer = answers(0, 0, 5, [b"\0\0\0\0", b"", &value]);
    let parts: Vec<Vec<u8>> = (0..)
        .zip(answer.chunks(40))
        .map(|(n, part)| datagram(5, n, 3, part))
        .collect();
    assert_eq!(parts.len(), 3);
    for order in orders(&parts) {
        let mut driver = udp();
        driver.ask(&datagram(5, 0, 1, &asks(0, 5, [b"", b"k", b""])));
        order.iter().for_each(|part| {
            driver.reply(part);
        });
        driver.close();
        let pairs = driver.pairs();
        assert_eq!((pairs.made.len(), pairs.orphans), (1, 0));
        let response = &pairs.made[0].response;
        assert_eq!((response.end - response.start) as usize, answer.len() + 24);
        assert!(!response.has(Message::CUT) && !response.has(Message::UNSURE));
    }
}

/// Commands that a snap length cut off may have had the response.
#[test]
fn commands_that_were_cut_off_leave_the_others_unsure() {
    let mut driver = udp();
    driver.feed_cut(ToServer, &datagram(3, 0, 1, b"ms a 3\r\nxyz\r\nms b"), 20);
    driver.feed_cut(ToServer, &datagram(4, 0, 1, b"ms a 300\r\nxyz"), 299);
    driver.reply(&datagram(3, 0, 1, b"HD\r\n"));
    driver.reply(&datagram(4, 0, 1, b"HD\r\n"));
    driver.feed_cut(ToServer, &datagram(5, 0, 1, b"ms a 3\r\nxyz\r\n"), 20);
    driver.reply(&datagram(5, 0, 1, b"HD\r\n"));
    driver.close();
    let pairs = driver.pairs();
    let unsure: Vec<_> = pairs
        .made
        .iter()
        .map(|pair| (pair.response.id, pair.response.has(Message::UNSURE)))
        .collect();
    assert!(unsure.contains(&(Some(4), false)), "{unsure:?}");
    assert!(
        unsure.iter().all(|(id, unsure)| *unsure || *id == Some(4)),
        "{unsure:?}"
    );
}

/// Two equal requests of a client that numbers all alike are two.
#[test]
fn equal_requests_of_one_id_are_a_repetition_only_of_who_tells_them_apart() {
    for varied in [false, true] {
        let mut driver = udp();
        if varied {
            driver
                .ask(&datagram(9, 0, 1, b"version\r\n"))
                .reply(&datagram(9, 0, 1, b"VERSION 1\r\n"));
        }
        driver
            .ask(&datagram(0, 0, 1, b"incr n 1\r\n"))
            .ask(&datagram(0, 0, 1, b"incr n 1\r\n"));
        driver.reply(&datagram(0, 0, 1, b"6\r\n")).close();
        let pairs = driver.pairs();
        let unsure = pairs
            .made
            .iter()
            .filter(|pair| pair.response.has(Message::UNSURE));
        assert_eq!(
            (unsure.count(), pairs.one_way),
            if varied { (0, 1) } else { (2, 0) }
        );
    }
}

/// A quiet command beside others may stay silent.
#[test]
fn quiet_commands_beside_others_are_one_way() {
    let mut driver = udp();
    driver.ask(&datagram(3, 0, 1, b"mg a v q\r\nmg b v q\r\nmn\r\n"));
    driver.reply(&datagram(3, 0, 1, b"VA 1\r\nx\r\n"));
    driver.reply(&datagram(3, 0, 1, b"MN\r\n"));
    driver.close();
    let pairs = driver.pairs();
    assert_eq!(lines(&pairs), ["mn => OK"]);
    assert_eq!((pairs.orphans, pairs.unanswered), (0, 0));
}

/// A client that numbers all its requests alike and waits: a request that was not seen does not shift what comes
/// after it.
#[test]
fn one_id_for_all_shifts_no_pair() {
    let value = |n: usize| format!("VALUE k{n} 0 {n}\r\n{}\r\nEND\r\n", "v".repeat(n));
    for lost in 0..10 {
        let mut driver = udp();
        for n in 0..20 {
            if n != lost {
                driver.ask(&datagram(0, 0, 1, format!("get k{n}\r\n").as_bytes()));
            }
            driver.reply(&datagram(0, 0, 1, value(n).as_bytes()));
        }
        driver.close();
        let pairs = driver.pairs();
        assert_eq!((pairs.made.len(), pairs.orphans), (19, 1), "{lost}");
        for pair in &pairs.made {
            let (asked, _) = rendered(&Memcached, &pair.asked, 255);
            let n = asked[5..].parse().unwrap();
            let size = pair.response.end - pair.response.start;
            assert_eq!(size as usize, 8 + value(n).len(), "{asked}");
        }
    }
}

/// A snap length leaves the beginning of each datagram.
#[test]
fn datagrams_that_are_cut_are_used_as_far_as_they_go() {
    let mut driver = udp();
    driver.feed_cut(ToServer, &datagram(4, 0, 1, b"get a"), 30);
    driver.feed_cut(
        ToClient,
        &datagram(4, 0, 2, b"VALUE a 0 2000\r\n0123"),
        1300,
    );
    driver.feed_cut(ToClient, &datagram(4, 1, 2, b"0123"), 650);
    driver.ask(&datagram(5, 0, 1, b"get b\r\n"));
    driver.reply(&datagram(5, 0, 1, b"END\r\n"));
    driver.close();
    let pairs = driver.pairs();
    assert_eq!(lines(&pairs), ["get b => OK 0/1", "get a => OK 1/0"]);
    let cut = &pairs.made[1];
    assert!(cut.request.has(Message::CUT) && cut.response.has(Message::CUT));
    assert_eq!(cut.request.end - cut.request.start, 8 + 5 + 30);
    assert_eq!(cut.response.end - cut.response.start, 28 + 1300 + 12 + 650);
}

#[test]
fn a_malformed_datagram_does_not_end_the_flow() {
    let mut driver = udp();
    driver
        .ask(b"xx")
        .ask(&datagram(1, 0, 1, b"get a"))
        .ask(&datagram(2, 0, 1, b"get a\r\n"));
    driver.reply(&datagram(2, 0, 1, b"END\r\n"));
    assert_eq!(driver.refused.len(), 2);
    assert_eq!(driver.pairs().made.len(), 1);
}

// --- probes and resync -------------------------------------------------------------------------

#[test]
fn first_bytes_are_told() {
    let told = |bytes: &[u8]| Memcached.probe(Transport::Tcp, bytes);
    assert_eq!(told(b"set a 0 0 1\r\nx\r\n"), Probe::Request);
    assert_eq!(told(b"gets a\r\n"), Probe::Request);
    assert_eq!(told(b"mg a v k\r\n"), Probe::Request);
    assert_eq!(told(b"VALUE a 0 1\r\nx\r\nEND\r\n"), Probe::Response);
    assert_eq!(told(b"STAT pid 1\r\n"), Probe::Response);
    assert_eq!(told(b"set a 0 "), Probe::More);
    assert_eq!(told(&asks(0, 1, [b"", b"k", b""])), Probe::Request);
    assert_eq!(
        told(&answers(0, 1, 1, [b"", b"", b"Not found"])),
        Probe::Response
    );
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"get a\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"stats\r\n",
        b"set a b\r\n",
        b"EHLO x\r\n",
        b"220 mail\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x01\x00\x80\x03\x00\x80\x07\x00\xc0\x06\x00",
    ] {
        assert!(
            !matches!(told(other), Probe::Request | Probe::Response),
            "{other:?}"
        );
    }
    assert_eq!(
        Memcached.probe(Transport::Udp, &datagram(1, 0, 1, b"gets a\r\n")),
        Probe::Request
    );
    assert_eq!(Memcached.probe(Transport::Udp, b"gets a\r\n"), Probe::No);
}

#[test]
fn after_a_gap_the_next_segment_is_found() {
    let mut driver = tcp();
    driver
        .ask(b"get a\r\n")
        .reply(b"END\r\n")
        .lose(ToServer, 7)
        .lose(ToClient, 5);
    driver.ask(b"get c\r\n").reply(b"END\r\n");
    let pairs = driver.pairs();
    assert_eq!(lines(&pairs), ["get a => OK 0/1", "get c => OK 0/1"]);
}

#[test]
fn after_a_gap_a_message_behind_a_data_block_is_found() {
    let mut driver = tcp();
    driver
        .lose(ToServer, 1)
        .ask(b"\x00\x01garbage\r\nset a 0 0 1\r\nx\r\nget a\r\n");
    driver
        .lose(ToClient, 1)
        .reply(b"zzzzz\r\nSTORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    assert_eq!(
        lines(&driver.pairs()),
        ["set a 0 0 1 => OK", "get a => OK 1/0"]
    );
}

#[test]
fn after_a_gap_a_binary_packet_is_found() {
    let mut driver = tcp();
    driver.lose(ToServer, 1).ask(&asks(0, 3, [b"", b"k", b""]));
    driver
        .lose(ToClient, 1)
        .reply(&answers(0, 1, 3, [b"", b"", b"Not found"]));
    // The first opaque may be that of all requests; from the second on they are known to differ.
    assert_eq!(lines(&driver.pairs()), [""; 0]);
    driver.ask(&asks(0, 4, [b"", b"k", b""]));
    driver.reply(&answers(0, 1, 4, [b"", b"", b"Not found"]));
    assert_eq!(lines(&driver.pairs()), ["get k => NOT_FOUND 0/1"]);
}

#[test]
fn lines_without_an_end_are_refused() {
    let mut driver = tcp();
    driver.ask(&[b'x'; 5000]);
    assert_eq!(driver.refused.len(), 1);
    let mut driver = tcp();
    driver.reply(&[b'x'; 10_000]);
    assert_eq!(driver.refused.len(), 1);
}

#[test]
fn labels_are_unique_and_every_command_has_one() {
    let labels = Memcached.commands();
    assert_eq!(labels[0], "other");
    let unique: std::collections::BTreeSet<_> = labels.iter().collect();
    assert_eq!(unique.len(), labels.len());
    for word in ["get", "mg", "incr", "lru_crawler"] {
        assert_eq!(
            labels[usize::from(command::text(word.as_bytes()).unwrap().label)],
            word
        );
    }
    for code in 0..=0x24 {
        let opcode = command::opcode(code);
        assert!(opcode.label != 0 || !opcode.known(), "{opcode:?}");
    }
}

/// A deep queue and responses that fit nothing must not cost the product of both.
#[test]
fn responses_that_fit_nothing_are_cheap() {
    let mut driver = tcp();
    driver.ask(&b"mg a q O1\r\n".repeat(60_000));
    driver.reply(&b"HD O2\r\n".repeat(200_000));
    assert_eq!(driver.told.len(), 260_000);
}

#[test]
fn a_conversation_takes_little_room() {
    assert!(size_of::<Conversation>() <= 256);
}

fn splits(file: &'static str, datagram: bool) -> impl Strategy<Value = Vec<(Direction, Vec<u8>)>> {
    let segments = recorded(file).segments;
    let total: usize = segments.iter().map(|(_, bytes)| bytes.len()).sum();
    prop::collection::btree_set(0..total, 0..60).prop_map(move |cuts| {
        let mut split = Vec::new();
        let mut at = 0;
        for (direction, bytes) in &segments {
            let inside = cuts
                .iter()
                .filter(|cut| (at + 1..at + bytes.len()).contains(*cut));
            let mut from = 0;
            for cut in inside {
                split.push((*direction, bytes[from..cut - at].to_vec()));
                from = cut - at;
            }
            split.push((*direction, bytes[from..].to_vec()));
            at += bytes.len();
        }
        assert!(!datagram);
        split
    })
}

/// What is told, without times.
fn told(segments: &[(Direction, Vec<u8>)]) -> Vec<(Message, Vec<u8>)> {
    let mut driver = tcp();
    for (direction, bytes) in segments {
        driver.feed(*direction, bytes);
    }
    driver.close();
    let mut told = driver.whole();
    for (message, _) in &mut told {
        (message.first, message.last) = (Mark::default(), Mark::default());
        message.text = Text::None;
    }
    told
}

proptest! {
    #[test]
    fn any_split_gives_the_same_text_messages(
        split in splits(include_str!("recorded/text.txt"), false),
    ) {
        let whole = recorded(include_str!("recorded/text.txt")).segments;
        prop_assert_eq!(told(&split), told(&whole));
    }

    #[test]
    fn any_split_gives_the_same_meta_messages(
        split in splits(include_str!("recorded/meta.txt"), false),
    ) {
        let whole = recorded(include_str!("recorded/meta.txt")).segments;
        prop_assert_eq!(told(&split), told(&whole));
    }

    #[test]
    fn any_split_gives_the_same_binary_messages(
        split in splits(include_str!("recorded/binary.txt"), false),
    ) {
        let whole = recorded(include_str!("recorded/binary.txt")).segments;
        prop_assert_eq!(told(&split), told(&whole));
    }

    #[test]
    fn no_bytes_make_it_panic(
        segments in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..30),
        datagram in any::<bool>(),
    ) {
        let mut driver = if datagram { udp() } else { tcp() };
        for (asks, bytes) in &segments {
            let direction = if *asks { ToServer } else { ToClient };
            driver.feed(direction, bytes);
            Memcached.probe(Transport::Tcp, bytes);
            rendered(&Memcached, bytes, 255);
        }
        driver.close();
    }

    #[test]
    fn nearly_right_bytes_do_not_make_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "get ", "a ", "0 ", "5 ", "\r\n", "set a 0 0 3\r\n", "mg a q", " O1", "VALUE a 0 3\r\n", "END\r\n", "VA 2 ", "x",
            "STAT ", "noreply", "18446744073709551615 ", "EN", "MN\r\n", "\u{0}", "ms a 2147483645\r\n", "watch x\r\n",
        ]), 0..60),
        server in any::<bool>(),
    ) {
        let bytes = words.concat();
        let mut driver = tcp();
        driver.feed(if server { ToClient } else { ToServer }, bytes.as_bytes());
        driver.lose(if server { ToClient } else { ToServer }, 10);
        driver.feed(if server { ToClient } else { ToServer }, bytes.as_bytes());
        driver.close();
    }

    #[test]
    fn rendering_keeps_to_its_limit(kept in prop::collection::vec(any::<u8>(), 0..300), max in 0..255_usize) {
        let (shown, written) = rendered(&Memcached, &kept, max);
        prop_assert!(written <= max);
        prop_assert!(shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }
}
