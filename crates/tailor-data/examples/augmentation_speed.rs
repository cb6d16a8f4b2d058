//! Measures how many images a second one core augments, for each kind of change:
//! `cargo run --release -p tailor-data --example augmentation_speed`
//!
//! The images are noise, 28×28 gray and 160×160 RGB; the crop is also measured from images stored at 184×184. Each
//! figure is the best of many short measurements of the same work.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tailor_data::augment::Padding;
use tailor_data::random::{Generator, Turn};
use tailor_data::{Augmentation, ImageShape, Pipeline};

fn main() -> tailor_data::Result<()> {
    let gray = ImageShape::new(28, 28, 1);
    let color = ImageShape::new(160, 160, 3);
    println!("{:30} {:>12} {:>12}  images/s on one core", "", gray.to_string(), color.to_string());
    for (name, augmentations) in cases() {
        let speed = |shape| match Pipeline::new(&augmentations, shape) {
            Ok(pipeline) => format!("{:.0}", images_per_second(&pipeline)),
            Err(_) => "–".into(),
        };
        println!("{name:30} {:>12} {:>12}", speed(gray), speed(color));
    }
    let steps = [crop(), Augmentation::HorizontalFlip { probability: 0.5 }];
    let pipeline = Pipeline::resizing(&steps, ImageShape::new(184, 184, 3), color)?;
    println!("{:30} {:>12} {:>12.0}", "crop + flip, from 184×184", "", images_per_second(&pipeline));
    Ok(())
}

fn cases() -> Vec<(&'static str, Vec<Augmentation>)> {
    let flip = Augmentation::HorizontalFlip { probability: 0.5 };
    let rotate = Augmentation::Rotate { degrees: 10.0 };
    let shift = Augmentation::Shift { fraction: 0.1 };
    let zoom = Augmentation::Zoom { fraction: 0.1 };
    let elastic = Augmentation::Elastic { amplitude: 34.0, smoothness: 4.0 };
    let perspective = Augmentation::Perspective { distortion: 0.5, probability: 1.0 };
    let pad_crop = Augmentation::PadCrop { pixels: 2, padding: Padding::Reflect };
    vec![
        ("horizontal-flip", vec![flip.clone()]),
        ("alternating-flip + pad-crop", vec![Augmentation::AlternatingFlip, pad_crop]),
        ("rotate", vec![rotate.clone()]),
        ("rotate + shift + zoom + flip", vec![rotate.clone(), shift, zoom, flip.clone()]),
        ("perspective", vec![perspective.clone()]),
        ("elastic", vec![elastic.clone()]),
        ("rotate + elastic + perspective", vec![rotate, elastic, perspective]),
        ("random-resized-crop + flip", vec![crop(), flip]),
        ("brightness", vec![Augmentation::Brightness { fraction: 0.2 }]),
        ("contrast", vec![Augmentation::Contrast { fraction: 0.2 }]),
        ("saturation", vec![Augmentation::Saturation { fraction: 0.2 }]),
        ("hue", vec![Augmentation::Hue { fraction: 0.1 }]),
        (
            "color-jitter",
            vec![Augmentation::ColorJitter { brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1 }],
        ),
        ("gaussian-noise", vec![Augmentation::GaussianNoise { deviation: 0.05 }]),
        ("rand-augment", vec![Augmentation::RandAugment { operations: 2, magnitude: 9.0 }]),
        (
            "random-erasing",
            vec![Augmentation::RandomErasing {
                probability: 0.5,
                min_area: 0.02,
                max_area: 0.4,
                min_aspect: 0.3,
            }],
        ),
        ("cutout", vec![Augmentation::Cutout { size: 8 }]),
    ]
}

fn crop() -> Augmentation {
    Augmentation::RandomResizedCrop { min_area: 0.3, max_area: 1.0, min_aspect: 0.75 }
}

/// The best of many short measurements of the same work, over a second: what one core does undisturbed.
fn images_per_second(pipeline: &Pipeline) -> f64 {
    let size = pipeline.stored_shape().len();
    let images = (50_000 / size).max(6);
    let mut pixels = vec![0; images * size];
    Generator::new(1).fill(&mut pixels);
    let mut out = vec![0; pipeline.shape().len()];
    let started = Instant::now();
    let mut best = f64::MAX;
    while started.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        for (index, image) in pixels.chunks_exact(size).enumerate() {
            pipeline.apply(image, &Turn { seed: 1, epoch: 0, index }, &mut out);
            black_box(&out);
        }
        best = best.min(start.elapsed().as_secs_f64() / images as f64);
    }
    1.0 / best
}
