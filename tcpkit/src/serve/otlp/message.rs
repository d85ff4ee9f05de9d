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
use crate::serve::families::{Family, Label, Sample, Sizes, Unit, Values, families};
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
            Values::Sum(all) => parts(all, |part| metric(self.growing(part))),
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

    fn growing(self, samples: &[Sample<'_, f64>]) -> Data {
        let points = samples.iter().map(|one| {
            let value = number_data_point::Value::AsDouble(one.value);
            self.number(&one.labels, value)
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

    fn histogram(self, samples: &[Sample<'_, Sizes<'_>>]) -> Data {
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: samples.iter().map(|one| self.sizes(one)).collect(),
            aggregation_temporality: CUMULATIVE,
        })
    }

    fn sizes(self, sample: &Sample<'_, Sizes<'_>>) -> ExponentialHistogramDataPoint {
        let (latency, scale) = (sample.value.latency, sample.value.scale);
        let (zero_count, buckets) = exponential::buckets(latency, scale);
        ExponentialHistogramDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.begun,
            time_unix_nano: self.now,
            count: latency.count,
            sum: Some(latency.sum as f64 / scale),
            scale: SCALE,
            zero_count,
            positive: Some(buckets),
            max: (latency.count > 0).then(|| latency.max as f64 / scale),
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
        Label::Number(number) => attribute(key, Value::IntValue(i64::from(*number))),
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

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Read as _;

    use super::*;
    use crate::sink::stats::BOUNDS;
    use crate::sink::stats::book::Book;
    use crate::sink::stats::keys::Shown;
    use crate::sink::stats::snapshot::{Command, KeyForm, Latency, Port, Ring, VERSION};

    /// 64 ports of 64 commands, whose latencies are all over the place.
    fn snapshot() -> Snapshot {
        let mut periods = Book::new(Vec::new()).periods(&Shown::Not, false);
        let places = (0..2400_u16).step_by(64);
        let latency = Latency {
            count: places.len() as u64,
            histogram: places.map(|place| (place, 1)).collect(),
            ..Latency::default()
        };
        let command = |number: u16| Command {
            command: format!("c{number}"),
            latency: latency.clone(),
            ..Command::default()
        };
        let port = |port| Port {
            port,
            commands: (0..64).map(command).collect(),
            ..Port::default()
        };
        periods[0].ports = (1..=64).map(port).collect();
        Snapshot {
            v: VERSION,
            build: Build {
                name: "tcpkit".to_owned(),
                version: "0".to_owned(),
            },
            made_ns: 1_700_000_000_000_000_000,
            uptime_ns: 1_000_000_000,
            begun_ns: 0,
            now_ns: 0,
            ended: false,
            threshold_ns: None,
            bounds_ns: BOUNDS.to_vec(),
            keys: KeyForm::None,
            stages: Vec::new(),
            rings: Vec::new(),
            pushes: None,
            scripts: crate::sink::stats::metrics::Snapshot::default(),
            periods,
        }
    }

    /// All metrics of a snapshot, by request, and how large each is.
    fn pushed(snapshot: &Snapshot) -> Vec<(usize, Vec<Metric>)> {
        let read = |request: Vec<u8>| {
            let mut bytes = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(request.as_slice());
            reader.read_to_end(&mut bytes).unwrap();
            let request = ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap();
            let resources = request.resource_metrics.into_iter();
            let scopes = resources.flat_map(|all| all.scope_metrics);
            (
                bytes.len(),
                scopes.flat_map(|scope| scope.metrics).collect(),
            )
        };
        requests(snapshot, &[]).map(read).collect()
    }

    #[test]
    fn much_is_told_in_several_requests_of_bounded_size_and_nothing_twice() {
        let mut points = BTreeSet::new();
        let requests = pushed(&snapshot());
        for (bytes, metrics) in &requests {
            assert!(*bytes < limits::PUSH_BYTES + limits::PUSH_POINTS * 6000);
            for metric in metrics {
                let Some(Data::ExponentialHistogram(histogram)) = &metric.data else {
                    continue;
                };
                for point in &histogram.data_points {
                    assert!(points.insert(format!("{} {:?}", metric.name, point.attributes)));
                }
            }
        }
        // Of each command its latencies, of each port its handshakes.
        assert_eq!(points.len(), 64 * 64 + 64);
        assert!(requests.len() > 4, "{}", requests.len());
    }

    /// Points of the gauges of rings: name, unit, ring and value.
    fn rings(snapshot: &Snapshot) -> Vec<String> {
        let mut told = Vec::new();
        for metric in pushed(snapshot)
            .into_iter()
            .flat_map(|(_, metrics)| metrics)
        {
            if !metric.name.starts_with("tcpkit.capture.ring.") {
                continue;
            }
            let Some(Data::Gauge(gauge)) = metric.data else {
                panic!("{} is no gauge", metric.name);
            };
            for point in gauge.data_points {
                let labels = point.attributes.iter();
                let labels: Vec<_> = labels.map(|one| (&one.key, one.value.as_ref())).collect();
                let [(key, Some(AnyValue { value: Some(ring) }))] = labels[..] else {
                    panic!("{labels:?}");
                };
                let (name, unit, value) = (&metric.name, &metric.unit, point.value.unwrap());
                told.push(format!("{name} {unit} {key} {ring:?} {value:?}"));
            }
        }
        told
    }

    #[test]
    fn rings_are_gauges_in_bytes() {
        let mut snapshot = snapshot();
        assert_eq!(rings(&snapshot), [""; 0], "libpcap has none");
        let ring = |highest_fill_bytes| Ring {
            size_bytes: 2 << 20,
            highest_fill_bytes,
        };
        snapshot.rings = vec![ring(4096), ring(400_000)];
        let told = [
            "tcpkit.capture.ring.size.bytes By ring IntValue(0) AsDouble(2097152.0)",
            "tcpkit.capture.ring.size.bytes By ring IntValue(1) AsDouble(2097152.0)",
            "tcpkit.capture.ring.highest_fill.bytes By ring IntValue(0) AsDouble(4096.0)",
            "tcpkit.capture.ring.highest_fill.bytes By ring IntValue(1) AsDouble(400000.0)",
        ];
        assert_eq!(rings(&snapshot), told);
    }
}
