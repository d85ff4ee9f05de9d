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
type Pairs = BTreeMap<Pair, i64>;

/// Client, text of the request, frames in which request and response begin.
type Pair = (String, String, u64, u64);

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

/// Every kind of client that was recorded: those that wait, those that pipeline, those that stream.
#[test]
fn one_percent_lost_leaves_nearly_all_paired_and_nothing_wrong() {
    let mut total = Tally::default();
    for case in Case::all().iter().filter(|case| is_whole(case)) {
        let seeds = if case.name.starts_with("redis-benchmark") {
            24
        } else {
            8
        };
        let mut of_case = Tally::default();
        for rate in RATES {
            (0..seeds).for_each(|seed| add(&mut of_case, &lossy(case, seed, rate)));
            if rate == 100 && case.name.starts_with("redis-benchmark") {
                let share = of_case.intact_paired as f64 / of_case.intact as f64;
                assert!(share >= 0.95, "{}: {share} of {of_case:?}", case.name);
            }
        }
        support::say(&format!("{}: {of_case:?}", case.name));
        add(&mut total, &of_case);
    }
    support::say(&format!("all: {total:?}"));
    assert_eq!(total.wrong_exact, 0, "{total:?}");
    assert!(total.wrong_resynced * 10_000 <= total.resynced, "{total:?}");
}

/// One frame in so many is left out.
const RATES: [u64; 2] = [100, 20];

/// Recorded whole, of a protocol that is built in.
fn is_whole(case: &Case) -> bool {
    !case.name.starts_with("taught-") && case.truth().get("lost").is_none()
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
        let tally = compare(&whole, &case.report(), false, &numbers);
        assert_eq!(
            tally.wrong_exact + tally.wrong_resynced,
            0,
            "{}: {tally:?}",
            case.name
        );
        assert!(tally.exact + tally.resynced > 0, "{}: {tally:?}", case.name);
    }
}

/// A snap length cuts frames: nothing that is told for certain is wrong, and long values cost nothing.
#[test]
fn cut_frames_leave_pairs_right_and_long_values_exact() {
    for case in Case::all().iter().filter(|case| is_whole(case)) {
        let whole = ends(&case.report());
        for length in [70, 96, 128, 200] {
            let found = ends(&snapped(case, length));
            let wrong: Vec<_> = found.difference(&whole).collect();
            assert!(wrong.is_empty(), "{} at {length}: {wrong:?}", case.name);
            if case.name == "redis-split" && length >= 96 {
                assert_eq!(found.len(), whole.len(), "at {length}");
            }
        }
    }
}

/// Client, and frames in which request and response begin, of what is exact.
fn ends(report: &Report) -> BTreeSet<(String, u64, u64)> {
    let exact = report.exchanges.iter();
    let exact = exact.filter(|exchange| exchange["confidence"] == "exact");
    exact
        .map(|exchange| {
            let place = |name| frame(exchange, name);
            (
                exchange["client"].to_string(),
                place("request_first"),
                place("response_first"),
            )
        })
        .collect()
}

/// Keeps so many bytes of each frame.
fn snapped(case: &Case, length: usize) -> Report {
    let file = std::fs::read(case.input()).unwrap();
    let (header, frames) = split(&file);
    let mut bytes = header.to_vec();
    for frame in frames {
        let kept = length.min(frame.len() - 16);
        bytes.extend(&frame[..8]);
        bytes.extend((kept as u32).to_le_bytes());
        bytes.extend(&frame[12..16 + kept]);
    }
    changed(case, &format!("snap-{length}"), &bytes)
}

/// What is told of a case's recording as it was changed to.
fn changed(case: &Case, how: &str, bytes: &[u8]) -> Report {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("{how}-{}.pcap", case.name));
    std::fs::write(&path, bytes).unwrap();
    let report = Report::of(&path, &case.args());
    std::fs::remove_file(path).unwrap();
    report
}

/// Leaves out each frame with a probability of one in `rate`.
fn lossy(case: &Case, seed: u64, rate: u64) -> Tally {
    let file = std::fs::read(case.input()).unwrap();
    let (header, frames) = split(&file);
    let mut random = Random(seed);
    let lost: BTreeSet<u64> = (1..=frames.len() as u64)
        .filter(|_| random.below(rate) == 0)
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
    let (whole, found) = (
        case.report(),
        changed(case, &format!("loss-{seed}"), &bytes),
    );
    compare(&whole, &found, case.name == "memcached-udp", &lost)
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

/// `apart` says that a response is the right one if it begins anywhere in the right one: over UDP memcached numbers the
/// datagrams of each item on their own, so that the first item is missing shows nowhere.
fn compare(whole: &Report, found: &Report, apart: bool, lost: &BTreeSet<u64>) -> Tally {
    let mut tally = Tally::default();
    let mut truth = pairs(&whole.exchanges, |number| number);
    let responses = whole.exchanges.iter().filter(|_| apart).map(|exchange| {
        let (client, _, request, first) = pair(exchange, |number| number);
        ((client, request), first..=frame(exchange, "response_last"))
    });
    let responses: BTreeMap<_, _> = responses.collect();
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
        let mut pair = pair(exchange, |number| numbers[number as usize - 1]);
        let own = responses.get(&(pair.0.clone(), pair.2));
        if let Some(own) = own.filter(|own| own.contains(&pair.3)) {
            pair.3 = *own.start();
        }
        // Of a request whose end was lost only the beginning can be known.
        let right = match exchange["cut"] == true {
            true => take_cut(&mut truth, &pair),
            false => take(&mut truth, &pair),
        };
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

fn pair(exchange: &Value, number: impl Fn(u64) -> u64) -> Pair {
    let request = number(frame(exchange, "request_first"));
    let response = number(frame(exchange, "response_first"));
    (
        exchange["client"].to_string(),
        exchange["text"].to_string(),
        request,
        response,
    )
}

fn take(pairs: &mut Pairs, pair: &Pair) -> bool {
    let left = pairs.get_mut(pair).filter(|left| **left > 0);
    left.map(|left| *left -= 1).is_some()
}

/// As [`take`], for a request whose text is known in part.
fn take_cut(pairs: &mut Pairs, (client, text, request, response): &Pair) -> bool {
    let start = text.trim_end_matches('"');
    let same = |(whole, _): &(&Pair, &i64)| {
        whole.0 == *client
            && whole.1.starts_with(start)
            && (whole.2, whole.3) == (*request, *response)
    };
    let found = pairs.iter().filter(|(_, left)| **left > 0).find(same);
    let found = found.map(|(whole, _)| whole.clone());
    found.is_some_and(|whole| take(pairs, &whole))
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
