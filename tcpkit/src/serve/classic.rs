//! The classic JSON: the contract of the port that other builds and their scrapers speak.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::sink::stats::snapshot::{Period, Port, Snapshot};

/// One element a port, on one line without spaces.
pub fn array(snapshot: &Snapshot) -> String {
    let ports = snapshot.since_start().map_or(&[][..], |all| &all.ports);
    let elements: Vec<Element<'_>> = ports.iter().map(Element).collect();
    serde_json::to_string(&elements).unwrap_or_default()
}

/// The array as a part of what some builds sent: what is captured in all, and in which mode.
pub fn object(snapshot: &Snapshot, mode: &str) -> String {
    let Some(all) = snapshot.since_start() else {
        return "{}".to_owned();
    };
    let object = Object::new(all, mode);
    serde_json::to_string(&object).unwrap_or_default()
}

/// `{"6379":{…}}`
struct Element<'a>(&'a Port);

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let port = self.0;
        let mut map = serializer.serialize_map(Some(1))?;
        let counts = Counts {
            total_reqs: port.requests,
            total_costs: port.latency.sum / 1000,
            slow_reqs: port.slow,
            latencies: &port.latencies,
        };
        map.serialize_entry(&port.port.to_string(), &counts)?;
        map.end()
    }
}

/// The order is a part of the contract.
#[derive(Serialize)]
struct Counts<'a> {
    total_reqs: u64,
    total_costs: u64,
    slow_reqs: u64,
    latencies: &'a [u64],
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    mode: &'a str,
    drops: u64,
    in_packets: u64,
    out_packets: u64,
    in_bytes: u64,
    out_bytes: u64,
    ports: Vec<Element<'a>>,
}

impl<'a> Object<'a> {
    fn new(all: &'a Period, mode: &'a str) -> Self {
        let sum = |of: fn(&Port) -> u64| all.ports.iter().map(of).sum();
        Self {
            mode,
            drops: all.coverage.dropped,
            in_packets: sum(|port| port.traffic.in_packets),
            out_packets: sum(|port| port.traffic.out_packets),
            in_bytes: sum(|port| port.traffic.in_bytes),
            out_bytes: sum(|port| port.traffic.out_bytes),
            ports: all.ports.iter().map(Element).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::stats::snapshot::{Latency, Traffic};

    #[test]
    fn the_form_is_the_contract_to_the_byte() {
        let mut latencies = vec![0; 18];
        latencies[5..8].copy_from_slice(&[3, 3, 1]);
        let seven = Port {
            port: 6379,
            requests: 7,
            slow: 7,
            latency: Latency {
                sum: 76_785_999,
                ..Latency::default()
            },
            latencies,
            ..Port::default()
        };
        let none = Port {
            port: 6380,
            latencies: vec![0; 18],
            ..Port::default()
        };
        let text = serde_json::to_string(&[Element(&seven), Element(&none)]).unwrap_or_default();
        assert_eq!(
            text,
            "[{\"6379\":{\"total_reqs\":7,\"total_costs\":76785,\"slow_reqs\":7,\"latencies\":\
             [0,0,0,0,0,3,3,1,0,0,0,0,0,0,0,0,0,0]}},{\"6380\":{\"total_reqs\":0,\"total_costs\":0,\
             \"slow_reqs\":0,\"latencies\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}]"
        );
    }

    #[test]
    fn the_object_holds_what_is_captured_in_all() {
        let traffic = Traffic {
            in_packets: 1,
            out_packets: 2,
            in_bytes: 3,
            out_bytes: 4,
        };
        let ports = [1, 2].map(|port| Port {
            port,
            traffic,
            latencies: vec![0],
            ..Port::default()
        });
        let object = Object {
            mode: "redis",
            drops: 9,
            in_packets: 2,
            out_packets: 4,
            in_bytes: 6,
            out_bytes: 8,
            ports: ports.iter().map(Element).collect(),
        };
        let text = serde_json::to_string(&object).unwrap_or_default();
        let begins = "{\"type\":\"redis\",\"drops\":9,\"in_packets\":2,\"out_packets\":4,\
                      \"in_bytes\":6,\"out_bytes\":8,\"ports\":[{\"1\":{";
        assert!(text.starts_with(begins), "{text}");
    }
}
