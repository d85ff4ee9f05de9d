//! What this host can do, and why not the rest; attaches nothing that stays.

use std::fmt::Write;
use std::path::Path;

use tcpkit_common::program;

use super::attach::{Place, link};
use super::interfaces::{Device, devices};
use super::ladder::{reason, suits};
use super::object::{Kernel, RingSizes};
use super::{Refusal, clsact, cost, system};
use crate::source::live::Interest;

/// What this host can do, as lines for a terminal; about one interface, or all that are up.
///
/// # Errors
/// When there is no such interface.
pub fn doctor(interface: Option<&str>) -> Result<String, Refusal> {
    let found = devices().map_err(|error| Refusal(format!("no list of interfaces: {error}")))?;
    let chosen = chosen(interface, &found)?;
    let mut report = String::new();
    host(&mut report);
    let mut kernel = match load() {
        Ok(mut kernel) => {
            programs(&mut report, &mut kernel);
            costs(&mut report);
            Some(kernel)
        }
        Err(refusal) => {
            line(&mut report, "eBPF", &format!("no: {refusal}"));
            None
        }
    };
    for device in &chosen {
        describe(&mut report, device);
        match &mut kernel {
            Some(kernel) => hooks(&mut report, kernel, device),
            None => line(&mut report, "  TC, XDP", "no: eBPF is refused, see above"),
        }
    }
    left_behind(&mut report, &found);
    advice(&mut report, interface);
    Ok(report)
}

/// Removes what runs that were killed left behind; says what.
///
/// # Errors
/// When the interfaces cannot be listed.
pub fn clean(interface: Option<&str>) -> Result<Vec<String>, Refusal> {
    let found = devices().map_err(|error| Refusal(format!("no list of interfaces: {error}")))?;
    let chosen: Vec<Device> = chosen(interface, &found)?.into_iter().cloned().collect();
    let said = clsact::clean(&chosen);
    if said.is_empty() {
        return Ok(vec!["nothing was left behind".to_owned()]);
    }
    Ok(said)
}

fn chosen<'a>(interface: Option<&str>, found: &'a [Device]) -> Result<Vec<&'a Device>, Refusal> {
    let Some(name) = interface.filter(|&name| name != "any") else {
        return Ok(found.iter().filter(|device| device.is_up()).collect());
    };
    let device = found.iter().find(|device| device.name == name);
    let unknown = || super::engine::unknown(name, found);
    Ok(vec![device.ok_or_else(unknown)?])
}

/// A line of the report: what, and how it is.
fn line(report: &mut String, what: &str, how: &str) {
    let _ = writeln!(report, "{what:<16}{how}");
}

fn host(report: &mut String) {
    line(report, "kernel", &system::kernel_release());
    let has_types = Path::new("/sys/kernel/btf/vmlinux").exists();
    line(
        report,
        "BTF",
        if has_types { "yes" } else { "no; not needed" },
    );
    let missing = system::missing_capabilities();
    let held = match missing.is_empty() {
        true => format!("{}: all here", system::CAPABILITIES),
        false => format!("missing {}", missing.join(", ")),
    };
    line(report, "capabilities", &held);
    let packets = match system::has_packet_sockets() {
        true => "yes, with CAP_NET_RAW",
        false => "no: missing CAP_NET_RAW",
    };
    line(report, "libpcap", packets);
    let sizes = RingSizes::new(RingSizes::default_budget());
    let kilobytes = sizes.bytes >> 10;
    line(
        report,
        "ring memory",
        &format!("{} of {kilobytes} KiB", sizes.count),
    );
}

/// Which programs the verifier takes.
fn programs(report: &mut String, kernel: &mut Kernel) {
    for (what, name) in [
        ("TC programs", program::INGRESS),
        ("XDP program", program::XDP),
        ("XDP, fragments", program::XDP_FRAGS),
    ] {
        let taken = kernel.program(name).map(|_| ());
        line(
            report,
            what,
            &taken.map_or_else(|why| format!("no: {why}"), |()| "yes".to_owned()),
        );
    }
}

/// What frames cost here, with rings as a run has them.
fn costs(report: &mut String) {
    let told = match cost::measure(RingSizes::default_budget()) {
        Ok(cost) => format!(
            "unmonitored {} ns, {} bytes {} ns, {} bytes {} ns; of that the test run itself {} ns",
            cost.unmonitored,
            cost::SMALL,
            cost.small,
            cost::LARGE,
            cost.large,
            cost.empty
        ),
        Err(refusal) => format!("not known: {refusal}"),
    };
    line(report, "cost a frame", &told);
}

/// The programs, unless rights are missing: what is refused then is refused for one reason, which is told once.
fn load() -> Result<Kernel, Refusal> {
    let mut kernel = Kernel::load(&Interest::default(), false)?;
    if !system::has_capabilities() {
        kernel.program(program::INGRESS).map(|_| ())?;
    }
    Ok(kernel)
}

/// What nobody needs a right to know.
fn describe(report: &mut String, device: &Device) {
    let _ = writeln!(report, "\n{}", device.name);
    let driver = driver(&device.name);
    let kind = if device.kind.is_empty() {
        driver
    } else {
        device.kind.clone()
    };
    line(report, "  driver", &kind);
    line(report, "  MTU", &device.mtu.to_string());
    if let Some(policy) = bond_policy(&device.name) {
        line(report, "  bond policy", &policy);
    }
    if device.is_bond_slave() {
        line(report, "  part of a bond", "captured at the bond");
    }
}

/// Where the programs can be attached.
fn hooks(report: &mut String, kernel: &mut Kernel, device: &Device) {
    let places = [
        ("  TC", program::EGRESS, Place::TcxEgress),
        ("  XDP (native)", fragments(kernel), Place::XdpNative),
        ("  XDP (generic)", fragments(kernel), Place::XdpGeneric),
    ];
    for (what, name, place) in places {
        // Attaching native XDP may restart a network card's queues: that is for the user to ask for.
        let how = if place == Place::XdpNative && device.kind.is_empty() && !device.is_loopback() {
            "not tried: attaching may restart the network card's queues".to_owned()
        } else {
            try_place(kernel, name, device, place)
        };
        line(report, what, &how);
    }
}

/// Attaches for a moment.
fn try_place(kernel: &mut Kernel, name: &str, device: &Device, place: Place) -> String {
    let program = match kernel.program(name) {
        Ok(program) => program,
        Err(refusal) => return format!("no: {refusal}"),
    };
    let linked = suits(name, device, place).and_then(|()| link(program, device.index, place));
    match linked {
        Ok(_) if place == Place::TcxEgress => "TCX".to_owned(),
        Ok(_) => "yes".to_owned(),
        Err(error) if place == Place::TcxEgress && error.raw_os_error() == Some(libc::EINVAL) => {
            "clsact: the kernel has no TCX".to_owned()
        }
        Err(error) => format!("no: {}", reason(&error, device.mtu)),
    }
}

/// The XDP program that this kernel takes.
fn fragments(kernel: &mut Kernel) -> &'static str {
    if kernel.program(program::XDP_FRAGS).is_ok() {
        program::XDP_FRAGS
    } else {
        program::XDP
    }
}

/// The network card's driver.
fn driver(name: &str) -> String {
    let link = std::fs::read_link(format!("/sys/class/net/{name}/device/driver"));
    let name = link
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "none".to_owned())
}

/// Mode and hash policy of a bond: `balance-tlb` and `vlan+srcmac` refuse native XDP.
fn bond_policy(name: &str) -> Option<String> {
    let read =
        |what: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/bonding/{what}"));
    let first = |text: String| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mode = first(read("mode").ok()?);
    let policy = first(read("xmit_hash_policy").ok()?);
    let refuses = mode == "balance-tlb" || policy == "vlan+srcmac";
    let note = if refuses { "; refuses native XDP" } else { "" };
    Some(format!("{mode}, {policy}{note}"))
}

fn left_behind(report: &mut String, found: &[Device]) {
    let survey = clsact::survey(found);
    if let Some(untold) = survey.untold() {
        line(report, "\nleft behind", &untold);
    }
    let count = survey.left_behind.len();
    if count > 0 {
        let how = format!(
            "{count} filters of runs that were killed; `tcpkit doctor --clean` removes them"
        );
        line(report, "\nleft behind", &how);
    }
}

fn advice(report: &mut String, interface: Option<&str>) {
    let on = interface.unwrap_or("any");
    let command = if system::has_capabilities() || system::has_packet_sockets() {
        format!("tcpkit -i {on}")
    } else {
        format!("sudo tcpkit -i {on}")
    };
    let _ = writeln!(report);
    line(report, "to capture", &command);
}
