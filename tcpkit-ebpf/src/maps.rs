//! The maps ([`tcpkit_common::map`]).

use aya_ebpf::btf_maps::{Array, ArrayOfMaps, LpmTrie, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use tcpkit_common::map::SERVERS_ENTRIES;
use tcpkit_common::{Address, Control, Counters, DIRECTIONS, Head, Ports};

/// `BPF_F_NO_PREALLOC`: a trie takes no other.
const NO_PREALLOC: usize = 1;

/// `BPF_F_MMAPABLE`.
const MMAPABLE: usize = 1024;

/// First bytes of a frame that are copied where they do not lie in one piece: more than any headers that the
/// walk follows, but for extension headers of unusual length.
pub const SCRATCH_BYTES: usize = 256;

/// A ring; its size here is that of a template which is never written to.
pub type Ring = RingBuf<Head, 4096>;

#[btf_map]
pub static RINGS: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();
#[btf_map]
pub static PORTS: Array<Ports, 1> = Array::new();
#[btf_map]
pub static SERVERS: LpmTrie<Address, u8, SERVERS_ENTRIES, NO_PREALLOC> = LpmTrie::new();
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, { DIRECTIONS as usize }> = PerCpuArray::new();
#[btf_map]
pub static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();
#[btf_map]
pub static SCRATCH: PerCpuArray<[u8; SCRATCH_BYTES], 1> = PerCpuArray::new();
