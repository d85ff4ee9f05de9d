//! The promise itself: every request is paired with its own response, however its bytes were
//! split, repeated, shuffled or partly lost, and nothing that is called exact is ever wrong.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{ACK, FIN, Found, PSH, RST, SYN, Script, Sent};
use proptest::prelude::*;
use tcpkit::exchange::Confidence;
use tcpkit::pipeline::select::Kind;
use tcpkit::protocol;

fn redis() -> Kind {
    Kind::Forced(protocol::by_name("redis").expect("redis is built in"))
}

fn http() -> Kind {
    Kind::Forced(protocol::by_name("http").expect("http is built in"))
}

fn memcached() -> Kind {
    Kind::Forced(protocol::by_name("memcached").expect("memcached is built in"))
}

fn dns() -> Kind {
    Kind::Forced(protocol::by_name("dns").expect("dns is built in"))
}

/// Whether these are so many pairs, all of them exact.
fn are_exact(found: &[Found], count: usize) -> bool {
    let exact = |one: &Found| one.confidence == Some(Confidence::Exact);
    found.len() == count && found.iter().all(exact)
}

/// Request number `n` and its response, as redis writes them. The response's size tells which
/// request it answers.
fn redis_pair(n: usize) -> (Vec<u8>, Vec<u8>) {
    let key = format!("k{n}");
    let request = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
    let size = 1 + n * 7 % 300;
    let response = format!("${size}\r\n{}\r\n", "v".repeat(size));
    (request.into_bytes(), response.into_bytes())
}

fn http_pair(n: usize) -> (Vec<u8>, Vec<u8>) {
    let request = format!("GET /{n} HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let size = n * 7 % 300;
    if n % 5 == 2 {
        let request = format!("HEAD /{n} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        return (request.into_bytes(), response.into_bytes());
    }
    let body = "b".repeat(size);
    let response = if n.is_multiple_of(3) {
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}B\r\n0\r\n\r\n",
            size + 1
        )
    } else {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{body}")
    };
    (request.into_bytes(), response.into_bytes())
}

fn memcached_pair(n: usize) -> (Vec<u8>, Vec<u8>) {
    let size = 1 + n * 7 % 300;
    let request = format!("get k{n}\r\n");
    let response = format!("VALUE k{n} 0 {size}\r\n{}\r\nEND\r\n", "v".repeat(size));
    (request.into_bytes(), response.into_bytes())
}

/// A request and its response.
type Bytes = (Vec<u8>, Vec<u8>);

type Pair = fn(usize) -> Bytes;

/// Batches of pipelined requests, each batch sent when the one before is answered.
fn conversation(pair: Pair, batches: &[usize], mss: usize, port: u16) -> (Script, Vec<Bytes>) {
    let mut script = Script::new(40_000, port);
    let mut pairs = Vec::new();
    for &batch in batches {
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        for _ in 0..batch {
            let (request, response) = pair(pairs.len());
            requests.extend_from_slice(&request);
            responses.extend_from_slice(&response);
            pairs.push((request, response));
        }
        script.say(false, &requests, mss);
        script.say(true, &responses, mss);
    }
    script.close();
    (script, pairs)
}

/// Each exchange without what may differ: the numbers of frames.
fn essence(found: &[Found]) -> Vec<Found> {
    found
        .iter()
        .map(|one| Found {
            frames: [0; 4],
            wait: 0,
            ..one.clone()
        })
        .collect()
}

fn check_all_exact(found: &[Found], pairs: &[Bytes]) {
    assert_eq!(found.len(), pairs.len());
    for (found, (request, response)) in found.iter().zip(pairs) {
        assert_eq!(found.confidence, Some(Confidence::Exact), "{found:?}");
        assert_eq!(found.request_bytes, request.len() as u64, "{found:?}");
        assert_eq!(
            found.response_bytes,
            Some(response.len() as u64),
            "{found:?}"
        );
    }
}

/// Moves frames by fewer places than the reordering window, and repeats some.
fn disturb(frames: &[Sent], moves: &[u8], doubles: &[bool]) -> Vec<Sent> {
    let mut keyed = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let shift = usize::from(moves[index % moves.len()] % 6);
        keyed.push((index + shift, frame.clone()));
        if doubles[index % doubles.len()] {
            keyed.push((index + shift + 1, frame.clone()));
        }
    }
    keyed.sort_by_key(|(key, _)| *key);
    // A capture's clock does not go back: frames get the times at which they come.
    keyed
        .into_iter()
        .enumerate()
        .map(|(index, (_, frame))| Sent {
            time: frames[0].time + index as u64 * 1000,
            ..frame
        })
        .collect()
}

fn protocols() -> impl Strategy<Value = (Pair, Kind, u16)> {
    prop_oneof![
        Just((redis_pair as Pair, redis(), 6379)),
        Just((http_pair as Pair, http(), 80)),
        Just((memcached_pair as Pair, memcached(), 11211)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_split_repetition_and_order_gives_the_same_pairs(
        (pair, kind, port) in protocols(),
        batches in prop::collection::vec(1usize..12, 1..10),
        mss in 1usize..600,
        moves in prop::collection::vec(any::<u8>(), 1..20),
        doubles in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let (script, pairs) = conversation(pair, &batches, mss, port);
        let (plain, _) = common::run(&script.frames, port, kind);
        check_all_exact(&plain, &pairs);
        let disturbed = disturb(&script.frames, &moves, &doubles);
        let (found, stats) = common::run(&disturbed, port, kind);
        prop_assert_eq!(essence(&found), essence(&plain));
        prop_assert_eq!(stats.account.gaps, 0);
    }

    #[test]
    fn what_is_exact_under_loss_is_right(
        (pair, kind, port) in protocols(),
        batches in prop::collection::vec(1usize..20, 1..40),
        mss in 20usize..2000,
        losses in prop::collection::vec(prop::bool::weighted(0.1), 50..200),
    ) {
        let (script, pairs) = conversation(pair, &batches, mss, port);
        let (whole, _) = common::run(&script.frames, port, kind);
        check_all_exact(&whole, &pairs);
        let kept: Vec<(u64, &Sent)> = script
            .frames.iter().enumerate()
            .filter(|(index, _)| !losses[index % losses.len()])
            .map(|(index, frame)| (index as u64 + 1, frame))
            .collect();
        let (found, _) = common::run_numbered(&kept, port, kind);
        let truth: BTreeMap<&str, &Found> =
            whole.iter().map(|found| (found.request.as_str(), found)).collect();
        for one in &found {
            // A request that was put together wrongly would not be in the truth at all; one that was
            // seen in part is marked so.
            if one.cut || one.confidence.is_none_or(|sure| sure == Confidence::Ambiguous) {
                continue;
            }
            let right = truth.get(one.request.as_str());
            prop_assert!(right.is_some(), "{one:?}");
            if one.confidence == Some(Confidence::Exact) {
                let right = right.unwrap();
                prop_assert_eq!(one.response_bytes, right.response_bytes);
                prop_assert_eq!(one.frames[2], right.frames[2], "{:?} {:?}", one, right);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_in_a_conversation_never_panic(
        (_, kind, port) in protocols(),
        turns in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)), 0..30),
    ) {
        let mut script = Script::new(40_000, port);
        for (server, bytes) in &turns {
            script.say(*server, bytes, 50);
        }
        common::run(&script.frames, port, kind);
        common::run(&script.frames, port, Kind::Auto);
    }
}

/// A generator of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Batches of pipelined requests, each of which has a segment of its own: clients write so where many threads share a connection.
fn one_by_one(pair: Pair, batches: &[usize], port: u16) -> Script {
    let mut script = Script::new(40_000, port);
    let mut n = 0;
    for &batch in batches {
        let mut responses = Vec::new();
        for _ in 0..batch {
            let (request, response) = pair(n);
            script.say(false, &request, 65_000);
            responses.extend(response);
            n += 1;
        }
        script.say(true, &responses, 1448);
    }
    script.close();
    script
}

/// The frames but for those of these numbers, each with its own.
fn without<'a>(frames: &'a [Sent], lost: &[u64]) -> Vec<(u64, &'a Sent)> {
    let numbered = (1..).zip(frames);
    numbered
        .filter(|(number, _)| !lost.contains(number))
        .collect()
}

/// One frame in a hundred dropped: how many of the exchanges whose own frames all survived are
/// found, and how many of those are wrong.
fn survival(
    script: &Script,
    (port, kind): (u16, Kind),
    rounds: usize,
    seed: u64,
) -> (u64, u64, u64, u64) {
    let mut numbers = Numbers(seed);
    let (mut survived, mut found_right, mut resynced, mut wrong) = (0, 0, 0, 0);
    for _ in 0..rounds {
        let (whole, _) = common::run(&script.frames, port, kind);
        let kept: Vec<(u64, &Sent)> = script
            .frames
            .iter()
            .enumerate()
            .filter(|_| !numbers.next().is_multiple_of(100))
            .map(|(index, frame)| (index as u64 + 1, frame))
            .collect();
        let alive: std::collections::HashSet<u64> =
            kept.iter().map(|(number, _)| *number).collect();
        let (found, _) = common::run_numbered(&kept, port, kind);
        let named = |found: &Found| (found.request.clone(), found.frames[0]);
        let truth: BTreeMap<_, &Found> = whole.iter().map(|one| (named(one), one)).collect();
        let mut sure = std::collections::HashSet::new();
        for one in &found {
            let right = truth[&named(one)];
            match one.confidence {
                Some(Confidence::Exact) => {
                    assert_eq!(one.frames[2..], right.frames[2..], "exact and wrong");
                    sure.insert(named(one));
                }
                Some(Confidence::Resynced) => {
                    resynced += 1;
                    // What is cut has the size of what was seen.
                    let whole = one.cut || one.response_bytes == right.response_bytes;
                    wrong += u64::from(one.frames[2] != right.frames[2] || !whole);
                    sure.insert(named(one));
                }
                _ => {}
            }
        }
        for one in &whole {
            if one.frames.iter().all(|number| alive.contains(number)) {
                survived += 1;
                found_right += u64::from(sure.contains(&named(one)));
            }
        }
    }
    (survived, found_right, resynced, wrong)
}

#[test]
fn after_a_loss_the_rest_is_found_again() {
    for (batch, seed) in [(1, 88_172_645_463_325_252), (16, 1_234_567_890_123)] {
        let (script, _) = conversation(redis_pair, &vec![batch; 2000 / batch], 65_000, 6379);
        let (survived, found, resynced, wrong) = survival(&script, (6379, redis()), 20, seed);
        assert!(found * 100 >= survived * 95, "{found} of {survived}");
        assert!(wrong * 10_000 <= resynced, "{wrong} of {resynced}");
    }
}

/// A request that was lost may be of the same batch as the one behind it, and is answered first.
#[test]
fn a_request_behind_a_lost_one_is_no_anchor() {
    for (batch, seed) in [
        (2, 7_465_321_987),
        (4, 98_127_645_431),
        (8, 1_234_567_890_123),
    ] {
        let script = one_by_one(redis_pair, &vec![batch; 2000 / batch], 6379);
        let (_, _, resynced, wrong) = survival(&script, (6379, redis()), 30, seed);
        assert!(resynced > 10_000, "{resynced}");
        assert!(wrong * 10_000 <= resynced, "{wrong} of {resynced}");
    }
}

/// A client that keeps so many requests under way whatever it has received, as seen at its server.
fn streamed(pair: Pair, window: usize, requests: usize, numbers: &mut Numbers) -> Script {
    let mut script = Script::new(40_000, 6379);
    let pairs: Vec<_> = (0..requests).map(pair).collect();
    let (mut asked, mut answered, mut received) = (0, 0, 0);
    while received < requests {
        match numbers.next() % 3 {
            0 if asked < requests && asked - received < window => {
                let coming = pairs[received..answered].iter();
                let on_their_way = coming.map(|(_, response)| response.len()).sum();
                script.send_before(false, &pairs[asked].0, on_their_way);
                asked += 1;
            }
            1 if answered < asked => {
                script.send(true, PSH | ACK, &pairs[answered].1);
                answered += 1;
            }
            2 if received < answered => received += 1,
            _ => {}
        }
    }
    script.close();
    script
}

/// A client that does not wait for its answers may look for a while as if it did: what is found again after a loss is its own.
#[test]
fn a_client_that_does_not_wait_is_not_trusted() {
    let mut numbers = Numbers(3_141_592_653_589_793);
    let (mut all, mut bad) = (0, 0);
    for window in [2, 3, 4, 16] {
        for round in 0..150 {
            let script = streamed(redis_pair, window, 10 + round % 60, &mut numbers);
            let seed = numbers.next();
            let (_, _, resynced, wrong) = survival(&script, (6379, redis()), 10, seed);
            (all, bad) = (all + resynced, bad + wrong);
        }
    }
    assert!(all > 1_000, "{all}");
    assert!(bad * 10_000 <= all, "{bad} of {all}");
}

/// A batch that is still being sent when its first answers come: what follows them was not asked when all was answered.
#[test]
fn a_large_batch_is_no_more_than_one() {
    let mut numbers = Numbers(2_718_281_828_459_045);
    let (mut all, mut bad) = (0, 0);
    for _ in 0..40 {
        let mut script = Script::new(40_000, 6379);
        for batch in 0..30 {
            let pairs: Vec<_> = (0..4).map(|at| redis_pair(batch * 4 + at)).collect();
            // The answers to the first two come while the others are sent.
            for (request, _) in &pairs[..2] {
                script.say(false, request, 1400);
            }
            script.send_before(false, &pairs[2].0, 0);
            script.say(true, &pairs[0].1, 1400);
            script.say(true, &pairs[1].1, 1400);
            script.say(false, &pairs[3].0, 1400);
            script.say(true, &pairs[2].1, 1400);
            script.say(true, &pairs[3].1, 1400);
        }
        script.close();
        let seed = numbers.next();
        let (_, _, resynced, wrong) = survival(&script, (6379, redis()), 10, seed);
        (all, bad) = (all + resynced, bad + wrong);
    }
    assert!(bad * 10_000 <= all, "{bad} of {all}");
}

/// Two answers are on their way where a conversation is joined, one of them of a request that was not seen. They are told when the
/// next request shows that nothing before them will come, and are not that request's.
#[test]
fn an_answer_from_before_a_request_is_not_its_own() {
    let pairs: Vec<_> = (0..4).map(redis_pair).collect();
    let mut script = Script::new(40_000, 6379);
    script.say(false, &pairs[0].0, 10);
    script.say(true, &pairs[3].1, 1400);
    script.send(false, PSH | ACK, &pairs[1].0);
    script.say(true, &pairs[0].1, 1400);
    script.say(true, &pairs[1].1, 1400);
    script.send_before(false, &pairs[2].0, pairs[1].1.len());
    script.say(true, &pairs[2].1, 1400);
    let (whole, _) = common::run(&script.frames, 6379, redis());
    // The handshake and the first bytes, and the answer behind them.
    let kept = without(&script.frames, &[1, 2, 3, 4, 7]);
    let (found, _) = common::run_numbered(&kept, 6379, redis());
    assert!(!found.is_empty());
    for one in found.iter().filter(|one| one.response_bytes.is_some()) {
        let n: usize = one.request.trim_start_matches("GET k").parse().unwrap();
        assert_eq!(one.response_bytes, Some(pairs[n].1.len() as u64), "{one:?}");
    }
    assert!(whole.len() >= 3);
}

/// The first request is lost, and the second one of its batch is seen: nobody knows how quiet it was before.
#[test]
fn the_first_request_seen_is_no_anchor() {
    let script = one_by_one(redis_pair, &[4; 20], 6379);
    // Behind the handshake, and joined in the middle of a batch.
    for lost in [4..=4, 1..=4, 1..=5, 1..=6] {
        let kept = without(&script.frames, &lost.clone().collect::<Vec<_>>());
        let (whole, _) = common::run(&script.frames, 6379, redis());
        let (found, _) = common::run_numbered(&kept, 6379, redis());
        let truth: BTreeMap<&str, &Found> = whole
            .iter()
            .map(|found| (found.request.as_str(), found))
            .collect();
        let sure = found
            .iter()
            .filter(|one| one.confidence == Some(Confidence::Resynced));
        assert!(sure.clone().count() > 40, "{lost:?}");
        for one in sure {
            assert_eq!(
                one.response_bytes,
                truth[one.request.as_str()].response_bytes,
                "{lost:?} {one:?}"
            );
        }
    }
}

/// What is seen of a connection may be one exchange, or begin with a batch: it is paired. Where the first request of a batch was not
/// seen, the responses show that one is missing: the next batch is tried.
#[test]
fn the_first_batch_of_a_joined_connection_is_paired_if_it_is_whole() {
    for (batch, seen, resynced) in [(1, 0, 1), (1, 0, 5), (4, 0, 8), (4, 1, 4)] {
        let script = one_by_one(
            redis_pair,
            &vec![batch; resynced.max(batch) / batch + seen],
            6379,
        );
        let end = script.frames.len() - 3;
        let (found, _) = common::run(&script.frames[3 + seen..end], 6379, redis());
        let sure: Vec<&Found> = found
            .iter()
            .filter(|one| one.confidence == Some(Confidence::Resynced))
            .collect();
        let (whole, _) = common::run(&script.frames, 6379, redis());
        assert_eq!(sure.len(), resynced, "{batch} {seen} {found:?}");
        for one in sure {
            let right = whole.iter().find(|whole| whole.request == one.request);
            assert_eq!(
                Some(one.response_bytes),
                right.map(|right| right.response_bytes)
            );
        }
    }
}

/// First requests that could be any protocol's, or none's, are exact once the protocol shows; of what never shows it is said that nobody
/// knows it.
#[test]
fn what_came_before_the_protocol_showed_is_not_lost() {
    let mut script = Script::new(40_000, 12_345);
    for (request, response) in [
        ("PING\r\nPING\r\n", "+PONG\r\n+PONG\r\n"),
        ("FOO bar\r\n", "-ERR unknown command\r\n"),
    ] {
        script.say(false, request.as_bytes(), 5);
        script.say(true, response.as_bytes(), 4);
    }
    ask(&mut script, 3, 1000);
    let (found, stats) = common::run(&script.frames, 12_345, Kind::Auto);
    assert!(are_exact(&found, 6), "{found:?}");
    assert_eq!((stats.account.unrecognised, stats.account.joined), (0, 0));
    let mut script = Script::new(40_000, 12_345);
    script.say(false, b"what is this", 1400);
    let (found, stats) = common::run(&script.frames, 12_345, Kind::Auto);
    assert_eq!((found.len(), stats.account.unrecognised), (0, 1));
}

/// Quiet reads of memcached's, of which every third finds nothing, and a no-op behind each batch of them.
fn quiet_batches(batches: usize, port: u16) -> Script {
    let mut script = Script::new(40_000, port);
    for batch in 0..batches {
        let (mut requests, mut responses) = (String::new(), String::new());
        for n in batch * 8..batch * 8 + 8 {
            requests += &format!("mg k{n} q v O{n}\r\n");
            if n % 3 != 0 {
                let size = 1 + n * 7 % 300;
                responses += &format!("VA {size} O{n}\r\n{}\r\n", "v".repeat(size));
            }
        }
        script.say(false, (requests + "mn\r\n").as_bytes(), 1448);
        script.say(true, (responses + "MN\r\n").as_bytes(), 1448);
    }
    script.close();
    script
}

/// The order of quiet requests is found again as that of others.
#[test]
fn quiet_requests_are_found_again_after_a_loss() {
    let script = quiet_batches(300, 11211);
    let (survived, found, resynced, wrong) =
        survival(&script, (11211, memcached()), 30, 5_489_761_234_987);
    assert!(found * 100 >= survived * 90, "{found} of {survived}");
    assert!(
        resynced > 10_000 && wrong * 10_000 <= resynced,
        "{wrong} of {resynced}"
    );
}

/// A connection that was silent since the capture began is at rest: its first request is paired, too.
#[test]
fn a_silent_connection_that_is_joined_loses_no_request() {
    let mut other = Script::new(40_001, 6379);
    ask(&mut other, 1, 1000);
    let mut script = Script::unbegun(40_000, 6379);
    script.pass(SECOND);
    ask(&mut script, 10, 1000);
    let frames = [other.frames, script.frames].concat();
    let (found, stats) = common::run(&frames, 6379, redis());
    let resynced = |one: &&Found| one.confidence == Some(Confidence::Resynced);
    assert_eq!(
        (found.len(), found.iter().filter(resynced).count()),
        (11, 10)
    );
    assert_eq!(stats.account.joined, 1);
}

/// The response to a request is lost, and so is a later request of the same identifier: its response is not the first one's.
#[test]
fn an_identifier_that_is_used_again_after_losses_pairs_nothing() {
    let mut script = Script::new(40_000, 11211);
    for opaque in [1, 2, 1, 3] {
        script.say(false, &no_op(0x80, opaque), 1400);
        script.say(true, &no_op(0x81, opaque), 1400);
        script.pass(1000);
    }
    script.close();
    // Its response, then the request that is numbered alike.
    let kept = without(&script.frames, &[5, 8]);
    let (found, _) = common::run_numbered(&kept, 11211, memcached());
    let exact: Vec<_> = found
        .iter()
        .filter(|one| one.confidence == Some(Confidence::Exact))
        .map(|one| one.frames[0])
        .collect();
    assert_eq!(exact, [6, 10]);
    assert!(
        found
            .iter()
            .any(|one| one.frames[0] == 4 && one.confidence == Some(Confidence::Ambiguous))
    );
}

/// A quiet request that its server had not received when it answered is not the one that was answered, although it was seen before the
/// answer: two that look alike have their own.
#[test]
fn an_answer_is_of_a_request_that_was_received() {
    let quiet = |magic: u8, key: &[u8], extras: &[u8], value: &[u8]| -> Vec<u8> {
        let body = key.len() + extras.len() + value.len();
        let mut packet = vec![magic, 0x09, 0, key.len() as u8, extras.len() as u8, 0, 0, 0];
        packet.extend((body as u32).to_be_bytes());
        packet.extend([0; 12]);
        [&packet, extras, key, value].concat()
    };
    let ask = |key: &[u8]| quiet(0x80, key, &[], &[]);
    let answer = |size: usize| quiet(0x81, &[], &[0; 4], &vec![b'v'; size]);
    let mut script = Script::new(40_000, 11211);
    script.say(false, &ask(b"k1"), 1400);
    script.say(false, &ask(b"k2"), 1400);
    script.send_before(true, &answer(10), ask(b"k2").len());
    script.say(true, &answer(20), 1400);
    script.say(false, &no_op(0x80, 0), 1400);
    script.say(true, &no_op(0x81, 0), 1400);
    script.close();
    let (found, _) = common::run(&script.frames, 11211, memcached());
    assert!(are_exact(&found, 3), "{found:?}");
    let sizes: Vec<_> = found
        .iter()
        .map(|one| (one.frames[0], one.response_bytes))
        .collect();
    assert_eq!(sizes, [(4, Some(38)), (5, Some(48)), (8, Some(24))]);
}

/// memcached's no-op in its binary protocol (doc/protocol-binary.xml), which its opaque tells apart.
fn no_op(magic: u8, opaque: u32) -> [u8; 24] {
    let mut header = [0; 24];
    header[..2].copy_from_slice(&[magic, 0x0a]);
    header[12..16].copy_from_slice(&opaque.to_be_bytes());
    header
}

/// Answers that nobody asked for cost a look at all that waits. A few change nothing; where nothing else comes, the
/// oldest of many requests make room, and are counted.
#[test]
fn answers_that_nobody_asked_for_make_room() {
    for (strays, dropped) in [(10, 0), (30, 512)] {
        let mut script = Script::new(40_000, 11211);
        let all = |magic, numbers: std::ops::Range<u32>| -> Vec<u8> {
            numbers.flat_map(|number| no_op(magic, number)).collect()
        };
        script.say(false, &all(0x80, 1..601), 1400);
        script.say(true, &all(0x81, 10_000..10_000 + strays), 1400);
        script.say(true, &all(0x81, 1..601), 1400);
        let (found, stats) = common::run(&script.frames, 11211, memcached());
        let exact = found
            .iter()
            .filter(|found| found.confidence == Some(Confidence::Exact));
        assert_eq!(stats.account.overflowed, dropped, "{strays}");
        assert_eq!(exact.count() as u64, 600 - dropped, "{strays}");
    }
}

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3600 * SECOND;

/// Requests that are answered after `wait`, `count` of them; before each, `wait` passes.
fn ask(script: &mut Script, count: usize, wait: u64) {
    for n in 0..count {
        let (request, response) = redis_pair(n);
        script.pass(wait);
        script.say(false, &request, 1400);
        script.pass(wait);
        script.say(true, &response, 1400);
    }
}

/// A stamp that is damaged, in whichever frame: nothing that was waited for is given up.
#[test]
fn one_frame_of_a_far_future_ends_no_conversation() {
    let mut script = Script::new(40_000, 6379);
    ask(&mut script, 20, SECOND / 20);
    let (_, plain) = common::run(&script.frames, 6379, redis());
    let plain = (plain.account.conversations, plain.account.joined);
    for damaged in 1..script.frames.len() {
        let mut frames = script.frames.clone();
        frames[damaged].time += 30 * YEAR;
        let (found, stats) = common::run(&frames, 6379, redis());
        assert!(are_exact(&found, 20), "{damaged}");
        let account = (stats.account.conversations, stats.account.joined);
        assert_eq!(account, plain, "{damaged}");
    }
}

/// Hours without traffic are believed, and requests from before are told as unanswered then, not at the end.
#[test]
fn a_long_silence_passes_time() {
    let mut script = Script::new(40_000, 6379);
    let mut other = Script::new(40_001, 6379);
    other.say(false, b"*1\r\n$4\r\nPING\r\n", 1400);
    script.pass(5 * 3600 * SECOND);
    ask(&mut script, 10, SECOND);
    let frames = [other.frames, script.frames].concat();
    let (found, _) = common::run(&frames, 6379, redis());
    let unanswered = found.iter().position(|one| one.response_bytes.is_none());
    assert!(unanswered.unwrap() <= 1, "{found:?}");
    assert_eq!(found.len(), 11);
}

/// A clock that was set back by a day: requests are given up in its time.
#[test]
fn a_clock_that_was_set_back_goes_on() {
    let mut before = Script::new(40_000, 6379);
    before.pass(24 * 3600 * SECOND);
    ask(&mut before, 10, SECOND);
    let mut script = Script::new(40_001, 6379);
    ask(&mut script, 1000, SECOND / 1000);
    let mut other = Script::new(40_002, 6379);
    other.say(false, b"*1\r\n$4\r\nPING\r\n", 1400);
    ask(&mut script, 100, SECOND);
    let frames = [before.frames, other.frames, script.frames].concat();
    let (found, stats) = common::run(&frames, 6379, redis());
    let unanswered = found.iter().position(|one| one.response_bytes.is_none());
    assert!(
        (1010..1080).contains(&unanswered.unwrap()),
        "{unanswered:?}"
    );
    assert_eq!(found.len(), 1111);
    assert_eq!(stats.account.joined, 0);
}

/// A bridge and its ports show each frame three times, segments without bytes too.
#[test]
fn every_frame_of_three_interfaces_counts_once() {
    let mut script = Script::new(40_000, 6379);
    for n in 0..50 {
        let (request, response) = redis_pair(n);
        script.say(false, &request, 1400);
        script.send(true, ACK, &[]);
        script.say(true, &response, 1400);
        script.send(false, ACK, &[]);
        // The same once more is no copy, but its own copies are.
        script.send(false, ACK, &[]);
    }
    script.close();
    let (alone, _) = common::run(&script.frames, 6379, redis());
    let later = |sent: &Sent, nanoseconds: u64| Sent {
        time: sent.time + nanoseconds,
        ..sent.clone()
    };
    let seen: Vec<[Sent; 3]> = script
        .frames
        .iter()
        .map(|sent| [0, 100, 200].map(|nanoseconds| later(sent, nanoseconds)))
        .collect();
    let frames: Vec<_> = seen
        .iter()
        .zip(1..)
        .flat_map(|(seen, number)| (0..).zip(seen).map(move |(i, one)| (number, i, one)))
        .collect();
    let (found, stats) = common::run_on_interfaces(&frames, 6379, redis());
    assert_eq!(found, alone);
    let copies = 2 * script.frames.len() as u64;
    assert_eq!(
        (stats.account.duplicates, stats.account.retransmissions),
        (copies, 0)
    );
}

/// An answer that comes a tenth of a second after a short timeout is late already.
#[test]
fn a_short_timeout_is_kept() {
    let mut script = Script::new(40_000, 6379);
    let mut other = Script::new(40_001, 6379);
    script.say(false, b"*1\r\n$4\r\nPING\r\n", 1400);
    other.pass(SECOND / 5);
    ask(&mut other, 1, SECOND / 8);
    script.pass(SECOND * 3 / 4);
    script.say(true, b"+PONG\r\n", 1400);
    let frames = [&script.frames[..4], &other.frames, &script.frames[4..]].concat();
    for (timeout, unanswered) in [(200, 1), (900, 0)] {
        let timeout = Duration::from_millis(timeout);
        let (found, stats) = common::run_with_timeout(&frames, 6379, redis(), timeout);
        let silent = found.iter().filter(|one| one.response_bytes.is_none());
        assert_eq!((found.len(), silent.count()), (2, unanswered));
        let late: u64 = stats.ports().iter().map(|port| port.late).sum();
        assert_eq!(late, unanswered as u64);
    }
}

/// An RST that its receiver does not take ends nothing: of an earlier conversation on the same addresses, or made up.
#[test]
fn a_reset_from_outside_the_window_ends_nothing() {
    for off in [999_999_999_u32, 100_000_000, 5_u32.wrapping_neg(), 1 << 31] {
        for server in [false, true] {
            let mut script = Script::new(40_000, 6379);
            ask(&mut script, 5, 1000);
            script.send(false, ACK, &[]);
            script.send_off(server, RST, &[], off);
            ask(&mut script, 5, 1000);
            let (found, stats) = common::run(&script.frames, 6379, redis());
            assert!(are_exact(&found, 10), "{off}");
            assert_eq!(stats.account.conversations, 1);
        }
    }
}

/// The addresses of an ended conversation are used again, and its SYNs were not seen: what follows is paired, as of one that was
/// joined, and not swallowed.
#[test]
fn what_follows_an_end_without_its_beginning_is_followed() {
    for reset in [None, Some(false), Some(true)] {
        let mut script = Script::new(40_000, 6379);
        ask(&mut script, 5, 1000);
        match reset {
            Some(server) => script.send(server, RST | ACK, &[]),
            None => script.close(),
        }
        script.begin_anew([1 << 30, 3 << 30]);
        ask(&mut script, 50, 1000);
        let (found, stats) = common::run(&script.frames, 6379, redis());
        let paired = |one: &&Found| one.response_bytes.is_some();
        assert!(found.iter().filter(paired).count() >= 50, "{reset:?}");
        let (conversations, joined) = (stats.account.conversations, stats.account.joined);
        assert_eq!((conversations, joined), (2, 1), "{reset:?}");
    }
}

/// A port is used again while the connection before was not seen to end, and the capture shows the first requests ahead of their
/// SYNs.
#[test]
fn what_overtakes_its_syn_is_exact() {
    for late in [1..3, 1..2, 2..3] {
        for by in [1, 2, 4, 8] {
            let mut script = Script::new(40_000, 6379);
            ask(&mut script, 5, 1000);
            let begin = script.frames.len();
            script.begin_anew([1 << 30, 3 << 30]);
            script.send(false, SYN, &[]);
            script.send(true, SYN | ACK, &[]);
            script.send(false, ACK, &[]);
            ask(&mut script, 20, 1000);
            let mut frames = script.frames;
            let times: Vec<u64> = frames.iter().map(|sent| sent.time).collect();
            let first = begin + late.start - 1;
            let moved: Vec<Sent> = frames.drain(first..begin + late.end - 1).collect();
            let place = first + by;
            frames.splice(place..place, moved);
            for (frame, time) in frames.iter_mut().zip(times) {
                frame.time = time;
            }
            let (found, stats) = common::run(&frames, 6379, redis());
            let account = &stats.account;
            assert!(are_exact(&found, 25), "{late:?} {by} {found:?}");
            let counts = (account.conversations, account.joined, account.gaps);
            assert_eq!(counts, (2, 0, 0), "{late:?} {by}");
        }
    }
}

/// Segments of other connections between the same ports, as those of one long gone, change nothing; but where nothing else comes any
/// more, they are what goes on.
#[test]
fn strange_segments_change_nothing() {
    for server in [false, true] {
        let mut script = Script::new(40_000, 6379);
        ask(&mut script, 5, 1000);
        script.send_off(server, PSH | ACK, b"PING\r\n", 1 << 30);
        script.send_off(server, ACK | FIN, b"", 1 << 29);
        ask(&mut script, 30, 1000);
        let (found, stats) = common::run(&script.frames, 6379, redis());
        assert!(are_exact(&found, 35), "{found:?}");
        assert_eq!((stats.account.gaps, stats.account.conversations), (0, 1));
    }
    let mut script = Script::new(40_000, 6379);
    ask(&mut script, 5, 1000);
    script.begin_anew([1 << 30, 3 << 30]);
    ask(&mut script, 50, 1000);
    let (found, stats) = common::run(&script.frames, 6379, redis());
    let paired = |one: &&Found| one.response_bytes.is_some();
    let count = found.iter().filter(paired).count();
    assert_eq!((found.len(), count), (55, 55), "{found:?}");
    let account = &stats.account;
    // How the one before ended was not seen.
    assert_eq!(
        (account.gaps, account.conversations, account.joined),
        (2, 2, 1)
    );
}

/// What was on its way when the other side reset the connection, and what is sent again after its end, begins nothing.
#[test]
fn leftovers_of_an_ended_conversation_begin_none() {
    let mut script = Script::new(40_000, 6379);
    ask(&mut script, 5, 1000);
    let last = script.frames.last().unwrap().bytes.clone();
    script.send(false, RST | ACK, &[]);
    script.say(true, b"$5\r\nhello\r\n", 1400);
    let mut frames = script.frames;
    let time = frames.last().unwrap().time + 1000;
    frames.push(Sent { bytes: last, time });
    let (found, stats) = common::run(&frames, 6379, redis());
    let account = &stats.account;
    assert_eq!(
        (found.len(), account.conversations, account.joined),
        (5, 1, 0)
    );
}

/// A SYN that brings the request (RFC 7413), whether or not the server takes it.
#[test]
fn a_request_in_a_syn_is_as_exact_as_any() {
    for taken in [true, false] {
        let (request, response) = redis_pair(0);
        let mut script = Script::unbegun(40_000, 6379);
        script.send(false, SYN, &request);
        if !taken {
            script.begin_anew([u32::MAX - 19, 77]);
        }
        script.send(true, SYN | ACK, &[]);
        let again = if taken { &[][..] } else { &request };
        script.send(false, PSH | ACK, again);
        script.say(true, &response, 1400);
        ask(&mut script, 3, 1000);
        let (found, stats) = common::run(&script.frames, 6379, redis());
        assert!(are_exact(&found, 4), "{taken} {found:?}");
        let account = &stats.account;
        let orphans: u64 = stats.ports().iter().map(|port| port.orphans).sum();
        assert_eq!((account.joined, orphans), (0, 0));
        assert_eq!(account.retransmissions, u64::from(!taken));
    }
}

fn http_get(n: usize, field: &str) -> Vec<u8> {
    format!("GET /{n} HTTP/1.1\r\nHost: h\r\n{field}\r\n").into_bytes()
}

/// A response whose status tells which request it answers, with this body.
fn http_answer(n: usize, body: &str) -> Vec<u8> {
    let (status, len) = (400 + n, body.len());
    format!("HTTP/1.1 {status} No\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
}

/// Whether each request that was found has its own answer.
fn have_their_own(found: &[Found]) -> bool {
    let own = |one: &Found| one.request == format!("GET /{} HTTP/1.1", one.status - 400);
    found.iter().filter(|one| one.status > 0).all(own)
}

/// Requests sent behind one that may end HTTP are read when its answer was, and before theirs.
#[test]
fn requests_behind_a_refused_upgrade_have_their_own_answers() {
    let upgrade = |n| http_get(n, "Upgrade: h2c\r\n");
    let get = |n| http_get(n, "");
    for requests in [[upgrade(0), get(1), get(2)], [0, 1, 2].map(upgrade)] {
        let answers = [0, 1, 2].map(|n| http_answer(n, "no")).concat();
        for (asked, answered) in [(1400, 1400), (40, 1400), (1400, 50), (30, 7)] {
            let mut script = Script::new(40_000, 80);
            script.say(false, &requests.concat(), asked);
            script.say(true, &answers, answered);
            for n in 3..5 {
                script.say(false, &get(n), asked);
                script.say(true, &http_answer(n, ""), answered);
            }
            let (found, _) = common::run(&script.frames, 80, http());
            assert!(are_exact(&found, 5) && have_their_own(&found), "{found:#?}");
        }
    }
}

/// The server need not have received all of it when it answers.
#[test]
fn what_waits_for_an_answer_keeps_its_place() {
    let upgrade = http_get(0, "Upgrade: h2c\r\n");
    let post: &[u8] = b"POST /1 HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789";
    let (refusal, get) = (http_answer(0, "no"), http_get(2, ""));
    let answers = [http_answer(1, ""), http_answer(2, "")].concat();
    for cut in 1..=post.len() {
        let (waits, rest) = post.split_at(cut);
        let mut script = Script::new(40_000, 80);
        let mut next = [u32::MAX - 19, 78];
        script.say(false, &upgrade, 1400);
        script.say(false, waits, 1400);
        next[0] = next[0].wrapping_add(upgrade.len() as u32);
        script.begin_anew(next);
        script.say(true, &refusal, 1400);
        let sent = next[0].wrapping_add(cut as u32);
        script.begin_anew([sent, next[1] + refusal.len() as u32]);
        script.say(false, &[rest, &get].concat(), 1400);
        script.say(true, &answers, 1400);
        let (found, stats) = common::run(&script.frames, 80, http());
        assert!(are_exact(&found, 3), "{cut} {found:#?}");
        let sizes = found.iter().map(|one| (one.status, one.request_bytes));
        let sent = [upgrade.len(), post.len(), get.len()].map(|size| size as u64);
        assert!(sizes.eq((400..).zip(sent)), "{cut} {found:#?}");
        assert_eq!(stats.account.gaps, 0);
    }
}

/// A server that does not wait for the end of a head answers it all the same.
#[test]
fn an_answer_to_half_a_head_moves_no_other() {
    let head = http_get(0, "Cookie: long\r\n");
    let mut script = Script::new(40_000, 80);
    script.say(false, &head[..20], 1400);
    script.say(true, &http_answer(0, "too long"), 1400);
    script.say(false, &head[20..], 1400);
    for n in 1..4 {
        script.say(false, &http_get(n, ""), 1400);
        script.say(true, &http_answer(n, ""), 1400);
    }
    let (found, _) = common::run(&script.frames, 80, http());
    assert!(are_exact(&found, 3) && have_their_own(&found), "{found:#?}");
}

/// Of a conversation that was joined, too, what a body holds is no response.
#[test]
fn a_body_like_a_response_is_none_behind_a_loss() {
    let body = "HTTP/1.1 499 X\r\nContent-Length: 0\r\n\r\n";
    let mut script = Script::unbegun(40_000, 80);
    for n in 0..6 {
        script.say(false, &http_get(n, ""), 1400);
        script.say(true, &http_answer(n, ""), 1400);
    }
    script.say(false, &[http_get(6, ""), http_get(7, "")].concat(), 1400);
    script.say(true, &[6, 7].map(|n| http_answer(n, body)).concat(), 1400);
    for n in 8..10 {
        script.say(false, &http_get(n, ""), 1400);
        script.say(true, &http_answer(n, body), 1400);
    }
    let (found, stats) = common::run(&script.frames, 80, http());
    let paired = found.iter().filter(|one| one.status > 0).count();
    assert!(paired >= 6 && have_their_own(&found), "{found:#?}");
    assert_eq!(stats.account.joined, 1);
}

/// A DNS message (RFC 1035, section 4.1) with one question.
fn dns_message(id: u16, answer: bool, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(if answer { [0x81, 0x80] } else { [1, 0] });
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// A datagram of DNS.
fn datagram(answer: bool, payload: &[u8], time: u64) -> Sent {
    datagram_at(53, answer, payload, time)
}

/// A datagram between the same two ends, its server at `port`.
fn datagram_at(port: u16, answer: bool, payload: &[u8], time: u64) -> Sent {
    let ends = [([10, 0, 0, 1], 40_000), ([10, 0, 0, 2], port)];
    let (from, to) = (ends[usize::from(answer)], ends[usize::from(!answer)]);
    Sent {
        bytes: common::udp(from, to, payload),
        time: 1_700_000_000_000_000_000 + time,
    }
}

/// A DNS response without a question is of the query of its identifier, but where its client asks two questions at a time with one: the
/// other query may have been lost.
#[test]
fn a_response_without_a_question_is_exact_where_identifiers_differ() {
    let refused = [0, 9, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
    for (second, sure) in [(2, true), (1, false)] {
        let queries = [(1, "a.example.com"), (second, "b.example.com")];
        let mut payloads: Vec<(bool, Vec<u8>)> = Vec::new();
        for answer in [false, true] {
            let messages = queries.map(|(id, name)| dns_message(id, answer, name));
            payloads.extend(messages.map(|message| (answer, message)));
        }
        payloads.push((false, dns_message(9, false, "c.example.com")));
        payloads.push((true, refused.to_vec()));
        let frames: Vec<Sent> = (0..)
            .zip(&payloads)
            .map(|(at, (answer, payload))| datagram(*answer, payload, at * 1000))
            .collect();
        let (found, _) = common::run(&frames, 53, dns());
        let confidence = match sure {
            true => Confidence::Exact,
            false => Confidence::Ambiguous,
        };
        let last = found.iter().find(|one| one.frames[0] == 5);
        assert_eq!(last.and_then(|one| one.confidence), Some(confidence));
        assert_eq!(found.len(), 3);
    }
}

/// A client of memcached over UDP that numbers all its requests alike: its pairs are told, but are as sure as that nothing was lost.
#[test]
fn an_id_for_all_requests_is_not_exact() {
    let header = [0, 7, 0, 0, 0, 1, 0, 0];
    let say = |at: u64, answer: bool, text: &str| {
        let payload = [&header[..], text.as_bytes()].concat();
        datagram_at(11211, answer, &payload, at * 1000)
    };
    let frames: Vec<Sent> = (0..20)
        .flat_map(|n| {
            let request = say(2 * n, false, &format!("incr k{n} 1\r\n"));
            [request, say(2 * n + 1, true, "1\r\n")]
        })
        .collect();
    let confidences = |found: &[Found]| -> Vec<Option<Confidence>> {
        found.iter().map(|one| one.confidence).collect()
    };
    let (found, _) = common::run(&frames, 11211, memcached());
    let (first, rest) = (Some(Confidence::Exact), Some(Confidence::Resynced));
    assert_eq!(confidences(&found)[..1], [first]);
    assert_eq!(confidences(&found)[1..], [rest; 19]);
    // The response to one, and the next request, whose response looks like the first one's.
    let kept = without(&frames, &[20, 21]);
    let (found, _) = common::run_numbered(&kept, 11211, memcached());
    let wrong = found.iter().find(|one| one.frames[2] == 22);
    assert!(wrong.is_some_and(|one| one.confidence == rest));
    // An answer was lost: for a while nobody knows.
    let kept = without(&frames, &[20]);
    let (found, _) = common::run_numbered(&kept, 11211, memcached());
    let later = found.iter().filter(|one| one.frames[0] > 20);
    assert!(later.clone().count() >= 9);
    assert!(
        later
            .clone()
            .all(|one| one.confidence == Some(Confidence::Ambiguous))
    );
}

/// Asks number `n` of memcached over UDP and what its server says: a `get` of so many keys, of which every third is not there. Items
/// come in datagrams of at most 100 bytes, a series each, and the last one with the end.
fn memcached_datagrams(n: usize, keys: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let header = |sequence: usize, total: usize| {
        let fields = [n as u16, sequence as u16, total as u16, 0];
        fields.map(u16::to_be_bytes).concat()
    };
    let names: Vec<String> = (0..keys).map(|key| format!("k{n}-{key}")).collect();
    let request = format!("get {}\r\n", names.join(" "));
    let mut series: Vec<Vec<u8>> = Vec::new();
    for (key, name) in names.iter().enumerate() {
        if (n + key) % 3 != 2 {
            let size = (n * 31 + key * 57) % 350;
            series.push(format!("VALUE {name} 0 {size}\r\n{}\r\n", "v".repeat(size)).into_bytes());
        }
    }
    match series.last_mut() {
        Some(last) if (n + keys - 1) % 3 != 2 => last.extend(b"END\r\n"),
        _ => series.push(b"END\r\n".to_vec()),
    }
    let mut answers = Vec::new();
    for item in &series {
        let total = item.chunks(100).count();
        for (sequence, part) in item.chunks(100).enumerate() {
            answers.push([&header(sequence, total)[..], part].concat());
        }
    }
    ([&header(0, 1)[..], request.as_bytes()].concat(), answers)
}

/// A conversation over UDP of requests of these numbers of keys, up to three under way at a time.
fn datagrams(keys: &[usize], port: u16) -> Vec<Sent> {
    let mut frames = Vec::new();
    let mut say = |answer: bool, payload: &[u8]| {
        let time = frames.len() as u64 * 1000;
        frames.push(datagram_at(port, answer, payload, time));
    };
    for (batch, keys) in keys.chunks(3).enumerate() {
        let all = (0..).zip(keys).map(|(n, &keys)| (batch * 3 + n, keys));
        let all: Vec<_> = match port {
            53 => all
                .map(|(n, keys)| {
                    let name = format!("host{n}.example{keys}.com");
                    let [asked, answer] =
                        [false, true].map(|answer| dns_message(n as u16, answer, &name));
                    (asked, vec![answer])
                })
                .collect(),
            _ => all.map(|(n, keys)| memcached_datagrams(n, keys)).collect(),
        };
        for (asked, _) in &all {
            say(false, asked);
        }
        for answer in all.iter().flat_map(|(_, answers)| answers) {
            say(true, answer);
        }
    }
    frames
}

/// Moved and repeated datagrams give the same pairs as others, all exact. Before a client has sent two ids nobody knows whether
/// it tells its requests apart: the first two are left as they are.
fn check_disturbed_datagrams(
    kind: Kind,
    port: u16,
    keys: &[usize],
    moves: &[u8],
    doubles: &[bool],
) {
    let frames = datagrams(keys, port);
    let (plain, _) = common::run(&frames, port, kind);
    assert!(are_exact(&plain, keys.len()), "{plain:?}");
    let (first, rest) = frames.split_at(2);
    let disturbed = [first.to_vec(), disturb(rest, moves, doubles)].concat();
    let (found, stats) = common::run(&disturbed, port, kind);
    assert_eq!(sorted(&found), sorted(&plain));
    assert!(stats.ports().iter().all(|port| port.orphans == 0));
}

/// Each exchange without what may differ, in an order of its own.
fn sorted(found: &[Found]) -> Vec<Found> {
    let mut essence = essence(found);
    essence.sort();
    essence
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Datagrams overtake each other, also those of the other side.
    #[test]
    fn any_order_of_datagrams_gives_the_same_pairs(
        (kind, port) in prop_oneof![Just((memcached(), 11211)), Just((dns(), 53))],
        keys in prop::collection::vec(1_usize..6, 3..30),
        moves in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        check_disturbed_datagrams(kind, port, &keys, &moves, &[false]);
    }

    /// Each datagram may come twice in a row.
    #[test]
    fn repeated_datagrams_change_no_pair(
        (kind, port) in prop_oneof![Just((memcached(), 11211)), Just((dns(), 53))],
        keys in prop::collection::vec(1_usize..6, 3..30),
        doubles in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        check_disturbed_datagrams(kind, port, &keys, &[0], &doubles);
    }

    /// One datagram in ten is lost.
    #[test]
    fn what_is_exact_of_datagrams_under_loss_is_right(
        (kind, port) in prop_oneof![Just((memcached(), 11211)), Just((dns(), 53))],
        keys in prop::collection::vec(1_usize..6, 3..60),
        moves in prop::collection::vec(any::<u8>(), 1..20),
        losses in prop::collection::vec(prop::bool::weighted(0.1), 50..200),
    ) {
        let frames = datagrams(&keys, port);
        let (whole, _) = common::run(&frames, port, kind);
        let mut kept: Vec<(u64, Sent)> = Vec::new();
        for (index, frame) in disturb(&frames, &moves, &[false]).into_iter().enumerate() {
            let number = frames.iter().position(|one| one.bytes == frame.bytes).unwrap() as u64 + 1;
            if !losses[index % losses.len()] {
                kept.push((number, frame));
            }
        }
        let kept: Vec<(u64, &Sent)> = kept.iter().map(|(number, frame)| (*number, frame)).collect();
        let (found, _) = common::run_numbered(&kept, port, kind);
        let truth: BTreeMap<&str, &Found> =
            whole.iter().map(|found| (found.request.as_str(), found)).collect();
        for one in found.iter().filter(|one| one.confidence == Some(Confidence::Exact)) {
            let right = truth[one.request.as_str()];
            prop_assert!(right.frames[2] <= one.frames[2] && one.frames[3] <= right.frames[3], "{:?} {:?}", one, right);
            prop_assert!(one.response_bytes <= right.response_bytes);
        }
    }
}

/// Two interfaces show each datagram, the second one a moment later, when others have passed.
#[test]
fn datagrams_of_two_interfaces_count_once() {
    for delay in [100, 200_000, 500_000, 1_500_000, 3_000_000, 4_900_000] {
        let mut frames = Vec::new();
        for n in 0..50 {
            for answer in [false, true] {
                let payload = dns_message(n, answer, "example.com");
                let time = u64::from(n) * 200_000 + u64::from(answer) * 90_000;
                frames.push((0, datagram(answer, &payload, time)));
                frames.push((1, datagram(answer, &payload, time + delay)));
            }
        }
        frames.sort_by_key(|(_, sent)| sent.time);
        let frames: Vec<_> = (1..)
            .zip(&frames)
            .map(|(number, (interface, sent))| (number, *interface, sent))
            .collect();
        let (found, stats) = common::run_on_interfaces(&frames, 53, dns());
        assert_eq!(
            (found.len(), stats.account.duplicates),
            (50, 100),
            "{delay}"
        );
    }
}

/// A request waits behind those that were asked before it, not behind those that were answered before it.
#[test]
fn what_overtakes_a_request_is_not_waited_for() {
    let said = [
        (1, false, 0),
        (2, false, 1_000_000),
        (3, false, 2_000_000),
        (2, true, 3_000_000),
        (1, true, 4_000_000),
        (3, true, 5_000_000),
    ];
    let frames: Vec<Sent> = said
        .iter()
        .map(|&(id, answer, time)| datagram(answer, &dns_message(id, answer, "example.com"), time))
        .collect();
    let (found, _) = common::run(&frames, 53, dns());
    let waits: Vec<_> = found.iter().map(|one| one.wait).collect();
    assert_eq!(waits, [0, 0, 2_000_000]);
}

/// Datagrams whose other fragments never come are counted when the capture ends, if nothing did it before. (All fragments but the
/// last are a multiple of 8 bytes long.)
#[test]
fn datagrams_that_are_never_whole_are_counted() {
    let frames: Vec<Sent> = (0..50)
        .map(|n| {
            let mut sent = datagram(
                false,
                &dns_message(n, false, "example123.com"),
                u64::from(n),
            );
            sent.bytes[18..22].copy_from_slice(&[0, n as u8, 0x20, 0]);
            sent
        })
        .collect();
    let (found, stats) = common::run(&frames, 53, dns());
    let account = &stats.account;
    assert_eq!(
        (found.len(), account.fragments, account.fragments_lost),
        (0, 50, 50)
    );
}

/// An answer in three fragments: its first byte is that of the first one, whichever is seen last.
#[test]
fn an_answer_in_fragments_begins_with_the_first_one() {
    let answer = datagram(
        true,
        &dns_message(7, true, "a-name-of-some-length.example.com"),
        0,
    )
    .bytes;
    let (headers, payload) = answer.split_at(34);
    let fragment = |at: usize, time: u64| {
        let rest = &payload[at * 16..];
        let (data, more) = rest.split_at_checked(16).unwrap_or((rest, &[]));
        let mut bytes = [headers, data].concat();
        bytes[16..18].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
        let place = (at as u16 * 2) | if more.is_empty() { 0 } else { 1 << 13 };
        bytes[20..22].copy_from_slice(&place.to_be_bytes());
        let time = 1_700_000_000_000_000_000 + time;
        Sent { bytes, time }
    };
    let asked = dns_message(7, false, "a-name-of-some-length.example.com");
    for (order, first, last) in [
        ([0, 1, 2, 3], 2, 5),
        ([3, 1, 0, 2], 4, 5),
        ([2, 3, 1, 0], 5, 5),
    ] {
        let mut frames = vec![datagram(false, &asked, 0)];
        let times = [1_000_000, 2_000_000, 3_000_000, 4_000_000];
        frames.extend(
            order
                .iter()
                .zip(times)
                .map(|(&at, time)| fragment(at, time)),
        );
        let (found, _) = common::run(&frames, 53, dns());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].frames, [1, 1, first, last], "{order:?}");
    }
}
