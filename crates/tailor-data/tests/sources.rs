//! Data sets in every form, opened from folders that the tests make.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tailor_data::photo;
use tailor_data::{
    ImageShape, Judged, OpenOptions, PathKind, Source, Splits, kind_of, open, open_judged, split,
};

fn open_path(path: &Path) -> tailor_data::Result<Splits> {
    open(&Source::Path(path.to_owned()), &OpenOptions::default())
}

/// What a failure says; fails itself if there is none.
fn complaint(path: &Path) -> String {
    open_path(path).unwrap_err().to_string()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// IDX images of 1×2 pixels with the values 2i and 2i + 1.
fn idx_images(count: u8) -> Vec<u8> {
    [&[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 1, 0, 0, 0, 2][..], &(0..2 * count).collect::<Vec<_>>()].concat()
}

fn idx_labels(labels: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8][..], labels].concat()
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A gray PNG of one value.
fn png(folder: &Path, name: &str, value: u8, height: usize, width: usize) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(
        &path,
        photo::png(&vec![value; height * width], ImageShape::new(height, width, 1)).unwrap(),
    )
    .unwrap();
}

#[test]
fn idx_pairs_are_found_by_their_names_and_read_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // Compressed without saying so, and saying so without being it.
    write(path, "my-train-images.idx3-ubyte", &gzip(&idx_images(3)));
    write(path, "my-train-labels.idx1-ubyte", &idx_labels(&[2, 0, 1]));
    write(path, "my-test-images-idx3-ubyte.gz", &idx_images(1));
    write(path, "my-test-labels-idx1-ubyte", &idx_labels(&[3]));
    let splits = open_path(path).unwrap();
    assert_eq!(splits.train.len(), 3);
    assert_eq!(*splits.train.image(2), [4, 5]);
    // Four classes: the greatest label of any part is 3.
    assert_eq!(splits.train.class_names(), ["0", "1", "2", "3"]);
    assert_eq!(splits.test.as_ref().unwrap().label(0), 3);
    assert_eq!(kind_of(path).unwrap(), PathKind::Dataset);

    write(path, "classes.txt", b"hat\nshoe\nbag\nsock\n");
    assert_eq!(open_path(path).unwrap().train.class_names(), ["hat", "shoe", "bag", "sock"]);
    write(path, "classes.txt", b"hat\nshoe\nbag\n");
    assert!(complaint(path).contains("label #0 is 3, but there are 3 classes, 0 to 2"));
}

#[test]
fn one_idx_file_is_a_data_set_with_the_labels_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "t10k-images-idx3-ubyte", &idx_images(2));
    let images = folder.path().join("t10k-images-idx3-ubyte");
    assert!(complaint(&images).contains("its labels are missing: there is no t10k-labels-idx1-ubyte"));
    write(folder.path(), "t10k-labels-idx1-ubyte.gz", &gzip(&idx_labels(&[0, 1])));
    assert_eq!(open_path(&images).unwrap().train.len(), 2);
    assert_eq!(kind_of(&images).unwrap(), PathKind::Dataset);
    fs::write(&images, b"of another kind").unwrap();
    assert!(complaint(&images).contains("it begins with 6f662061, not 00000803"));
    fs::write(&images, idx_images(2)).unwrap();
    // As a folder it is a part to evaluate with, and nothing to train with.
    assert!(complaint(folder.path()).contains("has no training part"));
    let source = Source::Path(folder.path().to_owned());
    assert_eq!(open_judged(&source, &OpenOptions::default()).unwrap().images.len(), 2);
}

#[test]
fn damaged_idx_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "train-labels-idx1-ubyte.gz", &gzip(&idx_labels(&[2, 0, 1])));
    let whole = gzip(&idx_images(3));
    write(path, "train-images-idx3-ubyte.gz", &whole[..whole.len() - 9]);
    let error = complaint(path);
    assert!(
        error.contains("train-images-idx3-ubyte.gz is not a sound gzip file (it ends too early)"),
        "{error}"
    );
    let mut changed = whole.clone();
    changed[whole.len() - 6] ^= 0xff;
    write(path, "train-images-idx3-ubyte.gz", &changed);
    assert!(complaint(path).contains("not a sound gzip file"));
    write(path, "train-images-idx3-ubyte.gz", &[whole, b"more".to_vec()].concat());
    assert!(open_path(path).is_err(), "trailing bytes");
    write(path, "train-images-idx3-ubyte.gz", &idx_images(2));
    assert!(complaint(path).contains("it has 3 labels, but"));
}

#[test]
fn two_training_sets_in_one_folder_are_ambiguous() {
    let folder = tempfile::tempdir().unwrap();
    for set in ["digits", "letters"] {
        write(folder.path(), &format!("{set}-train-images-idx3-ubyte"), &idx_images(1));
        write(folder.path(), &format!("{set}-train-labels-idx1-ubyte"), &idx_labels(&[0]));
    }
    let error = complaint(folder.path());
    assert!(error.contains("digits-train-images-idx3-ubyte and letters-train-images-idx3-ubyte"), "{error}");
    // But an archive beside its content is no second one.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train-images-idx3-ubyte", &idx_images(1));
    write(folder.path(), "train-images-idx3-ubyte.gz", &gzip(&idx_images(1)));
    write(folder.path(), "train-labels-idx1-ubyte", &idx_labels(&[0]));
    assert_eq!(open_path(folder.path()).unwrap().train.len(), 1);
}

#[test]
fn csv_alone_or_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "some_train.csv", b"label,a,b,c,d\n1,1,2,3,4\n0,5,6,7,8\n");
    let alone = open_path(&path.join("some_train.csv")).unwrap();
    assert_eq!((alone.name.as_str(), alone.train.len(), alone.test.is_none()), ("some_train.csv", 2, true));
    write(path, "some_test.csv.gz", &gzip(b"1,9,9,9,9\n"));
    let both = open_path(path).unwrap();
    assert_eq!(*both.test.unwrap().image(0), [9; 4]);
    let whole = gzip(b"1,9,9,9,9\n");
    write(path, "some_test.csv.gz", &whole[..whole.len() - 4]);
    assert!(complaint(path).contains("some_test.csv.gz is not a sound gzip file"));
    write(path, "some_test.csv.gz", b"1,9,9\n");
    assert!(complaint(path).contains("some_test.csv.gz, line 1: a label and 2 pixels"));
    write(path, "some_test.csv.gz", b"1,9\n");
    assert!(complaint(path).contains("are 2×2×1, others are 1×1×1"));
}

#[test]
fn a_folder_a_class_with_parts_above() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (part, value) in [("train", 10), ("val", 20), ("test", 30)] {
        png(path, &format!("{part}/shoe/b.png"), value, 3, 4);
        png(path, &format!("{part}/shoe/a.png"), value + 1, 3, 4);
        png(path, &format!("{part}/hat/c.png"), value + 2, 3, 4);
    }
    write(path, "train/hat/notes.txt", b"not an image");
    write(path, "train/hat/.hidden.png", b"nor this");
    let splits = open_path(path).unwrap();
    assert_eq!(splits.train.shape(), ImageShape::new(3, 4, 1));
    assert_eq!(splits.train.class_names(), ["hat", "shoe"]);
    assert_eq!(*splits.train.image(0), [12; 12]);
    assert_eq!(*splits.train.image(1), [11; 12]);
    assert!(splits.train.origin(1).ends_with("a.png"));
    assert_eq!(*splits.validation.unwrap().image(0), [22; 12]);
    assert_eq!(*splits.test.unwrap().image(0), [32; 12]);
    assert_eq!(splits.notes.len(), 1);
    assert!(splits.notes[0].contains("1 skipped that are not images, such as \"notes.txt\""));
    assert_eq!(kind_of(path).unwrap(), PathKind::ClassFolders);
    assert_eq!(kind_of(&path.join("train/shoe")).unwrap(), PathKind::ImageFolder);
    assert_eq!(kind_of(&path.join("train/shoe/a.png")).unwrap(), PathKind::Image);
    assert!(kind_of(&path.join("train/hat/notes.txt")).is_err());
}

#[test]
fn a_model_s_classes_decide_the_labels_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "shoe/a.png", 1, 3, 3);
    let source = Source::Path(folder.path().to_owned());
    let options = |names: &[&str]| OpenOptions {
        class_names: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..OpenOptions::default()
    };
    let Judged { images: test, .. } = open_judged(&source, &options(&["bag", "shoe", "hat"])).unwrap();
    assert_eq!((test.label(0), test.classes()), (1, 3));
    let error = open_judged(&source, &options(&["bag", "hat"])).unwrap_err().to_string();
    assert!(error.contains("the folder \"shoe\" is none of the classes bag, hat"), "{error}");
}

#[test]
fn images_of_several_sizes_are_brought_to_one() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "hat/a.png", 10, 3, 4);
    png(folder.path(), "shoe/b.png", 20, 30, 20);
    let splits = open_path(folder.path()).unwrap();
    assert_eq!(splits.train.shape(), ImageShape::new(64, 64, 1));
    assert!(splits.notes[0].contains("resized to 64×64"), "{:?}", splits.notes);
    // The border's color continues a plain image.
    assert!(splits.train.image(1).iter().all(|&value| value == 20));
    let options = OpenOptions { size: Some((5, 6)), channels: Some(3), ..OpenOptions::default() };
    let splits = open(&Source::Path(folder.path().to_owned()), &options).unwrap();
    assert_eq!(splits.train.shape(), ImageShape::new(5, 6, 3));
    let options = OpenOptions { channels: Some(2), ..OpenOptions::default() };
    let error = open(&Source::Path(folder.path().to_owned()), &options).unwrap_err().to_string();
    assert!(error.contains("not 2"), "{error}");
}

#[test]
fn decoded_images_are_cached_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos");
    for (i, class) in ["hat", "shoe"].into_iter().enumerate() {
        png(&path, &format!("train/{class}/a.png"), 10 + i as u8, 30, 20);
        png(&path, &format!("test/{class}/b.png"), 20 + i as u8, 30, 20);
    }
    let cache = folder.path().join("cache");
    let source = Source::Path(path.clone());
    let options = OpenOptions {
        size: Some((8, 8)),
        store_size: Some((12, 12)),
        channels: Some(1),
        cache: Some(cache.clone()),
        ..OpenOptions::default()
    };
    let most = std::sync::Mutex::new((0, 0));
    let open = || {
        *most.lock().unwrap() = (0, 0);
        let watch = |done: usize, total: usize| {
            let mut most = most.lock().unwrap();
            *most = (done.max(most.0), total);
        };
        let splits = tailor_data::open_watched(&source, &options, &watch).unwrap();
        let test = splits.test.unwrap();
        assert_eq!(*most.lock().unwrap(), (4, 4));
        // Only what is trained on is kept larger.
        assert_eq!(
            (splits.train.shape(), test.shape()),
            (ImageShape::new(12, 12, 1), ImageShape::new(8, 8, 1))
        );
        (splits.train.image(1)[0], test.image(0)[0])
    };
    assert_eq!(open(), (11, 20));
    let entries =
        || fs::read_dir(&cache).unwrap().flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
    assert_eq!(entries().count(), 4);
    // Were they decoded again, these would be errors. The times are put back, as the cache goes by them.
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    for name in ["train/hat/a.png", "train/shoe/a.png", "test/hat/b.png", "test/shoe/b.png"] {
        let file = path.join(name);
        let (time, length) = (modified(&file), fs::metadata(&file).unwrap().len());
        fs::write(&file, vec![0; length as usize]).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(open(), (11, 20));
    png(&path, "train/shoe/a.png", 99, 30, 20);
    assert_eq!(open(), (99, 20));
    fs::remove_dir_all(&cache).unwrap();
    assert!(open_path(&path).is_err());
}

#[test]
fn images_beside_the_folders_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    png(path, "hat/a.png", 1, 3, 3);
    png(path, "shoe/a.png", 2, 3, 3);
    png(path, "loose.png", 2, 3, 3);
    write(path, "readme.txt", b"about them");
    let splits = open_path(path).unwrap();
    assert_eq!(splits.notes.len(), 1);
    assert!(splits.notes[0].contains("1 image is not used, such as \"loose.png\""), "{:?}", splits.notes);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    png(path, "train/hat/a.png", 1, 3, 3);
    png(path, "train/b.png", 1, 3, 3);
    png(path, "train/c.png", 1, 3, 3);
    png(path, "more/d.png", 1, 3, 3);
    png(path, "e.png", 1, 3, 3);
    let notes = open_path(path).unwrap().notes;
    assert_eq!(notes.len(), 3);
    assert!(notes[0].contains("more is not used"), "{notes:?}");
    assert!(notes[1].contains("1 image is not used, such as \"e.png\""), "{notes:?}");
    assert!(notes[2].contains("2 images are not used, such as \"b.png\""), "{notes:?}");
}

#[test]
fn folders_that_are_no_data_set_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(complaint(path).contains("is not a data set: expected IDX files, a CSV file, or a folder"));
    assert!(complaint(&path.join("nowhere")).contains("cannot read"));
    assert!(kind_of(path).is_err());

    png(path, "hat/a.png", 1, 3, 3);
    fs::create_dir(path.join("shoe")).unwrap();
    assert!(complaint(path).contains("the class \"shoe\" has no images; add some or remove its folder"));
    fs::write(path.join("shoe/IMG_1.HEIC"), "of a telephone").unwrap();
    assert!(
        complaint(path)
            .contains("has no images that can be read (convert HEIC, HEIF and AVIF to JPEG first)")
    );
    fs::remove_file(path.join("shoe/IMG_1.HEIC")).unwrap();

    png(path, "shoe/b.png", 1, 3, 3);
    png(path, "hat/c.png", 1, 3, 3);
    let error = split::stratified(&open_path(path).unwrap().train, 1, 0).unwrap_err().to_string();
    assert!(error.contains("the class \"shoe\" has a single image"), "{error}");

    write(path, "hat/b.jpg", b"\xff\xd8\xff\xe0 and then nothing of use");
    let error = complaint(path);
    assert!(error.contains("cannot decode the image") && error.contains("b.jpg"), "{error}");
}

#[test]
fn a_class_only_in_the_test_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "train/hat/a.png", 1, 3, 3);
    png(folder.path(), "test/shoe/a.png", 1, 3, 3);
    let error = complaint(folder.path());
    assert!(
        error.contains("the class \"shoe\" has images in other parts, but none to train with"),
        "{error}"
    );
    png(folder.path(), "training/hat/a.png", 1, 3, 3);
    assert!(complaint(folder.path()).contains("\"train\" and \"training\" both stand for the same part"));
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_and_links_to_nothing_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    png(path, "hat/a.png", 1, 3, 3);
    std::os::unix::fs::symlink(path, path.join("hat/around")).unwrap();
    std::os::unix::fs::symlink(path.join("gone.png"), path.join("hat/gone.png")).unwrap();
    let splits = open_path(path).unwrap();
    assert_eq!(splits.train.len(), 1);
    assert!(splits.notes[0].contains("2 skipped"), "{:?}", splits.notes);
}

#[test]
fn a_source_reads_as_it_is_written() {
    for text in ["fashion-mnist", "mnist", "./mnist", "some/folder"] {
        assert_eq!(Source::parse(text).to_string(), text);
    }
    assert_eq!(Source::parse("./mnist"), Source::Path("./mnist".into()));
}
