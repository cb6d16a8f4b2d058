//! How long the work took. Apart from [`Evaluation`](crate::Evaluation), whose figures repeat bit for bit.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Result, json_file};

/// So many images in so many seconds; the content of `timing.json`, which tells how fast a model predicted its test images.
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

    /// Writes `timing.json`.
    ///
    /// # Errors
    /// The stream refuses to take it.
    pub fn write_json(&self, mut writer: impl Write) -> Result<()> {
        serde_json::to_writer(&mut writer, self).map_err(std::io::Error::from)?;
        Ok(writer.write_all(b"\n")?)
    }

    /// Reads what [`write_json`](Self::write_json) wrote.
    ///
    /// # Errors
    /// The file cannot be read, or is no timing.
    pub fn read_json(path: impl AsRef<Path>) -> Result<Self> {
        json_file::read(path.as_ref(), "timing")
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

    #[test]
    fn timing_json_reads_back_and_another_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let timing = Timing { images: 10_000, seconds: 0.1 + 0.2 };
        timing.write_json(file.as_file()).unwrap();
        assert_eq!(Timing::read_json(file.path()).unwrap(), timing);
        std::fs::write(file.path(), "{\"images\": -1}").unwrap();
        assert!(Timing::read_json(file.path()).unwrap_err().to_string().contains("this is no timing"));
    }
}
