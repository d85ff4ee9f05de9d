//! Counters and histograms that scripts keep.
//!
//! Takes numbers from scripts' threads under names and labels; summaries read them. What would be
//! more than [`limits::METRICS`] series is not kept, and counted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Histogram;
use super::snapshot::Latency;
use crate::limits;

/// Values of histograms are kept to a thousandth of whatever their unit is.
pub const SCALE: f64 = 1000.0;

/// A name and its labels, sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Registry {
    counters: BTreeMap<Series, f64>,
    histograms: BTreeMap<Series, Histogram>,
    dropped: u64,
}

/// The counters and histograms of a run; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Adds `n` to a counter.
    pub fn add(&self, name: &str, labels: &[(String, String)], n: f64) {
        let mut registry = self.lock();
        let full = registry.is_full();
        match place(&mut registry.counters, name, labels, full) {
            Some(counter) => *counter += n,
            None => registry.dropped += 1,
        }
    }

    /// Records `value`, from 0 on, in a histogram: quantiles are within 0.8 %, and within a thousandth.
    pub fn record(&self, name: &str, labels: &[(String, String)], value: f64) {
        let mut registry = self.lock();
        let full = registry.is_full();
        match place(&mut registry.histograms, name, labels, full) {
            Some(histogram) => histogram.record((value * SCALE).round() as u64),
            None => registry.dropped += 1,
        }
    }

    /// What they hold now.
    pub fn snapshot(&self) -> Snapshot {
        let registry = self.lock();
        Snapshot {
            counters: registry.counters.iter().map(counter).collect(),
            histograms: registry.histograms.iter().map(histogram).collect(),
            dropped: registry.dropped,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn is_full(&self) -> bool {
        self.counters.len() + self.histograms.len() >= limits::METRICS
    }
}

/// The value of a series; `None` where it is new and does not fit.
fn place<'a, T: Default>(
    values: &'a mut BTreeMap<Series, T>,
    name: &str,
    labels: &[(String, String)],
    full: bool,
) -> Option<&'a mut T> {
    let cut = |text: &str| text.chars().take(limits::METRIC_NAME).collect::<String>();
    let labels = labels.iter().take(limits::METRIC_LABELS);
    let series = Series {
        name: cut(name),
        labels: labels
            .map(|(name, value)| (cut(name), cut(value)))
            .collect(),
    };
    if full && !values.contains_key(&series) {
        return None;
    }
    Some(values.entry(series).or_default())
}

/// What scripts have counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counters, by name and labels.
    pub counters: Vec<Counter>,
    /// Histograms, by name and labels.
    pub histograms: Vec<Distribution>,
    /// Numbers that were not kept, since there were too many series.
    pub dropped: u64,
}

/// A counter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    /// As the script called it.
    pub name: String,
    /// Names and values.
    pub labels: BTreeMap<String, String>,
    /// Its sum.
    pub value: f64,
}

/// A histogram, in the script's own unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Distribution {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub count: u64,
    pub sum: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// The same in [`SCALE`] parts of the unit, with all places; not told to other hosts.
    #[serde(skip)]
    pub places: Latency,
}

fn counter((series, value): (&Series, &f64)) -> Counter {
    Counter {
        name: series.name.clone(),
        labels: series.labels.iter().cloned().collect(),
        value: *value,
    }
}

fn histogram((series, values): (&Series, &Histogram)) -> Distribution {
    let unit = |value: u64| value as f64 / SCALE;
    let [p50, p90, p99, p999] = values.quantiles([0.5, 0.9, 0.99, 0.999]).map(unit);
    Distribution {
        name: series.name.clone(),
        labels: series.labels.iter().cloned().collect(),
        count: values.count(),
        sum: values.sum() as f64 / SCALE,
        p50,
        p90,
        p99,
        p999,
        max: unit(values.max()),
        places: values.latency(),
    }
}

impl Snapshot {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.histograms.is_empty()
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        writeln!(out, "scripts:")?;
        for one in &self.counters {
            writeln!(out, "  {} {}", named(&one.name, &one.labels), one.value)?;
        }
        for one in &self.histograms {
            let name = named(&one.name, &one.labels);
            writeln!(
                out,
                "  {name} {} values, p50 {}, p90 {}, p99 {}, max {}",
                one.count, one.p50, one.p90, one.p99, one.max
            )?;
        }
        if self.dropped > 0 {
            writeln!(out, "  {} numbers of further series not kept", self.dropped)?;
        }
        Ok(())
    }
}

/// `name{label="value"}`, without bytes that a terminal would act on.
fn named(name: &str, labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{}={value:?}", name.escape_debug()))
        .collect();
    match labels.is_empty() {
        true => name.escape_debug().to_string(),
        false => format!("{}{{{}}}", name.escape_debug(), labels.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(value: &str) -> [(String, String); 1] {
        [("k".to_owned(), value.to_owned())]
    }

    #[test]
    fn series_are_told_apart_by_their_labels() {
        let metrics = Metrics::default();
        for value in ["a", "b", "a"] {
            metrics.add("seen", &label(value), 2.0);
            metrics.record("size", &label(value), 0.25);
        }
        let mut text = Vec::new();
        let snapshot = metrics.snapshot();
        assert!(snapshot.write_text(&mut text).is_ok());
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("  seen{k=\"a\"} 4\n"), "{text}");
        assert!(
            text.contains("  size{k=\"b\"} 1 values, p50 0.25"),
            "{text}"
        );
    }

    #[test]
    fn there_are_only_so_many_series() {
        let metrics = Metrics::default();
        for value in 0..limits::METRICS + 5 {
            metrics.add("seen", &label(&value.to_string()), 1.0);
        }
        metrics.add("seen", &label("0"), 1.0);
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.counters.len(), limits::METRICS);
        assert_eq!(snapshot.dropped, 5);
        assert_eq!(snapshot.counters[0].value, 2.0);
    }
}
