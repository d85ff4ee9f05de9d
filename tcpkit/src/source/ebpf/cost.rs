//! What a frame costs on this host: test runs of the program at TC (`BPF_PROG_TEST_RUN` of bpf(2)), beside those of an
//! empty program.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use tcpkit_common::program;

use super::Refusal;
use super::object::Kernel;
use super::ring::Ring;
use super::system::{Command, bpf, bpf_made};
use crate::source::live::Interest;

/// Nanoseconds a frame, the least of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// An empty program: what a test run itself costs, which is part of the others.
    pub(super) empty: u32,
    /// A frame of a port that is not monitored.
    pub(super) unmonitored: u32,
    /// A monitored frame of [`SMALL`] bytes.
    pub(super) small: u32,
    /// A monitored frame of [`LARGE`] bytes.
    pub(super) large: u32,
}

/// A small request or response, headers included.
pub(super) const SMALL: usize = 100;
/// A full one, below the usual MTU.
pub(super) const LARGE: usize = 1400;

const MONITORED: u16 = 6379;
const OTHER: u16 = 6380;

/// How often a program runs over a frame in one round: their records fit into the smallest ring.
const RUNS: u32 = 100;

/// Rounds: enough for small records to come round a ring of 4 MiB several times. A run writes where others have
/// written; memory that nobody has touched yet is what the first turn costs, not a frame.
const ROUNDS: usize = 640;

/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;

/// Measures with rings of so many bytes in all; about a tenth of a second.
///
/// # Errors
/// When the kernel refuses the programs or test runs.
pub(super) fn measure(rings: u64) -> Result<Cost, Refusal> {
    let interest = Interest {
        ports: vec![MONITORED..=MONITORED],
        tcp: true,
        buffer: Some(rings),
        ..Interest::default()
    };
    let mut kernel = Kernel::load(&interest, false)?;
    kernel.program(program::INGRESS)?;
    let failed = |error| Refusal(format!("no test run: {error}"));
    let empty = empty().map_err(failed)?;
    let program = kernel.program(program::INGRESS)?.try_clone_to_owned();
    let program = program.map_err(failed)?;
    let rings = &mut kernel.rings;
    Ok(Cost {
        empty: least(empty.as_fd(), &frame(MONITORED, SMALL), rings).map_err(failed)?,
        unmonitored: least(program.as_fd(), &frame(OTHER, SMALL), rings).map_err(failed)?,
        small: least(program.as_fd(), &frame(MONITORED, SMALL), rings).map_err(failed)?,
        large: least(program.as_fd(), &frame(MONITORED, LARGE), rings).map_err(failed)?,
    })
}

/// The least time of a run, over many rounds.
fn least(program: BorrowedFd<'_>, frame: &[u8], rings: &mut [Ring]) -> io::Result<u32> {
    let mut least = u32::MAX;
    for _ in 0..ROUNDS {
        least = least.min(run(program, frame)?);
        for ring in rings.iter_mut() {
            while ring.next_time().is_some() {
                ring.advance();
            }
            ring.publish();
        }
    }
    Ok(least)
}

/// Runs a program [`RUNS`] times over a frame; nanoseconds a run.
fn run(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<u32> {
    /// The start of `union bpf_attr` for this command.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        program: u32,
        returned: u32,
        input_size: u32,
        output_size: u32,
        input: u64,
        output: u64,
        repeat: u32,
        duration: u32,
        rest: [u64; 6],
    }
    let mut attributes = Attributes {
        program: program.as_raw_fd() as u32,
        input_size: frame.len() as u32,
        input: frame.as_ptr() as u64,
        repeat: RUNS,
        ..Attributes::default()
    };
    // SAFETY: attributes of this command; the frame lives during the call, and its size is the one given.
    unsafe { bpf(Command::ProgTestRun, &mut attributes) }?;
    Ok(attributes.duration)
}

/// A program for TC that does nothing and has no opinion.
fn empty() -> io::Result<OwnedFd> {
    /// The start of `union bpf_attr` for this command.
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        instructions: u64,
        licence: u64,
        rest: [u64; 8],
    }
    // r0 = -1; exit
    let instructions: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];
    let mut attributes = Attributes {
        kind: SCHED_CLS,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        licence: c"Dual MIT/GPL".as_ptr() as u64,
        rest: [0; 8],
    };
    // SAFETY: attributes of this command; instructions and licence live during the call.
    unsafe { bpf_made(Command::ProgLoad, &mut attributes) }
}

/// A TCP segment over IPv4 in an Ethernet frame of so many bytes, to this port.
fn frame(port: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend(((length - 14) as u16).to_be_bytes());
    frame.extend([0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(49_152_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.resize(length, b'x');
    frame
}
