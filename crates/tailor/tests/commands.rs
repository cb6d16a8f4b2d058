//! The smaller commands: recipes, summary, data, and help.

mod workbench;

use workbench::{Bench, idx_images, idx_labels};

#[test]
fn help_names_every_command_and_shows_examples() {
    let help = Bench::new().succeed(&["--help"]).out;
    for command in ["train", "evaluate", "compare", "predict", "data", "recipes", "summary"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(help.contains("Examples:"));
    assert!(Bench::new().succeed(&["train", "--help"]).out.contains("--resume"));
}

#[test]
fn recipes_are_listed_and_a_printed_one_can_be_trained_from() {
    let bench = Bench::new();
    let list = bench.succeed(&["recipes"]).out;
    for name in ["ann-256-128", "cnn-32-64", "cnn-32-64-64", "cnn-bn-32-64-128", "cnn-64-64-128-128"] {
        assert!(list.contains(name), "{list}");
    }
    assert_eq!(list.matches("(default)").count(), 1);
    bench.write("mine.toml", bench.succeed(&["recipes", "cnn-32-64-64"]).out);
    assert!(bench.succeed(&["summary", "mine.toml"]).out.contains("93,322"));
}

#[test]
fn the_summary_shows_layers_shapes_and_exact_parameters() {
    let summary = Bench::new().succeed(&["summary", "cnn-bn-32-64-128"]).out;
    for part in
        ["conv1", "26×26×32", "bn3", "fc2", "241,994 trainable parameters + 448 running statistics = 242,442"]
    {
        assert!(summary.contains(part), "{part} is not in:\n{summary}");
    }
}

#[test]
fn info_counts_the_real_data() {
    let info = Bench::new().succeed(&["data", "info"]).out;
    for part in ["T-shirt/top", "6000", "1000", "28×28×1", "0.2860", "0.3530"] {
        assert!(info.contains(part), "{part} is not in:\n{info}");
    }
}

#[test]
fn info_reports_planted_duplicates_within_and_between_parts() {
    let bench = Bench::new();
    // Four images in training, the third a copy of the first under another label; the test part's only image is
    // the second.
    let image = |seed: u8| (0..4).map(move |p| seed * 4 + p);
    bench.write("d/train-images-idx3-ubyte", idx_images(4, 2, [1, 2, 1, 3].into_iter().flat_map(image)));
    bench.write("d/train-labels-idx1-ubyte", idx_labels(4, [0, 1, 1, 0].into_iter()));
    bench.write("d/t10k-images-idx3-ubyte", idx_images(1, 2, image(2)));
    bench.write("d/t10k-labels-idx1-ubyte", idx_labels(1, [1].into_iter()));
    let info = bench.succeed(&["data", "info", "--data", "d"]).out;
    assert!(info.contains("train: 1 images are exact copies"), "{info}");
    assert!(info.contains("test: 1 images also occur in train"), "{info}");
    assert!(info.contains("1 images occur under different labels"), "{info}");
    let json = bench.succeed(&["data", "info", "--data", "d", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["parts"][0]["images"], 4);
}

#[test]
fn preview_writes_a_picture_of_every_class() {
    let bench = Bench::new();
    bench.stripes("stripes");
    bench.succeed(&[
        "data",
        "preview",
        "--data",
        "stripes",
        "--recipe",
        "cnn-bn-32-64-128",
        "--output",
        "p.png",
    ]);
    let picture = image::load_from_memory(&bench.read("p.png")).unwrap();
    // Four rows of classes, nine columns: three images, each with two augmented copies.
    assert!(
        picture.width() > 9 * 84 && picture.height() > 4 * 84,
        "{}×{}",
        picture.width(),
        picture.height()
    );
}

#[test]
fn a_preview_leaves_room_for_classes_without_images() {
    let bench = Bench::new();
    bench.write("gap.csv", "0,1,2,3,4\n9,5,6,7,8\n");
    bench.succeed(&["data", "preview", "--data", "gap.csv", "--output", "p.png"]);
    assert!(image::load_from_memory(&bench.read("p.png")).is_ok());
    bench.fail(&["data", "preview", "--data", "gap.csv", "--output", "p.jpg"], 2, &["p.jpg", ".png"]);
}
