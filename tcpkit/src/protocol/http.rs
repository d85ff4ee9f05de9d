//! http.

use super::{Dissector, Pairing, Probe, Protocol, StatusName};
use crate::wire::Transport;

/// http.
#[derive(Debug)]
pub struct Http;

impl Protocol for Http {
    fn name(&self) -> &'static str {
        "http"
    }
    fn transports(&self) -> &'static [Transport] {
        &[Transport::Tcp]
    }
    fn ports(&self) -> &'static [u16] {
        &[80, 8080]
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
