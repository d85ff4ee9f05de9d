//! Every shared capture, against the number of frames that its index states.
//!
//! The captures lie beside the project, in `../shared/captures` from its root, or where the
//! environment variable `TCPKIT_CAPTURES` says. Where they are not, the test says so and passes.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

use std::path::{Path, PathBuf};

use super::tests::all;
use super::{FileSource, SourceError};

fn captures() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let path = std::env::var_os("TCPKIT_CAPTURES").map_or_else(beside, PathBuf::from);
    path.is_dir().then_some(path)
}

/// Files whose frames are not as many as the index says, which tshark counted: how many they
/// have here, and why. tcpdump counts the same as here for all but the last.
const DIFFERING: &[(&str, usize, &str)] = &[
    ("tcpdump/brcm-tag-prepend.pcap", 15, UNKNOWN_LINK),
    ("tcpdump/brcm-tag.pcap", 23, UNKNOWN_LINK),
    ("tcpdump/edsa.pcap", 10, UNKNOWN_LINK),
    ("tcpdump/juniper_es_oobr.pcap", 1, UNKNOWN_LINK),
    (
        "tcpdump/juniper_monitor_invalid_cookie_length.pcap",
        1,
        UNKNOWN_LINK,
    ),
    ("tcpdump/kday6.pcap", 1, UNKNOWN_LINK),
    ("tcpdump/vtp_asan-2.pcap", 1, UNKNOWN_LINK),
    ("tcpdump/vtp_asan-3.pcap", 1, UNKNOWN_LINK),
    ("tcpdump/vtp_asan.pcap", 5, UNKNOWN_LINK),
    (
        "pcapplusplus/Fuzzers__RegressionTests__regression_samples__clusterfuzz-testcase-minimized-FuzzTarget-5766899836387328",
        1,
        "version 2.3: tshark takes the two lengths for swapped, but as they stand they fit the file",
    ),
    (
        "pcapplusplus/Fuzzers__RegressionTests__regression_samples__crash-exception-cast-constructed-record",
        2,
        "tshark stops a record earlier; the second record fits, the third is the damaged one",
    ),
    (
        "libpcap/linktype-reserved-field-not-zero.pcap",
        0,
        "the reserved bits of the link type field are not looked at; the file has no frames",
    ),
];

const UNKNOWN_LINK: &str = "tshark refuses the file for its link type; its frames can be read";

/// What a file gave: frames and notices, or why there is nothing.
type Outcome = Result<(usize, Vec<String>), SourceError>;

fn outcome(path: &Path) -> Outcome {
    let got = all(FileSource::open(path)?)?;
    Ok((got.frames.len(), got.report.notices))
}

/// Whether an outcome is what the index says: so many frames, or "?" for a file that other
/// tools do not read to its end either.
fn agrees(expected: &str, outcome: &Outcome) -> bool {
    match (expected.parse::<usize>(), outcome) {
        (Ok(packets), Ok((frames, _))) => packets == *frames,
        (Ok(_), Err(_)) => false,
        (Err(_), Ok((_, notices))) => !notices.is_empty(),
        (Err(_), Err(_)) => true,
    }
}

#[test]
fn every_shared_capture_has_the_frames_that_its_index_states() {
    let Some(root) = captures() else {
        println!("skipped: no shared captures beside the project (or in TCPKIT_CAPTURES)");
        return;
    };
    let index = std::fs::read_to_string(root.join("INDEX.tsv")).unwrap();
    let (mut read, mut differences, mut differing) = (0, 0, Vec::new());
    for line in index.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (path, expected) = (fields[0], fields[4]);
        let outcome = outcome(&root.join(path));
        read += 1;
        let known = DIFFERING.iter().find(|known| known.0 == path);
        let known = known.is_some_and(|known| outcome.as_ref().is_ok_and(|got| got.0 == known.1));
        differences += usize::from(known);
        if !known && !agrees(expected, &outcome) {
            differing.push(format!("{path}: {expected} in the index, {outcome:?} here"));
        }
    }
    println!("{read} shared captures read, {differences} differ as listed");
    assert!(read > 0, "the index is empty");
    assert_eq!(differing, [""; 0]);
}
