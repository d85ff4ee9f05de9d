//! TC where the kernel has no TCX: filters at a clsact qdisc.
//!
//! Such a filter outlives a process that is killed. So the programs look at the reader's heartbeat and do nothing
//! once it is stale, and the next start removes filters that carry our name and whose [`Owner`] is gone. A qdisc that
//! others may use is never removed.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use aya::Ebpf;
use aya::maps::{Array, MapData, MapInfo};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact,
};
use aya::programs::{Link, Program, ProgramError, TcAttachType, TcError, loaded_programs};
use tcpkit_common::{Control, HEARTBEAT_STALE, control, map, program};

use super::interfaces::Device;
use super::netlink::{attribute, dump, text, u32_at};
use super::system;
use crate::source::clock::BootClock;

/// A filter that carries our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    interface: String,
    is_ingress: bool,
    name: String,
    priority: u16,
    handle: u32,
    program: u32,
}

/// What tells everybody that a filter's process lives: a socket, whose name stands in the filter's handle.
///
/// Such names belong to the network namespace, and so does the filter: an interface that moves to another one loses its
/// filters. So who sees the filter sees the socket too, from any container, and needs no right for it. It goes with the
/// process, however that ends; one that is stopped for a while keeps it.
///
/// To be dropped after the filters. The default one has no socket: then the heartbeat has to tell.
#[derive(Default)]
pub(super) struct Owner {
    handle: TcHandle,
    _socket: Option<UnixDatagram>,
}

/// In a handle: the rest names a socket. The kernel gives out none of these by itself.
const NAMED: u32 = 1 << 31;

/// How many names are tried: one of two thousand million that is taken is bad luck, several are something else.
const NAMES: usize = 4;

impl Owner {
    /// One with a socket, where one can be had.
    pub(super) fn new() -> Self {
        let chance = |_| RandomState::new().hash_one(()) as u32 | NAMED;
        let mut handles = (0..NAMES).map(chance);
        let owner = handles.find_map(|handle| {
            let socket = UnixDatagram::bind_addr(&Self::address(handle).ok()?).ok()?;
            Some(Self {
                handle: handle.into(),
                _socket: Some(socket),
            })
        });
        owner.unwrap_or_default()
    }

    fn address(handle: u32) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(format!("tcpkit-filter-{handle:08x}"))
    }

    /// Whether the owner of the filters with a handle lives; `None` where that cannot be told.
    fn lives(handle: u32) -> Option<bool> {
        if handle & NAMED == 0 {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        match socket.connect_addr(&Self::address(handle).ok()?) {
            Ok(()) => Some(true),
            // What it says where there is no such name, and of this kind of socket then only.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Some(false),
            Err(_) => None,
        }
    }
}

/// Attaches a loaded program as a filter; it goes with `ebpf`.
///
/// # Errors
/// When the qdisc or the filter cannot be added.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    owner: &Owner,
    name: &str,
    interface: &str,
    is_ingress: bool,
) -> Result<(), ProgramError> {
    if let Err(error) = qdisc_add_clsact(interface) {
        // There is one already: ours of an earlier run or somebody else's, both will do.
        let exists = matches!(error, TcError::AlreadyAttached)
            || system::os_code(&error) == Some(libc::EEXIST);
        if !exists {
            return Err(error.into());
        }
    }
    let Some(Program::SchedClassifier(program)) = ebpf.program_mut(name) else {
        return Err(ProgramError::UnexpectedProgramType);
    };
    let options = TcAttachOptions::Netlink(NlOptions {
        handle: owner.handle,
        ..NlOptions::default()
    });
    program.attach_with_options(interface, kind(is_ingress), options)?;
    Ok(())
}

/// Removes the filters that processes which are gone left behind on these interfaces; says what it removed.
pub(super) fn clean(devices: &[Device]) -> Vec<String> {
    let found = survey(devices);
    let mut said: Vec<String> = found.untold().into_iter().collect();
    for filter in found.left_behind {
        let way = if filter.is_ingress {
            "ingress"
        } else {
            "egress"
        };
        let what = format!("{} at {way} of {}", filter.name, filter.interface);
        said.push(match filter.remove() {
            Ok(()) => format!("removed the filter {what}, left behind by a run that was killed"),
            Err(error) => format!("the filter {what} cannot be removed: {error}"),
        });
    }
    said
}

/// Filters of ours, but for those whose reader is alive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// Their reader is gone.
    pub(super) left_behind: Vec<Filter>,
    /// How many there are of which that cannot be told.
    unknown: usize,
}

impl Survey {
    /// That there are some of which nothing can be told, and who can.
    pub(super) fn untold(&self) -> Option<String> {
        let count = self.unknown;
        (count > 0).then(|| {
            format!(
                "whether {count} filters that carry our name are left behind by runs that were killed can be told with \
                 CAP_SYS_ADMIN alone: `sudo tcpkit doctor --clean` removes those that are"
            )
        })
    }
}

/// Looks for filters of ours.
pub(super) fn survey(devices: &[Device]) -> Survey {
    let mut found = Survey {
        left_behind: Vec::new(),
        unknown: 0,
    };
    let both = devices.iter().flat_map(|device| {
        let ingress = filters(device, true).unwrap_or_default();
        ingress
            .into_iter()
            .chain(filters(device, false).unwrap_or_default())
    });
    for filter in both {
        match filter.is_left_behind() {
            Some(true) => found.left_behind.push(filter),
            Some(false) => {}
            None => found.unknown += 1,
        }
    }
    found
}

impl Filter {
    /// Whether its process is gone; `None` where that cannot be told.
    fn is_left_behind(&self) -> Option<bool> {
        let owner = Owner::lives(self.handle).map(|lives| !lives);
        owner.or_else(|| is_stale(self.program))
    }

    fn remove(&self) -> Result<(), ProgramError> {
        let way = kind(self.is_ingress);
        let handle = TcHandle::from(self.handle);
        let link = SchedClassifierLink::attached(&self.interface, way, self.priority, handle, None);
        link.map_err(TcError::IoError)?.detach()
    }
}

fn kind(is_ingress: bool) -> TcAttachType {
    if is_ingress {
        TcAttachType::Ingress
    } else {
        TcAttachType::Egress
    }
}

/// Parents of filters at a clsact qdisc.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// Bytes of `struct tcmsg`.
const HEADER: usize = 20;

/// Attributes of a filter, and of one that is a program.
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

/// Filters of one way that carry our name.
fn filters(device: &Device, is_ingress: bool) -> io::Result<Vec<Filter>> {
    let mut header = vec![0; 4];
    header.extend(device.index.to_ne_bytes());
    header.extend(0_u32.to_ne_bytes());
    header.extend(if is_ingress { INGRESS } else { EGRESS }.to_ne_bytes());
    header.extend(0_u32.to_ne_bytes());
    let messages = dump(libc::RTM_GETTFILTER, &header)?;
    let found = messages.iter().filter_map(|message| {
        let filter = filter(&message.body, &device.name, is_ingress)?;
        program::ALL
            .contains(&filter.name.as_str())
            .then_some(filter)
    });
    Ok(found.collect())
}

fn filter(body: &[u8], interface: &str, is_ingress: bool) -> Option<Filter> {
    let options = attribute(body, HEADER, TCA_OPTIONS)?;
    Some(Filter {
        interface: interface.to_owned(),
        is_ingress,
        name: text(attribute(options, 0, TCA_BPF_NAME)?),
        priority: (u32_at(body, 16)? >> 16) as u16,
        handle: u32_at(body, 8)?,
        program: u32_at(attribute(options, 0, TCA_BPF_ID)?, 0)?,
    })
}

/// Whether a program's reader has gone silent; `None` where that cannot be told: only `CAP_SYS_ADMIN` may look into programs of
/// others.
fn is_stale(id: u32) -> Option<bool> {
    heartbeat(id).map(|last| BootClock::boot().saturating_sub(last) > HEARTBEAT_STALE)
}

/// When the reader of a program was last alive.
fn heartbeat(id: u32) -> Option<u64> {
    let info = loaded_programs().flatten().find(|info| info.id() == id)?;
    let maps = info.map_ids().ok()??;
    let control = maps.into_iter().find(|&id| {
        MapInfo::from_id(id).is_ok_and(|info| info.name_as_str() == Some(map::CONTROL))
    })?;
    let control = MapData::from_id(control).ok()?;
    let control: Array<_, Control> = Array::try_from(aya::maps::Map::Array(control)).ok()?;
    let words = control.get(&0, 0).ok()?;
    words.get(control::HEARTBEAT).copied()
}
