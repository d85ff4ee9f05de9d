//! Captures made by others, where they are at hand: `../shared/captures` beside the project, or the
//! folder that `TCPKIT_CAPTURES` names. Nothing of them is in the repository.
//!
//! Exchanges are compared with what two independent tools found; `captures-differences.md` lists the
//! files where the specification is on our side. And no file, whatever it holds, may make tcpkit
//! panic, run long or take much memory.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use support::process::watched;
use support::{Report, frame, paired, say, tcpkit};

/// Protocols whose pairs are compared.
const PROTOCOLS: &[&str] = &["http", "dns", "redis", "memcached"];

/// Of a hundred compared files, at most so many may differ.
const DIFFERENT_PERCENT: usize = 2;

const TIME: Duration = Duration::from_secs(10);

const RESIDENT: u64 = 256 << 20;

/// A row of the index.
struct Capture {
    path: String,
    categories: String,
    truth: String,
    pairs: String,
    /// What the file's own project asserts.
    peers: String,
}

/// The folder, or why there is none.
fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = std::env::var_os("TCPKIT_CAPTURES").map_or(beside, PathBuf::from);
    if folder.join("INDEX.tsv").is_file() {
        return Some(folder);
    }
    say(&format!("captures: no {}: not compared", folder.display()));
    None
}

fn index(folder: &Path) -> Vec<Capture> {
    let text = std::fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let mut lines = text
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let column = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let columns = [
        "path",
        "categories",
        "ground_truth",
        "pair_truth",
        "peer_counts",
    ]
    .map(column);
    let capture = |row: Vec<&str>| {
        let [path, categories, truth, pairs, peers] =
            columns.map(|column| row.get(column).copied().unwrap_or("-").to_owned());
        Capture {
            path,
            categories,
            truth,
            pairs,
            peers,
        }
    };
    lines.map(capture).collect()
}

/// Runs `job` on every capture, on all processors; its results in the captures' order.
fn on_all<T: Send>(captures: &[Capture], job: impl Fn(&Capture) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(capture) = captures.get(index) else {
                break;
            };
            done.push((index, job(capture)));
        }
        done
    };
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn exchanges_are_the_known_ones() {
    let Some(folder) = folder() else { return };
    let mut captures = index(&folder);
    captures.retain(|capture| {
        capture
            .categories
            .split(',')
            .any(|category| PROTOCOLS.contains(&category))
    });
    let results = on_all(&captures, |capture| differences(&folder, capture));
    let differ: BTreeMap<&str, &String> = captures
        .iter()
        .zip(&results)
        .filter(|(_, difference)| !difference.is_empty())
        .map(|(capture, difference)| (capture.path.as_str(), difference))
        .collect();
    say(&format!(
        "captures: {} compared, {} differ",
        captures.len(),
        differ.len()
    ));
    assert!(!captures.is_empty(), "no file was read");
    let accepted = accepted();
    let mut wrong = String::new();
    for (path, difference) in differ
        .iter()
        .filter(|(path, _)| !accepted.contains(&(**path).to_owned()))
    {
        let _ = writeln!(wrong, "{path}\n{difference}");
    }
    for path in accepted
        .iter()
        .filter(|path| !differ.contains_key(path.as_str()))
    {
        let _ = writeln!(wrong, "{path}\n  is listed as different and is not");
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        differ.len() * 100 <= captures.len() * DIFFERENT_PERCENT,
        "too many differ"
    );
}

/// Paths of the table of accepted differences.
fn accepted() -> Vec<String> {
    let table = include_str!("captures-differences.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect()
}

/// What differs in one capture; empty where nothing does.
fn differences(folder: &Path, capture: &Capture) -> String {
    let report = Report::of(&folder.join(&capture.path), &hints(&capture.truth));
    let mut text = String::new();
    for (protocol, counts) in known(&capture.truth) {
        let exchanges: Vec<&Value> = paired(&report.exchanges, protocol).collect();
        let different = match counts.get("paired") {
            Some(paired) => unlike_pairs(folder, capture, protocol, *paired, &exchanges),
            None => unlike_counts(&counts, &exchanges),
        };
        let different = different.filter(|_| !peers_agree(&capture.peers, protocol, &exchanges));
        if let Some(different) = different {
            let _ = writeln!(text, "  {protocol}: {different}");
        }
    }
    text
}

/// Whether the file's own project counts as many as we do where the general truth does not: Zeek's
/// http.log has the requests of methods that tshark does not know (RFC 9110, section 9.1: a method is
/// any token).
fn peers_agree(peers: &str, protocol: &str, exchanges: &[&Value]) -> bool {
    let log = format!("zeek:{protocol}.log=");
    let counts = peers
        .split(';')
        .filter_map(|peer| peer.trim().strip_prefix(&log));
    let counts = counts.filter_map(|count| count.split('@').next()?.parse::<usize>().ok());
    counts
        .into_iter()
        .any(|count| count > 0 && count == exchanges.len())
}

/// Ports that the truth had to be told: `[tshark -d tcp.port==6380,resp]`.
fn hints(truth: &str) -> Vec<String> {
    let rules = truth
        .split("tcp.port==")
        .skip(1)
        .filter_map(|rule| rule.split([' ', ']']).next());
    let ports = rules.filter_map(|rule| Some(format!("{}=redis", rule.strip_suffix(",resp")?)));
    ports.flat_map(|port| ["-p".to_owned(), port]).collect()
}

/// `http req=6 rsp=2 paired=2; dns q=6 r=0 paired=0` as counts by protocol.
fn known(truth: &str) -> Vec<(&str, BTreeMap<&str, u64>)> {
    let parts = truth.split(';').map(|part| {
        let mut words = part.split_whitespace();
        let protocol = words.next().unwrap_or_default();
        let counts = words.filter_map(|word| {
            let (name, count) = word.split_once('=')?;
            Some((name, count.parse().ok()?))
        });
        (protocol, counts.collect())
    });
    parts
        .filter(|(protocol, _)| PROTOCOLS.contains(protocol))
        .collect()
}

/// Where only requests and responses were counted, each response answers a request.
fn unlike_counts(counts: &BTreeMap<&str, u64>, exchanges: &[&Value]) -> Option<String> {
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let (known, found) = (count("req").min(count("rsp")), exchanges.len() as u64);
    (known != found).then(|| {
        let texts = exchanges
            .iter()
            .map(|exchange| told(exchange))
            .collect::<Vec<_>>();
        format!(
            "{counts:?}: {found} pairs, not {known}: {}",
            texts.join(", ")
        )
    })
}

/// A pair of the truth.
#[derive(Clone, Copy, Debug)]
struct Pair {
    request: u64,
    response: u64,
}

/// Where the pairs' frames are known: the same number of pairs, and each of them one of ours. The
/// truth has the frames in which heads end (`nodesegbody`), and those in which messages end (`default`).
fn unlike_pairs(
    folder: &Path,
    capture: &Capture,
    protocol: &str,
    count: u64,
    exchanges: &[&Value],
) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(&capture.pairs)).unwrap_or_default();
    let pairs = |mode: &str| pairs(&text, protocol, mode);
    let (heads, ends) = (pairs("nodesegbody"), pairs("default"));
    let head_fits = |pair: &Pair, exchange: &Value| within(pair, exchange);
    let end_fits = |pair: &Pair, exchange: &Value| ends_at(pair, exchange, exchanges);
    if text.is_empty() && count == 0 && exchanges.is_empty() {
        return None;
    }
    // After a loss each way of reading misses pairs that the other one has: then every pair of both
    // is one of ours, and every one of ours is a pair of one of them.
    let head = |exchange: &&Value| heads.iter().any(|pair| head_fits(pair, exchange));
    let end = |exchange: &&Value| ends.iter().any(|pair| end_fits(pair, exchange));
    let both = || {
        !heads.is_empty()
            && !ends.is_empty()
            && heads
                .iter()
                .all(|pair| exchanges.iter().any(|one| head_fits(pair, one)))
            && ends
                .iter()
                .all(|pair| exchanges.iter().any(|one| end_fits(pair, one)))
            && exchanges
                .iter()
                .all(|exchange| head(exchange) || end(exchange))
    };
    if all_fit(&heads, exchanges, head_fits) || all_fit(&ends, exchanges, end_fits) || both() {
        return None;
    }
    let ours = exchanges
        .iter()
        .map(|exchange| told(exchange))
        .collect::<Vec<_>>()
        .join(", ");
    let shown = |pairs: &[Pair]| {
        let pairs = pairs
            .iter()
            .map(|pair| format!("{}-{}", pair.request, pair.response));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let known = shown(if ends.is_empty() { &heads } else { &ends });
    Some(format!(
        "{count} pairs known, {} found\n    known {known}\n    found {ours}",
        exchanges.len()
    ))
}

fn pairs(table: &str, protocol: &str, mode: &str) -> Vec<Pair> {
    let rows = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let of_mode = rows.filter(|row| matches!(row[..], [p, m, ..] if p == protocol && m == mode));
    let pair = |row: Vec<&str>| {
        let [_, _, response, request, ..] = row[..] else {
            return None;
        };
        Some(Pair {
            request: request.parse().ok()?,
            response: response.parse().ok()?,
        })
    };
    of_mode.filter_map(pair).collect()
}

/// Whether every pair is one exchange, and every exchange one pair.
fn all_fit(pairs: &[Pair], exchanges: &[&Value], fits: impl Fn(&Pair, &Value) -> bool) -> bool {
    let mut left: Vec<&Value> = exchanges.to_vec();
    let all = pairs.iter().all(|pair| {
        let place = left.iter().position(|exchange| fits(pair, exchange));
        place.map(|place| left.remove(place)).is_some()
    });
    all && left.is_empty()
}

/// The pair's frames lie within the messages.
fn within(pair: &Pair, exchange: &Value) -> bool {
    let lies = |number: u64, first: &str, last: &str| {
        (frame(exchange, first)..=frame(exchange, last)).contains(&number)
    };
    lies(pair.request, "request_first", "request_last")
        && lies(pair.response, "response_first", "response_last")
}

/// The messages end in the pair's frames, or earlier: the truth's tool names the frame in which it
/// could put a message together, which is later where segments came again or a connection's end
/// ended it. No other response of the same conversation may begin before that.
fn ends_at(pair: &Pair, exchange: &Value, all: &[&Value]) -> bool {
    let ends = |number: u64, first: &str| {
        let begin = frame(exchange, first);
        let others = all.iter().filter(|other| {
            other["client"] == exchange["client"] && other["server"] == exchange["server"]
        });
        let next = others
            .map(|other| frame(other, first))
            .filter(|other| *other > begin)
            .min();
        begin <= number && next.is_none_or(|next| number < next)
    };
    ends(pair.request, "request_first") && ends(pair.response, "response_first")
}

fn told(exchange: &Value) -> String {
    let number = |name: &str| frame(exchange, name);
    format!(
        "{}..{}-{}..{} {}",
        number("request_first"),
        number("request_last"),
        number("response_first"),
        number("response_last"),
        exchange["command"].as_str().unwrap_or_default()
    )
}

#[test]
fn no_file_does_harm() {
    let Some(folder) = folder() else { return };
    let captures = index(&folder);
    let results = on_all(&captures, |capture| harm(&folder, capture));
    say(&format!(
        "captures: {} read, none may do harm",
        results.len()
    ));
    assert!(!results.is_empty(), "no file was read");
    let wrong: Vec<String> = results.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What harm one file did.
fn harm(folder: &Path, capture: &Capture) -> Option<String> {
    let name = capture.path.replace('/', "-");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("harm-{name}"));
    let mut command = tcpkit();
    command
        .arg("-r")
        .arg(folder.join(&capture.path))
        .arg("--include-blocking");
    let usage = watched(&mut command, &output, TIME);
    let said = std::fs::read(&output).unwrap();
    let said = String::from_utf8_lossy(&said);
    std::fs::remove_file(&output).unwrap();
    // Nothing but a file of which nothing can be read ends with another status than 0, and that says 1.
    let ended = usage
        .status
        .is_some_and(|status| matches!(status.code(), Some(0 | 1)));
    let fine =
        ended && !said.contains("panicked") && usage.time < TIME && usage.resident < RESIDENT;
    (!fine).then(|| {
        format!(
            "{}: {usage:?}\n{}",
            capture.path,
            said.lines().last().unwrap_or("")
        )
    })
}

#[test]
fn pairs_are_read_and_compared() {
    let text = "proto\ttshark_mode\trsp_frame\treq_frame\tlatency_s\nhttp\tdefault\t8\t4\t0.1\n";
    let [pair] = pairs(text, "http", "default")[..] else {
        panic!("one pair")
    };
    assert_eq!((pair.request, pair.response), (4, 8));
    let exchange = |first: u64, last: u64| {
        serde_json::json!({ "frames": {
            "request_first": 4, "request_last": 4, "response_first": first, "response_last": last
        } })
    };
    assert!(within(&pair, &exchange(6, 8)) && !within(&pair, &exchange(6, 7)));
    let (own, next) = (exchange(6, 7), exchange(8, 9));
    assert!(ends_at(&pair, &own, &[&own]));
    assert!(!ends_at(&pair, &own, &[&own, &next]));
    assert!(!all_fit(&[pair], &[&own, &next], within));
}

#[test]
fn truths_are_read() {
    let truth = "http req=6 rsp=2 paired=2; dns q=6 r=0 paired=0; [tshark -d tcp.port==6380,resp]";
    let known = known(truth);
    assert_eq!(
        known.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["http", "dns"]
    );
    assert_eq!(known[0].1["paired"], 2);
    assert_eq!(hints(truth), ["-p", "6380=redis"]);
}
