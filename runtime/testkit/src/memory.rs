//! How much memory a piece of work held at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// An allocator that counts what each thread holds. A test file that asks [`most_held`] sets it as
/// its `#[global_allocator]`.
#[derive(Debug)]
pub struct Counted;

/// Adds bytes to this thread's count. A thread that ends has none any more.
fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        let now = held.get().saturating_add(bytes);
        held.set(now);
        let _ = MOST.try_with(|most| most.set(most.get().max(now)));
    });
}

/// A size as the count has it; no allocation is larger than `isize::MAX` (`Layout`'s own rule).
fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

// SAFETY: every call is handed to the system's allocator as it came, and its answer back; the counts
// beside are plain cells of the calling thread and allocate nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(size(layout));
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-size(layout));
        // SAFETY: the caller keeps the contract of `dealloc`, and `at` is of this allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(
            isize::try_from(new_size)
                .unwrap_or(isize::MAX)
                .saturating_sub(size(layout)),
        );
        // SAFETY: the caller keeps the contract of `realloc`, and `at` is of this allocator.
        unsafe { System.realloc(at, layout, new_size) }
    }
}

/// Does the work, and says how many bytes this thread held at most above what it held before.
/// Without [`Counted`] as the global allocator that is 0.
pub fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = work();
    (
        done,
        usize::try_from(MOST.get().saturating_sub(before)).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static COUNTED: Counted = Counted;

    #[test]
    fn what_was_held_is_counted_also_where_it_was_let_go_again() {
        let (_, most) = most_held(|| drop(vec![1u8; 3 << 20]));
        assert!((3 << 20..4 << 20).contains(&most), "{most}");
        let (_, most) = most_held(|| {
            let mut grown = Vec::new();
            (0..1 << 20).for_each(|n: u32| grown.push(n));
        });
        assert!(most >= 4 << 20, "{most}");
    }

    #[test]
    fn another_thread_s_memory_is_not_counted() {
        let (_, most) = most_held(|| {
            let other = std::thread::spawn(|| vec![1u8; 8 << 20].len());
            other.join().unwrap_or_default()
        });
        assert!(most < 1 << 20, "{most}");
    }
}
