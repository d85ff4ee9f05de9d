//! Classic capture files, taken apart and put together.

/// A file's header, and its records without theirs.
pub struct Pcap {
    header: Vec<u8>,
    pub frames: Vec<Record>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Seconds and a fraction, as they stand in the file.
    pub stamp: [u8; 8],
    pub data: Vec<u8>,
}

impl Pcap {
    /// Takes a file of this machine's byte order apart, of whole frames.
    pub fn parse(file: &[u8]) -> Self {
        let (header, mut rest) = file.split_at(24);
        let mut frames = Vec::new();
        while let Some((head, more)) = rest.split_first_chunk::<16>() {
            let number = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
            assert_eq!(number(8), number(12), "a frame was cut");
            let (data, more) = more.split_at(number(8) as usize);
            frames.push(Record {
                stamp: head[..8].try_into().unwrap(),
                data: data.to_vec(),
            });
            rest = more;
        }
        Self {
            header: header.to_vec(),
            frames,
        }
    }

    /// The file of other frames.
    pub fn with(&self, frames: &[Record]) -> Vec<u8> {
        let mut file = self.header.clone();
        for frame in frames {
            let length = (frame.data.len() as u32).to_ne_bytes();
            file.extend(frame.stamp);
            file.extend([length, length].concat());
            file.extend(&frame.data);
        }
        file
    }
}
