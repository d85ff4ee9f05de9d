//! What the verifiers of older kernels must be shown.

use core::arch::asm;

/// The same value, of which LLVM no longer knows where it comes from.
///
/// LLVM rewrites `n > 0 && n <= N` into `n - 1 < N`, and a verifier before 6.10 does not carry that bound back to
/// `n`. A move between registers hides the connection; an assembly comment would do too, but breaks line info.
#[inline(always)]
pub fn hide(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: moves a register to itself. Not `pure`: two moves of one value must not become one, since what
    // is proven of the first then stays with a register that the second does not use.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack)) };
    value
}

/// A length from 1 to `MAX`, in a form whose bounds every verifier since 5.8 sees: before 6.8 `n != 0` does not
/// raise the lower bound, so the upper one is shown for `n - 1`, and 1 is added.
#[inline(always)]
pub fn length<const MAX: usize>(value: u32) -> Option<u32> {
    let less = hide(u64::from(value).wrapping_sub(1));
    if less >= MAX as u64 {
        return None;
    }
    Some((hide(less) + 1) as u32)
}

/// An offset at which `size` bytes end within `MAX`.
#[inline(always)]
pub fn offset<const MAX: usize>(value: usize, size: usize) -> Option<usize> {
    let value = hide(value as u64) as usize;
    if value > MAX - size {
        return None;
    }
    Some(hide(value as u64) as usize)
}

/// A place outside what the verifier keeps track of.
///
/// It follows every path with the bounds of every value; where paths with different offsets meet, it goes on
/// with each of them. An offset that comes out of memory is the same unknown for all, so they become one.
#[derive(Clone, Copy)]
pub struct Forget(*mut u64);

impl Forget {
    /// # Safety
    /// `place` must live as long as the program, and be written by nobody else on this CPU meanwhile.
    pub unsafe fn new(place: *mut u64) -> Self {
        Self(place)
    }

    /// The same value, of which the verifier knows nothing.
    #[inline(always)]
    pub fn value(&self, value: usize) -> usize {
        // SAFETY: by `new`.
        unsafe {
            self.0.write_volatile(value as u64);
            self.0.read_volatile() as usize
        }
    }
}
