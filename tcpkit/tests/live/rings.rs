//! How full rings were: the same in the summary, the snapshot, the metrics.

use serde_json::Value;

use crate::clients;
use crate::net::{Namespace, privileged};
use crate::readers::{body, snapshot};
use crate::run::Run;
use crate::servers::Redis;

/// Bytes of all rings; CPUs share one of so little.
const BUDGET: u64 = 512 << 10;

/// The largest class of records: of a ring that lost frames, no more than that may have been free.
const RECORD: u64 = 66 << 10;

const ARGS: &[&str] = &["-i", "lo", "-p", "6379", "-q", "-B", "512", "--backend"];

/// Makes a ring lose: a reader that is stopped takes nothing, whatever it could.
fn fill(namespace: &Namespace, run: &Run) {
    run.signal(rustix::process::Signal::STOP);
    clients::redis(namespace, "127.0.0.1", 200, 4, 10_000);
    run.signal(rustix::process::Signal::CONT);
}

/// Size and highest fill of the fullest ring.
fn fullest(rings: &Value) -> (u64, u64) {
    let number = |ring: &Value, name: &str| ring[name].as_u64().unwrap();
    let fills = rings.as_array().unwrap().iter().map(|ring| {
        let size = number(ring, "size_bytes");
        (size, number(ring, "highest_fill_bytes"))
    });
    fills.max_by_key(|&(_, highest)| highest).unwrap()
}

fn metric(metrics: &str, name: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.fold(0.0, f64::max) as u64
}

#[test]
fn a_ring_that_ran_full_is_told_everywhere() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let _redis = Redis::start(&namespace);
    let run = Run::start(&namespace, &[ARGS, &["ebpf", "--format", "json"]].concat());
    let quiet = snapshot(&namespace);
    assert_eq!(fullest(&quiet["rings"]), (BUDGET, 0), "nothing yet");
    fill(&namespace, &run);
    let told = wait_for_rings(&namespace);
    let (size, highest) = fullest(&told["rings"]);
    assert!(
        highest <= size && highest > size - RECORD,
        "{highest} of {size}"
    );
    let dropped = told["periods"][0]["coverage"]["dropped"].as_u64().unwrap();
    assert_eq!(Some(dropped), told["stages"][1]["lost"].as_u64());
    let object: Value = serde_json::from_str(&body(&namespace, "/stats?form=object")).unwrap();
    assert!(
        dropped > 0 && object["drops"].as_u64() >= Some(dropped),
        "{object}"
    );
    let metrics = body(&namespace, "/metrics");
    assert_eq!(
        metric(&metrics, "tcpkit_capture_ring_size_bytes{ring="),
        size
    );
    let name = "tcpkit_capture_ring_highest_fill_bytes{ring=";
    assert_eq!(metric(&metrics, name), highest, "{metrics}");
    let summary = run.stop().report().summary;
    assert_eq!(fullest(&summary["live"]["rings"]), (size, highest));
    assert!(summary["live"]["lost"]["ring full"].as_u64().unwrap() > 0);
}

#[test]
fn a_ring_that_ran_full_is_told_to_people() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let _redis = Redis::start(&namespace);
    let run = Run::start(&namespace, &[ARGS, &["ebpf"]].concat());
    fill(&namespace, &run);
    let told = fullest(&wait_for_rings(&namespace)["rings"]).1;
    let ended = run.stop();
    let line = format!(
        "rings: 1 of 512 KiB, the fullest held {} KiB at most (",
        told.div_ceil(1024)
    );
    assert!(ended.output.contains(&line), "{}", ended.output);
    assert!(ended.said.contains(" ring full ("), "{}", ended.said);
}

#[test]
fn libpcap_tells_of_no_rings() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let run = Run::start(&namespace, &[ARGS, &["pcap", "--format", "json"]].concat());
    assert_eq!(snapshot(&namespace)["rings"], Value::Array(Vec::new()));
    assert!(!body(&namespace, "/metrics").contains("capture_ring"));
    let summary = run.stop().report().summary;
    assert_eq!(summary["live"]["rings"], Value::Array(Vec::new()));
}

/// The engine is asked for its account once a second.
fn wait_for_rings(namespace: &Namespace) -> Value {
    for _ in 0..600 {
        let told = snapshot(namespace);
        if fullest(&told["rings"]).1 > BUDGET / 2 {
            return told;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("no ring is told to be full");
}
