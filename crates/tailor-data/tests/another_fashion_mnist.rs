//! Other files under Fashion-MNIST's names. Alone in its file, because it changes the current folder.

use std::{env, fs};

use tailor_data::{OpenOptions, Source, open};

#[test]
fn other_files_are_refused_by_name_and_accepted_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data/fashion-mnist");
    fs::create_dir_all(&data).unwrap();
    for part in ["train", "t10k"] {
        // One image of one black pixel, and its label 0.
        let images = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0];
        fs::write(data.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(data.join(format!("{part}-labels-idx1-ubyte")), [0, 0, 8, 1, 0, 0, 0, 1, 0]).unwrap();
    }
    let below = folder.path().join("some/where");
    fs::create_dir_all(&below).unwrap();
    env::set_current_dir(&below).unwrap();

    let error = open(&Source::FashionMnist, &OpenOptions::default()).unwrap_err().to_string();
    assert!(error.contains("train-images-idx3-ubyte is not the official file of Fashion-MNIST"), "{error}");
    assert!(error.contains("the official one c59f468a2f…"), "{error}");
    assert!(error.contains("the first release of 2017, which leaked test images into training"), "{error}");

    let splits = open(&Source::Path(data), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.class_names(), ["0"]);
    assert!(splits.notes[0].contains("is not the official Fashion-MNIST"), "{:?}", splits.notes);
    env::set_current_dir(env::temp_dir()).unwrap();
}
