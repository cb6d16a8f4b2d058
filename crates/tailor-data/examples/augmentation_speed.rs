//! Measures how many 28×28 images a second one core augments:
//! `cargo run --release -p tailor-data --example augmentation_speed`

use std::hint::black_box;
use std::time::Instant;

use tailor_data::random::Turn;
use tailor_data::{Augmentation, OpenOptions, Pipeline, Source, open};

fn main() -> tailor_data::Result<()> {
    let train = open(&Source::FashionMnist, &OpenOptions::default())?.train;
    let geometric = vec![
        Augmentation::Rotate { degrees: 10.0 },
        Augmentation::Shift { fraction: 0.1 },
        Augmentation::Zoom { fraction: 0.1 },
        Augmentation::HorizontalFlip { probability: 0.5 },
    ];
    let mut all = geometric.clone();
    all.push(Augmentation::Shear { degrees: 10.0 });
    all.push(Augmentation::Brightness { fraction: 0.2 });
    all.push(Augmentation::RandomErasing {
        probability: 0.5,
        min_area: 0.02,
        max_area: 0.4,
        min_aspect: 0.3,
    });
    for (name, augmentations) in [("rotate + shift + zoom + flip", geometric), ("all", all)] {
        let pipeline = Pipeline::new(&augmentations, train.shape())?;
        let mut out = vec![0; train.shape().len()];
        let started = Instant::now();
        for i in 0..train.len() {
            pipeline.apply(train.image(i), &Turn { seed: 1, epoch: 0, index: i }, &mut out);
            black_box(&out);
        }
        let images_per_second = train.len() as f64 / started.elapsed().as_secs_f64();
        println!("{name}: {images_per_second:.0} images/s on one core");
    }
    Ok(())
}
