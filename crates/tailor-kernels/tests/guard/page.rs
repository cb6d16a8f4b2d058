//! Slices at the very edge of mapped memory.

use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;

/// Where the unmapped page is.
#[derive(Clone, Copy, Debug)]
pub enum Edge {
    /// Right before the first element.
    Before,
    /// Right after the last.
    After,
}

/// Floats between two pages that cannot be accessed.
pub struct Guarded {
    mapping: *mut libc::c_void,
    mapped: usize,
    start: *mut f32,
    len: usize,
}

impl Guarded {
    /// With values in ±1.
    pub fn random(edge: Edge, len: usize) -> Self {
        // SAFETY: no more than a query.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let inside = (len * size_of::<f32>()).next_multiple_of(page).max(page);
        let mapped = inside + 2 * page;
        // SAFETY: a fresh anonymous mapping, of which only the inside becomes accessible.
        let mapping = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = libc::mmap(null_mut(), mapped, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED, "memory can be mapped");
            let outcome = libc::mprotect(mapping.byte_add(page), inside, libc::PROT_READ | libc::PROT_WRITE);
            assert_eq!(outcome, 0, "memory can be made accessible");
            mapping
        };
        let offset = match edge {
            Edge::Before => page,
            Edge::After => page + inside - len * size_of::<f32>(),
        };
        let start = mapping.wrapping_byte_add(offset).cast::<f32>();
        let mut guarded = Self { mapping, mapped, start, len };
        let mut state = len as u32 + 1;
        for value in guarded.iter_mut() {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.;
        }
        guarded
    }
}

impl Deref for Guarded {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` floats from `start` on are mapped, and zero until written.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping of `random`, to which nothing refers any more.
        unsafe { libc::munmap(self.mapping, self.mapped) };
    }
}
