//! TensorBoard event files: scalars only.
//!
//! Format: a sequence of TFRecords (`tensorflow/core/lib/io/record_writer.h`), each an `Event` message
//! (`tensorflow/core/util/event.proto`) in protocol buffers' wire format.

use tailor_eval::{EpochRecord, History};

/// The bytes of an event file with all epochs of a run that started at `started` (Unix seconds).
pub fn file(history: &History, started: f64) -> Vec<u8> {
    let mut version = Message::default();
    version.double(1, started);
    version.bytes(3, b"brain.Event:2");
    let mut bytes = record(&version.0);
    let mut seconds = 0.0;
    for epoch in &history.0 {
        seconds += epoch.seconds;
        bytes.extend(self::epoch(epoch, started + seconds));
    }
    bytes
}

/// The records of one epoch that ended at `time` (Unix seconds).
pub fn epoch(epoch: &EpochRecord, time: f64) -> Vec<u8> {
    let scalars = [
        ("loss/train", Some(epoch.train_loss)),
        ("loss/validation", epoch.validation_loss),
        ("accuracy/train", Some(epoch.train_accuracy)),
        ("accuracy/validation", epoch.validation_accuracy),
        ("learning_rate", Some(epoch.learning_rate)),
        ("images_per_second", Some(epoch.images_per_second)),
    ];
    let mut summary = Message::default();
    for (tag, value) in scalars {
        let Some(value) = value else { continue };
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.float(2, value as f32);
        summary.bytes(1, &entry.0);
    }
    let mut event = Message::default();
    event.double(1, time);
    event.integer(2, epoch.epoch as u64);
    event.bytes(5, &summary.0);
    record(&event.0)
}

/// Length, its checksum, the data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// A CRC-32C, rotated and offset so that a checksum of checksummed data is not degenerate.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A message in protocol buffers' wire format.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    const VARINT: u64 = 0;
    const FIXED64: u64 = 1;
    const LENGTH_DELIMITED: u64 = 2;
    const FIXED32: u64 = 5;

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | Self::VARINT);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | Self::FIXED64);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | Self::FIXED32);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | Self::LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_that_tensorboard_writes() {
        let first = EpochRecord {
            epoch: 1,
            learning_rate: 1e-3,
            train_loss: 0.5,
            train_accuracy: 0.75,
            validation_loss: Some(0.4375),
            validation_accuracy: Some(0.8125),
            seconds: 2.5,
            images_per_second: 22_000.0,
        };
        let second = EpochRecord {
            epoch: 2,
            learning_rate: 5e-4,
            train_loss: 0.25,
            train_accuracy: 0.875,
            validation_loss: None,
            validation_accuracy: None,
            seconds: 1.5,
            images_per_second: 36_000.0,
        };
        let history = History(vec![first, second]);
        assert_eq!(file(&history, 1.7e9), include_bytes!("../tests/vectors/events.bin"));
    }

    #[test]
    fn integers_are_varints() {
        let mut message = Message::default();
        message.integer(2, 300);
        // Field 2, wire type 0; 300 = 0b10_0101100 in groups of seven bits, lowest first.
        assert_eq!(message.0, [0x10, 0xac, 0x02]);
    }
}
