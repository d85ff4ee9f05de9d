//! What is shown of a period: the figures of the chosen port, or of all ports together.

use std::collections::BTreeMap;

use crate::sink::stats::snapshot::{Command, Latency, Period, Port, Status, Tcp, Traffic};
use crate::sink::stats::sparse::Sparse;

/// The figures of the ports with this number, or of all; a port of all figures added up.
pub fn figures(period: &Period, chosen: Option<u16>) -> Port {
    let mut ports = period.ports.iter().filter(|port| is(chosen, port.port));
    let Some(first) = ports.next() else {
        return Port::default();
    };
    let mut all = first.clone();
    let mut commands: BTreeMap<(String, String), Command> = BTreeMap::new();
    collect(&mut commands, &first.commands);
    for port in ports {
        add(&mut all, port);
        collect(&mut commands, &port.commands);
    }
    all.commands = commands.into_values().collect();
    let by = |one: &Command| {
        (
            std::cmp::Reverse(one.requests),
            one.protocol.clone(),
            one.command.clone(),
        )
    };
    all.commands.sort_by_cached_key(by);
    all
}

/// Whether a port is chosen; where none is, all are.
pub(super) fn is(chosen: Option<u16>, port: u16) -> bool {
    chosen.is_none_or(|chosen| chosen == port)
}

/// Latencies of two places together, with quantiles as one place would tell them.
fn both(one: &Latency, other: &Latency) -> Latency {
    let mut sum = Sparse::from(one);
    sum.merge(&Sparse::from(other));
    sum.latency()
}

fn add(all: &mut Port, port: &Port) {
    let counts: [(&mut u64, u64); 14] = [
        (&mut all.requests, port.requests),
        (&mut all.slow, port.slow),
        (&mut all.errors, port.errors),
        (&mut all.hits, port.hits),
        (&mut all.misses, port.misses),
        (&mut all.request_bytes, port.request_bytes),
        (&mut all.response_bytes, port.response_bytes),
        (&mut all.unanswered, port.unanswered),
        (&mut all.blocking, port.blocking),
        (&mut all.ambiguous, port.ambiguous),
        (&mut all.resynced, port.resynced),
        (&mut all.one_way, port.one_way),
        (&mut all.orphans, port.orphans),
        (&mut all.late, port.late),
    ];
    for (sum, more) in counts {
        *sum = sum.saturating_add(more);
    }
    all.latency = both(&all.latency, &port.latency);
    add_each(&mut all.latencies, &port.latencies);
    add_traffic(&mut all.traffic, &port.traffic);
    add_tcp(&mut all.tcp, &port.tcp);
    add_statuses(&mut all.statuses, &port.statuses);
}

fn add_each(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

fn add_traffic(all: &mut Traffic, more: &Traffic) {
    for (sum, more) in [
        (&mut all.in_packets, more.in_packets),
        (&mut all.out_packets, more.out_packets),
        (&mut all.in_bytes, more.in_bytes),
        (&mut all.out_bytes, more.out_bytes),
    ] {
        *sum = sum.saturating_add(more);
    }
}

fn add_tcp(all: &mut Tcp, more: &Tcp) {
    for (sum, more) in [
        (&mut all.open, more.open),
        (&mut all.opened, more.opened),
        (&mut all.closed, more.closed),
        (&mut all.resets, more.resets),
        (&mut all.syn_retries, more.syn_retries),
        (&mut all.retransmissions, more.retransmissions),
        (&mut all.out_of_order, more.out_of_order),
        (&mut all.zero_windows, more.zero_windows),
    ] {
        *sum = sum.saturating_add(more);
    }
    all.handshake = both(&all.handshake, &more.handshake);
}

fn add_statuses(all: &mut Vec<Status>, more: &[Status]) {
    for status in more {
        let same = |other: &&mut Status| {
            (&other.protocol, &other.status, other.error)
                == (&status.protocol, &status.status, status.error)
        };
        match all.iter_mut().find(same) {
            Some(sum) => sum.count = sum.count.saturating_add(status.count),
            None => all.push(status.clone()),
        }
    }
}

fn collect(all: &mut BTreeMap<(String, String), Command>, more: &[Command]) {
    for command in more {
        let name = (command.protocol.clone(), command.command.clone());
        all.entry(name)
            .and_modify(|sum| add_command(sum, command))
            .or_insert_with(|| command.clone());
    }
}

fn add_command(all: &mut Command, more: &Command) {
    for (sum, more) in [
        (&mut all.requests, more.requests),
        (&mut all.errors, more.errors),
        (&mut all.unanswered, more.unanswered),
        (&mut all.hits, more.hits),
        (&mut all.misses, more.misses),
        (&mut all.request_bytes, more.request_bytes),
        (&mut all.response_bytes, more.response_bytes),
    ] {
        *sum = sum.saturating_add(more);
    }
    all.latency = both(&all.latency, &more.latency);
    add_each(&mut all.latencies, &more.latencies);
}
