//! Search for better settings of anything that takes text settings and returns a score.
//!
//! ```text
//!   Space ───────► Sampler ──────► point ──► Objective ──► epochs ──► Pruner
//!  (what may vary)  grid, random,   (one value   (trains,    │           │ go on, or stop
//!                   Sobol, TPE, GP)  a parameter) elsewhere) ▼           ▼
//!                     ▲                                    Journal ◄── worker ──► how the trial ended
//!                     └────── all trials so far ◄── (one file, many processes)
//!
//!   all trials ──► importance (fANOVA over a forest) · gain (what the winner is worth)
//! ```
//!
//! This crate knows nothing of networks or recipes. A study is a folder; every process that works on it reads and appends to
//! its journal under a lock, so that a process may be killed at any moment and another may go on. Samplers and pruners
//! keep no state: what they answer is a function of the seed, the number of the trial and the trials before it.
//!
//! The crate `optimizer` 1.0.1 was considered and does not hold up for this: its journal cannot be opened after a
//! torn line, two processes give their trials the same numbers and lose each other's, failed and running trials are not stored, its
//! grid walks the diagonal instead of the product, its TPE takes parameters of equal range for the same one, its
//! GP ignores choices, and its Hyperband forgets brackets with the process.

mod distribution;
mod error;
pub mod forest;
pub mod gain;
pub mod importance;
mod journal;
pub mod pruner;
mod ranking;
pub mod sampler;
pub mod space;
mod study;
mod trial;
mod worker;

pub use error::{Error, Result};
pub use pruner::Pruner;
pub use ranking::ranked;
pub use sampler::Sampler;
pub use space::{Domain, Parameter, Point, Space};
pub use study::{Settings, Study};
pub use trial::{Candidate, Confirmation, Confirmed, Ended, Epoch, Outcome, State, Trial};
pub use worker::{Objective, Verdict, work};
