//! Frames made by hand, by RFC 791, 8200, 9293 and 768, and a pcap file of them.

/// A protocol over one of the two families.
pub struct Make {
    pub v6: bool,
    pub udp: bool,
}

pub const CLIENT: u16 = 40001;
pub const SERVER: u16 = 6379;

impl Make {
    /// An Ethernet frame; `reply` says that the server sends it. Checksums are 0, as offloading leaves them.
    pub fn frame(&self, reply: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
        let transport = self.transport(reply, flags, payload);
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let ends = if reply { [2, 1] } else { [1, 2] };
        let protocol = if self.udp { 17 } else { 6 };
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((transport.len() as u16).to_be_bytes());
            frame.extend([protocol, 64]);
            for end in ends {
                frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
            }
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((transport.len() as u16 + 20).to_be_bytes());
            frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
            for end in ends {
                frame.extend([10, 0, 200, end]);
            }
        }
        frame.extend(transport);
        frame
    }

    fn transport(&self, reply: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
        let ports = if reply {
            [SERVER, CLIENT]
        } else {
            [CLIENT, SERVER]
        };
        let mut bytes: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
        if self.udp {
            bytes.extend((payload.len() as u16 + 8).to_be_bytes());
            bytes.extend([0, 0]);
        } else {
            bytes.extend(0xfedc_ba98_u32.to_be_bytes());
            bytes.extend(0x8765_4321_u32.to_be_bytes());
            bytes.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        }
        bytes.extend(payload);
        bytes
    }
}

/// A pcap file of microseconds, each frame cut at `snaplen`, a second and a microsecond apart.
pub fn pcap(frames: &[Vec<u8>], snaplen: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.extend(word.to_le_bytes());
    }
    for (frame, at) in frames.iter().zip(0u32..) {
        let kept = frame.len().min(snaplen);
        for word in [
            1_700_000_000 + at,
            250_001 + at,
            kept as u32,
            frame.len() as u32,
        ] {
            file.extend(word.to_le_bytes());
        }
        file.extend(&frame[..kept]);
    }
    file
}
