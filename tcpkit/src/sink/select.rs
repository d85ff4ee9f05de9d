//! What is printed: `-t`, `--command`, `--client`, `--errors`, `--include-blocking`.
//!
//! Reads exchanges, unanswered requests and packets, says yes or no. Text and JSON ask the same.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::event::PacketEvent;
use crate::exchange::{Exchange, Silence, Unanswered};
use crate::limits::TEXT_BYTES;
use crate::protocol::Protocol;

/// What is printed; the default is all but commands that wait by design.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// Exchanges at least this slow; requests that the end of the run found waiting for so long.
    pub threshold: Option<Duration>,
    /// These commands, whatever their case; empty for all.
    pub commands: Vec<String>,
    /// Clients in these networks; empty for all.
    pub clients: Vec<IpNet>,
    /// Exchanges whose response reports an error, and nothing else.
    pub errors: bool,
    /// Commands that wait by design as well.
    pub include_blocking: bool,
}

impl Select {
    /// Whether this exchange is printed. One without a latency is not slow.
    pub fn exchange(&self, exchange: &Exchange<'_>) -> bool {
        let slow = |limit| {
            exchange
                .latency
                .is_some_and(|latency| is_over(latency, limit))
        };
        self.threshold.is_none_or(slow)
            && (exchange.error || !self.errors)
            && (self.include_blocking || !exchange.blocking)
            && self.client(exchange.endpoints.client.ip())
            && self.is_command(exchange.protocol, exchange.command, exchange.text)
    }

    /// Whether this unanswered request is printed. One whose connection closed, or that waited
    /// for `--timeout`, is printed however small the threshold.
    pub fn unanswered(&self, unanswered: &Unanswered<'_>) -> bool {
        let waited = unanswered.time.since(unanswered.request.last.time);
        let old = |limit| unanswered.why != Silence::End || is_over(waited, limit);
        self.threshold.is_none_or(old)
            && !self.errors
            && (self.include_blocking || !unanswered.blocking)
            && self.client(unanswered.endpoints.client.ip())
            && self.is_command(unanswered.protocol, unanswered.command, unanswered.text)
    }

    /// Whether this packet is printed: once, if its port is raw and it has a payload. It is no error and has no command.
    pub fn packet(&self, event: &PacketEvent<'_>) -> bool {
        event.raw
            && !event.copy
            && event.packet.payload_len > 0
            && !self.errors
            && self.commands.is_empty()
            && self.client(event.endpoints().client.ip())
    }

    /// Whether what this client does is printed.
    fn client(&self, client: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(&client))
    }

    #[inline]
    fn is_command(&self, protocol: &dyn Protocol, command: u16, text: &[u8]) -> bool {
        self.commands.is_empty() || self.is_listed(protocol, command, text)
    }

    /// By label; a command without a label of its own by the first word of its text.
    #[inline(never)]
    fn is_listed(&self, protocol: &dyn Protocol, command: u16, text: &[u8]) -> bool {
        let label = protocol
            .commands()
            .get(usize::from(command))
            .copied()
            .unwrap_or("other");
        let is = |word: &[u8]| {
            self.commands
                .iter()
                .any(|one| word.eq_ignore_ascii_case(one.as_bytes()))
        };
        is(label.as_bytes()) || (command == 0 && is(&first_word(protocol, text)))
    }
}

fn is_over(nanoseconds: u64, limit: Duration) -> bool {
    u128::from(nanoseconds) >= limit.as_nanos()
}

fn first_word(protocol: &dyn Protocol, text: &[u8]) -> Vec<u8> {
    let mut word = Vec::new();
    protocol.render(text, TEXT_BYTES, &mut word);
    let end = memchr::memchr(b' ', &word).unwrap_or(word.len());
    word.truncate(end);
    word
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::exchange::Confidence;
    use crate::sink::sample;

    fn threshold(milliseconds: u64) -> Select {
        Select {
            threshold: Some(Duration::from_millis(milliseconds)),
            ..Select::default()
        }
    }

    #[test]
    fn a_threshold_is_inclusive() {
        let exchange = sample::exchange();
        assert_eq!(exchange.latency, Some(11_234_567));
        assert!(threshold(11).exchange(&exchange));
        assert!(!threshold(12).exchange(&exchange));
        let exact = Select {
            threshold: Some(Duration::from_nanos(11_234_567)),
            ..Select::default()
        };
        assert!(exact.exchange(&exchange));
        let unknown = Exchange {
            latency: None,
            response: None,
            confidence: Confidence::Ambiguous,
            ..exchange
        };
        assert!(!threshold(0).exchange(&unknown));
        assert!(Select::default().exchange(&unknown));
    }

    #[test]
    fn the_threshold_concerns_unanswered_requests_at_the_end_alone() {
        for (why, printed) in [
            (Silence::Closed, true),
            (Silence::Timeout, true),
            (Silence::End, false),
        ] {
            let unanswered = Unanswered {
                why,
                ..sample::unanswered()
            };
            assert_eq!(threshold(5004).unanswered(&unanswered), printed, "{why:?}");
            assert!(threshold(5003).unanswered(&unanswered));
            assert!(Select::default().unanswered(&unanswered));
        }
    }

    #[test]
    fn commands_go_by_label_or_by_first_word() {
        let only = |name: &str| Select {
            commands: vec![name.to_owned()],
            ..Select::default()
        };
        let set = sample::exchange();
        assert!(only("SET").exchange(&set) && only("set").exchange(&set));
        assert!(!only("get").exchange(&set) && !only("se").exchange(&set));
        let module = Exchange {
            command: 0,
            text: b"ft.search idx",
            ..set.clone()
        };
        assert!(only("FT.SEARCH").exchange(&module) && only("other").exchange(&module));
        assert!(!only("idx").exchange(&module));
        // A label that the protocol has is not looked for in the text.
        assert!(!only("set").exchange(&Exchange { command: 1, ..set }));
        assert!(only("set").unanswered(&sample::unanswered()));
        assert!(!only("get").unanswered(&sample::unanswered()));
    }

    #[test]
    fn clients_go_by_address_or_network() {
        let only = |net: &str| Select {
            clients: vec![net.parse().unwrap()],
            ..Select::default()
        };
        assert!(only("172.20.64.106/32").exchange(&sample::exchange()));
        assert!(only("172.16.0.0/12").unanswered(&sample::unanswered()));
        assert!(
            !only("192.168.1.2/32").exchange(&sample::exchange()),
            "that is the server"
        );
        assert!(!only("::/0").exchange(&sample::exchange()));
    }

    #[test]
    fn errors_and_blocking() {
        let errors = Select {
            errors: true,
            ..Select::default()
        };
        let failed = Exchange {
            error: true,
            ..sample::exchange()
        };
        assert!(errors.exchange(&failed) && !errors.exchange(&sample::exchange()));
        assert!(!errors.unanswered(&sample::unanswered()));
        let all = Select {
            include_blocking: true,
            ..Select::default()
        };
        let waits = Exchange {
            blocking: true,
            ..sample::exchange()
        };
        assert!(all.exchange(&waits) && !Select::default().exchange(&waits));
        let waits = Unanswered {
            blocking: true,
            ..sample::unanswered()
        };
        assert!(all.unanswered(&waits) && !Select::default().unanswered(&waits));
    }
}
