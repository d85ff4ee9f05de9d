//! A file that is followed in parts comes to what it comes to as a whole, wherever it is divided, or is not joined.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::pipeline::outlet::Outlet;
use crate::pipeline::owners::Owners;
use crate::pipeline::select::{Kind, Selector};
use crate::pipeline::worker::Settings;
use crate::sink::stats::summary::Summary;
use crate::sink::stats::{Rules, Stats};
use crate::source::Source;
use crate::source::file::FileSource;
use crate::wire::Decoder;

const PASTS: [Past; 2] = [Past::Whole, Past::Lossy];

/// The frames of a recording.
fn frames(case: &str) -> Vec<Kept> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let path = cases.join(case).join("input.pcap");
    let mut source = FileSource::open(&path).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = source.next_frame().unwrap() {
        frames.push(Kept::from(&frame));
    }
    frames
}

fn worker(timeout: Duration) -> Worker {
    let mut selector = Selector::new(Kind::Auto, Vec::new());
    selector.transports(true, true);
    let settings = Settings {
        selector: Arc::new(selector),
        timeout,
        threshold: Some(Duration::from_millis(1)),
        worker: 0,
        owners: Owners::alone(),
    };
    let rules = Rules {
        threshold: Some(Duration::from_micros(100)),
        include_blocking: false,
    };
    Worker::new(settings, Outlet::new(Stats::new(rules, &[]), Vec::new()))
}

/// What following frames came to.
fn told(worker: Worker) -> String {
    let mut outlet = worker.finish();
    outlet.notices.sort();
    let mut out = Vec::new();
    Summary::new(&outlet.stats, 0).write_json(&mut out).unwrap();
    let summary = String::from_utf8(out).unwrap();
    format!("{:?} {:?} {summary}", outlet.notices, outlet.stats.account)
}

fn follow(mut worker: Worker, frames: &[Kept]) -> Worker {
    for frame in frames {
        worker.frame(&frame.frame());
    }
    worker
}

/// Follows the parts between these places, and joins them.
fn in_parts(
    frames: &[Kept],
    places: &[usize],
    past: Past,
    timeout: Duration,
) -> Result<String, NoSeam> {
    let mut all = follow(worker(timeout), &frames[..places[0]]);
    for (part, &from) in places.iter().enumerate() {
        let until = places.get(part + 1).copied().unwrap_or(frames.len());
        let next = worker(timeout).amid(past);
        all = all.join(follow(next, &frames[from..until]))?;
    }
    Ok(told(all))
}

/// Divides a recording at so many places, one at a time; how many of them could be joined, of how many.
fn joined(case: &str, places: usize) -> (usize, usize) {
    let frames = frames(case);
    let timeout = Duration::from_secs(30);
    let whole = told(follow(worker(timeout), &frames));
    let every = frames.len().div_ceil(places);
    let mut joined = 0;
    let places: Vec<_> = (0..=frames.len()).step_by(every).collect();
    for &place in &places {
        let parts = PASTS.map(|past| in_parts(&frames, &[place], past, timeout).ok());
        for parts in parts.iter().flatten() {
            assert_eq!(*parts, whole, "{case} at {place}");
        }
        joined += usize::from(parts.iter().any(Option::is_some));
    }
    (joined, places.len())
}

#[test]
fn parts_of_recordings_come_to_what_the_whole_does() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for case in std::fs::read_dir(cases).unwrap() {
        let case = case.unwrap().file_name().into_string().unwrap();
        let (joined, of) = joined(&case, 60);
        assert!(joined > 0, "{case}: none of {of}");
    }
}

#[test]
fn conversations_that_wait_for_their_answers_are_joined_nearly_anywhere() {
    for case in [
        "redis-benchmark-1",
        "redis-benchmark-16",
        "redis-benchmark-64",
        "http-keepalive",
        "http-bodies",
        "memcached-noreply",
        "redis-large",
        "redis-blocking",
        "redis-resp3",
    ] {
        let (joined, of) = joined(case, 200);
        assert!(joined * 10 >= of * 9, "{case}: {joined} of {of}");
    }
}

fn begins(frame: &Kept) -> bool {
    let (mut decoder, frame) = (Decoder::new(), frame.frame());
    let decoded = decoder.decode(&frame);
    matches!(decoded, Decoded::Packet(packet) if packet.flags & flag::SYN != 0)
}

#[test]
fn conversations_of_which_the_beginning_is_missing_are_joined() {
    for case in ["redis-benchmark-1", "redis-benchmark-16", "http-keepalive"] {
        let mut frames = frames(case);
        // None of their beginnings was recorded, and a while has passed.
        let begun = frames.iter().rposition(begins);
        frames.drain(..=begun.unwrap());
        let timeout = Duration::from_secs(30);
        let whole = told(follow(worker(timeout), &frames));
        let places = frames.len() / 3..frames.len() * 2 / 3;
        let of = places.len();
        let parts = places.map(|place| in_parts(&frames, &[place], Past::Lossy, timeout));
        let joined = parts
            .filter_map(Result::ok)
            .inspect(|parts| assert_eq!(*parts, whole));
        let joined = joined.count();
        assert!(joined * 4 >= of * 3, "{case}: {joined} of {of}");
    }
}

/// What happens to a frame on its way into a recording.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Twice,
    /// Behind so many others.
    Late(usize),
    /// Cut behind so many bytes.
    Cut(usize),
    /// Nothing was recorded for so many milliseconds before it.
    Pause(u64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Lost),
        Just(Fate::Twice),
        (1_usize..20).prop_map(Fate::Late),
        (40_usize..120).prop_map(Fate::Cut),
        (50_u64..20_000).prop_map(Fate::Pause),
    ]
}

/// The recording, had this happened.
fn changed(mut frames: Vec<Kept>, fates: &[(Index, Fate)]) -> Vec<Kept> {
    for (index, fate) in fates {
        let place = index.index(frames.len());
        match *fate {
            Fate::Lost => drop(frames.remove(place)),
            Fate::Twice => frames.insert(place, frames[place].clone()),
            Fate::Late(by) => {
                let frame = frames.remove(place);
                frames.insert((place + by).min(frames.len()), frame);
            }
            Fate::Cut(at) => frames[place] = Kept::from(&frames[place].frame().cut(at)),
            Fate::Pause(ms) => {
                for kept in &mut frames[place..] {
                    let frame = kept.frame();
                    let time = Timestamp(frame.time.0 + ms * 1_000_000);
                    *kept = Kept::from(&Frame { time, ..frame });
                }
            }
        }
    }
    for (kept, number) in frames.iter_mut().zip(1..) {
        let frame = kept.frame();
        *kept = Kept::from(&Frame { number, ..frame });
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn parts_of_damaged_recordings_come_to_what_the_whole_does(
        case in prop::sample::select(vec![
            "redis-benchmark-16", "redis-split", "http-keepalive", "http-pipelined", "memcached-text",
            "redis-pubsub", "redis-transactions", "memcached-pipelined", "http-close", "dns-udp", "redis-commands",
        ]),
        fates in prop::collection::vec((any::<Index>(), fate()), 0..12),
        places in prop::collection::vec(any::<Index>(), 1..4),
        short in any::<bool>(),
    ) {
        let frames = changed(frames(case), &fates);
        let timeout = Duration::from_millis(if short { 700 } else { 30_000 });
        let mut places: Vec<_> = places.iter().map(|place| place.index(frames.len() + 1)).collect();
        places.sort_unstable();
        for past in PASTS {
            if let Ok(parts) = in_parts(&frames, &places, past, timeout) {
                let whole = told(follow(worker(timeout), &frames));
                prop_assert_eq!(parts, whole);
            }
        }
    }
}
