//! Blur is SciPy's, and near-duplicates correlate as NumPy says (`vectors/scipy_numpy.py` makes the vectors).

use serde::Deserialize;
use tailor_data::{Corruption, Dataset, ImageShape, STRENGTHS, Splits, near_duplicates};

#[derive(Deserialize)]
struct Blurred {
    height: usize,
    width: usize,
    image: Vec<u8>,
    /// At each strength.
    blurred: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
struct Correlated {
    height: usize,
    width: usize,
    images: Vec<u8>,
    least: f64,
    /// First, second, correlation.
    pairs: Vec<(usize, usize, f64)>,
}

fn dataset(shape: ImageShape, pixels: Vec<u8>) -> Dataset {
    let labels = vec![0; pixels.len() / shape.len()];
    Dataset::new(shape, pixels, labels, vec!["a".into()]).unwrap()
}

#[test]
fn blurred_images_are_scipys() {
    let case: Blurred = serde_json::from_str(include_str!("vectors/corruption.json")).unwrap();
    let images = dataset(ImageShape::new(case.height, case.width, 1), case.image);
    for strength in 1..=STRENGTHS {
        let blurred = Corruption::Blur.apply(&images, strength, 1).unwrap();
        for (i, (&ours, &theirs)) in blurred.image(0).iter().zip(&case.blurred[strength - 1]).enumerate() {
            // Sums of 32 and of 64 bits may be rounded to different sides.
            assert!(ours.abs_diff(theirs) <= 1, "strength {strength}, pixel {i}: {ours}, SciPy {theirs}");
        }
    }
}

#[test]
fn near_duplicates_are_those_that_correlate_by_numpy() {
    let case: Correlated = serde_json::from_str(include_str!("vectors/correlation.json")).unwrap();
    let train = dataset(ImageShape::new(case.height, case.width, 1), case.images);
    let splits = Splits { name: "some".into(), train, validation: None, test: None, notes: vec![] };
    let mut found: Vec<_> = near_duplicates(&splits, case.least)
        .unwrap()
        .into_iter()
        .map(|pair| (pair.copies[0].index, pair.copies[1].index, pair.correlation))
        .collect();
    found.sort_by_key(|&(a, b, _)| (a, b));
    assert_eq!(found.len(), case.pairs.len());
    for (ours, theirs) in found.iter().zip(&case.pairs) {
        assert_eq!((ours.0, ours.1), (theirs.0, theirs.1));
        assert!((ours.2 - theirs.2).abs() < 1e-12, "{ours:?}, NumPy {theirs:?}");
    }
}
