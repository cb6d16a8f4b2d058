//! What this machine's multiply-adds reach at best: the measure that a kernel's speed is a share of.

use std::hint::black_box;
use std::time::Instant;

use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// The most floating-point operations per second that the team's threads reach on registers alone, two to a
/// multiply-add. Takes some 50 ms.
pub fn peak_flops() -> f64 {
    const ROUNDS: usize = 200_000;
    let isa = Isa::current();
    let parts = team::threads();
    let mut fastest = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        team::run(parts, |_| {
            black_box(isa.run(MultiplyAdds { rounds: ROUNDS }));
        });
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    (2 * CHAINS * isa.lanes() * ROUNDS * parts) as f64 / fastest
}

/// Independent sums: more than latency × multiply-adds per cycle on any CPU.
const CHAINS: usize = 12;

struct MultiplyAdds {
    rounds: usize,
}

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (x, y) = (s.splat(black_box(0.999)), s.splat(black_box(1e-4)));
        let mut sums = [s.splat(1.); CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = s.fma(*sum, x, y);
            }
        }
        let mut total = sums[0];
        for &sum in &sums[1..] {
            total = s.add(total, sum);
        }
        s.sum(total)
    }
}
