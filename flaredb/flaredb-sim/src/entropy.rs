//! Randomness of libraries, taken from the seed: hash maps, election timeouts, the order in which tasks wake.
//!
//! All of them ask `getrandom` in the end. The program has one of its own, which on the thread of a simulation goes on
//! from the seed; on every other thread it asks the kernel.

use std::cell::RefCell;

use crate::dice::Dice;

thread_local! {
    static SEEDED: RefCell<Option<Dice>> = const { RefCell::new(None) };
}

/// From now on this thread's randomness follows from `seed`.
pub(crate) fn seed(seed: u64) {
    SEEDED.with(|seeded| *seeded.borrow_mut() = Some(Dice::new(seed)));
}

/// Fills `bytes` if this thread is seeded.
fn fill(bytes: &mut [u8]) -> bool {
    let filled = SEEDED.try_with(|seeded| {
        let mut seeded = seeded.try_borrow_mut().ok()?;
        let dice = seeded.as_mut()?;
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&dice.next().to_le_bytes()[..chunk.len()]);
        }
        Some(())
    });
    matches!(filled, Ok(Some(())))
}

/// Stands in for the C library's function of this name.
///
/// # Safety
/// `buffer` is valid for writes of `length` bytes, as for the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if length == 0 {
        return 0;
    }
    // SAFETY: the caller says so.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    if fill(bytes) {
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // SAFETY: the arguments are those of the system call, and the buffer is valid as above.
    let filled = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    isize::try_from(filled).unwrap_or(-1)
}
