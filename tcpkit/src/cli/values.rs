//! What option values mean: one small type or function a kind of value.
//!
//! Reads the text after an option, makes typed values. Every error says what is accepted; the
//! parser in front of it names the option and the value.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::IntErrorKind;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;

use crate::protocol::{self, Protocol, by_name};

/// What a port's bytes are taken for.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Told by well-known port, then by the first bytes.
    Auto,
    /// Packets, nothing paired.
    Raw,
    /// This protocol.
    Protocol(&'static dyn Protocol),
}

impl Mode {
    /// The mode of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "raw" => Some(Self::Raw),
            _ => by_name(name).map(Self::Protocol),
        }
    }

    /// Its name, as `-m` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Raw => "raw",
            Self::Protocol(protocol) => protocol.name(),
        }
    }

    /// Every name that there is.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ["auto", "raw"]
            .into_iter()
            .chain(protocol::all().map(Protocol::name))
    }

    /// The parser behind `-m`; it lists the names in help, errors and completions.
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        PossibleValuesParser::new(Self::names()).try_map(|name| Self::named(&name))
    }

    fn named(name: &str) -> Result<Self, String> {
        Self::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Self::names().collect();
            format!(
                "no protocol is called `{name}`; accepted are {}",
                names.join(", ")
            )
        })
    }
}

/// Modes are equal when their names are: those are unique.
impl PartialEq for Mode {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Mode {}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ports of `-p`: one, or a range, and what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The lowest; never 0.
    pub first: u16,
    /// The highest; `first` for a single port.
    pub last: u16,
    /// What was said after `=`.
    pub protocol: Option<Mode>,
}

impl PortSpec {
    /// Whether `port` is one of them.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether a port is in both, and each says something else about it.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let overlap = self.first <= other.last && other.first <= self.last;
        overlap
            && self
                .protocol
                .zip(other.protocol)
                .is_some_and(|(a, b)| a != b)
    }
}

impl FromStr for PortSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('=') {
            Some((ports, name)) => (ports, Some(Mode::named(name)?)),
            None => (text, None),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("the range ends before it begins; {PORTS}"));
        }
        Ok(Self {
            first,
            last,
            protocol,
        })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.last != self.first {
            write!(f, "-{}", self.last)?;
        }
        self.protocol.map_or(Ok(()), |mode| write!(f, "={mode}"))
    }
}

const PORTS: &str = "accepted are PORT, PORT=PROTOCOL and FIRST-LAST, ports from 1 to 65535";

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(PORTS.to_owned()),
        Ok(port) => Ok(port),
    }
}

/// Where `-P` listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsAddress {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl FromStr for StatsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            Ok(Self::Off)
        } else {
            let told = |accepted| format!("{accepted}; off for none");
            address(text).map(Self::At).map_err(told)
        }
    }
}

/// `[ADDR:]PORT`; without an address, this host alone.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = || {
        port(text)
            .ok()
            .map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
    };
    let whole = text
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0);
    whole.or_else(bare).ok_or_else(|| {
        "accepted are PORT, 192.0.2.1:PORT and [::1]:PORT, ports from 1 to 65535".to_owned()
    })
}

/// An address, or a network in CIDR form.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let single = || {
        text.parse::<IpAddr>()
            .map(|ip| IpNet::from(ip.to_canonical()))
    };
    text.parse().or_else(|_| single()).map_err(|_| {
        "accepted are IPv4 and IPv6 addresses, and networks such as 10.0.0.0/8".to_owned()
    })
}

/// How `--keys` shows keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keys {
    /// As they are
    Plain,
    /// As keyed hashes
    Hash,
}

/// How `--xdp` attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Xdp {
    /// In the driver where it can, else generic, with a notice
    Auto,
    /// In the driver
    Native,
    /// In the network stack
    Generic,
}

/// Which engine captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The best one that works here; says which, and why
    Auto,
    /// eBPF
    Ebpf,
    /// libpcap
    Pcap,
}

/// What the report is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line an exchange
    Text,
    /// One JSON object an exchange
    Json,
}

/// A duration whose bare number is milliseconds: `-t`.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    duration(text, 1_000_000).ok_or_else(|| accepted_durations("milliseconds"))
}

/// A duration above zero whose bare number is seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 1_000_000_000)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{}, above 0", accepted_durations("seconds")))
}

/// Whole seconds above zero: what is done once in a while is looked at once a second.
pub(super) fn whole_seconds(text: &str) -> Result<Duration, String> {
    let whole = |duration: &Duration| !duration.is_zero() && duration.subsec_nanos() == 0;
    duration(text, 1_000_000_000)
        .filter(whole)
        .ok_or_else(|| "accepted are whole seconds above 0, such as 1, 10s, 2m, 1h".to_owned())
}

fn accepted_durations(bare: &str) -> String {
    format!("accepted are durations such as 250us, 0.5ms, 1s, 2m, 1h; a bare number is {bare}")
}

/// A decimal number and a unit, exact to the nanosecond; `bare` is the unit of a number without.
fn duration(text: &str, bare: u64) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "" => bare,
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok().filter(|&n| n <= 18)?)?;
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / scale;
    Some(Duration::from_nanos(
        whole.checked_add(u64::try_from(part).ok()?)?,
    ))
}

/// A number of bytes above zero; `K`, `M` and `G` are powers of 1,024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len() - 1), 10),
        Some(b'M' | b'm') => (text.get(..text.len() - 1), 20),
        Some(b'G' | b'g') => (text.get(..text.len() - 1), 30),
        _ => (Some(text), 0),
    };
    let number = digits
        .and_then(|digits| digits.parse::<u64>().ok())
        .filter(|&number| number > 0);
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "accepted are bytes above 0, such as 65536, 512K, 100M, 2G".to_owned())
}

/// The address of an OpenTelemetry collector. Names and passwords in it are refused: it is shown where pushing fails.
pub(super) fn url(text: &str) -> Result<String, String> {
    let parsed = text.parse::<hyper::Uri>().ok().filter(is_collector);
    parsed.map(|_| text.to_owned()).ok_or_else(|| {
        "accepted are http://HOST[:PORT][/PATH] and https://…; what a collector wants to be told besides goes into \
         OTEL_EXPORTER_OTLP_HEADERS"
            .to_owned()
    })
}

fn is_collector(url: &hyper::Uri) -> bool {
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let has_host = url.authority().is_some_and(|authority| {
        let host = authority.host();
        // What is no port is left of the authority beside the host.
        let has_port = |port| port > 0 && authority.as_str() == format!("{host}:{port}");
        let is_bare = authority.as_str() == host;
        !host.is_empty() && authority.port_u16().map_or(is_bare, has_port)
    });
    is_http && has_host && url.query().is_none()
}

/// A whole number above zero.
pub(super) fn count(text: &str) -> Result<u64, String> {
    within(text, 1..=u64::MAX).map_err(|_| "accepted are whole numbers from 1".to_owned())
}

/// KiB of kernel buffer, up to 4 GiB.
pub(super) fn kibibytes(text: &str) -> Result<u32, String> {
    within(text, 1..=4 << 20).map(|number| number as u32)
}

/// Bytes of a frame.
pub(super) fn snaplen(text: &str) -> Result<u32, String> {
    within(text, 1..=crate::limits::FRAME_BYTES as u64).map(|number| number as u32)
}

/// Worker threads.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    within(text, 1..=1024).map(|number| number as usize)
}

fn within(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse::<u64>().or_else(|error| match error.kind() {
        IntErrorKind::PosOverflow => Ok(u64::MAX),
        _ => Err(()),
    });
    number
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!(
                "accepted are whole numbers from {} to {}",
                range.start(),
                range.end()
            )
        })
}
