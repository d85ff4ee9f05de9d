//! Which hooks an interface gets: the best that it takes, each step down with a sentence that says why.

use std::io;
use std::os::fd::OwnedFd;

use tcpkit_common::{PAGE_FRAME, program};

use super::attach::{Place, link};
use super::clsact::{self, Owner};
use super::interfaces::Device;
use super::object::Kernel;
use super::{Hooks, Refusal, XdpMode};
use crate::source::LinkType;
use crate::source::live::Interest;

/// Bytes that the MTU does not count: addresses, two VLAN tags and the type.
const ETHERNET_HEADER: u32 = 22;

/// Programs on interfaces, and how they got there.
pub(super) struct Ladder {
    pub(super) kernel: Kernel,
    hooks: Hooks,
    /// Whether every interface is asked for, ones that appear included.
    follows_all: bool,
    /// Of the filters that stand in where the kernel has no TCX. Behind `kernel`, which holds them: it goes after them.
    owner: Option<Owner>,
    attached: Vec<Attached>,
    /// What there was before the last interface went.
    gone: Option<String>,
    notices: Vec<String>,
}

/// An interface with its programs.
struct Attached {
    ifindex: u32,
    name: String,
    label: String,
    /// Closing them detaches. None for a filter, which goes with the programs.
    _links: Vec<OwnedFd>,
}

impl Ladder {
    /// Loads the programs in the way that this kernel's TC asks for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn new(
        interest: &Interest,
        hooks: Hooks,
        devices: &[Device],
    ) -> Result<Self, Refusal> {
        let mut kernel = Kernel::load(interest, false)?;
        let mut owner = None;
        let mut notices = Vec::new();
        if !has_tcx(&mut kernel, devices)? {
            kernel = Kernel::load(interest, true)?;
            owner = Some(Owner::new());
            notices = clsact::clean(devices);
        }
        let mut ladder = Self {
            kernel,
            hooks,
            follows_all: interest.interfaces.is_empty(),
            owner,
            attached: Vec::new(),
            gone: None,
            notices,
        };
        ladder.load_all()?;
        Ok(ladder)
    }

    /// Loads every program that an interface may ask for. One that appears later asks when the right to load any
    /// has been given up.
    fn load_all(&mut self) -> Result<(), Refusal> {
        for name in [
            program::INGRESS,
            program::EGRESS,
            program::INGRESS_IP,
            program::EGRESS_IP,
        ] {
            self.kernel.program(name)?;
        }
        if matches!(self.hooks, Hooks::Xdp(_)) {
            self.xdp_program()?;
        }
        Ok(())
    }

    /// Attaches to an interface; what had to be passed by is told by [`Ladder::take_notices`].
    ///
    /// # Errors
    /// When no hook takes a program.
    pub(super) fn attach(&mut self, device: &Device) -> Result<(), Refusal> {
        let is_ethernet = device.link() == Some(LinkType::ETHERNET);
        let mut links = Vec::new();
        let mut labels = Vec::new();
        if let Some((fd, label)) = self.xdp(device)? {
            links.push(fd);
            labels.push(label);
        } else {
            let name = if is_ethernet {
                program::INGRESS
            } else {
                program::INGRESS_IP
            };
            links.extend(self.tc(device, name, true)?);
        }
        // Loopback's frames pass both ways; one of them is enough to see each once.
        if !device.is_loopback() {
            let name = if is_ethernet {
                program::EGRESS
            } else {
                program::EGRESS_IP
            };
            links.extend(self.tc(device, name, false)?);
        }
        if labels.is_empty() || !device.is_loopback() {
            labels.push(match self.owner {
                None => "TC (TCX)",
                Some(_) => "TC (clsact)",
            });
        }
        self.attached.push(Attached {
            ifindex: device.index,
            name: device.name.clone(),
            label: labels.join(" and "),
            _links: links,
        });
        Ok(())
    }

    /// Whether an interface has its programs.
    pub(super) fn has(&self, ifindex: u32) -> bool {
        self.attached
            .iter()
            .any(|attached| attached.ifindex == ifindex)
    }

    /// Forgets interfaces that are gone: the kernel has detached their programs. Returns their indexes and names.
    pub(super) fn forget_all_but(&mut self, devices: &[Device]) -> Vec<(u32, String)> {
        let here = |attached: &Attached| {
            devices
                .iter()
                .any(|device| device.index == attached.ifindex)
        };
        let before = self.describe();
        let gone = self.attached.extract_if(.., |attached| !here(attached));
        let gone: Vec<_> = gone
            .map(|attached| (attached.ifindex, attached.name))
            .collect();
        if self.attached.is_empty() && !gone.is_empty() {
            self.gone = Some(format!("{before} (gone)"));
        }
        gone
    }

    /// Whether any interface is left.
    pub(super) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// `TC (TCX) on eth0, eth1`; interfaces with other hooks after a semicolon. Never empty.
    pub(super) fn describe(&self) -> String {
        if self.attached.is_empty() {
            let none = || "eBPF on no interface yet".to_owned();
            return self.gone.clone().unwrap_or_else(none);
        }
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for attached in &self.attached {
            match groups
                .iter_mut()
                .find(|(label, _)| *label == attached.label)
            {
                Some((_, names)) => names.push(&attached.name),
                None => groups.push((&attached.label, vec![&attached.name])),
            }
        }
        let groups = groups
            .iter()
            .map(|(label, names)| format!("{label} on {}", names.join(", ")));
        groups.collect::<Vec<_>>().join("; ")
    }

    /// What was passed by since the last call, and why.
    pub(super) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// XDP in the best mode that is asked for and taken; `None` for TC instead.
    fn xdp(&mut self, device: &Device) -> Result<Option<(OwnedFd, &'static str)>, Refusal> {
        let Hooks::Xdp(mode) = self.hooks else {
            return Ok(None);
        };
        // The kernel refuses XDP below an interface that has it: ports that join it later would go without.
        let leaves_it = self.follows_all && device.gathers();
        let why = match device.link() {
            Some(LinkType::ETHERNET) if leaves_it => Some("it is left to the interfaces that join"),
            Some(LinkType::ETHERNET) => None,
            _ => Some("its frames have no Ethernet headers"),
        };
        if let Some(why) = why {
            self.step_down(
                device,
                "XDP",
                &io::Error::other(format!("{why}, TC stands in")),
            );
            return Ok(None);
        }
        let native = (Place::XdpNative, "XDP (native)");
        let generic = (Place::XdpGeneric, "XDP (generic)");
        let rungs = match mode {
            XdpMode::Auto => vec![native, generic],
            XdpMode::Native => vec![native],
            XdpMode::Generic => vec![generic],
        };
        for (place, label) in rungs {
            match self.link_xdp(device, place)? {
                Ok(fd) => return Ok(Some((fd, label))),
                Err(error) => {
                    self.step_down(device, label, &error);
                    if is_taken(&error) {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    fn link_xdp(&mut self, device: &Device, place: Place) -> Result<io::Result<OwnedFd>, Refusal> {
        let name = self.xdp_program()?;
        if let Err(error) = suits(name, device, place) {
            return Ok(Err(error));
        }
        Ok(link(self.kernel.program(name)?, device.index, place))
    }

    /// The program that takes frames of several fragments, where the kernel has them.
    fn xdp_program(&mut self) -> Result<&'static str, Refusal> {
        if self.kernel.program(program::XDP_FRAGS).is_ok() {
            return Ok(program::XDP_FRAGS);
        }
        self.kernel.program(program::XDP)?;
        Ok(program::XDP)
    }

    fn step_down(&mut self, device: &Device, label: &str, error: &io::Error) {
        let why = reason(error, device.mtu);
        self.notices
            .push(format!("{}: no {label}: {why}", device.name));
    }

    fn tc(
        &mut self,
        device: &Device,
        name: &str,
        is_ingress: bool,
    ) -> Result<Option<OwnedFd>, Refusal> {
        let failed = |error: &dyn std::fmt::Display| {
            Refusal(format!(
                "{}: TC does not take the program: {error}",
                device.name
            ))
        };
        let fd = self.kernel.program(name)?;
        let Some(owner) = &self.owner else {
            let place = if is_ingress {
                Place::TcxIngress
            } else {
                Place::TcxEgress
            };
            return link(fd, device.index, place)
                .map(Some)
                .map_err(|error| failed(&error));
        };
        clsact::attach(&mut self.kernel.ebpf, owner, name, &device.name, is_ingress)
            .map(|()| None)
            .map_err(|error| failed(&error))
    }
}

/// Whether the kernel links programs to TC. Its version does not tell: it may be compiled out, or come from
/// a distribution that brought it to an older one.
fn has_tcx(kernel: &mut Kernel, devices: &[Device]) -> Result<bool, Refusal> {
    let Some(device) = devices.first() else {
        return Err(Refusal("there is no network interface".to_owned()));
    };
    let program = kernel.program(program::EGRESS_IP)?;
    match link(program, device.index, Place::TcxEgress) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(Refusal(format!(
            "{}: TC cannot be reached: {error}",
            device.name
        ))),
    }
}

/// Whether the XDP program of this name keeps whole frames there. One for a single page cuts larger ones: native XDP
/// refuses such an MTU itself; to generic XDP the stack brings frames that it has merged, whatever the MTU is.
///
/// # Errors
/// Why it would not, for [`reason`].
pub(super) fn suits(name: &str, device: &Device, place: Place) -> io::Result<()> {
    if name != program::XDP {
        return Ok(());
    }
    if device.mtu + ETHERNET_HEADER > PAGE_FRAME {
        return Err(io::Error::from_raw_os_error(libc::ERANGE));
    }
    if place == Place::XdpGeneric {
        return Err(io::Error::other(
            "before Linux 5.18 it takes one page of a frame, and merged frames are larger",
        ));
    }
    Ok(())
}

/// Whether somebody else's program is there.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

/// What an error of attaching to XDP means.
pub(super) fn reason(error: &io::Error, mtu: u32) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => "another program is attached there".to_owned(),
        Some(libc::EEXIST) => {
            "another program is attached there, or to an interface above it, such as its bridge"
                .to_owned()
        }
        Some(libc::EOPNOTSUPP) => "the driver does not run such programs".to_owned(),
        Some(libc::ERANGE) => format!("frames of an MTU of {mtu} do not fit into what it takes"),
        Some(libc::EINVAL) => {
            "the kernel cannot link it so that it goes with the process".to_owned()
        }
        _ => error.to_string(),
    }
}
