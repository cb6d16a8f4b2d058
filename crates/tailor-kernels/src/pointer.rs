//! Raw pointers that cross threads: each thread of a job writes a part of a slice that no other touches, in
//! patterns (every image's rows, every block of channels) that `split_at_mut` cannot express.

use std::marker::PhantomData;

/// Shared reading access to a slice.
pub(crate) struct ConstPointer<'a, T> {
    start: *const T,
    slice: PhantomData<&'a [T]>,
}

impl<T> Clone for ConstPointer<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for ConstPointer<'_, T> {}

// SAFETY: as `&[T]`, which it stands for.
unsafe impl<T: Sync> Send for ConstPointer<'_, T> {}
// SAFETY: as `&[T]`, which it stands for.
unsafe impl<T: Sync> Sync for ConstPointer<'_, T> {}

impl<'a, T> ConstPointer<'a, T> {
    pub fn new(slice: &'a [T]) -> Self {
        Self { start: slice.as_ptr(), slice: PhantomData }
    }

    /// The address of element `i`; nothing is accessed.
    #[inline(always)]
    pub fn at(self, i: usize) -> *const T {
        self.start.wrapping_add(i)
    }
}

/// Writing access to a slice, shared by threads that keep to disjoint parts of it.
pub(crate) struct MutPointer<'a, T> {
    start: *mut T,
    slice: PhantomData<&'a mut [T]>,
}

impl<T> Clone for MutPointer<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for MutPointer<'_, T> {}

// SAFETY: as `&mut [T]`; whoever dereferences vouches for disjoint parts.
unsafe impl<T: Send> Send for MutPointer<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for MutPointer<'_, T> {}

impl<'a, T> MutPointer<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), slice: PhantomData }
    }

    /// The address of element `i`; nothing is accessed.
    #[inline(always)]
    pub fn at(self, i: usize) -> *mut T {
        self.start.wrapping_add(i)
    }

    /// Elements `start..start + len`.
    ///
    /// # Safety
    /// They lie within the slice, and nobody else accesses them while the result lives.
    pub unsafe fn slice(self, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: as this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
