//! Training images kept larger than the network takes them.

use std::fs;
use std::path::Path;

use tailor_data::batch::{BatchPlan, batches};
use tailor_data::{ImageShape, photo};
use tailor_nn::Shape;
use tailor_train::{Recipe, RunData};

/// Ten gray images of each of two classes, 20×20, black on the left and white on the right.
fn photographs(folder: &Path) {
    let shape = ImageShape::new(20, 20, 1);
    let pixels: Vec<u8> = (0..400).map(|i| if i % 20 < 10 { 0 } else { 255 }).collect();
    for class in ["hat", "shoe"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..10 {
            fs::write(folder.join(class).join(format!("{i}.png")), photo::png(&pixels, shape).unwrap())
                .unwrap();
        }
    }
}

fn recipe(folder: &Path, data: &str) -> tailor_train::Result<Recipe> {
    let source = toml::Value::from(folder.display().to_string());
    let text =
        format!("name = \"small\"\n[model]\nlayers = []\n[data]\nsource = {source}\ncache = false\n{data}");
    Recipe::parse(&text, "small.toml")
}

#[test]
fn they_are_made_smaller_and_so_are_those_held_out() {
    let folder = tempfile::tempdir().unwrap();
    photographs(folder.path());
    for augment in ["", "augment = [\"random-resized-crop\"]"] {
        let recipe = recipe(folder.path(), &format!("size = 8\nstore-size = 16\n{augment}")).unwrap();
        let data = RunData::open(&recipe).unwrap();
        assert_eq!(data.shape(), Shape::Image { height: 8, width: 8, channels: 1 });
        assert_eq!((data.train.len(), data.train.shape()), (18, ImageShape::new(16, 16, 1)));
        assert_eq!((data.validation.len(), data.validation.shape()), (2, ImageShape::new(8, 8, 1)));
        let held_out = data.validation.image(0);
        assert_eq!((held_out[0], held_out[7]), (0, 255));
        let plan = BatchPlan::in_order(18);
        let batch =
            batches(&data.train, &data.normalization, data.augmentation.as_ref(), &plan).next().unwrap();
        assert_eq!(batch.images.len(), 18 * 64);
        // Normalized, black is below zero and white above; a crop may miss one of them.
        let whole = batch.images.chunks(64).filter(|image| image[0] < 0.0 && image[7] > 0.0).count();
        assert!(whole >= if augment.is_empty() { 18 } else { 9 }, "{whole}");
    }
}

#[test]
fn a_size_to_keep_is_not_below_the_size_to_train_at() {
    let error = recipe(Path::new("photos"), "size = 8\nstore-size = 4").unwrap_err().to_string();
    assert!(error.contains("data.store-size = 4 needs a data.size that is not larger"), "{error}");
}
