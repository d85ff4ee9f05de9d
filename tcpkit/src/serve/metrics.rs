//! The figures since the start, for Prometheus.
//!
//! `prometheus-client` writes OpenMetrics 1.0 of what [`families`](super::families) tells; the older text format is made
//! of that.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelValue, LabelValueEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::families::{Family, Label, Sizes, Unit, Values, families};
use crate::sink::stats::snapshot::Snapshot;

/// OpenMetrics 1.0.
pub fn open_metrics(snapshot: &Snapshot) -> String {
    let mut registry = Registry::with_prefix("tcpkit");
    registry.register_collector(Box::new(Metrics(snapshot.clone())));
    let mut out = String::new();
    // A string takes whatever is written.
    let _ = text::encode(&mut out, &registry);
    out
}

/// The text format 0.0.4: counters are named as their samples are, and there are no units.
pub fn text(snapshot: &Snapshot) -> String {
    let open = open_metrics(snapshot);
    let mut out = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            help = line;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            describe(help, rest, &mut out);
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The lines that describe a family, `typed` as in `name type`.
fn describe(help: &str, typed: &str, out: &mut String) {
    let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
    let suffix = if kind == "counter" { "_total" } else { "" };
    let words = help.splitn(4, ' ').nth(3).unwrap_or_default();
    out.push_str(&format!(
        "# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}\n"
    ));
}

#[derive(Debug)]
struct Metrics(Snapshot);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        families(&self.0).try_for_each(|family| encode(&family, &mut encoder))
    }
}

fn encode(family: &Family<'_>, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let name = family.name.replace('.', "_");
    let unit = match family.unit {
        Unit::Seconds => Some(registry::Unit::Seconds),
        Unit::Bytes => Some(registry::Unit::Bytes),
        Unit::Of(_) => None,
    };
    let kind = match &family.values {
        Values::Counter(_) | Values::Sum(_) => MetricType::Counter,
        Values::Gauge(_) => MetricType::Gauge,
        Values::Histogram(_) => MetricType::Histogram,
    };
    let metric = encoder.encode_descriptor(&name, family.help, unit.as_ref(), kind)?;
    series(&family.values, metric)
}

fn series(values: &Values<'_>, mut metric: MetricEncoder<'_>) -> Result<(), Error> {
    match values {
        Values::Counter(all) => all.iter().try_for_each(|one| {
            let mut metric = metric.encode_family(&one.labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&one.value, None)
        }),
        Values::Sum(all) => all.iter().try_for_each(|one| {
            let mut metric = metric.encode_family(&one.labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&one.value, None)
        }),
        Values::Gauge(all) => all
            .iter()
            .try_for_each(|one| metric.encode_family(&one.labels)?.encode_gauge(&one.value)),
        Values::Histogram(all) => all
            .iter()
            .try_for_each(|one| histogram(&one.value, metric.encode_family(&one.labels)?)),
    }
}

/// A histogram with its bounds in the family's unit, and +Inf.
fn histogram(sizes: &Sizes<'_>, mut metric: MetricEncoder<'_>) -> Result<(), Error> {
    let bounds = sizes.bounds.iter().map(|&bound| bound as f64 / sizes.scale);
    let bounds = bounds.chain([f64::INFINITY]);
    let classes = sizes.classes.iter().copied();
    let buckets: Vec<(f64, u64)> = bounds.zip(classes).collect();
    let sum = sizes.latency.sum as f64 / sizes.scale;
    metric.encode_histogram::<NoLabelSet>(sum, sizes.latency.count, &buckets, None)
}

impl EncodeLabelValue for Label<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Number(number) => number.encode(encoder),
            Self::Text(text) => text.encode(encoder),
        }
    }
}
