//! redis.

use super::{Dissector, Pairing, Probe, Protocol, StatusName};
use crate::wire::Transport;

/// redis.
#[derive(Debug)]
pub struct Redis;

impl Protocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }
    fn transports(&self) -> &'static [Transport] {
        &[Transport::Tcp]
    }
    fn ports(&self) -> &'static [u16] {
        &[6379]
    }
    fn pairing(&self) -> Pairing {
        Pairing::InOrder
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
