//! The programs: the object that is embedded, its settings and its maps.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, ArrayOfMaps, LpmTrie, Map, MapData, PerCpuArray};
use aya::programs::Program;
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use tcpkit_common::{Address, Counters, FRAME, FULL, OFF, Ports, map, setting};

use super::ring::Ring;
use super::{Refusal, system};
use crate::limits::{RING_BYTES, RING_BYTES_A_CPU, RING_LOOKS, RINGS_BYTES};
use crate::source::live::Interest;
use crate::source::own_path;

/// The object, built by `cargo xtask ebpf`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/tcpkit.bpf.o");

/// Least bytes kept of a frame: nothing can be paired with less.
const LEAST_SNAPLEN: u32 = 128;

/// The loaded object.
pub(super) struct Kernel {
    pub(super) ebpf: Ebpf,
    pub(super) rings: Vec<Ring>,
    counters: PerCpuArray<MapData, Counters>,
}

impl Kernel {
    /// Loads the maps, and fills those that say what is wanted. Programs are loaded as they are needed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn load(interest: &Interest, heartbeat: bool) -> Result<Self, Refusal> {
        system::lift_memory_limit();
        let sizes = RingSizes::new(interest.buffer.unwrap_or_else(RingSizes::default_budget));
        let mut ebpf = load(interest, &sizes, heartbeat).map_err(|error| refused(&error))?;
        let counters = counters(&mut ebpf).map_err(|error| refused(&error))?;
        set_ports(&mut ebpf, interest).map_err(|error| refused(&error))?;
        set_servers(&mut ebpf, interest).map_err(|error| refused(&error))?;
        let rings = rings(&mut ebpf, &sizes)?;
        Ok(Self {
            ebpf,
            rings,
            counters,
        })
    }

    /// A map's descriptor.
    pub(super) fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        match self.ebpf.map(name)? {
            Map::Array(data) => Some(data.fd().as_fd()),
            _ => None,
        }
    }

    /// A program's descriptor; loads it the first time.
    ///
    /// # Errors
    /// When the kernel refuses the program.
    pub(super) fn program(&mut self, name: &str) -> Result<BorrowedFd<'_>, Refusal> {
        let missing = || Refusal(format!("the program {name} is not in the object"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        if program.fd().is_err() {
            match program {
                Program::Xdp(xdp) => xdp.load(),
                Program::SchedClassifier(tc) => tc.load(),
                _ => return Err(missing()),
            }
            .map_err(|error| refused(&error))?;
        }
        let fd = program.fd().map_err(|error| refused(&error))?;
        Ok(fd.as_fd())
    }

    /// The counters of a direction, of all CPUs together.
    pub(super) fn counters(&self, direction: u8) -> Counters {
        let mut sum = Counters::default();
        let Ok(rows) = self.counters.get(&u32::from(direction), 0) else {
            return sum;
        };
        for row in rows.iter() {
            for (total, count) in sum.iter_mut().zip(row) {
                *total += count;
            }
        }
        sum
    }
}

/// How many rings there are, and how large.
pub(super) struct RingSizes {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl RingSizes {
    /// Bytes of all rings together, unless the user says otherwise.
    pub(super) fn default_budget() -> u64 {
        (cpus() * RING_BYTES_A_CPU).clamp(*RINGS_BYTES.start(), *RINGS_BYTES.end())
    }

    /// For a budget in bytes. A ring's size is a power of two and at least a page.
    pub(super) fn new(budget: u64) -> Self {
        let count = (budget / RING_BYTES).clamp(1, cpus());
        let bytes = (budget / count).max(system::page_size() as u64);
        // 1 GiB is the largest ring whose map of twice the size fits everywhere.
        let bytes = 1 << bytes.min(1 << 30).ilog2();
        Self { count, bytes }
    }

    /// Bytes after which a CPU looks how full its ring is: all that share a ring write a small part of it in between.
    fn step(&self) -> u64 {
        let sharing = cpus().div_ceil(self.count).next_power_of_two();
        (self.bytes / RING_LOOKS / sharing).max(1)
    }
}

/// CPUs that are online; one where the kernel does not say.
fn cpus() -> u64 {
    aya::util::online_cpus().map_or(1, |cpus| cpus.len().max(1) as u64)
}

fn load(interest: &Interest, sizes: &RingSizes, heartbeat: bool) -> Result<Ebpf, EbpfError> {
    let cpus = nr_cpus().unwrap_or(1) as u32;
    let snaplen = interest.snaplen.unwrap_or(FRAME);
    let snaplen = snaplen.clamp(LEAST_SNAPLEN, u32::MAX);
    let switch = |on: bool| u8::from(on);
    let (tcp, udp) = (switch(interest.tcp), switch(interest.udp));
    let empty = switch(interest.empty_segments);
    let servers = switch(!interest.servers.is_empty());
    let heartbeat = switch(heartbeat);
    let level = super::log::level(interest.diagnostics);
    let (ring_bytes, ring_step) = (sizes.bytes as u32, sizes.step() as u32);
    EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .map_max_entries(map::RINGS, cpus)
        .override_global(setting::SNAPLEN, &snaplen, true)
        .override_global(setting::RING_BYTES, &ring_bytes, true)
        .override_global(setting::RING_STEP, &ring_step, true)
        .override_global(setting::TCP, &tcp, true)
        .override_global(setting::UDP, &udp, true)
        .override_global(setting::EMPTY_SEGMENTS, &empty, true)
        .override_global(setting::SERVERS, &servers, true)
        .override_global(setting::HEARTBEAT, &heartbeat, true)
        .override_global(aya_log::LEVEL, &level, true)
        .load(OBJECT)
}

fn counters(ebpf: &mut Ebpf) -> Result<PerCpuArray<MapData, Counters>, EbpfError> {
    let map = ebpf.take_map(map::COUNTERS).ok_or(missing(map::COUNTERS))?;
    Ok(PerCpuArray::try_from(map)?)
}

fn set_ports(ebpf: &mut Ebpf, interest: &Interest) -> Result<(), EbpfError> {
    let mut ports: Ports = [OFF; 65_536];
    for port in interest.ports.iter().cloned().flatten() {
        ports[usize::from(port.to_be())] = FULL;
    }
    let map = ebpf.map_mut(map::PORTS).ok_or(missing(map::PORTS))?;
    let mut map: Array<_, Ports> = Array::try_from(map)?;
    Ok(map.set(0, ports, 0)?)
}

fn set_servers(ebpf: &mut Ebpf, interest: &Interest) -> Result<(), EbpfError> {
    let map = ebpf.map_mut(map::SERVERS).ok_or(missing(map::SERVERS))?;
    let mut trie: LpmTrie<_, Address, u8> = LpmTrie::try_from(map)?;
    for net in &interest.servers {
        let (address, prefix) = match net {
            ipnet::IpNet::V4(net) => (net.network().to_ipv6_mapped(), net.prefix_len() + 96),
            ipnet::IpNet::V6(net) => (net.network(), net.prefix_len()),
        };
        trie.insert(&Key::new(u32::from(prefix), address.octets()), 1, 0)?;
    }
    Ok(())
}

/// Makes the rings, and gives each CPU one; CPUs share them where there are fewer.
fn rings(ebpf: &mut Ebpf, sizes: &RingSizes) -> Result<Vec<Ring>, Refusal> {
    let map = ebpf
        .map_mut(map::RINGS)
        .ok_or_else(|| refused(&missing(map::RINGS)))?;
    let mut slots: ArrayOfMaps<_, MapData> = map.try_into().map_err(|error| refused(&error))?;
    let mut maps = Vec::new();
    for _ in 0..sizes.count {
        maps.push(ring_map(sizes.bytes as u32).map_err(|error| refused(&error))?);
    }
    for slot in 0..slots.len() {
        let ring = &maps[slot as usize % maps.len()];
        slots.set(slot, ring, 0).map_err(|error| refused(&error))?;
    }
    let open = |map: MapData| Ring::new(map.fd().as_fd(), sizes.bytes as usize);
    let rings = maps.into_iter().map(open).collect::<Result<_, _>>();
    rings.map_err(|error| Refusal(format!("the rings cannot be mapped: {error}")))
}

fn ring_map(bytes: u32) -> Result<MapData, aya::maps::MapError> {
    let kind = aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32;
    let ring = aya_obj::Map::new_from_params(kind, 0, 0, bytes, 0);
    MapData::create(ring, "tcpkit_ring", None)
}

fn missing(name: &str) -> EbpfError {
    let name = name.to_owned();
    aya::maps::MapError::InvalidName { name }.into()
}

/// Why the kernel refused, with what to do where that is known. Missing rights are the reason whatever the kernel says:
/// without `CAP_PERFMON` it calls a program invalid.
fn refused(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let kernel = system::kernel_release();
    let missing = system::missing_capabilities();
    if !missing.is_empty() {
        return Refusal(format!(
            "eBPF needs {}; missing {}: run as root, or grant them with `sudo setcap {}+ep {}`",
            system::CAPABILITIES,
            missing.join(", "),
            system::CAPABILITIES.replace(", ", ",").to_lowercase(),
            own_path(),
        ));
    }
    let why = system::with_causes(error);
    let within = match system::os_code(error) {
        Some(libc::EPERM) if system::is_in_user_namespace() => {
            "; rights inside a user namespace are not enough"
        }
        _ => "",
    };
    Refusal(format!("the kernel ({kernel}) refuses eBPF: {why}{within}"))
}
