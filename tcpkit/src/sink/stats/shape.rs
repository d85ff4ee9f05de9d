//! Makes the parts of a [`Snapshot`](super::snapshot::Snapshot) from figures.

use std::collections::BTreeMap;

use super::figures::{CommandFigures, Figures, PortFigures, StatusKey};
use super::keys::Shown;
use super::snapshot::{Command, Period, Port, Span, Stage, Status, Tcp};
use super::sparse::Sparse;
use super::{Account, label};
use crate::limits;
use crate::protocol::by_name;

/// The figures of a span.
pub(super) fn period(
    span: Span,
    length_ns: u64,
    figures: &Figures,
    asked: &[u16],
    open: &BTreeMap<u16, u64>,
    shown: &Shown,
) -> Period {
    let (clients, other_clients) = figures.clients.told();
    Period {
        span,
        length_ns,
        coverage: figures.account.clone(),
        ports: ports(figures, asked, open),
        clients,
        other_clients,
        slowest: figures.slowest.told(shown),
        hot_keys: figures.keys.hot(shown),
        big_keys: figures.keys.big(shown),
        commands_left_out: figures.commands_left_out,
    }
}

/// Ports that were asked for, then others, ascending.
fn ports(figures: &Figures, asked: &[u16], open: &BTreeMap<u16, u64>) -> Vec<Port> {
    let none = PortFigures::default();
    let of = |number: u16| {
        let figures = figures.ports.get(&number).unwrap_or(&none);
        port(number, figures, open.get(&number).copied().unwrap_or(0))
    };
    let others = figures.ports.keys().chain(open.keys());
    let mut others: Vec<u16> = others
        .copied()
        .filter(|port| !asked.contains(port))
        .collect();
    others.sort_unstable();
    others.dedup();
    let most = limits::PORTS.max(asked.len());
    asked
        .iter()
        .copied()
        .chain(others)
        .take(most)
        .map(of)
        .collect()
}

fn port(number: u16, figures: &PortFigures, open: u64) -> Port {
    let counts = &figures.counts;
    let mut all = Sparse::default();
    for command in figures.commands.values() {
        all.merge(&command.latency);
    }
    let sum = |of: fn(&CommandFigures) -> u64| figures.commands.values().map(of).sum();
    Port {
        port: number,
        requests: counts.latencies.iter().sum(),
        slow: counts.slow,
        errors: sum(|command| command.errors),
        hits: sum(|command| command.hits),
        misses: sum(|command| command.misses),
        request_bytes: sum(|command| command.request_bytes),
        response_bytes: sum(|command| command.response_bytes),
        unanswered: counts.unanswered,
        blocking: counts.blocking,
        ambiguous: counts.ambiguous,
        resynced: counts.resynced,
        one_way: counts.one_way,
        orphans: counts.orphans,
        late: counts.late,
        latency: all.latency(),
        latencies: counts.latencies.to_vec(),
        traffic: figures.traffic,
        tcp: tcp(figures, open),
        statuses: figures.statuses.iter().map(status).collect(),
        commands: commands(figures),
    }
}

fn tcp(figures: &PortFigures, open: u64) -> Tcp {
    let tcp = &figures.tcp;
    Tcp {
        open,
        opened: tcp.opened,
        closed: tcp.closed,
        resets: tcp.resets,
        syn_retries: tcp.syn_retries,
        retransmissions: tcp.retransmissions,
        out_of_order: tcp.out_of_order,
        zero_windows: tcp.zero_windows,
        handshake: tcp.handshake.latency(),
    }
}

fn status((key, &count): (&StatusKey, &u64)) -> Status {
    let name = key.code.and_then(|code| {
        let protocol = by_name(key.protocol)?;
        Some(protocol.status(code).to_string())
    });
    Status {
        protocol: key.protocol.to_owned(),
        status: name.unwrap_or_else(|| "other".to_owned()),
        error: key.error,
        count,
    }
}

fn commands(figures: &PortFigures) -> Vec<Command> {
    let told = |(&(_, index), figures): (&(&str, u16), &CommandFigures)| command(index, figures);
    let mut commands: Vec<Command> = figures.commands.iter().map(told).collect();
    commands.sort_by(|a, b| {
        (b.requests, &a.protocol, &a.command).cmp(&(a.requests, &b.protocol, &b.command))
    });
    commands
}

fn command(index: u16, figures: &CommandFigures) -> Command {
    Command {
        protocol: figures.protocol.name().to_owned(),
        command: label(figures.protocol, index).to_owned(),
        requests: figures.latencies.iter().sum(),
        errors: figures.errors,
        unanswered: figures.unanswered,
        hits: figures.hits,
        misses: figures.misses,
        request_bytes: figures.request_bytes,
        response_bytes: figures.response_bytes,
        latency: figures.latency.latency(),
        latencies: figures.latencies.to_vec(),
    }
}

/// Where frames pass: the source's own places, then the walk through headers, then the conversations.
pub(super) fn stages(source: &[Stage], account: &Account) -> Vec<Stage> {
    let stage = |name: &str, passed, lost| Stage {
        name: name.to_owned(),
        passed,
        lost,
    };
    let mut stages = source.to_vec();
    if stages.is_empty() {
        stages.push(stage("source", account.frames, account.dropped));
    }
    let headers = account.truncated + account.malformed_frames + account.unknown_link;
    stages.push(stage(
        "headers",
        account.frames.saturating_sub(headers + account.other),
        headers + account.fragments_lost,
    ));
    stages.push(stage(
        "conversations",
        account.matched,
        account.gaps + account.evicted,
    ));
    stages
}
