//! Reads and writes pcap files as `tcpdump` makes them here: little endian, microseconds.

use std::io::Write;

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

/// Writes the header of a file of Ethernet frames.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_header(out: &mut impl Write) -> Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&[2, 0, 4, 0])?;
    out.write_all(&[0; 8])?;
    out.write_all(&262_144_u32.to_le_bytes())?;
    Ok(out.write_all(&1_u32.to_le_bytes())?)
}

/// Writes one frame, stamped with microseconds since the epoch.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_frame(out: &mut impl Write, micros: u64, frame: &[u8]) -> Result<()> {
    let length = u32::try_from(frame.len())?.to_le_bytes();
    out.write_all(&u32::try_from(micros / 1_000_000)?.to_le_bytes())?;
    out.write_all(&u32::try_from(micros % 1_000_000)?.to_le_bytes())?;
    out.write_all(&length)?;
    out.write_all(&length)?;
    Ok(out.write_all(frame)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_split_again() {
        let mut file = Vec::new();
        write_header(&mut file).unwrap();
        write_frame(&mut file, 1_000_002, b"one").unwrap();
        write_frame(&mut file, 1_000_003, b"").unwrap();
        let (header, frames) = split(&file).unwrap();
        assert_eq!(header.len(), FILE_HEADER);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0][FRAME_HEADER..], *b"one");
        assert!(split(&file[..file.len() - 1]).is_err());
        assert!(split(b"").is_err());
    }
}
