//! A snapshot as OTLP's export requests.
//!
//! Reads [`families`], makes requests of bounded size, compressed and ready to be sent. All sums and histograms are
//! cumulative, since the start of the run.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::exponential::{self, SCALE};
use crate::limits;
use crate::serve::families::{Durations, Family, Label, SECOND, Sample, Unit, Values, families};
use crate::sink::stats::snapshot::{Build, Snapshot};

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Requests that together tell all of a snapshot, of some [`limits::PUSH_BYTES`] each before compression.
pub(super) fn requests<'a>(
    snapshot: &'a Snapshot,
    resource: &'a [(String, String)],
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let span = Span::of(snapshot);
    let mut metrics = families(snapshot).flat_map(move |family| span.metrics(&family));
    std::iter::from_fn(move || {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while bytes < limits::PUSH_BYTES {
            let Some(metric) = metrics.next() else { break };
            bytes += metric.encoded_len();
            part.push(metric);
        }
        (!part.is_empty()).then(|| request(part, &snapshot.build, resource))
    })
}

fn request(metrics: Vec<Metric>, build: &Build, resource: &[(String, String)]) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: build.name.clone(),
        version: build.version.clone(),
        ..InstrumentationScope::default()
    };
    let attributes = resource.iter().map(|(key, value)| text(key, value));
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: attributes.collect(),
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    compressed(&request.encode_to_vec())
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A vector takes whatever is written.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// When counting began, and the moment that is told, in nanoseconds since the epoch.
#[derive(Clone, Copy)]
struct Span {
    begun: u64,
    now: u64,
}

impl Span {
    fn of(snapshot: &Snapshot) -> Self {
        let now = snapshot.made_ns;
        let begun = now.saturating_sub(snapshot.uptime_ns);
        Self { begun, now }
    }

    /// A family, in parts of bounded length.
    fn metrics(self, family: &Family<'_>) -> Vec<Metric> {
        let metric = |data| metric(family, data);
        match &family.values {
            Values::Counter(all) => parts(all, |part| metric(self.sum(part))),
            Values::Gauge(all) => parts(all, |part| metric(self.gauge(part))),
            Values::Histogram(all) => parts(all, |part| metric(self.histogram(part))),
        }
    }

    fn sum(self, samples: &[Sample<'_, u64>]) -> Data {
        let points = samples.iter().map(|one| {
            let value = i64::try_from(one.value).unwrap_or(i64::MAX);
            self.number(&one.labels, number_data_point::Value::AsInt(value))
        });
        Data::Sum(Sum {
            data_points: points.collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        })
    }

    fn gauge(self, samples: &[Sample<'_, f64>]) -> Data {
        let points = samples.iter().map(|one| {
            let value = number_data_point::Value::AsDouble(one.value);
            self.number(&one.labels, value)
        });
        Data::Gauge(Gauge {
            data_points: points.collect(),
        })
    }

    fn number(
        self,
        labels: &[(&str, Label<'_>)],
        value: number_data_point::Value,
    ) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.begun,
            time_unix_nano: self.now,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn histogram(self, samples: &[Sample<'_, Durations<'_>>]) -> Data {
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: samples.iter().map(|one| self.durations(one)).collect(),
            aggregation_temporality: CUMULATIVE,
        })
    }

    fn durations(self, sample: &Sample<'_, Durations<'_>>) -> ExponentialHistogramDataPoint {
        let latency = sample.value.latency;
        let (zero_count, buckets) = exponential::buckets(latency);
        ExponentialHistogramDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.begun,
            time_unix_nano: self.now,
            count: latency.count,
            sum: Some(latency.sum as f64 / SECOND),
            scale: SCALE,
            zero_count,
            positive: Some(buckets),
            max: (latency.count > 0).then(|| latency.max as f64 / SECOND),
            ..ExponentialHistogramDataPoint::default()
        }
    }
}

fn parts<T>(samples: &[T], metric: impl Fn(&[T]) -> Metric) -> Vec<Metric> {
    samples.chunks(limits::PUSH_POINTS).map(metric).collect()
}

/// Names are such that Prometheus, which puts units and `_total` behind them, makes those of `/metrics` of them.
fn metric(family: &Family<'_>, data: Data) -> Metric {
    let (suffix, unit) = match family.unit {
        Unit::Seconds => ("", "s"),
        Unit::Bytes => (".bytes", "By"),
        Unit::Of(what) => ("", what),
    };
    Metric {
        name: format!("tcpkit.{}{suffix}", family.name),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn attributes(labels: &[(&str, Label<'_>)]) -> Vec<KeyValue> {
    let attribute = |(key, label): &(&str, Label<'_>)| match label {
        Label::Port(port) => attribute(key, Value::IntValue(i64::from(*port))),
        Label::Text(value) => text(key, value),
    };
    labels.iter().map(attribute).collect()
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
