//! The golden cases: what tcpkit finds in a recording is what client and server knew.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::Report;
use support::cases::Case;

type Counts = BTreeMap<String, u64>;

/// Cases whose recording is whole.
fn whole_cases() -> impl Iterator<Item = (Case, Value)> {
    let cases = Case::all().into_iter().map(|case| {
        let truth = case.truth();
        (case, truth)
    });
    cases.filter(|(_, truth)| truth.get("lost").is_none())
}

#[test]
fn whole_recordings_hold_what_client_and_server_knew() {
    let mut wrong = Vec::new();
    for (case, truth) in whole_cases() {
        wrong.extend(
            differences(&truth, &case.report()).map(|what| format!("{}: {what}", case.name)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differences(truth: &Value, report: &Report) -> impl Iterator<Item = String> {
    let exchanges = &report.exchanges;
    let all = [
        unequal(
            "exchanges",
            &counts(&truth["exchanges"]),
            &count(exchanges, "command"),
        ),
        unequal(
            "unanswered",
            &truth["unanswered"].as_u64(),
            &Some(report.unanswered.len() as u64),
        ),
        truth
            .get("hits")
            .and_then(|hits| unequal("hits", &hits.as_u64(), &Some(sum(exchanges, "hits")))),
        truth.get("misses").and_then(|misses| {
            unequal("misses", &misses.as_u64(), &Some(sum(exchanges, "misses")))
        }),
        truth.get("statuses").and_then(|statuses| {
            unequal("statuses", &counts(statuses), &count(exchanges, "status"))
        }),
        unequal(
            "confidence",
            &only("exact", exchanges),
            &count(exchanges, "confidence"),
        ),
        unequal(
            "protocol",
            &only(truth["protocol"].as_str().unwrap(), exchanges),
            &count(exchanges, "protocol"),
        ),
        exchanges
            .iter()
            .find(|exchange| !possible(exchange))
            .map(|exchange| format!("times {exchange}")),
    ];
    all.into_iter().flatten()
}

/// A response does not begin before its request, nor end before it begins.
fn possible(exchange: &Value) -> bool {
    let time = |name: &str| exchange[name].as_u64().unwrap();
    let ordered = time("request_first_ns") <= time("request_last_ns")
        && time("request_first_ns") <= time("response_first_ns")
        && time("response_first_ns") <= time("response_last_ns");
    let latency = time("response_first_ns").saturating_sub(time("request_last_ns"));
    ordered && time("latency_ns") == latency && time("wait_ns") <= latency
}

fn unequal<T: PartialEq + std::fmt::Debug>(what: &str, known: &T, found: &T) -> Option<String> {
    (known != found).then(|| format!("{what}: known {known:?}, found {found:?}"))
}

fn counts(object: &Value) -> Counts {
    let entries = object.as_object().unwrap().iter();
    entries
        .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
        .collect()
}

fn count(exchanges: &[Value], field: &str) -> Counts {
    let mut counts = Counts::new();
    for exchange in exchanges {
        *counts
            .entry(exchange[field].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts
}

fn only(value: &str, exchanges: &[Value]) -> Counts {
    Counts::from([(value.to_owned(), exchanges.len() as u64)])
}

fn sum(exchanges: &[Value], field: &str) -> u64 {
    exchanges
        .iter()
        .filter_map(|exchange| exchange[field].as_u64())
        .sum()
}

/// In this recording every request is so many bytes larger than the reply that belongs to it.
#[test]
fn every_echo_is_paired_with_its_own_reply() {
    for exchange in Case::named("redis-echo").report().exchanges {
        let (request, response) = (&exchange["request_bytes"], &exchange["response_bytes"]);
        assert_eq!(
            request.as_u64().unwrap(),
            response.as_u64().unwrap() + 14,
            "{exchange}"
        );
    }
}

/// nginx' own log, line by line: method, target, status.
#[test]
fn http_requests_are_the_lines_of_the_access_log() {
    for (case, truth) in whole_cases().filter(|(_, truth)| truth["protocol"] == "http") {
        let mut found = Counts::new();
        for exchange in case.report().exchanges {
            let mut words = exchange["text"].as_str().unwrap().split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            let line = format!("{method}|{target}|{}", exchange["status"].as_str().unwrap());
            *found.entry(line).or_default() += 1;
        }
        assert_eq!(found, counts(&truth["server"]), "{}", case.name);
    }
}
