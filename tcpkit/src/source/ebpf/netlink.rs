//! Asking the kernel for a list over a route netlink socket (rtnetlink(7)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A message of an answer.
pub(super) struct Message {
    /// The header that its kind has, and attributes.
    pub(super) body: Vec<u8>,
}

/// Bytes of a message's header.
const HEADER: usize = 16;
/// Largest part of an answer that the kernel sends at once.
const PART: usize = 64 << 10;
const DONE: u16 = 3;
const ERROR: u16 = 2;

/// Asks for all objects of a kind, with that kind's own header.
///
/// # Errors
/// When the kernel does not answer, or answers with an error.
pub(super) fn dump(kind: u16, header: &[u8]) -> io::Result<Vec<Message>> {
    let socket = socket()?;
    send(&socket, &request(kind, header))?;
    let mut messages = Vec::new();
    let mut part = vec![0; PART];
    loop {
        let length = receive(&socket, &mut part)?;
        if take(&part[..length], &mut messages)? {
            return Ok(messages);
        }
    }
}

/// The attributes behind a header of so many bytes.
pub(super) fn attributes(bytes: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(header..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attribute of a kind behind a header of so many bytes.
pub(super) fn attribute(bytes: &[u8], header: usize, wanted: u16) -> Option<&[u8]> {
    attributes(bytes, header).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// A string attribute without its end.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

/// A number in the host's byte order.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// A number in the host's byte order.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..offset + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn request(kind: u16, header: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let length = (HEADER + header.len()) as u32;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    // Sequence number and port: the kernel's answer goes to this socket alone.
    request.extend([0; 8]);
    request.extend(header);
    request
}

/// Takes the messages of a part of an answer; true at its end.
fn take(mut part: &[u8], messages: &mut Vec<Message>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(part, 0), u16_at(part, 4)) {
        let body = part.get(HEADER..length as usize).unwrap_or_default();
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(error(body)),
            _ => messages.push(Message {
                body: body.to_vec(),
            }),
        }
        let next = (length as usize).max(HEADER).next_multiple_of(4);
        part = part.get(next..).unwrap_or_default();
    }
    Ok(false)
}

fn error(body: &[u8]) -> io::Error {
    let code = u32_at(body, 0).unwrap_or(0) as i32;
    io::Error::from_raw_os_error(-code)
}

fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: makes a descriptor.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: reads `bytes`.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn receive(socket: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    let (start, length) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: writes at most `length` bytes to `room`.
    let received = unsafe { libc::recv(socket.as_raw_fd(), start, length, 0) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_the_bytes_do() {
        let bytes = [6, 0, 1, 0, 7, 8, 0, 0, 4, 0, 2, 0, 9, 0, 3, 0];
        let found: Vec<_> = attributes(&bytes, 0).collect();
        assert_eq!(found, [(1, &[7, 8][..]), (2, &[])]);
        for end in 0..bytes.len() {
            assert!(attributes(&bytes[..end], 0).count() <= 2);
        }
    }

    #[test]
    fn the_kernel_lists_the_loopback_interface() {
        let header = [0; 16];
        let messages = dump(libc::RTM_GETLINK, &header).unwrap();
        let mut names = messages.iter().flat_map(|message| {
            attributes(&message.body, 16).filter(|(kind, _)| *kind == libc::IFLA_IFNAME)
        });
        assert!(names.any(|(_, name)| text(name) == "lo"));
    }
}
