//! Folders of photographs that are more than the memory may hold, that are damaged, and whose cache fails.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tailor_data::batch::{BatchPlan, batches};
use tailor_data::{
    Augmentation, Dataset, ImageShape, Lost, Normalization, OpenOptions, Pipeline, Sampling, Source, Splits,
    Statistics, near_duplicates, open, photo,
};

/// Ten photographs of each of two classes to train with, two of each to validate with, of several sizes; two are alike.
fn photographs(folder: &Path) -> PathBuf {
    let folder = folder.join("photos");
    for (part, images) in [("train", 10), ("validation", 2)] {
        for (class, name) in ["hat", "shoe"].into_iter().enumerate() {
            fs::create_dir_all(folder.join(part).join(name)).unwrap();
            for i in 0..images {
                let shape = ImageShape::new(20 + i % 9, 30 - i % 9, 3);
                let value = |p: usize| (p * (7 + 13 * (i % 9)) + p * p / (11 + class)) as u8;
                let pixels: Vec<u8> = (0..shape.len()).map(value).collect();
                let file = folder.join(part).join(name).join(format!("{i}.png"));
                fs::write(file, photo::png(&pixels, shape).unwrap()).unwrap();
            }
        }
    }
    folder
}

fn open_in(folder: &Path, memory: u64, cache: Option<&Path>) -> tailor_data::Result<Splits> {
    let options = OpenOptions {
        size: Some((12, 12)),
        store_size: Some((16, 16)),
        cache: cache.map(Path::to_owned),
        memory: Some(memory),
        ..OpenOptions::default()
    };
    open(&Source::Path(folder.to_owned()), &options)
}

/// All that the splits' pixels are used for.
fn seen(splits: &Splits) -> impl PartialEq + use<> {
    let whole = |part: &Dataset| (part.pixels(0..part.len()), part.origin(1));
    let train = &splits.train;
    let held_out = train.subset(&[3, 17]).resized(12, 12).unwrap();
    let crop = Augmentation::RandomResizedCrop { min_area: 0.3, max_area: 1.0, min_aspect: 0.75 };
    let pipeline = Pipeline::resizing(&[crop], train.shape(), held_out.shape()).unwrap();
    let normalization = Normalization::of(train);
    let plan = BatchPlan { sampling: Sampling::Shuffled, epoch: 2, ..BatchPlan::in_order(7) };
    let batches: Vec<_> = batches(train, &normalization, Some(&pipeline), &plan).collect();
    let alike = near_duplicates(splits, 0.999).unwrap();
    assert!(!alike.is_empty());
    (
        (whole(train), whole(splits.validation.as_ref().unwrap()), whole(&held_out)),
        (Statistics::of(splits), normalization, batches, format!("{alike:?}")),
    )
}

#[test]
fn images_on_disk_are_those_in_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = photographs(scratch.path());
    let cache = scratch.path().join("cache");
    // All parts count: 20 images of 16×16×3 bytes and 4 of 12×12×3.
    let bytes = 20 * 768 + 4 * 432;
    let held = open_in(&folder, bytes, None).unwrap();
    assert!(held.notes.is_empty(), "{:?}", held.notes);
    let expected = seen(&held);
    for (cache, place) in [(Some(&*cache), "read from"), (Some(&*cache), "read from"), (None, "decoded")] {
        let on_disk = open_in(&folder, bytes - 1, cache).unwrap();
        assert!(on_disk.notes.len() == 1 && on_disk.notes[0].contains(place), "{:?}", on_disk.notes);
        assert!(expected == seen(&on_disk), "{cache:?}");
    }
}

#[test]
fn images_on_disk_survive_what_becomes_of_the_cache_and_of_the_photographs() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = photographs(scratch.path());
    let cache = scratch.path().join("cache");
    let expected = seen(&open_in(&folder, u64::MAX, None).unwrap());
    let on_disk = open_in(&folder, 0, Some(&cache)).unwrap();
    let entries = || {
        let folders = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
    };
    assert_eq!(entries().count(), 24);
    // A program that was killed, a disk that was full, one that forgets: what is damaged or missing is made anew.
    for (number, entry) in entries().enumerate() {
        let whole = fs::read(&entry).unwrap();
        match number % 3 {
            0 => fs::remove_file(&entry).unwrap(),
            1 => fs::write(&entry, &whole[..whole.len() / 2]).unwrap(),
            _ => fs::write(&entry, [&whole[..50], &[whole[50] ^ 1], &whole[51..]].concat()).unwrap(),
        }
    }
    assert!(expected == seen(&on_disk));
    assert!(expected == seen(&open_in(&folder, 0, Some(&cache)).unwrap()));
    // Now the cache is whole again, and the photographs are not asked for.
    fs::remove_dir_all(&folder).unwrap();
    assert!(expected == seen(&on_disk));
    fs::remove_dir_all(&cache).unwrap();
    let lost = catch_unwind(AssertUnwindSafe(|| on_disk.train.image(1).len())).unwrap_err();
    let Lost(what) = lost.downcast_ref().unwrap();
    assert!(what.contains("1.png") && what.contains("was there when the data was opened"), "{what}");
}

#[test]
fn two_may_fill_one_cache_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = photographs(scratch.path());
    let cache = scratch.path().join("cache");
    let expected = seen(&open_in(&folder, u64::MAX, None).unwrap());
    std::thread::scope(|scope| {
        let open = || scope.spawn(|| seen(&open_in(&folder, 0, Some(&cache)).unwrap()));
        let opened = [open(), open(), open()];
        opened.into_iter().for_each(|opened| assert!(expected == opened.join().unwrap()));
    });
}

#[test]
fn without_a_cache_that_can_be_written_images_are_decoded_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = photographs(scratch.path());
    let expected = seen(&open_in(&folder, u64::MAX, None).unwrap());
    let file = scratch.path().join("no-folder");
    fs::write(&file, "").unwrap();
    let on_disk = open_in(&folder, 0, Some(&file)).unwrap();
    let [too_large, train, validation] = &on_disk.notes[..] else { panic!("{:?}", on_disk.notes) };
    assert!(too_large.contains("MB"), "{too_large}");
    assert!(train.starts_with("20 images could not be written into the cache ("), "{train}");
    assert!(train.contains("TAILOR_CACHE") && validation.starts_with("4 images"), "{train}, {validation}");
    assert!(expected == seen(&on_disk));
    // In memory they are decoded once, and need no cache.
    assert!(open_in(&folder, u64::MAX, Some(&file)).unwrap().notes.is_empty());
}

#[test]
fn a_few_damaged_images_are_left_out_and_named() {
    for memory in [0, u64::MAX] {
        let scratch = tempfile::tempdir().unwrap();
        let folder = photographs(scratch.path());
        let damage = |name: &str| {
            let file = folder.join(name);
            let whole = fs::read(&file).unwrap();
            fs::write(&file, &whole[..whole.len() - 30]).unwrap();
        };
        damage("train/hat/3.png");
        fs::write(folder.join("train/shoe/0.png"), "no image at all").unwrap();
        let splits = open_in(&folder, memory, None).unwrap();
        assert_eq!(splits.train.class_counts(), [9, 9]);
        let names = (0..18).map(|i| splits.train.origin(i));
        assert!(names.into_iter().all(|name| !name.ends_with("hat/3.png") && !name.ends_with("shoe/0.png")));
        let note = splits.notes.last().unwrap();
        assert!(note.contains("train: 2 of 20 images left out: cannot decode the image"), "{note}");
        assert!(note.contains("hat/3.png") && note.contains("shoe/0.png"), "{note}");

        // More than one in ten.
        damage("train/hat/4.png");
        let error = open_in(&folder, memory, None).unwrap_err().to_string();
        assert!(
            error.contains("train: 3 of 20 images cannot be used") && error.contains("hat/3.png"),
            "{error}"
        );
        // Of four, one is too many.
        for name in ["3", "4"] {
            fs::remove_file(folder.join(format!("train/hat/{name}.png"))).unwrap();
        }
        damage("validation/hat/1.png");
        let error = open_in(&folder, memory, None).unwrap_err().to_string();
        assert!(error.starts_with("cannot decode the image") && error.contains("hat/1.png"), "{error}");
    }
}

#[test]
fn a_class_of_damaged_images_is_not_left_out() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = photographs(scratch.path());
    fs::create_dir(folder.join("train/bag")).unwrap();
    for i in 0..2 {
        fs::write(folder.join(format!("train/bag/{i}.jpg")), "no image at all").unwrap();
    }
    let error = open_in(&folder, u64::MAX, None).unwrap_err().to_string();
    assert!(error.contains("all images of the class \"bag\" are among them"), "{error}");
}
