//! Reads pcap files as `tcpdump` makes them here: little endian, microseconds.

use anyhow::{Result, bail};

const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;

/// Splits a file into its header and its frames, each with its own header.
///
/// # Errors
/// When it is not such a file, or ends in the middle of a frame.
pub fn split(file: &[u8]) -> Result<(&[u8], Vec<&[u8]>)> {
    if !file.starts_with(&MAGIC) || file.len() < FILE_HEADER {
        bail!("not a little endian pcap file with microseconds");
    }
    let (header, mut rest) = file.split_at(FILE_HEADER);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = rest
            .get(8..12)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes);
        let Some(length) = length else {
            bail!("the file ends in a frame's header")
        };
        let Some((frame, after)) = rest.split_at_checked(FRAME_HEADER + length as usize) else {
            bail!("the file ends in a frame");
        };
        frames.push(frame);
        rest = after;
    }
    Ok((header, frames))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_by_their_lengths() {
        let mut file = Vec::from(MAGIC);
        file.resize(FILE_HEADER, 0);
        for payload in [&b"one"[..], b""] {
            file.extend([0; 8]);
            file.extend((payload.len() as u32).to_le_bytes());
            file.extend([0; 4]);
            file.extend(payload);
        }
        let (header, frames) = split(&file).unwrap();
        assert_eq!(header.len(), FILE_HEADER);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0][FRAME_HEADER..], *b"one");
        assert!(split(&file[..file.len() - 1]).is_err());
        assert!(split(b"").is_err());
    }
}
