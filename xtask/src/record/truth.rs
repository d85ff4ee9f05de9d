//! What client and server knew of a recording.
//!
//! The client's tally says what tcpkit must find: `exchanges` by command, `oneway`, `unanswered`. The
//! server's own counters are kept beside it, and the recorder refuses a recording where the two
//! disagree in any way but the one that the case explains (`server_differs`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// The truth of one case.
#[derive(Default)]
pub struct Truth {
    /// As `-m` takes it.
    pub protocol: &'static str,
    /// Requests with a response, by command label.
    pub exchanges: Counts,
    /// Requests that nobody answers by design, by command label.
    pub silent: Counts,
    /// Messages that answer no request: pushes, published messages, interim responses.
    pub pushed: u64,
    /// Requests that wanted a response and got none.
    pub unanswered: u64,
    /// Keys found and not found by read commands, where the protocol says so.
    pub hits: Option<(u64, u64)>,
    /// Exchanges by status, where the server logs it.
    pub statuses: Counts,
    /// Words that no output may show.
    pub secrets: Vec<&'static str>,
    /// The case that this one was made from, and the frames that were left out, counted from 1:
    /// fewer exchanges may be found.
    pub lost: Option<(&'static str, Vec<usize>)>,
    /// The server's own counters.
    pub server: Counts,
    /// Why the server's counters differ from the exchanges, where they do.
    pub server_differs: Vec<&'static str>,
}

impl Truth {
    /// For a protocol.
    pub fn new(protocol: &'static str) -> Self {
        Self {
            protocol,
            ..Self::default()
        }
    }

    /// As the tests read it.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "protocol": self.protocol,
            "exchanges": self.exchanges,
            "total": self.exchanges.values().sum::<u64>(),
            "oneway": self.silent.values().sum::<u64>() + self.pushed,
            "silent": self.silent,
            "pushed": self.pushed,
            "unanswered": self.unanswered,
            "server": self.server,
        });
        if let Some((hits, misses)) = self.hits {
            json["hits"] = hits.into();
            json["misses"] = misses.into();
        }
        if let Some((from, frames)) = &self.lost {
            json["lost"] = json!({ "from": from, "frames": frames });
        }
        if !self.statuses.is_empty() {
            json["statuses"] = json!(self.statuses);
        }
        if !self.secrets.is_empty() {
            json["secrets"] = json!(self.secrets);
        }
        if !self.server_differs.is_empty() {
            json["server_differs"] = json!(self.server_differs);
        }
        json
    }
}

/// Counts one more of `name`.
pub fn add(counts: &mut Counts, name: &str) {
    *counts.entry(name.to_owned()).or_default() += 1;
}
