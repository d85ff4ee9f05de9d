//! The slowest requests of a span of time.

use std::cmp::Reverse;
use std::net::SocketAddr;

use super::keys::Shown;
use super::snapshot::Slow;
use crate::exchange::Exchange;
use crate::limits;
use crate::protocol::Protocol;

/// A bounded number of requests, the slowest of all that were shown.
#[derive(Clone, Debug, Default)]
pub struct Slowest {
    list: Vec<Request>,
    /// What is faster than this is not among them.
    floor: u64,
}

/// One of them.
#[derive(Clone, Debug)]
struct Request {
    time: u64,
    latency: u64,
    wait: u64,
    client: SocketAddr,
    server: SocketAddr,
    protocol: &'static dyn Protocol,
    command: u16,
    status: u16,
    error: bool,
    request_bytes: u64,
    response_bytes: u64,
    arguments: Vec<u32>,
    key: Option<Box<[u8]>>,
}

impl Slowest {
    /// Whether a request this slow may be among them.
    #[inline]
    pub fn wants(&self, latency: u64) -> bool {
        latency >= self.floor
    }

    /// Keeps a request; its key only where `keys` are wanted.
    #[cold]
    #[inline(never)]
    pub fn keep(&mut self, exchange: &Exchange<'_>, latency: u64, keys: bool) {
        let (protocol, text) = (exchange.protocol, exchange.text);
        let mut arguments = Vec::new();
        protocol.argument_sizes(text, limits::SLOW_ARGUMENTS, &mut arguments);
        let mut key = None;
        if keys {
            protocol.keys(exchange.command, text, &mut |bytes| {
                key.get_or_insert_with(|| bytes.get(..limits::KEY_BYTES).unwrap_or(bytes).into());
            });
        }
        let response = exchange.response.unwrap_or_default();
        self.list.push(Request {
            time: response.first.time.0,
            latency,
            wait: exchange.wait,
            client: exchange.endpoints.client,
            server: exchange.endpoints.server,
            protocol,
            command: exchange.command,
            status: exchange.status,
            error: exchange.error,
            request_bytes: exchange.request.size,
            response_bytes: response.size,
            arguments,
            key,
        });
        if self.list.len() >= 2 * limits::SLOWEST {
            self.cut();
        }
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        let floor = self.floor;
        let wanted = other.list.iter().filter(|request| request.latency >= floor);
        self.list.extend(wanted.cloned());
        self.cut();
    }

    /// The order does not depend on that of arrival, so neither does what is kept.
    fn cut(&mut self) {
        self.list
            .sort_by_key(|request| (Reverse(request.latency), request.time, request.client));
        self.list.truncate(limits::SLOWEST);
        if self.list.len() == limits::SLOWEST {
            self.floor = self.list.last().map_or(0, |request| request.latency);
        }
    }

    /// Slowest first, keys as `shown` says.
    pub fn told(&self, shown: &Shown) -> Vec<Slow> {
        let mut sorted = self.clone();
        sorted.cut();
        sorted
            .list
            .iter()
            .map(|request| request.told(shown))
            .collect()
    }
}

impl Request {
    fn told(&self, shown: &Shown) -> Slow {
        let plain = self.status == 0;
        Slow {
            time_ns: self.time,
            latency_ns: self.latency,
            wait_ns: self.wait,
            client: self.client,
            server: self.server,
            protocol: self.protocol.name().to_owned(),
            command: super::label(self.protocol, self.command).to_owned(),
            status: (!plain).then(|| self.protocol.status(self.status).to_string()),
            error: self.error,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            arguments: self.arguments.clone(),
            key: self.key.as_deref().and_then(|key| shown.show(key)),
        }
    }
}
