//! How long the work took. Apart from [`Evaluation`](crate::Evaluation), whose figures repeat bit for bit.

use serde::{Deserialize, Serialize};

/// So many images in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Number of images.
    pub images: usize,
    /// Wall-clock time, in seconds.
    pub seconds: f64,
}

impl Timing {
    /// Images a second; 0 if no time was measured.
    pub fn images_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.images as f64 / self.seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_is_images_over_seconds() {
        assert_eq!(Timing { images: 10_000, seconds: 4.0 }.images_per_second(), 2500.0);
        assert_eq!(Timing { images: 1, seconds: 0.0 }.images_per_second(), 0.0);
    }
}
