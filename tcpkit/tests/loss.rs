//! Frames are left out of recordings whose truth is known: what tcpkit still pairs must be right, and
//! it must still pair nearly all that can be paired.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use support::cases::Case;
use support::{Report, frame};

/// Exchanges that can be told apart by the frames and the text of their requests and the frames that
/// their responses begin in, and how many of each there are.
type Pairs = BTreeMap<(String, String, u64, u64), i64>;

/// What became of a recording's exchanges.
#[derive(Debug, Default)]
struct Tally {
    /// Pairs that state a latency.
    exact: u64,
    resynced: u64,
    /// Of those, pairs that the whole recording does not have.
    wrong_exact: u64,
    wrong_resynced: u64,
    /// Exchanges whose own frames are all there, and how many of them were paired.
    intact: u64,
    intact_paired: u64,
}

#[test]
fn one_percent_lost_leaves_nearly_all_paired_and_nothing_wrong() {
    let mut total = Tally::default();
    for name in [
        "redis-benchmark-1",
        "redis-benchmark-16",
        "redis-echo",
        "memcached-pipelined",
    ] {
        let mut of_case = Tally::default();
        for seed in 0..24 {
            add(&mut of_case, &lossy(&Case::named(name), seed));
        }
        assert_eq!(of_case.wrong_exact, 0, "{name}: {of_case:?}");
        if name.starts_with("redis-benchmark") {
            let share = of_case.intact_paired as f64 / of_case.intact as f64;
            assert!(share >= 0.95, "{name}: {share} of {of_case:?}");
        }
        support::say(&format!("{name}: {of_case:?}"));
        add(&mut total, &of_case);
    }
    assert!(total.wrong_resynced * 10_000 <= total.resynced, "{total:?}");
}

#[test]
fn cases_with_frames_left_out_hold_nothing_wrong() {
    for case in Case::all() {
        let truth = case.truth();
        let Some(lost) = truth.get("lost") else {
            continue;
        };
        let numbers = lost["frames"].as_array().unwrap().iter();
        let numbers: BTreeSet<u64> = numbers.map(|number| number.as_u64().unwrap()).collect();
        let whole = Case::named(lost["from"].as_str().unwrap()).report();
        let tally = compare(&whole, &case.report(), &numbers);
        assert_eq!(
            tally.wrong_exact + tally.wrong_resynced,
            0,
            "{}: {tally:?}",
            case.name
        );
        assert!(tally.exact + tally.resynced > 0, "{}: {tally:?}", case.name);
    }
}

/// Leaves out each frame with a probability of one in a hundred.
fn lossy(case: &Case, seed: u64) -> Tally {
    let file = std::fs::read(case.input()).unwrap();
    let (header, frames) = split(&file);
    let mut random = Random(seed);
    let lost: BTreeSet<u64> = (1..=frames.len() as u64)
        .filter(|_| random.below(100) == 0)
        .collect();
    let kept = frames
        .iter()
        .zip(1..)
        .filter(|(_, number)| !lost.contains(number));
    let bytes = [header]
        .into_iter()
        .chain(kept.map(|(frame, _)| *frame))
        .collect::<Vec<_>>()
        .concat();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("loss-{}-{seed}.pcap", case.name));
    std::fs::write(&path, bytes).unwrap();
    let tally = compare(&case.report(), &Report::of(&path, &case.args()), &lost);
    std::fs::remove_file(path).unwrap();
    tally
}

/// Header and frames of a little endian pcap file.
fn split(file: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (header, mut rest) = file.split_at(24);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (frame, after) = rest.split_at(16 + length);
        frames.push(frame);
        rest = after;
    }
    (header, frames)
}

fn compare(whole: &Report, found: &Report, lost: &BTreeSet<u64>) -> Tally {
    let mut tally = Tally::default();
    let mut truth = pairs(&whole.exchanges, |number| number);
    let mut intact = Pairs::new();
    for exchange in &whole.exchanges {
        let frames = |first: &str, last: &str| frame(exchange, first)..=frame(exchange, last);
        let own = frames("request_first", "request_last")
            .chain(frames("response_first", "response_last"));
        if own.into_iter().all(|number| !lost.contains(&number)) {
            *intact.entry(pair(exchange, |number| number)).or_default() += 1;
            tally.intact += 1;
        }
    }
    let numbers = original(lost, whole);
    for exchange in &found.exchanges {
        let exact = exchange["confidence"] == "exact";
        if exchange["confidence"] == "ambiguous" {
            continue;
        }
        let pair = pair(exchange, |number| numbers[number as usize - 1]);
        let right = take(&mut truth, &pair);
        tally.intact_paired += u64::from(take(&mut intact, &pair));
        let (all, wrong) = match exact {
            true => (&mut tally.exact, &mut tally.wrong_exact),
            false => (&mut tally.resynced, &mut tally.wrong_resynced),
        };
        *all += 1;
        *wrong += u64::from(!right);
    }
    tally
}

/// The numbers that the kept frames had in the whole recording.
fn original(lost: &BTreeSet<u64>, whole: &Report) -> Vec<u64> {
    let frames = whole
        .exchanges
        .iter()
        .map(|exchange| frame(exchange, "response_last"));
    let last = frames.max().unwrap_or(0);
    (1..=last + 100)
        .filter(|number| !lost.contains(number))
        .collect()
}

fn pairs(exchanges: &[Value], number: impl Fn(u64) -> u64) -> Pairs {
    let mut pairs = Pairs::new();
    for exchange in exchanges {
        *pairs.entry(pair(exchange, &number)).or_default() += 1;
    }
    pairs
}

fn pair(exchange: &Value, number: impl Fn(u64) -> u64) -> (String, String, u64, u64) {
    let request = number(frame(exchange, "request_first"));
    let response = number(frame(exchange, "response_first"));
    (
        exchange["client"].to_string(),
        exchange["text"].to_string(),
        request,
        response,
    )
}

fn take(pairs: &mut Pairs, pair: &(String, String, u64, u64)) -> bool {
    let left = pairs.get_mut(pair).filter(|left| **left > 0);
    left.map(|left| *left -= 1).is_some()
}

fn add(total: &mut Tally, more: &Tally) {
    total.exact += more.exact;
    total.resynced += more.resynced;
    total.wrong_exact += more.wrong_exact;
    total.wrong_resynced += more.wrong_resynced;
    total.intact += more.intact;
    total.intact_paired += more.intact_paired;
}

/// Numbers that are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    /// A number less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
