//! CPU kernels for small convolutional networks: forward passes, exact gradients and optimiser steps as safe
//! functions over slices, with no framework. What uses them brings tensors and automatic differentiation.
//!
//! ```text
//!   conv   dense   attention   norm   pool   excitation   residual   loss   dropout   optimizer   muon
//!     └──┬───┴─────────┴────────┴──────┴────────┴───────────┴────────┴───────┴──────────┴────────┘
//!        │   layers: forward and backward side by side
//!   tile · panels · matrix   elementwise · activation                the inner loops they share
//!     └──┬──────────────────┘
//!   bf16   products of half the width, on request
//!   simd   one source, compiled for AVX-512, AVX2, NEON and any CPU; chosen at run time
//!   team   threads for jobs of a millisecond; the same partition, so the same bits, on every run
//!   buffer aligned memory, recycled
//! ```
//!
//! Activations are NHWC, convolution weights OHWI `[Co, Kh, Kw, Ci / groups]`, dense weights `[In, Out]`. Lengths
//! are checked; a wrong one is a programming error and panics.
//!
//! [`Isa`] chooses the instruction set, [`team::set_threads`] the number of threads.

#![allow(
    clippy::needless_range_loop,
    reason = "arrays of vectors live in registers and are indexed by constants; iterators over them are not inlined everywhere"
)]

pub mod activation;
pub mod attention;
pub mod bf16;
pub mod buffer;
pub mod conv;
pub mod dense;
pub mod dropout;
mod elementwise;
pub mod excitation;
pub mod loss;
mod matrix;
pub mod muon;
pub mod norm;
pub mod optimizer;
mod panels;
mod peak;
mod pointer;
pub mod pool;
pub mod residual;
mod simd;
pub mod team;
mod tile;

pub use elementwise::blend;
pub use peak::peak_flops;
pub use simd::{Isa, IsaError};
