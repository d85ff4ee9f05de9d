//! Cases of redis: what every client does, what only some do, and redis-benchmark.

mod bench;
mod commands;
mod framing;
mod server;
mod silent;

use super::Case;

pub use server::{PORT, Redis};

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        name: "redis-commands",
        record: commands::commands,
    },
    Case {
        name: "redis-transactions",
        record: commands::transactions,
    },
    Case {
        name: "redis-resp3",
        record: commands::resp3,
    },
    Case {
        name: "redis-secrets",
        record: commands::secrets,
    },
    Case {
        name: "redis-pubsub",
        record: silent::pubsub,
    },
    Case {
        name: "redis-pubsub-resp3",
        record: silent::pubsub_resp3,
    },
    Case {
        name: "redis-monitor",
        record: silent::monitor,
    },
    Case {
        name: "redis-reply-off",
        record: silent::reply_off,
    },
    Case {
        name: "redis-blocking",
        record: silent::blocking,
    },
    Case {
        name: "redis-inline",
        record: framing::inline,
    },
    Case {
        name: "redis-large",
        record: framing::large,
    },
    Case {
        name: "redis-split",
        record: framing::split,
    },
    Case {
        name: "redis-echo",
        record: framing::echo,
    },
    Case {
        name: "redis-cli",
        record: bench::redis_cli,
    },
    Case {
        name: "redis-benchmark-1",
        record: bench::unpipelined,
    },
    Case {
        name: "redis-benchmark-16",
        record: bench::pipelined_16,
    },
    Case {
        name: "redis-benchmark-64",
        record: bench::pipelined_64,
    },
];
