//! Memory for secrets: locked into RAM, left out of core dumps, wiped when dropped.

use asl_core::{Error, Kind, Result};
use nix::errno::Errno;
use nix::sys::mman::{
    madvise, mlock, mmap_anonymous, munlock, munmap, MapFlags, MmapAdvise, ProtFlags,
};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use zeroize::Zeroize;

/// Whether the system granted the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// The pages stay in RAM.
    Locked,
    /// The system refused (often `RLIMIT_MEMLOCK`): the pages may be swapped out. The caller warns.
    NotLocked,
}

/// Bytes in pages of their own: locked where the system allows, never in a core dump, wiped when
/// dropped.
pub struct LockedBytes {
    at: NonNull<c_void>,
    mapped: NonZeroUsize,
    len: usize,
    locking: Locking,
}

impl LockedBytes {
    /// Takes `len` bytes of zeros; whole pages are used, so this is for few and small secrets.
    ///
    /// # Errors
    /// `Io` where the system gives no memory.
    pub fn zeroed(len: usize) -> Result<LockedBytes> {
        let failed = |e: Errno| Error::new(Kind::Io, "reserve", "memory for secrets", e);
        let mapped = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice; it cannot
        // overlap or alias any memory Rust knows of.
        let at = unsafe {
            mmap_anonymous(
                None,
                mapped,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE,
            )
        }
        .map_err(failed)?;
        let mut held = LockedBytes {
            at,
            mapped,
            len,
            locking: Locking::NotLocked,
        };
        // SAFETY: the range is the mapping made above, owned by `held`; both calls change how the
        // kernel treats its pages, never their contents.
        unsafe {
            madvise(at, mapped.get(), MmapAdvise::MADV_DONTDUMP).map_err(failed)?;
            if mlock(at, mapped.get()).is_ok() {
                held.locking = Locking::Locked;
            }
        }
        Ok(held)
    }

    /// Moves bytes in: copies them and wipes the source.
    ///
    /// # Errors
    /// As [`LockedBytes::zeroed`]; the source is wiped even then.
    pub fn take(source: &mut [u8]) -> Result<LockedBytes> {
        let held = LockedBytes::zeroed(source.len()).map(|mut held| {
            held.copy_from_slice(source);
            held
        });
        source.zeroize();
        held
    }

    /// Whether the pages are locked into RAM.
    pub fn locking(&self) -> Locking {
        self.locking
    }
}

impl Deref for LockedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `at` starts a readable mapping of at least `len` initialised bytes (the kernel
        // zeroes it) that lives as long as `self`, and `&self` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for LockedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the mapping is writable and `&mut self` makes this the only view.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr().cast(), self.len) }
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        self.zeroize();
        // SAFETY: the range is the mapping made in `zeroed`, and no reference into it outlives
        // `self`. Failure leaves the wiped pages mapped, which harms nobody.
        unsafe {
            let _ = munlock(self.at, self.mapped.get());
            let _ = munmap(self.at, self.mapped.get());
        }
    }
}

// SAFETY: the mapping is owned by this value alone and is plain memory; nothing in it is bound to
// a thread, and shared access is read only.
unsafe impl Send for LockedBytes {}
// SAFETY: as above.
unsafe impl Sync for LockedBytes {}

impl std::fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LockedBytes({} bytes, not shown)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_read_back_and_its_source_is_wiped() {
        let mut source = *b"a secret";
        let held = LockedBytes::take(&mut source).unwrap();
        assert_eq!(&*held, b"a secret");
        assert_eq!(source, [0; 8]);
        assert!(!format!("{held:?}").contains("secret"));
    }

    #[test]
    fn an_empty_secret_needs_no_special_case() {
        assert!(LockedBytes::zeroed(0).unwrap().is_empty());
    }

    #[test]
    fn the_pages_are_left_out_of_core_dumps_and_locked_where_it_says_so() {
        let held = LockedBytes::zeroed(100).unwrap();
        let start = format!("{:x}-", held.at.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let at = maps.find(&start).unwrap();
        let flags = maps[at..]
            .lines()
            .find(|l| l.starts_with("VmFlags:"))
            .unwrap();
        assert!(flags.contains(" dd"), "{flags}");
        let locked = flags.contains(" lo");
        assert_eq!(locked, held.locking() == Locking::Locked, "{flags}");
    }
}
