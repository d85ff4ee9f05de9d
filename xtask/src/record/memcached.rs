//! Cases of memcached: the text protocol, meta commands, the binary protocol, UDP.

mod binary;
mod server;
mod text;
mod udp;

use super::Case;

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        name: "memcached-text",
        record: text::text,
    },
    Case {
        name: "memcached-noreply",
        record: text::noreply,
    },
    Case {
        name: "memcached-pipelined",
        record: text::pipelined,
    },
    Case {
        name: "memcached-meta",
        record: text::meta,
    },
    Case {
        name: "memcached-binary",
        record: binary::binary,
    },
    Case {
        name: "memcached-udp",
        record: udp::udp,
    },
];
