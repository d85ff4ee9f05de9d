//! What was seen of a conversation whose protocol is not known yet.
//!
//! Nothing of it is lost when the protocol shows: it is kept, within a bound, and then shown to the dissector as it came.

use crate::flow::Direction;
use crate::flow::stream::{Chunk, Gap};
use crate::limits::UNDECIDED_BYTES;
use crate::protocol::Mark;

/// What keeping a piece costs besides its bytes.
const OVERHEAD: usize = size_of::<Piece>();

/// What came, in the order in which it did.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    pieces: Vec<Piece>,
    /// Of each direction, the piece from which on its bytes may still say what they are.
    from: [usize; 2],
    cost: usize,
}

#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Kept),
    /// A datagram, whose first byte was seen then, and so many bytes of which were cut off.
    Datagram(Kept, (Mark, u32)),
    Gap(Gap),
}

/// Bytes as [`Chunk`] has them.
#[derive(Debug)]
pub(super) struct Kept {
    direction: Direction,
    bytes: Box<[u8]>,
    offset: u64,
    received: u64,
    mark: Mark,
}

impl Kept {
    pub(super) fn new(direction: Direction, chunk: &Chunk<'_>) -> Self {
        Self {
            direction,
            bytes: chunk.bytes.into(),
            offset: chunk.offset,
            received: chunk.received,
            mark: Mark {
                time: chunk.time,
                frame: chunk.frame,
            },
        }
    }

    pub(super) fn chunk(&self) -> Chunk<'_> {
        Chunk {
            direction: self.direction,
            bytes: &self.bytes,
            offset: self.offset,
            time: self.mark.time,
            frame: self.mark.frame,
            received: self.received,
        }
    }
}

impl Undecided {
    /// What it takes.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// The bytes of a direction that may still say what they are, with `more` behind them; `None` where it is `more` alone.
    pub(super) fn joined(&self, direction: Direction, more: &[u8]) -> Option<Vec<u8>> {
        let from = self.from[direction.index()];
        let pieces = self.pieces.get(from..).unwrap_or_default();
        let mut joined = Vec::new();
        for piece in pieces {
            if let Piece::Bytes(kept) = piece
                && kept.direction == direction
            {
                joined.extend_from_slice(&kept.bytes);
            }
        }
        (!joined.is_empty()).then(|| {
            joined.extend_from_slice(more);
            joined
        })
    }

    /// Keeps a piece; false, and nothing done, where there are too many.
    pub(super) fn keep(&mut self, piece: Piece) -> bool {
        let bytes = match &piece {
            Piece::Bytes(kept) | Piece::Datagram(kept, _) => kept.bytes.len(),
            Piece::Gap(_) => 0,
        };
        if self.cost + bytes + OVERHEAD > UNDECIDED_BYTES {
            return false;
        }
        self.cost += bytes + OVERHEAD;
        self.pieces.push(piece);
        true
    }

    /// What came of a direction so far is no beginning of anything.
    pub(super) fn pass(&mut self, direction: Direction) {
        self.from[direction.index()] = self.pieces.len();
    }

    /// Client and server are the other way round.
    pub(super) fn turn(&mut self) {
        self.from.swap(0, 1);
        for piece in &mut self.pieces {
            let direction = match piece {
                Piece::Bytes(kept) | Piece::Datagram(kept, _) => &mut kept.direction,
                Piece::Gap(gap) => &mut gap.direction,
            };
            *direction = direction.reverse();
        }
    }

    /// All pieces, oldest first.
    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }
}
