//! dns.

use super::{Dissector, Pairing, Probe, Protocol, StatusName};
use crate::wire::Transport;

/// dns.
#[derive(Debug)]
pub struct Dns;

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }
    fn transports(&self) -> &'static [Transport] {
        &[Transport::Udp, Transport::Tcp]
    }
    fn ports(&self) -> &'static [u16] {
        &[53]
    }
    fn pairing(&self) -> Pairing {
        Pairing::ById
    }
    fn commands(&self) -> &'static [&'static str] {
        &["other"]
    }
    fn probe(&self, _: Transport, _: &[u8]) -> Probe {
        Probe::No
    }
    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        todo!()
    }
    fn render(&self, _: &[u8], _: usize, _: &mut Vec<u8>) -> usize {
        0
    }
    fn status(&self, code: u16) -> StatusName {
        StatusName::Code(code)
    }
}
