//! Reads responses from the datagrams of one series, in their order.

use super::super::Step;
use super::super::binary;
use super::super::reply::{Done, Progress, Reader};

/// Reads responses from datagrams that follow each other.
#[derive(Debug, Default)]
pub(super) struct Scan {
    reader: Reader,
    /// A line or header that the last datagram ended in.
    tail: Vec<u8>,
    /// Bytes of a data block that are still to come.
    skip: u64,
    /// The response that ends with them.
    ending: Option<Done>,
    /// Among the packets of one response.
    stats: bool,
}

impl Scan {
    /// What the series holds of a response that another one ends, items or lines; `None` where it ends within one of them.
    pub(super) fn cut(&mut self) -> Option<Done> {
        let between = self.reader.is_between() && self.tail.is_empty() && self.skip == 0;
        between.then(|| self.reader.cut())
    }

    /// The memory that it takes besides.
    pub(super) fn bytes(&self) -> usize {
        self.tail.capacity()
    }

    /// Items of the response under way.
    pub(super) fn items(&self) -> u32 {
        self.reader.items()
    }

    /// Whether a datagram can be the next one, and the last one of the series, by where a data block ends. Of two series of
    /// as many datagrams not all can.
    pub(super) fn can_go_on(&self, payload: &[u8], last: bool) -> bool {
        let len = payload.len() as u64;
        if !self.reader.is_open() {
            return self.skip == 0
                || if last {
                    self.skip <= len
                } else {
                    self.skip >= len
                };
        }
        let behind = usize::try_from(self.skip)
            .ok()
            .and_then(|skip| payload.get(skip..));
        match behind {
            Some([]) | None => !last,
            Some([first]) => *first == b'\r',
            Some(behind) => self.skip == 0 || behind.starts_with(b"\r\n"),
        }
    }

    /// So many bytes are missing behind those that were fed last. Whether it can go on behind them: they are in a data block.
    pub(super) fn loses(&mut self, bytes: u32) -> bool {
        let within = self.skip.checked_sub(u64::from(bytes));
        self.skip = within.unwrap_or(0);
        within.is_some()
    }

    /// Tells every response that ends in `bytes`, and where.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(usize, Done),
    ) -> Result<(), &'static str> {
        let skip = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.skip -= skip as u64;
        if self.skip == 0
            && let Some(done) = self.ending.take()
        {
            each(skip, done);
        }
        let rest = bytes.get(skip..).unwrap_or_default();
        let mut before = std::mem::take(&mut self.tail);
        let old = before.len();
        if old == 0 {
            let used = self.read(rest, &mut |end, done| each(skip + end, done))?;
            before.extend_from_slice(rest.get(used..).unwrap_or_default());
        } else {
            before.extend_from_slice(rest);
            let used = self.read(&before, &mut |end, mut done| {
                // A text that begins in the datagram before is not told.
                let here = |at: usize| Some(skip + at.checked_sub(old)?);
                done.text = done
                    .text
                    .and_then(|(from, to)| Some((here(from)?, here(to)?)));
                each(here(end).unwrap_or(skip), done);
            })?;
            before.drain(..used);
        }
        self.tail = before;
        Ok(())
    }

    /// Tells every response that ends in `bytes`, and where; returns how many of the bytes were used.
    fn read(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(usize, Done),
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (used, skip, done) = match self.one(rest) {
                Step::More => break,
                Step::Bad(why) => return Err(why),
                Step::Done(found) => found,
            };
            let data = usize::try_from(skip).unwrap_or(usize::MAX);
            let here = data.min(rest.len() - used);
            self.skip = skip - here as u64;
            at += used + here;
            if self.skip > 0 {
                self.ending = done;
            } else if let Some(mut done) = done {
                let begun = at - used - here;
                done.text = done.text.map(|(from, to)| (begun + from, begun + to));
                each(at, done);
            }
        }
        Ok(at)
    }

    /// One step: bytes used, bytes to step over after them, the response that they end.
    fn one(&mut self, bytes: &[u8]) -> Step<(usize, u64, Option<Done>)> {
        if bytes.first() == Some(&binary::RESPONSE) && !self.reader.is_open() {
            return match binary::response(bytes) {
                Step::More => Step::More,
                Step::Bad(why) => Step::Bad(why),
                Step::Done(packet) => {
                    self.stats = packet.more;
                    let skip = packet.body + u64::from(packet.trailer);
                    Step::Done((packet.len, skip, (!packet.more).then(|| packet.done())))
                }
            };
        }
        match self.reader.step(bytes, 0) {
            Step::More => Step::More,
            Step::Bad(why) => Step::Bad(why),
            Step::Done(Progress::Goes(len)) => Step::Done((len, 0, None)),
            // What ends in `END` comes in one datagram with it.
            Step::Done(Progress::MayEnd(len)) => {
                let ends = len == bytes.len();
                Step::Done((len, 0, ends.then(|| self.reader.cut())))
            }
            Step::Done(Progress::Data(len, data)) => Step::Done((len, data, None)),
            Step::Done(Progress::Ends(len, done)) => Step::Done((len, 0, Some(done))),
        }
    }
}
