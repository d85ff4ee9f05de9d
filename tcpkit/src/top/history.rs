//! What each snapshot added to the one before: the columns of the charts.

use std::collections::{BTreeMap, VecDeque};

use super::figures::is;
use crate::limits;
use crate::sink::stats::snapshot::{Latency, Port, Snapshot};
use crate::sink::stats::sparse::Sparse;

/// After a longer time without a snapshot, in nanoseconds, there is a break.
const LONG: u64 = 3_000_000_000;

/// Columns, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// `None` is a break.
    columns: VecDeque<Option<Column>>,
}

/// What came between two snapshots.
#[derive(Clone, Debug)]
struct Column {
    length_ns: u64,
    ports: BTreeMap<u16, Added>,
}

#[derive(Clone, Debug)]
struct Added {
    latencies: Vec<u64>,
    latency: Sparse,
    failed: u64,
}

/// A column for the chosen ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Capture time that it holds, in nanoseconds.
    pub length_ns: u64,
    /// Requests by latency bucket.
    pub latencies: Vec<u64>,
    /// Their latencies.
    pub latency: Latency,
    /// Error responses and unanswered requests.
    pub failed: u64,
}

impl History {
    /// Adds the column between two snapshots; of another run all is forgotten.
    pub fn add(&mut self, before: &Snapshot, after: &Snapshot) {
        let other = before.begun_ns != 0 && before.begun_ns != after.begun_ns;
        if other || after.uptime_ns < before.uptime_ns {
            self.columns.clear();
            return;
        }
        if before.ended {
            return;
        }
        let apart = after.made_ns.saturating_sub(before.made_ns);
        self.columns
            .push_back((apart <= LONG).then(|| column(before, after)));
        while self.columns.len() > limits::TOP_COLUMNS {
            self.columns.pop_front();
        }
    }

    /// The newest columns first, for the chosen port or all.
    pub fn newest(&self, chosen: Option<u16>) -> impl Iterator<Item = Option<Shown>> + '_ {
        let shown =
            move |column: &Option<Column>| column.as_ref().map(|column| column.shown(chosen));
        self.columns.iter().rev().map(shown)
    }
}

impl Column {
    fn shown(&self, chosen: Option<u16>) -> Shown {
        let mut sum = Sparse::default();
        let mut shown = Shown {
            length_ns: self.length_ns,
            ..Shown::default()
        };
        for (_, added) in self.ports.iter().filter(|(port, _)| is(chosen, **port)) {
            let rows = shown.latencies.len().max(added.latencies.len());
            shown.latencies.resize(rows, 0);
            for (all, more) in shown.latencies.iter_mut().zip(&added.latencies) {
                *all = all.saturating_add(*more);
            }
            shown.failed = shown.failed.saturating_add(added.failed);
            sum.merge(&added.latency);
        }
        shown.latency = sum.latency();
        shown
    }
}

fn column(before: &Snapshot, after: &Snapshot) -> Column {
    let ports = |snapshot: &Snapshot| -> Vec<Port> {
        snapshot
            .since_start()
            .map_or_else(Vec::new, |all| all.ports.clone())
    };
    let old = ports(before);
    let none = Port::default();
    let added = ports(after).into_iter().map(|port| {
        let was = old.iter().find(|old| old.port == port.port);
        (port.port, added(was.unwrap_or(&none), &port))
    });
    Column {
        length_ns: after.now_ns.saturating_sub(before.now_ns),
        ports: added.collect(),
    }
}

fn added(was: &Port, port: &Port) -> Added {
    let old = was.latencies.iter().copied().chain(std::iter::repeat(0));
    let less = port.latencies.iter().zip(old);
    let failed = |port: &Port| port.errors.saturating_add(port.unanswered);
    Added {
        latencies: less.map(|(new, old)| new.saturating_sub(old)).collect(),
        latency: Sparse::from(&port.latency).since(&Sparse::from(&was.latency)),
        failed: failed(port).saturating_sub(failed(was)),
    }
}
