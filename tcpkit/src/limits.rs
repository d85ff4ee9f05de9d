//! Every bound of the program, with its reason.
//!
//! Nothing that came from a wire, a file or a user grows without one of these. What a bound
//! drops is counted, and the count is shown in the summary.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Independent parts that conversations are spread over by a fixed hash.
///
/// Worker threads own whole shards, and every per-conversation bound holds for each shard, so
/// that what is dropped at a bound does not depend on the number of threads.
pub const SHARDS: usize = 16;

/// Conversations that a shard remembers; the one that was silent longest makes room.
/// 16 shards of 8,192 are some 130,000 conversations: twice as many as an address has ports. Each takes about 1 KiB.
pub const FLOWS_PER_SHARD: usize = 8_192;

/// A UDP conversation with no packet for so long is forgotten (RFC 4787 asks NATs for 2 minutes).
pub const UDP_IDLE: Duration = Duration::from_secs(120);

/// A closed TCP conversation is remembered for so long, so that late segments are recognised.
pub const CLOSED_LINGER: Duration = Duration::from_secs(5);

/// Bytes that one direction of a conversation may hold back, waiting for a missing segment. As much as a sender can
/// have on its way: a Linux socket holds 4 MiB until it is acknowledged (`tcp_wmem`), and offers 6 MiB
/// (`tcp_rmem`), unless told otherwise. A hole that costs more is declared lost.
pub const HELD_BYTES_PER_STREAM: usize = 8 << 20;

/// Bytes that all conversations of one shard may hold back, and keep for requests that wait and messages that came
/// in part: a stream's worth or [`PENDING_REQUESTS`] of one conversation, 128 MiB in all shards. A conversation that would
/// exceed it waits no longer, and then forgets its requests.
pub const HELD_BYTES_PER_SHARD: usize = 8 << 20;

/// What holding a segment back costs besides its bytes: its place in the queue and its allocation.
pub const HELD_OVERHEAD: usize = 96;

/// Segments that one direction may hold back: bounds the work of inserting one.
/// [`HELD_BYTES_PER_STREAM`] in segments of 1,460 bytes are some 5,700.
pub const HELD_SEGMENTS: usize = 8192;

/// The reordering window in frames of the same conversation: a hole that the receiver has
/// acknowledged, or a conversation joined in the middle, waits for so many more frames.
pub const REORDER_FRAMES: u32 = 16;

/// The reordering window in capture time, for conversations that are slow.
pub const REORDER_TIME: Duration = Duration::from_millis(200);

/// A frame whose stamp is farther ahead than this moves capture time only when the next one confirms it, and one that is
/// farther behind may be of a clock that was set back.
pub const CLOCK_JUMP: Duration = Duration::from_secs(600);

/// So many frames in a row that are far behind capture time set it back.
pub const CLOCK_BEHIND: u32 = 1000;

/// A hole that nobody acknowledges is waited for so long: a sender retransmits within it
/// (RFC 6298 starts at 1 s and doubles).
pub const HOLE_TIME: Duration = Duration::from_secs(10);

/// Bytes of one direction that a dissector may leave unconsumed while it waits for more: no
/// head, line or key of a supported protocol is longer.
pub const TAIL_BYTES: usize = 256 << 10;

/// Bytes of one direction in which a protocol's first message may still end; those that nothing begins with are passed over.
pub const UNDECIDED_PIECE: usize = 4096;

/// What is kept of a conversation whose protocol is not known yet, with what keeping it costs: the segments that are looked at.
pub const UNDECIDED_BYTES: usize = 32 << 10;

/// Requests of one conversation that may wait for their responses.
pub const PENDING_REQUESTS: usize = 65_536;

/// So many responses in a row that nobody asked for, by their identifiers, show that the oldest requests will not
/// be answered; fewer are repetitions. Bounds the work of looking for whom they answer.
pub const STRAYS: u8 = 16;

/// So many of the oldest requests are given up then. In a queue that is no longer than this, looking costs little.
pub const STRAYS_MAKE_ROOM: usize = 512;

/// First bytes of a request, as they were on the wire, that are kept for printing it.
/// 255 bytes of text (cli.md) can take four times as many bytes of RESP framing.
pub const KEPT_BYTES: usize = 1024;

/// First bytes of requests that one conversation keeps together; requests beyond it are paired
/// and counted as others, and printed without their text.
pub const KEPT_PER_CONVERSATION: usize = 1 << 20;

/// A conversation that was silent for so long has no answer under way, for a client that does
/// not wait for its answers; used only to find pairs again after a gap.
pub const QUIET_TIME: Duration = Duration::from_millis(200);

/// Batches that a client has to wait for, of a conversation that was joined or lost something early, before their pairs are told.
pub const TRIAL_BATCHES: u8 = 6;

/// Pairs of batches on trial, which are kept until it is over: more of one batch are ambiguous, half as many are enough for a trial.
pub const TRIAL_PAIRS: usize = 128;

/// Bytes of text in a report line before it is cut (cli.md).
pub const TEXT_BYTES: usize = 255;

/// Levels of nesting that a dissector follows in one message.
pub const NESTING: usize = 32;

/// Ports that the statistics list when none were asked for (stats.md).
pub const PORTS: usize = 1024;

/// Lines that wait to be put in the order of their stamps.
pub const SORT_LINES: usize = 65_536;

/// Bytes of the lines that wait to be put in order: all of [`SORT_LINES`] at 128 bytes each.
pub const SORT_BYTES: usize = 8 << 20;

/// Bytes of report that are collected before they are written: a write call costs as much as
/// formatting several lines.
pub const REPORT_BUFFER: usize = 128 << 10;

/// Bytes of report that wait for whoever reads it, live. Some 100,000 lines: a terminal that is stopped for a
/// moment, or a pipe whose reader is slow for a second, loses none.
pub const REPORT_QUEUE: usize = 16 << 20;

/// Bytes of saved frames that wait for the disk, live: a quarter of a second of 2 Gbit/s.
pub const SAVE_QUEUE: usize = 64 << 20;

/// Bytes of notices that wait for whoever reads standard error, live.
pub const NOTICE_QUEUE: usize = 64 << 10;

/// At the end of a live run, frames that were captured before it are waited for so long after the last one came.
pub const CATCH_UP_STALL: Duration = Duration::from_secs(1);

/// At the end of a live run, frames that were captured before it are followed for so long in all. With [`END_WAIT`] it stays
/// under the 30 seconds after which the service manager kills.
pub const CATCH_UP: Duration = Duration::from_secs(8);

/// At the end of a live run, output that nobody takes is waited for so long after the last progress.
pub const END_STALL: Duration = Duration::from_secs(2);

/// At the end of a live run, output is waited for so long in all, progress or not.
pub const END_WAIT: Duration = Duration::from_secs(20);

/// Lines about loss on standard error come at most so often.
pub const LOSS_LINE: Duration = Duration::from_secs(5);

/// A line waits for so long for an earlier stamp to turn up.
pub const SORT_TIME: Duration = Duration::from_millis(500);

/// SYNs and datagrams that translated copies are looked for among; of the busiest 5 ms, some 200,000 a second.
pub const TRANSLATIONS: usize = 1024;

/// A copy of a frame from another interface is looked for within this time (cli.md).
pub const COPY_TIME: Duration = Duration::from_millis(5);

/// Packets of a shard that copies are looked for among: at 2 million a second 16 shards see some 600 each within that time. Only
/// where there are datagrams or several interfaces, or packets are told; 384 KiB a worker.
pub const COPIES_PER_SHARD: usize = 1024;

/// A file of so many bytes may be followed in parts: a shorter one takes a few milliseconds anyway.
pub const PARTS_FROM: usize = 16 << 20;

/// A part of a file has at least so many bytes. Making and joining one costs a tenth of a millisecond.
pub const PART_BYTES: usize = 4 << 20;

/// So many bytes at a file's beginning say whether parts of it can be joined, and as many behind them.
pub const TRIAL_BYTES: usize = 512 << 10;

/// What the worker of a part of a file leaves to that of the part before: frames, and how time went on, ten times a
/// second. More than some frames a conversation says that it is not worth it.
pub const SEAM_STEPS: usize = 1 << 18;

/// As [`SEAM_STEPS`], in bytes of frames.
pub const SEAM_BYTES: usize = 16 << 20;

/// Largest frame that a capture file may claim to hold. libpcap's own limit is 256 KiB;
/// larger record headers are how a damaged file shows.
pub const FRAME_BYTES: usize = 256 << 10;

/// Incomplete IP datagrams that are kept for their missing fragments, per worker.
pub const FRAGMENTED_DATAGRAMS: usize = 256;

/// Bytes of frames with fragments that are kept until their datagram is whole, for it to be saved: some 128
/// datagrams of 64 KiB. Beyond it only the last fragment of a datagram is saved.
pub const FRAGMENT_FRAMES_BYTES: usize = 8 << 20;

/// An incomplete IP datagram is given up after so long (RFC 791 suggests 15 s, RFC 8200 60 s).
pub const FRAGMENT_TIME: Duration = Duration::from_secs(30);

/// Fragments of one datagram: 65,535 bytes at the smallest MTU in use, 576, are some 120.
pub const FRAGMENTS: usize = 128;

/// Fragmented datagrams inside one another: a fragmented packet in a tunnel that is fragmented.
pub const FRAGMENT_NESTING: usize = 2;

/// Link, tunnel and extension headers that are walked in one frame.
pub const HEADERS: usize = 24;

/// Longest block of a pcapng file that is looked into; libpcap's own limit. Blocks of types that
/// say nothing here may be longer: they are passed over and never held.
pub const BLOCK_BYTES: usize = 16 << 20;

/// Interfaces of a pcapng file: as many as a host can have, and the most that the 16-bit field
/// of its first packet blocks could name.
///
/// A live run with eBPF has as many numbers for interfaces: where containers come and go it takes them up in days, and then gives
/// those of interfaces that are gone to new ones.
pub const INTERFACES: usize = 65_536;

/// How long the number of an interface that is gone rests before another gets it: frames of the first may be in a ring, or wait to be
/// saved by an output that is slow. It is the one that is gone for longest, so mostly it has rested for hours.
pub const INTERFACE_REST: Duration = Duration::from_secs(60);

/// Bytes of an interface's name; Linux allows 15, Windows needs some 50.
pub const INTERFACE_NAME: usize = 256;

/// A head of an HTTP message, or a line between its chunks, that is longer than this is no HTTP: servers
/// take 8 to 64 KiB.
pub const HTTP_HEAD_BYTES: u64 = 256 << 10;

/// A request line that ends within so many bytes tells HTTP; RFC 9112 (section 3) asks servers to
/// take 8,000.
pub const HTTP_PROBE_BYTES: usize = 8192;

/// Longest memcached line that is waited for. The server takes any length for a `get` of many
/// keys, and closes at 2048 bytes of anything else; this holds some 500 keys of the longest kind.
pub const MEMCACHED_LINE: usize = 128 << 10;

/// Longest line of a memcached response, and longest message text of a binary one: status lines
/// hold two keys at most, `STAT` lines a path.
pub const MEMCACHED_REPLY_LINE: usize = 8192;

/// Longest memcached key (doc/protocol.txt, "Keys").
pub const MEMCACHED_KEY: usize = 250;

/// A memcached response that fits no request in a queue longer than this shows that the queue is
/// out of step with the server: it is forgotten. Bounds the work of a response that fits nothing.
pub const MEMCACHED_SCAN: usize = 512;

/// Requests over UDP whose responses a memcached conversation waits for; each takes 64 bytes. Clients that fan out have some
/// hundreds under way.
pub const MEMCACHED_ASKED: usize = 1024;

/// Responses over UDP that are not complete in a memcached conversation, and parts of each. Beyond it the oldest, or
/// the one, is told as far as it came.
pub const MEMCACHED_UDP: usize = 64;

/// The latest request ids that were answered in a memcached conversation over UDP: another response with one of them
/// is not of a request that is still to come.
pub const MEMCACHED_ANSWERED: usize = 64;

/// A memcached request over UDP that comes again within this time, just as it was, is a repetition of the first; later its client
/// has given the first one up.
pub const MEMCACHED_REPEAT_TIME: Duration = Duration::from_secs(5);

/// Requests of a memcached conversation over UDP within which a client uses an identifier again, if it does.
pub const MEMCACHED_CYCLE: usize = 64;

/// For so many requests after datagrams of a client that uses identifiers again did not come one after the other, nobody knows whose
/// its responses are.
pub const MEMCACHED_DOUBT: u32 = 32;

/// Latest DNS queries of a conversation that are remembered, to tell a repeated query and to find
/// the query of a response without a question. A resolver's socket has a handful under way.
pub const DNS_QUERIES: usize = 128;

/// A DNS query is remembered for so long; stub resolvers give up well before.
pub const DNS_QUERY_TIME: Duration = Duration::from_secs(60);

/// A DNS query sent again within this time is a repetition of the first; later it is a new
/// attempt, since stub resolvers have by then given the first up (resolv.conf, `timeout:5`).
pub const DNS_REPEAT_TIME: Duration = Duration::from_secs(5);

/// Places of a segment that are looked at in full when DNS over TCP is searched for its next message.
pub const DNS_RESYNC_TRIES: usize = 8;

/// Bytes of a CPU's ring, unless the user says otherwise: at 1 Gbit/s on that CPU they hold the frames of 16 ms. A
/// ring that its CPU's cache cannot hold makes every record several times as dear: 1,400 bytes took 161 ns
/// with 512 KiB, 193 ns with 4 MiB, 400 ns with 16 MiB.
pub const RING_BYTES_A_CPU: u64 = 2 << 20;

/// Least and most bytes of all rings together, unless the user says otherwise.
pub const RINGS_BYTES: RangeInclusive<u64> = 8 << 20..=64 << 20;

/// Least bytes of a ring, as long as the budget gives more than one: smaller ones lost up to 3.75 % of the frames.
/// CPUs share rings where the budget is too small for one each.
pub const RING_BYTES: u64 = 512 << 10;

/// A record is handed on when it is so old: one with an earlier time may still be on its way on another CPU.
pub const RING_HOLD: Duration = Duration::from_micros(200);

/// Shortest and longest time between two looks at the rings. Waking the reader costs the kernel more than
/// all the rest, so it looks by itself, as often as the rings' fill asks for.
pub const RING_INTERVAL: RangeInclusive<Duration> =
    Duration::from_micros(500)..=Duration::from_millis(5);

/// How often the kernel looks whether a ring is half full while as much as it holds is written: seldom, since asking
/// costs a part of what a record does; often enough that a reader that sleeps is woken before it is full. A power of two.
pub const RING_LOOKS: u64 = 32;

/// Most lines a second of diagnostics of the programs in the kernel; what is beyond is counted.
pub const DIAGNOSTICS: usize = 100;

/// After so long without a record the reader sleeps until the kernel wakes it.
pub const RING_IDLE: Duration = Duration::from_millis(10);

/// Bytes of a ring after which its room is given back: seldom, since the kernel writes to the same cache line.
pub const RING_PUBLISH: usize = 64 << 10;

/// Items that are handed to a script together: what handing over costs is then not seen.
pub const LUA_BATCH: usize = 512;

/// Bytes of payload and text that are handed to a script together.
pub const LUA_BATCH_BYTES: usize = 1 << 20;

/// Batches that wait for a script. Live, what comes then is dropped and counted; with
/// [`LUA_BATCH_BYTES`] each they hold some 8 MiB.
pub const LUA_QUEUE: usize = 8;

/// Memory of one script over a live capture: it stands beside a service.
pub const LUA_MEMORY_LIVE: usize = 256 << 20;

/// Memory of one script over a file: enough to keep three million packets.
pub const LUA_MEMORY_OFFLINE: usize = 2 << 30;

/// Payloads of up to 256 bytes whose strings a script's VM keeps over a live capture, once the script is one that keeps
/// packets: they may come again. 4 MiB of its memory.
pub const LUA_STRINGS_LIVE: usize = 1 << 14;

/// The same over a file: 75 MiB of its memory.
pub const LUA_STRINGS_OFFLINE: usize = 1 << 18;

/// How often a script's progress is looked at. Times of scripts are counted in looks, not by the
/// clock, so that a process that was stopped meanwhile does no script wrong.
pub const LUA_LOOK: Duration = Duration::from_millis(50);

/// A call of a hook or a parser that is not done after so many looks, one second, is over its time.
pub const LUA_CALL_LOOKS: u32 = 20;

/// The same for loading a script and for its last call, which may sort and print: ten seconds.
pub const LUA_LONG_LOOKS: u32 = 200;

/// A script that was told to stop and has not after so many looks more, half a second, is in C and cannot be
/// stopped: its thread is abandoned.
pub const LUA_GRACE_LOOKS: u32 = 10;

/// Bytes that a script printed and that wait for the report's lines of the same time.
pub const LUA_PRINTED_BYTES: usize = 64 << 20;

/// Scripts of one run: each has a thread.
pub const LUA_SCRIPTS: usize = 64;

/// Protocols that one script teaches; each is remembered for the process's life.
pub const LUA_PROTOCOLS: usize = 16;

/// Commands, and words for statuses, of a taught protocol.
pub const LUA_LABELS: usize = 256;

/// Live, a taught protocol's parser is waited for so long; then its bytes count as lost. Kernel buffers
/// hold what comes meanwhile.
pub const LUA_PARSE_TIME: Duration = Duration::from_millis(20);

/// Values in one line of `tcpkit.emit`.
pub const LUA_EMITTED: usize = 10_000;

/// Series of counters and histograms that scripts keep; a histogram is some 20 kB.
pub const METRICS: usize = 1000;

/// Labels of one series.
pub const METRIC_LABELS: usize = 8;

/// Characters of a name, a label or its value.
pub const METRIC_NAME: usize = 128;

/// Commands, over all ports, that a worker tells apart: 64 ports of 128 commands, of some 2 KB each. What is beyond is
/// counted as its port's `other`, of which there is one a port and protocol.
pub const COMMANDS: usize = 8192;

/// Commands, over all ports, whose latencies a worker follows for readers: [`COMMANDS`], and an `other` for as many
/// ports as are listed. Each costs 10 KB; what is beyond is counted in its port alone.
pub const FOLLOWED_COMMANDS: usize = COMMANDS + PORTS;

/// Response statuses of one port that are told apart; what is beyond is counted as `other`. HTTP has some 60.
pub const STATUSES: usize = 128;

/// Clients that are told apart within a second, and clients that are kept and listed; the others are counted
/// together. 1,024 clients of some 100 bytes, in each of the slots that windows are made of, are 4 MB.
pub const CLIENTS: usize = 1024;

/// Slowest requests that are kept of each span of time: as many as a page shows.
pub const SLOWEST: usize = 32;

/// Arguments of a slow request whose sizes are told.
pub const SLOW_ARGUMENTS: usize = 8;

/// Keys that are counted at a time; half as many are certain to be the hottest. A sketch of 2,048 keys counts a
/// key within 1/1,024 of all requests.
pub const KEYS: usize = 2048;

/// Keys that are listed.
pub const KEYS_LISTED: usize = 64;

/// Bytes of a key that are kept: memcached's longest, and most of redis'.
pub const KEY_BYTES: usize = 256;

/// Places of histograms, 16 bytes each, that the windows may hold together, with what ports and commands take besides;
/// beyond them the oldest slots go, and the windows tell a shorter length. 64 ports of 64 commands with 50 places each,
/// a second, need 280,000 a slot, all 65,535 ports under a scan 1.6 million.
pub const WINDOW_PLACES: usize = 6 << 20;

/// Parcels of counts that wait for the thread that adds them up; a worker that finds no room goes on counting and
/// hands over more the next time.
pub const PARCELS: usize = 64;

/// Connections of readers that are open at a time at one listener; beyond it the oldest one makes room. Half of the 1,024 files that
/// a process may open by default.
pub const READERS: usize = 512;

/// A client that is silent for so long gets the classic JSON (stats.md).
pub const SILENCE: Duration = Duration::from_millis(50);

/// Bytes of an HTTP request's head; `curl` and browsers send less than 1 KiB.
pub const REQUEST_HEAD: usize = 16 << 10;

/// A request's head must come within this time, and the next one on the same connection too.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);

/// A connection of a reader lasts no longer than this: a slow one must not keep its place.
pub const READER_TIME: Duration = Duration::from_secs(30);

/// Workers are waited for so long before a reader is told what is known: a live loop turns every 100 ms.
pub const PARCEL_TIME: Duration = Duration::from_millis(150);

/// A capture loop that has not turned for so long has stalled.
pub const STALL_TIME: Duration = Duration::from_secs(2);

/// From one push to an OpenTelemetry collector to the next, unless `OTEL_METRIC_EXPORT_INTERVAL` says otherwise.
pub const PUSH_INTERVAL: Duration = Duration::from_secs(10);

/// A push takes no longer than this, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: what OpenTelemetry's
/// specification asks for.
pub const PUSH_TIME: Duration = Duration::from_secs(10);

/// At the end the last push is waited for so long.
pub const LAST_PUSH: Duration = Duration::from_secs(3);

/// A collector that wants to be left alone for longer is asked again after this.
pub const PUSH_PAUSE: Duration = Duration::from_secs(300);

/// Lines about failing pushes come at most so often.
pub const PUSH_LINE: Duration = Duration::from_secs(60);

/// Bytes of a push before compression, with one family's [`PUSH_POINTS`] more at most; a collector takes 20 MiB.
pub const PUSH_BYTES: usize = 2 << 20;

/// Values of a family that go together: a histogram over all places is 6 KB.
pub const PUSH_POINTS: usize = 512;

/// Bytes that are read of a collector's answer; what it says is a sentence.
pub const ANSWER_BYTES: u64 = 64 << 10;
/// Columns of charts that the terminal view remembers: ten minutes, wider than any terminal. Each holds a histogram a
/// port.
pub const TOP_COLUMNS: usize = 600;

/// Sentences for the user that the terminal view keeps; the last ones are shown.
pub const TOP_NOTICES: usize = 64;

/// Bytes of a snapshot of another host; 64 ports of 64 commands with histograms are some 20 MB.
pub const SNAPSHOT_BYTES: usize = 64 << 20;

/// Another host's snapshot must come within this time.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Characters of a filter that is typed in the terminal view.
pub const TOP_FILTER: usize = 64;
