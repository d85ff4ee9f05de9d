//! Options of pcapng blocks (draft-ietf-opsawg-pcapng, section 3.5).

use super::cursor::u16_at;

/// Walks the options of one block: code and value, up to `opt_endofopt`, the end of the block,
/// or the first option that does not fit.
#[derive(Debug)]
pub(super) struct Options<'a> {
    rest: &'a [u8],
    big: bool,
}

impl<'a> Options<'a> {
    /// Over the bytes between a block's fixed part and its trailing length.
    pub fn new(bytes: &'a [u8], big: bool) -> Self {
        Self { rest: bytes, big }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.rest.get(..4)?;
        let code = u16_at(head, 0, self.big);
        let len = usize::from(u16_at(head, 2, self.big));
        if code == 0 {
            return None;
        }
        let value = self.rest.get(4..4 + len)?;
        self.rest = self
            .rest
            .get(4 + len.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((code, value))
    }
}
