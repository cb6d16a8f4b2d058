//! Which instruction set the kernels run on: detected, forced by `TAILOR_SIMD`, or chosen for a scope.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::{Kernel, portable::Portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512 F, BW, VL and DQ: 16 lanes, 32 registers.
    Avx512,
    /// AVX2 and FMA: 8 lanes, 16 registers.
    Avx2,
    /// NEON: 4 lanes, 32 registers.
    Neon,
    /// Plain arrays, for any CPU: 4 lanes.
    Portable,
}

/// Why a wanted instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsaError {
    /// No instruction set has this name.
    Unknown(String),
    /// This CPU, or this build of the program, does not have it.
    Unsupported(Isa),
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown instruction set '{name}'")?,
            Self::Unsupported(isa) => write!(f, "this CPU does not support '{isa}'")?,
        }
        let supported: Vec<String> = Isa::supported().map(|isa| isa.to_string()).collect();
        write!(f, " (TAILOR_SIMD takes one of: {})", supported.join(", "))
    }
}

impl std::error::Error for IsaError {}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        })
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        let known = Self::ALL.into_iter().find(|isa| isa.to_string() == name);
        known.ok_or_else(|| IsaError::Unknown(name.to_owned()))
    }
}

thread_local! {
    static CHOSEN: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// Every instruction set, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// Whether this CPU has it.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // Its CPUs all have AVX2 and FMA; they are asked for, as the fallback's sake costs nothing.
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && Self::Avx2.is_supported()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            Self::Portable => true,
            #[allow(unreachable_patterns, reason = "which arms remain depends on the target")]
            _ => false,
        }
    }

    /// The instruction sets of this CPU, the fastest first.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_supported())
    }

    /// The fastest instruction set of this CPU.
    pub fn detect() -> Self {
        Self::supported().next().unwrap_or(Self::Portable)
    }

    /// What the environment variable `TAILOR_SIMD` names, or the fastest where it is unset.
    pub fn from_environment() -> Result<Self, IsaError> {
        let Some(name) = std::env::var_os("TAILOR_SIMD").filter(|name| !name.is_empty()) else {
            return Ok(Self::detect());
        };
        let isa: Self = name.to_string_lossy().parse()?;
        if isa.is_supported() { Ok(isa) } else { Err(IsaError::Unsupported(isa)) }
    }

    /// The instruction set that kernels called from this thread use: what [`Isa::with`] chose, else what the
    /// environment asked for when the first kernel ran, else (also where the environment asked for something
    /// impossible, which [`Isa::from_environment`] reports) the fastest.
    pub fn current() -> Self {
        static DEFAULT: OnceLock<Isa> = OnceLock::new();
        let default = || *DEFAULT.get_or_init(|| Self::from_environment().unwrap_or_else(|_| Self::detect()));
        CHOSEN.get().unwrap_or_else(default)
    }

    /// Runs `f` with this instruction set for every kernel called from this thread.
    ///
    /// # Panics
    /// If the CPU does not have it.
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        assert!(self.is_supported(), "{}", IsaError::Unsupported(self));
        struct Restore(Option<Isa>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CHOSEN.set(self.0);
            }
        }
        let _restore = Restore(CHOSEN.replace(Some(self)));
        f()
    }

    /// Whether it multiplies bf16 faster than `f32`. The other sets compute the same, more slowly.
    pub fn has_bf16(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512bf16"),
            _ => false,
        }
    }

    /// Lanes of a vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 => 8,
            Self::Neon | Self::Portable => 4,
        }
    }

    /// Runs a kernel on this instruction set. Only sets that the CPU has reach this: `current` and `with`
    /// yield no other.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        debug_assert!(self.is_supported());
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has the instructions, see above.
            Self::Avx512 => unsafe { avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has the instructions, see above.
            Self::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run(super::neon::Neon::new()),
            _ => kernel.run(Portable),
        }
    }

    /// As [`Isa::run`], for kernels that multiply bf16: with instructions for it where the CPU has them.
    pub(crate) fn run_bf16<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        if self.has_bf16() {
            // SAFETY: the CPU has the instructions.
            return unsafe { avx512_bf16(kernel) };
        }
        self.run(kernel)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
fn avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::new_with_bf16())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::new())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2::new())
}
