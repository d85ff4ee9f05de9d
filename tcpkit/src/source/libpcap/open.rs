//! Opening interfaces, and what to tell where that cannot be.

use pcap::{Active, Capture, Device, Linktype, Precision};

use super::super::datalink::{data_link, link_type};
use super::super::live::{Interest, no_such_interface};
use super::super::{LinkType, SourceError, own_path};
use super::handle::words;
use super::{BLOCK_TIME, expression};

/// The device that stands for every interface, on Linux.
const ANY: &str = "any";

/// libpcap's own limit, and its default: whole frames, super-frames of offloading included.
const SNAPLEN: i32 = 262_144;

/// Bytes for frames that wait, over all interfaces: a tenth of a second of 2.5 Gbit/s.
const BUFFER: u64 = 32 << 20;

/// The names of the devices to open.
pub(super) fn devices(interest: &Interest) -> Result<Vec<String>, SourceError> {
    if interest.interfaces.is_empty() {
        return every();
    }
    let known = list()?;
    let mut names = Vec::new();
    for name in &interest.interfaces {
        if !known.iter().any(|device| device.name == *name) {
            return Err(SourceError(no_such_interface(name, &listed(&known))));
        }
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// The interfaces to name to a user. libpcap knows others that are none: Bluetooth, D-Bus, netfilter's logs.
fn listed(devices: &[Device]) -> String {
    let is_real = |name: &str| {
        !cfg!(target_os = "linux")
            || name == ANY
            || std::path::Path::new("/sys/class/net").join(name).exists()
    };
    let names = devices.iter().map(|device| device.name.as_str());
    names
        .filter(|name| is_real(name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn every() -> Result<Vec<String>, SourceError> {
    if cfg!(target_os = "linux") {
        return Ok(vec![ANY.to_owned()]);
    }
    let names = up_now();
    if names.is_empty() {
        return Err(SourceError("no interface is up".to_owned()));
    }
    Ok(names)
}

/// The interfaces that are up.
pub(super) fn up_now() -> Vec<String> {
    let devices = list().unwrap_or_default();
    let up = devices
        .into_iter()
        .filter(|device| device.flags.is_up() && device.name != ANY);
    up.map(|device| device.name).collect()
}

fn list() -> Result<Vec<Device>, SourceError> {
    Device::list()
        .map_err(|error| SourceError(format!("interfaces cannot be listed: {}", words(error))))
}

/// Bytes of buffer for all interfaces together.
pub(super) fn buffer(interest: &Interest) -> u64 {
    interest.buffer.unwrap_or(BUFFER)
}

/// Opens one device and sets its filter.
pub(super) fn capture(
    name: &str,
    buffer: u64,
    interest: &Interest,
) -> Result<(Capture<Active>, LinkType), SourceError> {
    let refused = |error| SourceError(refusal(name, &words(error)));
    let snaplen = interest
        .snaplen
        .and_then(|bytes| i32::try_from(bytes).ok())
        .map_or(SNAPLEN, |bytes| bytes.min(SNAPLEN));
    let millis = i32::try_from(BLOCK_TIME.as_millis()).unwrap_or(i32::MAX);
    let mut capture = Capture::from_device(name)
        .map_err(refused)?
        .precision(Precision::Nano)
        .snaplen(snaplen)
        .timeout(millis)
        .buffer_size(i32::try_from(buffer).unwrap_or(i32::MAX))
        .open()
        .and_then(Capture::setnonblock)
        .map_err(refused)?;
    if is_loopback(name)? {
        ignore_outgoing(&capture);
    }
    if name == ANY {
        // Names the interface of each frame; older libraries have only the form that does not.
        let _ = capture.set_datalink(Linktype(data_link(LinkType::LINUX_SLL2)));
    }
    let number = capture.get_datalink().0;
    let link = link_type(number).ok_or_else(|| {
        SourceError(format!(
            "--interface {name}: link type {number} is not supported"
        ))
    })?;
    set_filter(&mut capture, name, link, interest)?;
    Ok((capture, link))
}

fn is_loopback(name: &str) -> Result<bool, SourceError> {
    let devices = list()?;
    Ok(devices
        .iter()
        .any(|device| device.name == name && device.flags.is_loopback()))
}

/// Linux shows each frame of loopback twice, on its way out and on its way in. libpcap leaves the first out, but only
/// after it was copied; the kernel can do so before. It cannot be said in the filter: libpcap runs that itself for what
/// was captured before it was set, and has no direction there.
#[cfg(target_os = "linux")]
fn ignore_outgoing(capture: &Capture<Active>) {
    use std::os::fd::AsRawFd;

    let on: libc::c_int = 1;
    // SAFETY: the descriptor is the capture's own, and the option is read from a live integer of the size told.
    // Before Linux 4.20 there is no such option; what is refused then is no loss.
    unsafe {
        libc::setsockopt(
            capture.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn ignore_outgoing(_: &Capture<Active>) {}

fn set_filter(
    capture: &mut Capture<Active>,
    name: &str,
    link: LinkType,
    interest: &Interest,
) -> Result<(), SourceError> {
    // Compiled alone first, so that what is said of it is about what the user wrote.
    let user = interest.filter.as_str();
    capture.compile(user, true).map_err(|error| {
        let why = words(error);
        SourceError(format!("the filter \"{user}\" cannot be used: {why}"))
    })?;
    let expression = expression::expression(interest, link);
    capture.filter(&expression, true).map_err(|error| {
        let why = words(error);
        SourceError(format!(
            "--interface {name}: the capture filter \"{expression}\" is refused: {why}"
        ))
    })
}

/// Why a device cannot be opened, and what to do about it.
fn refusal(name: &str, why: &str) -> String {
    let denied = ["permi", "CAP_NET_RAW", "root"];
    if !denied.iter().any(|word| why.contains(word)) {
        return format!("--interface {name}: cannot be captured: {why}");
    }
    if !cfg!(target_os = "linux") {
        return format!(
            "capturing on {name} needs the right to read /dev/bpf*, as root has it: {why}"
        );
    }
    let program = own_path();
    format!(
        "capturing on {name} needs CAP_NET_RAW: run as root, or grant it with \
         `sudo setcap cap_net_raw+ep {program}` ({why})"
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn a_missing_interface_lists_those_there_are() {
        let interest = Interest {
            interfaces: vec!["nosuch0".to_owned()],
            ..Interest::default()
        };
        let error = devices(&interest).unwrap_err().to_string();
        assert!(error.starts_with("--interface nosuch0: there is no such interface; there are "));
        let loopback = if cfg!(target_os = "linux") {
            "lo"
        } else {
            "lo0"
        };
        assert!(error.contains(loopback), "{error}");
    }

    #[test]
    fn a_missing_right_is_named_with_what_grants_it() {
        let why = "socket: Operation not permitted";
        let text = refusal("eth0", why);
        assert!(text.contains(why), "{text}");
        if cfg!(target_os = "linux") {
            assert!(
                text.contains("CAP_NET_RAW") && text.contains("sudo setcap"),
                "{text}"
            );
        }
        assert!(!refusal("eth0", "That device is not up").contains("setcap"));
    }
}
