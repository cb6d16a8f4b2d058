//! `tailor predict`: photographs, folders and data sets, in every format.

mod workbench;

use std::path::Path;

use workbench::{Bench, png};

/// A bench with a model of the stripes: class k is a bright row 2k+1 of 8×8.
fn trained() -> Bench {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run", "--quiet"]);
    bench
}

fn stripe(class: u32) -> Vec<u8> {
    png(8, |_, y| if y == 2 * class + 1 { 230 } else { 10 })
}

#[test]
fn images_are_named_in_every_format() {
    let bench = trained();
    bench.write("a.png", stripe(2));
    bench.write("b.png", stripe(0));

    let table = bench.succeed(&["predict", "run", "a.png", "b.png", "--top", "1"]).out;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().filter(|word| *word != "strange").take(2).collect())
        .collect();
    assert_eq!(rows, [["a.png", "2"], ["b.png", "0"]]);

    let json = bench.succeed(&["predict", "run", "a.png", "--format", "json", "--top", "2"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["image"], &json["predictions"][0]["class"]), (&"a.png".into(), &"2".into()));
    assert_eq!(json["predictions"].as_array().unwrap().len(), 2);

    let csv = bench.succeed(&["predict", "run", "b.png", "--format", "csv", "--top", "1"]).out;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "image,class_1,probability_1,distance,strange");
    assert!(lines[1].starts_with("b.png,0,0."), "{csv}");
}

#[test]
fn one_bad_file_is_reported_and_the_rest_are_classified() {
    let bench = trained();
    bench.write("photos/a.png", stripe(1));
    bench.write("photos/broken.png", &stripe(1)[..40]);
    bench.write("photos/deeper/c.png", stripe(3));
    bench.write("photos/notes.txt", "not an image");
    let ran = bench.run(&["predict", "run", "photos", "missing.png", "--top", "1", "--format", "csv"]);
    assert_eq!(ran.code, 1);
    let images: Vec<&str> = ran.out.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(images, ["photos/a.png", "photos/deeper/c.png"]);
    assert!(ran.err.contains("broken.png") && ran.err.contains("missing.png"), "{}", ran.err);
    assert!(ran.err.contains("2 of 4 inputs could not be classified"), "{}", ran.err);
}

#[test]
fn a_published_data_set_goes_by_its_name() {
    let ran = trained().run(&["predict", "run", "fashion-mnist"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("fashion-mnist holds images of 28×28"), "{}", ran.err);
}

#[test]
fn a_thousand_files_stream_through() {
    let bench = trained();
    for i in 0..1000 {
        bench.write(&format!("many/{i:04}.png"), stripe(i % 4));
    }
    let out = bench.succeed(&["predict", "run", "many", "--top", "1", "--format", "csv"]).out;
    let right = out
        .lines()
        .skip(1)
        .enumerate()
        .filter(|(i, line)| line.split(',').nth(1) == Some(&(i % 4).to_string()));
    assert_eq!(right.count(), 1000);
}

#[test]
fn a_data_set_is_classified_image_by_image() {
    let bench = trained();
    let out = bench.succeed(&["predict", "run", "stripes", "--top", "1", "--format", "csv"]).out;
    assert_eq!(out.lines().count(), 1 + 80, "the test part has 80 images");
}

#[test]
fn show_input_writes_what_the_network_saw() {
    let bench = trained();
    bench.write("a.png", png(80, |x, y| ((x + y) % 256) as u8));
    bench.succeed(&["predict", "run", "a.png", "--show-input", "seen"]);
    let seen = image::open(bench.path("seen/00001-a.png")).unwrap();
    assert_eq!((seen.width(), seen.height()), (8, 8));
}

#[test]
fn a_drawn_trouser_on_white_is_named_by_a_model_of_the_real_data() {
    let bench = Bench::new();
    bench.succeed(&["train", "cnn-32-64-64", "--limit", "6000", "--epochs", "3", "--run", "run", "--quiet"]);
    // Two dark legs joined at the waist, slightly apart, on white; 600×600 as a photograph.
    let trouser = png(600, |x, y| {
        let waist = (60..140).contains(&y) && (200..400).contains(&x);
        let left = (140..560).contains(&y) && (200..290).contains(&x);
        let right = (140..560).contains(&y) && (310..400).contains(&x);
        if waist || left || right { 60 + (y / 20 % 2) as u8 * 8 } else { 255 }
    });
    bench.write("trouser.png", trouser);
    let out = bench.succeed(&["predict", "run", "trouser.png", "--top", "1", "--format", "csv"]).out;
    assert!(out.contains("trouser.png,Trouser,"), "{out}");
}

#[test]
fn real_photographs_of_trousers_on_a_plain_ground_are_named() {
    let photographs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/photos/train/pants");
    let names = ["3901a67e-e2da-483f-89ac-e0472b33e5a9.jpg", "74e2adaf-72e7-405c-8e79-7dd804353143.jpg"];
    if !names.iter().all(|name| photographs.join(name).exists()) {
        eprintln!("skipped: the photographs are not beside the repository");
        return;
    }
    let bench = Bench::new();
    bench.succeed(&["train", "cnn-32-64-64", "--limit", "12000", "--epochs", "4", "--run", "run", "--quiet"]);
    for name in names {
        let photograph = photographs.join(name).display().to_string();
        let out = bench.succeed(&["predict", "run", &photograph, "--top", "1", "--format", "csv"]).out;
        assert!(out.lines().nth(1).unwrap().contains(",Trouser,"), "{out}");
    }
}
