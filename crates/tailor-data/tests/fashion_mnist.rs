//! The real Fashion-MNIST of this repository.

use std::path::Path;
use std::time::Instant;

use tailor_data::{
    Judged, Normalization, OpenOptions, PathKind, Source, Splits, Statistics, kind_of, open, open_judged,
    split,
};

const NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

fn fashion_mnist() -> Splits {
    open(&Source::FashionMnist, &OpenOptions::default()).unwrap()
}

#[test]
fn it_has_its_published_numbers() {
    let started = Instant::now();
    let splits = fashion_mnist();
    eprintln!("opened in {:?}", started.elapsed());
    assert_eq!(splits.name, "Fashion-MNIST");
    assert_eq!(splits.train.shape().to_string(), "28×28×1");
    assert_eq!(splits.train.class_names(), NAMES);
    assert_eq!(splits.train.class_counts(), [6000; 10]);
    assert!(splits.validation.is_none() && splits.notes.is_empty());
    let test = splits.test.as_ref().unwrap();
    assert_eq!(test.class_counts(), [1000; 10]);
    assert_eq!(splits.train.origin(123), "train-images #123");
    assert_eq!(test.origin(9999), "t10k-images #9999");
    // The first labels, as everyone sees them who opens the set: an ankle boot; a boot, a pullover, a trouser.
    assert_eq!((splits.train.label(0), test.label(0), test.label(1), test.label(2)), (9, 9, 2, 1));

    let normalization = Normalization::of(&splits.train);
    assert!((normalization.mean[0] - 0.2860).abs() < 5e-5, "{normalization:?}");
    assert!((normalization.deviation[0] - 0.3530).abs() < 5e-5, "{normalization:?}");
}

#[test]
fn it_splits_into_55000_and_5000_with_500_of_each_class() {
    let (train, validation) = split::stratified(&fashion_mnist().train, 5000, 42).unwrap();
    assert_eq!(train.class_counts(), [5500; 10]);
    assert_eq!(validation.class_counts(), [500; 10]);
}

#[test]
fn it_has_no_duplicates() {
    let splits = fashion_mnist();
    let started = Instant::now();
    let statistics = Statistics::of(&splits);
    let seconds = started.elapsed().as_secs_f64();
    let duplicates = &statistics.duplicates;
    eprintln!("statistics in {seconds:.2} s");
    // Unlike the first release of 2017, the official files have not one image twice.
    assert!(duplicates.groups.is_empty());
    assert_eq!(statistics.parts[0].images, 60_000);
    assert_eq!(statistics.parts[1].class_counts, [1000; 10]);
}

#[test]
fn its_folder_is_recognized_by_content() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist");
    assert_eq!(kind_of(&folder).unwrap(), PathKind::Dataset);
    let Judged { images: test, notes, .. } =
        open_judged(&Source::Path(folder), &OpenOptions::default()).unwrap();
    assert_eq!(test.len(), 10_000);
    assert_eq!(test.class_names(), NAMES);
    assert!(notes.is_empty());
}
