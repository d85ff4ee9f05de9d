//! What memory itself costs: the processor time in which the kernel hands out fresh pages, and its host finds them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Processor time for touching fresh memory.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// In pages of the usual size.
    pub small: Duration,
    /// In huge pages, where the kernel has them.
    pub huge: Duration,
}

/// The least of several rounds for so many bytes.
///
/// # Errors
/// When memory cannot be had.
pub fn least(bytes: usize, rounds: usize) -> Result<Touched> {
    let mut small = Duration::MAX;
    let mut huge = Duration::MAX;
    for _ in 0..rounds {
        small = small.min(touch(bytes, libc::MADV_NOHUGEPAGE)?);
        huge = huge.min(touch(bytes, libc::MADV_HUGEPAGE)?);
    }
    Ok(Touched { small, huge })
}

/// Has the host of a virtual machine find memory for so many bytes in huge pages, and gives it back to the kernel: who needs
/// as much in the next moment gets it as on a host of its own.
///
/// # Errors
/// When memory cannot be had.
pub fn make_ready(bytes: usize) -> Result<()> {
    // The kernel gives other pages each time; after three most were found. A virtual machine took 1.3 s, 0.4 s and 0.1 s.
    for _ in 0..3 {
        touch(bytes, libc::MADV_HUGEPAGE)?;
    }
    Ok(())
}

/// Maps `bytes`, gives the kernel this advice, and writes to every page once.
fn touch(bytes: usize, advice: libc::c_int) -> Result<Duration> {
    const PAGE: usize = 4096;
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    let len = bytes.max(PAGE);
    // SAFETY: a new anonymous mapping of our own, at an address that the kernel chooses.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
    ensure!(
        map != libc::MAP_FAILED,
        "{len} bytes: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: advice about that mapping, which changes nothing of what it holds. Kernels without it say so.
    unsafe { libc::madvise(map, len, advice) };
    let begin = used();
    for at in (0..len).step_by(PAGE) {
        // SAFETY: within the mapping, which nobody else knows of.
        unsafe { map.cast::<u8>().add(at).write_volatile(1) };
    }
    let took = used();
    // SAFETY: the mapping as it was made; no reference to it exists.
    unsafe { libc::munmap(map, len) };
    took?.checked_sub(begin?).context("time went back")
}

/// Processor time of this thread so far.
fn used() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live variable of the right type.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    ensure!(failed == 0, "{}", std::io::Error::last_os_error());
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Ok(Duration::new(time.tv_sec.unsigned_abs(), nanos))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn more_memory_takes_longer() {
        let (little, much) = (least(1 << 20, 3).unwrap(), least(64 << 20, 3).unwrap());
        assert!(much.small > little.small, "{little:?} {much:?}");
        assert!(much.huge > Duration::ZERO);
    }
}
