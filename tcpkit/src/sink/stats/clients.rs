//! What is counted of each client, for a bounded number of them.
//!
//! Beyond the bound those with the fewest requests are counted together, so that nothing is lost from the sum.

use std::collections::HashMap;
use std::net::IpAddr;

use super::snapshot::{Client, ClientFigures};
use crate::limits;

/// Figures by client.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    places: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
    list: Vec<(IpAddr, ClientFigures)>,
    /// All others together.
    other: ClientFigures,
    /// The client that was looked for last.
    latest: usize,
}

impl Clients {
    /// The figures of a client, or those of all others.
    #[inline]
    pub fn of(&mut self, client: IpAddr) -> &mut ClientFigures {
        if self
            .list
            .get(self.latest)
            .is_none_or(|(latest, _)| *latest != client)
        {
            match self.find(client) {
                Some(place) => self.latest = place,
                None => return &mut self.other,
            }
        }
        match self.list.get_mut(self.latest) {
            Some((_, figures)) => figures,
            None => &mut self.other,
        }
    }

    fn find(&mut self, client: IpAddr) -> Option<usize> {
        if let Some(&place) = self.places.get(&client) {
            return Some(place);
        }
        if self.list.len() >= limits::CLIENTS {
            return None;
        }
        self.list.push((client, ClientFigures::default()));
        self.places.insert(client, self.list.len() - 1);
        Some(self.list.len() - 1)
    }

    /// Adds others; of more than the bound, those with the most requests stay.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.other, &other.other);
        for (client, theirs) in &other.list {
            match self.places.get(client) {
                Some(&place) => add(&mut self.list[place].1, theirs),
                None => {
                    self.list.push((*client, *theirs));
                    self.places.insert(*client, self.list.len() - 1);
                }
            }
        }
        if self.list.len() > limits::CLIENTS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.list
            .sort_by_key(|(client, figures)| (u64::MAX - figures.requests, *client));
        for (_, figures) in self.list.split_off(limits::CLIENTS) {
            add(&mut self.other, &figures);
        }
        self.latest = 0;
        self.places = self
            .list
            .iter()
            .enumerate()
            .map(|(place, (client, _))| (*client, place))
            .collect();
    }

    /// Those that are listed, most requests first, and all others together.
    pub fn told(&self) -> (Vec<Client>, ClientFigures) {
        let mut told: Vec<Client> = self
            .list
            .iter()
            .map(|&(address, figures)| Client { address, figures })
            .collect();
        told.sort_by_key(|client| (u64::MAX - client.figures.requests, client.address));
        (told, self.other)
    }
}

fn add(ours: &mut ClientFigures, theirs: &ClientFigures) {
    ours.requests += theirs.requests;
    ours.slow += theirs.slow;
    ours.errors += theirs.errors;
    ours.unanswered += theirs.unanswered;
    ours.request_bytes += theirs.request_bytes;
    ours.response_bytes += theirs.response_bytes;
    ours.latency_sum_ns = ours.latency_sum_ns.saturating_add(theirs.latency_sum_ns);
    ours.latency_max_ns = ours.latency_max_ns.max(theirs.latency_max_ns);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_flood_of_clients_is_bounded_and_the_sum_is_kept() {
        let mut all = Clients::default();
        for round in 0..4_u32 {
            let mut some = Clients::default();
            for client in 0..3000 {
                let client = Ipv4Addr::from(round * 10_000 + client);
                some.of(client.into()).requests += 1;
            }
            some.of(Ipv4Addr::from(0).into()).requests += 5;
            all.merge(&some);
        }
        let (told, other) = all.told();
        assert_eq!(told.len(), limits::CLIENTS);
        assert_eq!(told[0].address, Ipv4Addr::from(0), "the busiest is kept");
        let listed: u64 = told.iter().map(|client| client.figures.requests).sum();
        assert_eq!(listed + other.requests, 4 * 3005);
    }
}
