//! Who asked whom, as a line says it.

use super::digits::push_address;
use crate::flow::Endpoints;

/// Conversations whose text is kept. Most lines are of a few busy ones.
const KEPT: usize = 256;

/// The texts of conversations that were printed lately: one at each place, the last that came.
#[derive(Debug)]
pub struct Parties {
    places: Box<[Place]>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    whose: Option<Endpoints>,
    text: Vec<u8>,
}

impl Parties {
    /// Nothing is kept yet.
    pub fn new() -> Self {
        let places = vec![Place::default(); KEPT].into();
        Self { places }
    }

    /// Appends `client => server`.
    pub fn push(&mut self, endpoints: &Endpoints, out: &mut Vec<u8>) {
        // Client ports are often all even, or all odd.
        let port = usize::from(endpoints.client.port());
        let Some(place) = self.places.get_mut((port >> 1 ^ port << 7) % KEPT) else {
            return;
        };
        if place.whose != Some(*endpoints) {
            place.whose = Some(*endpoints);
            place.text.clear();
            push_address(&mut place.text, endpoints.client);
            place.text.extend_from_slice(b" => ");
            push_address(&mut place.text, endpoints.server);
        }
        out.extend_from_slice(&place.text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_was_printed_before_each_gets_its_own(
            ends in prop::collection::vec((0..3_u8, 0..4_u16, any::<bool>()), 0..100),
        ) {
            let mut parties = Parties::new();
            for (host, port, server) in ends {
                let client = ([10, 0, 0, host], port << 14 | 1).into();
                let other = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(server)], 80).into();
                let endpoints = Endpoints { client, server: other };
                let mut out = Vec::new();
                parties.push(&endpoints, &mut out);
                prop_assert_eq!(String::from_utf8_lossy(&out), format!("{client} => {other}"));
            }
        }
    }
}
