//! Buffers aligned to a cache line, recycled when dropped.
//!
//! Alignment matters to 64-byte vectors: a load across two cache lines costs two. Recycling matters because a
//! large buffer that goes back to the system is mapped, zeroed and faulted in again at the next step. Sizes
//! are rounded up to classes, four to each power of two, and every class keeps what was dropped.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Alignment of every buffer in bytes: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// Element types for which every bit pattern is a value, so that recycled memory can be handed out as it is.
pub trait Element: Copy + Send + Sync + private::Sealed {}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
}
impl Element for f32 {}
impl Element for f64 {}
impl Element for u8 {}
impl Element for u32 {}

/// An owned, 64-byte-aligned slice whose memory returns to the pool when dropped.
pub struct AlignedBuffer<T: Element = f32> {
    start: NonNull<T>,
    len: usize,
    /// Bytes allocated at `start`.
    capacity: usize,
    owns: PhantomData<T>,
}

// SAFETY: the buffer owns its memory, as a `Vec` does.
unsafe impl<T: Element> Send for AlignedBuffer<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Element> Sync for AlignedBuffer<T> {}

impl<T: Element> AlignedBuffer<T> {
    /// A buffer with unspecified contents: zeros, or what an earlier owner left.
    pub fn new(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer fits the address space");
        let (start, capacity) = POOL.take(bytes);
        Self { start: start.cast(), len, capacity, owns: PhantomData }
    }

    /// A buffer of zeros.
    pub fn zeroed(len: usize) -> Self {
        let buffer = Self::new(len);
        // SAFETY: the buffer owns `len` elements, and zero is a value of every `Element`.
        unsafe { buffer.start.as_ptr().write_bytes(0, len) };
        buffer
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[T]) -> Self {
        let mut buffer = Self::new(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Makes room for `len` elements, with unspecified contents; keeps the memory where it has room.
    pub fn resize(&mut self, len: usize) {
        if len * size_of::<T>() <= self.capacity {
            self.len = len;
        } else {
            *self = Self::new(len);
        }
    }

    /// Gives up ownership: start, length in elements and capacity in bytes. Whoever takes them passes them to
    /// [`AlignedBuffer::from_raw_parts`] one day, or leaks the memory.
    pub fn into_raw_parts(self) -> (NonNull<T>, usize, usize) {
        let parts = (self.start, self.len, self.capacity);
        std::mem::forget(self);
        parts
    }

    /// The buffer that [`AlignedBuffer::into_raw_parts`] took apart; dropping it recycles the memory.
    ///
    /// # Safety
    /// The three come from one call of `into_raw_parts` (of any element type; then `len` counts `T`, no more
    /// than fit `capacity`), and are used once.
    pub unsafe fn from_raw_parts(start: NonNull<T>, len: usize, capacity: usize) -> Self {
        Self { start, len, capacity, owns: PhantomData }
    }
}

impl<T: Element> Deref for AlignedBuffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the buffer owns `len` initialised elements: memory is zeroed when first allocated.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Element> DerefMut for AlignedBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Element> Drop for AlignedBuffer<T> {
    fn drop(&mut self) {
        POOL.give(self.start.cast(), self.capacity);
    }
}

impl<T: Element> Clone for AlignedBuffer<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Element> Default for AlignedBuffer<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T: Element> fmt::Debug for AlignedBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "AlignedBuffer<{}>[{}]", std::any::type_name::<T>(), self.len)
    }
}

/// Returns all memory that waits for reuse to the system.
pub fn release_unused() {
    POOL.release();
}

/// Turns recycling off (or on again): every buffer is then allocated at its exact size and freed when dropped,
/// which lets memory checkers see reads beyond it.
pub fn set_recycling(on: bool) {
    POOL.recycles.store(on, Ordering::Relaxed);
    if !on {
        POOL.release();
    }
}

static POOL: Pool =
    Pool { free: [const { Mutex::new(Vec::new()) }; CLASSES], recycles: AtomicBool::new(true) };

/// Classes of 64 bytes × {4, 5, 6, 7} × 2^k; the last holds a petabyte.
const CLASSES: usize = 4 * 42;

/// The class that holds `bytes`, and its size.
fn class_of(bytes: usize) -> (usize, usize) {
    let lines = bytes.div_ceil(ALIGNMENT).max(4);
    let octave = lines.ilog2() - 2;
    let quarter = lines.div_ceil(1 << octave); // 4, 5, 6, 7, or 8: the next octave's 4
    (4 * octave as usize + quarter - 4, (quarter << octave) * ALIGNMENT)
}

struct Pool {
    free: [Mutex<Vec<Free>>; CLASSES],
    recycles: AtomicBool,
}

/// The start of unused memory, whose class says how much.
struct Free(NonNull<u8>);
// SAFETY: nobody but the pool refers to unused memory.
unsafe impl Send for Free {}

impl Pool {
    fn take(&self, bytes: usize) -> (NonNull<u8>, usize) {
        if bytes == 0 {
            return (NonNull::<u64>::dangling().cast(), 0);
        }
        if !self.recycles.load(Ordering::Relaxed) {
            return (allocate(bytes), bytes);
        }
        let (class, capacity) = class_of(bytes);
        let recycled = self.lock(class).pop();
        (recycled.map_or_else(|| allocate(capacity), |free| free.0), capacity)
    }

    fn give(&self, start: NonNull<u8>, capacity: usize) {
        if capacity == 0 {
            return;
        }
        let (class, size) = class_of(capacity);
        if size == capacity && self.recycles.load(Ordering::Relaxed) {
            self.lock(class).push(Free(start));
        } else {
            deallocate(start, capacity);
        }
    }

    fn release(&self) {
        for class in 0..CLASSES {
            for free in self.lock(class).drain(..) {
                deallocate(free.0, size_of_class(class));
            }
        }
    }

    fn lock(&self, class: usize) -> std::sync::MutexGuard<'_, Vec<Free>> {
        // A list of unused memory is whole even where another thread panicked while it held the lock.
        self.free[class].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn size_of_class(class: usize) -> usize {
    ((4 + class % 4) << (class / 4)) * ALIGNMENT
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("a buffer fits the address space")
}

fn allocate(bytes: usize) -> NonNull<u8> {
    // SAFETY: `bytes` is not zero. Zeroed, so that recycled memory is always initialised.
    let start = unsafe { alloc_zeroed(layout(bytes)) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout(bytes)))
}

fn deallocate(start: NonNull<u8>, bytes: usize) {
    // SAFETY: `start` came from `allocate(bytes)` and nothing refers to it any more.
    unsafe { dealloc(start.as_ptr(), layout(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for_and_waste_little() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 123_456_789]) {
            let (class, size) = class_of(bytes);
            assert!(size >= bytes && size_of_class(class) == size, "{bytes}: class {class} of {size}");
            assert!(bytes < 256 || size * 4 <= bytes * 5 + 4 * 64, "{bytes} in {size}");
            assert_eq!(class_of(size), (class, size), "a class holds its own size");
        }
    }

    #[test]
    fn memory_is_aligned_and_comes_back() {
        let start = {
            let buffer = AlignedBuffer::<f32>::zeroed(123_457);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.iter().all(|&v| v == 0.));
            buffer.as_ptr()
        };
        let (raw, len, capacity) = AlignedBuffer::<f32>::new(123_456).into_raw_parts();
        assert_eq!(raw.as_ptr().cast_const(), start, "the same class is handed out again");
        // SAFETY: the parts of the line above, used once.
        drop(unsafe { AlignedBuffer::from_raw_parts(raw, len, capacity) });
    }

    #[test]
    fn an_empty_buffer_is_a_slice() {
        assert!(AlignedBuffer::<u8>::new(0).is_empty());
    }
}
