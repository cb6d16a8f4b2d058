//! `tailor explain` and `tailor embed`: the heat lies where the evidence is, for every kind of model, and pages are whole.

mod workbench;

use serde_json::Value;
use workbench::{Bench, idx_images, idx_labels, png};

/// A bench with a model of the stripes: class k is a bright row 2k+1 of 8×8.
fn trained(recipe: &str) -> Bench {
    let bench = Bench::new();
    bench.stripes_recipe();
    bench.write("model.toml", recipe);
    bench.succeed(&["train", "model.toml", "--run", "run", "--quiet"]);
    bench
}

/// Layers and how long they are trained for.
fn recipe(layers: &str, epochs: usize) -> String {
    format!(
        "name = \"stripes\"\n[model]\nlayers = [{layers}]\n[data]\nsource = \"stripes\"\nvalidation = 40\n\
         [train]\nepochs = {epochs}\nbatch-size = 20\nlr = 1e-2\n"
    )
}

/// Classes are told by what is seen, not by where: as Grad-CAM, which weighs whole feature maps, supposes.
const CONVOLUTIONS: &str = r#"{ type = "conv", filters = 8, padding = "same" }, { type = "conv", filters = 8, padding = "same" },
    "global-average-pool""#;

const CORNERS: [&str; 4] = ["top left", "top right", "bottom left", "bottom right"];

/// A pixel of 15×15 with upright (class 0) or level (class 1) bars in one corner, or none (class 2), in front of noise. Without
/// images that are nothing, one kind of bars could be told by the absence of the other.
fn bars(class: u32, corner: u32, x: u32, y: u32, noise: u8) -> u8 {
    let (left, top) = (corner % 2 * 10, corner / 2 * 10);
    let is_inside = (left..left + 5).contains(&x) && (top..top + 5).contains(&y);
    let is_bar = [x.is_multiple_of(2), y.is_multiple_of(2), false][class as usize];
    noise + if is_inside && is_bar { 200 } else { 0 }
}

/// A bench with a model that tells upright bars, level ones and none from each other, wherever they are.
fn bars_bench(epochs: usize) -> Bench {
    let bench = Bench::new();
    for (part, images) in [("train", 400u32), ("t10k", 80)] {
        let pixels = (0..images).flat_map(|i| {
            (0..225u32).map(move |p| {
                let noise = (i.wrapping_mul(2_654_435_761).wrapping_add(p * 40_503) >> 13) as u8 % 50;
                bars(i % 3, i / 3 % 4, p % 15, p / 15, noise)
            })
        });
        bench.write(&format!("bars/{part}-images-idx3-ubyte"), idx_images(images, 15, pixels));
        bench.write(
            &format!("bars/{part}-labels-idx1-ubyte"),
            idx_labels(images, (0..images).map(|i| (i % 3) as u8)),
        );
    }
    bench.write("model.toml", recipe(CONVOLUTIONS, epochs).replace("\"stripes\"", "\"bars\""));
    bench.succeed(&["train", "model.toml", "--run", "run", "--quiet"]);
    bench
}

/// An image of level bars at the bottom left.
fn level_bars() -> Vec<u8> {
    png(15, |x, y| bars(1, 2, x, y, 10))
}

fn stripe(class: u32) -> Vec<u8> {
    png(8, |_, y| if y == 2 * class + 1 { 230 } else { 10 })
}

/// The lines that `explain --json` prints.
fn explained(bench: &Bench, arguments: &[&str]) -> Vec<Value> {
    let out = bench.succeed(&[&["explain", "run"], arguments, &["--json", "--quiet"]].concat()).out;
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The row of 8 in which most of the positive heat is.
fn hottest_row(line: &Value) -> usize {
    let heat = line["heat"].as_array().unwrap();
    let sum = |row: &Value| -> f64 {
        row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap().max(0.0)).sum()
    };
    let sums: Vec<f64> = heat.iter().map(sum).collect();
    let hottest = (0..sums.len()).max_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap();
    hottest * 8 / sums.len()
}

#[test]
fn every_method_finds_the_bars_that_decide() {
    let bench = bars_bench(6);
    for method in ["grad-cam", "grad-cam++", "integrated-gradients", "occlusion"] {
        let lines = explained(&bench, &["bars", "--method", method, "--limit", "12"]);
        assert_eq!(lines.len(), 12);
        for (i, line) in lines.iter().enumerate().filter(|(i, _)| i % 3 < 2) {
            assert_eq!((&line["class"], &line["method"]), (&(i % 3).to_string().into(), &method.into()));
            assert_eq!(line["class"], line["label"]);
            assert_eq!(line["focus"]["place"], CORNERS[i / 3 % 4], "{method}, image {i}: {}", line["heat"]);
        }
    }
}

#[test]
fn pictures_a_page_and_a_table_are_written() {
    let bench = bars_bench(4);
    bench.write("a b.png", level_bars());
    let ran = bench.succeed(&["explain", "run", "a b.png", "bars", "--limit", "3", "--top", "2"]);
    assert_eq!(ran.out.lines().count(), 3);
    assert!(
        ran.out.contains("% of the heat") && ran.err.contains("first 3 images"),
        "{}{}",
        ran.out,
        ran.err
    );
    let picture = image::load_from_memory(&bench.read("explained/00001-a-b.png")).unwrap();
    assert!(picture.width() > 1000, "image, heat, both and classes");
    let page = String::from_utf8(bench.read("explained/explanations.html")).unwrap();
    assert_eq!(page.matches("<figure>").count(), 9);
    assert!(page.contains("grad-cam at conv2 (15×15)") && !page.contains("http"), "{page}");
    assert!(
        page.contains("tailor explain run &#39;a b.png&#39; bars --limit 3 --top 2"),
        "the command: {page}"
    );
    // Images of the data set come with their class.
    assert!(page.contains("is 0") && page.contains("is 1"), "labels are shown");
    assert!(bench.listing().iter().all(|name| !name.ends_with("filters.png")));

    let other = explained(&bench, &["a b.png", "--class", "0", "--layer", "conv1", "--features"]);
    assert_eq!((&other[0]["class"], &other[0]["layer"]), (&"0".into(), &"conv1".into()));
    let filters = image::load_from_memory(&bench.read("explained/filters.png")).unwrap();
    assert!(filters.width() > 8 * 84);
    assert!(image::load_from_memory(&bench.read("explained/00001-a-b-features.png")).is_ok());
    assert!(String::from_utf8(bench.read("explained/explanations.html")).unwrap().contains("Feature maps"));

    // A folder that is named as a class says which one it is.
    for place in ["shelf/1/new/bars.png", "shelf/0/bars.png", "shelf/unsorted/bars.png"] {
        bench.write(place, level_bars());
    }
    let labels: Vec<Value> = explained(&bench, &["shelf", "shelf/1", "shelf/1/new/bars.png"])
        .iter()
        .map(|line| line["label"].clone())
        .collect();
    assert_eq!(labels, ["0".into(), "1".into(), Value::Null, "1".into(), Value::Null]);

    let section = String::from_utf8(bench.read("run/report.html")).unwrap();
    let section = &section[section.find("id=\"evidence\"").unwrap()..];
    let section = &section[..section.find("</section>").unwrap()];
    assert_eq!(section.matches("class=\"overlay").count(), 3, "the report has an example of each class");
}

#[test]
fn networks_without_convolutions_transformers_and_baselines_are_explained_too() {
    let dense = trained(&recipe(r#"{ type = "dense", units = 16 }"#, 3));
    dense.write("a.png", stripe(1));
    let line = &explained(&dense, &["a.png", "--features"])[0];
    assert_eq!((&line["method"], hottest_row(line)), (&"occlusion".into(), 3));
    let line = &explained(&dense, &["a.png", "--method", "integrated-gradients"])[0];
    assert_eq!(hottest_row(line), 3);
    assert!(dense.listing().contains(&"explained/filters.png".into()));
    dense.fail(
        &["explain", "run", "a.png", "--method", "grad-cam"],
        2,
        &["needs a convolution", "integrated-gradients"],
    );

    let patches = r#"{ type = "conv", filters = 12, kernel = 2, stride = 2, activation = "none" }, { type = "tokens", class-token = true },
        { type = "transformer-block", heads = 2, units = 24 }, "layer-norm", "class-token""#;
    let transformer = trained(&recipe(patches, 6));
    transformer.write("a.png", stripe(1));
    let line = &explained(&transformer, &["a.png"])[0];
    assert_eq!((&line["method"], line["heat"].as_array().unwrap().len()), (&"attention".into(), 4));
    let line = &explained(&transformer, &["a.png", "--method", "occlusion"])[0];
    assert_eq!(hottest_row(line), 3, "{}", line["heat"]);

    let bench = Bench::new();
    bench.stripes("stripes");
    bench.succeed(&["baseline", "decision-tree", "--data", "stripes", "--run", "run", "--quiet"]);
    bench.write("a.png", stripe(3));
    let line = &explained(&bench, &["a.png"])[0];
    assert_eq!((&line["method"], &line["class"]), (&"occlusion".into(), &"3".into()));
    bench.fail(&["explain", "run", "a.png", "--method", "grad-cam"], 2, &["classical baseline", "occlusion"]);
    bench.succeed(&["embed", "run", "--output", "map.html"]);
}

#[test]
fn what_cannot_be_explained_is_said_in_one_sentence() {
    let bench = bars_bench(1);
    bench.write("a.png", level_bars());
    bench.fail(
        &["explain", "run", "a.png", "--class", "Shoe"],
        2,
        &["no class \"Shoe\"", "classes are 0, 1, 2"],
    );
    bench.fail(&["explain", "run", "a.png", "--layer", "conv9"], 2, &["conv9", "conv1, conv2"]);
    bench.fail(&["explain", "run", "a.png", "--method", "attention"], 2, &["this network has none"]);
    bench.fail(&["explain", "run", "a.png", "--method", "lime"], 2, &["none of the methods grad-cam"]);
    bench.write("broken.png", &level_bars()[..40]);
    let ran = bench.run(&["explain", "run", "broken.png", "a.png", "--json"]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 1));
    assert!(ran.err.contains("1 of 2 inputs could not be explained"), "{}", ran.err);
    bench.fail(&["embed", "run", "--output", "map.png"], 2, &["must end in .html"]);
}

#[test]
fn a_map_of_the_test_part_holds_every_image_and_is_the_same_again() {
    let bench = bars_bench(2);
    let ran = bench.succeed(&["embed", "run", "--output", "embedding.html"]);
    assert!(ran.out.contains("embedding.html") && ran.err.contains("80 images of the test part"));
    let page = bench.read("embedding.html");
    let text = String::from_utf8(page.clone()).unwrap();
    let start = text.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let data: Value =
        serde_json::from_str(&text[start..start + text[start..].find("</script>").unwrap()]).unwrap();
    assert_eq!(data["labels"].as_array().unwrap().len(), 80);
    assert_eq!(data["projections"][0].as_array().unwrap().len(), 160);
    assert!(!text.contains("http"), "the page needs nothing else");
    bench.succeed(&["embed", "run", "--output", "again.html"]);
    let again = String::from_utf8(bench.read("again.html")).unwrap();
    assert_eq!(text.replace("embedding.html", ""), again.replace("again.html", ""));
}

#[test]
fn a_bright_square_in_a_corner_is_what_decides() {
    // Class 0 has a bright square at the top left, class 1 at the bottom right; noise is everywhere.
    let bench = Bench::new();
    for (part, images) in [("train", 400u32), ("t10k", 80)] {
        let pixels = (0..images).flat_map(|i| {
            (0..144u32).map(move |p| {
                let (x, y) = (p % 12, p / 12);
                let noise = (i.wrapping_mul(2_654_435_761).wrapping_add(p * 40_503) >> 13) as u8 % 60;
                let corner = if i.is_multiple_of(2) { x < 4 && y < 4 } else { x >= 8 && y >= 8 };
                if corner { 190 + noise } else { noise }
            })
        });
        bench.write(&format!("corners/{part}-images-idx3-ubyte"), idx_images(images, 12, pixels));
        bench.write(
            &format!("corners/{part}-labels-idx1-ubyte"),
            idx_labels(images, (0..images).map(|i| (i % 2) as u8)),
        );
    }
    let layers =
        r#"{ type = "conv", filters = 8 }, "max-pool", { type = "conv", filters = 8, padding = "same" }"#;
    bench.write("model.toml", recipe(layers, 3).replace("\"stripes\"", "\"corners\""));
    bench.succeed(&["train", "model.toml", "--run", "run", "--quiet"]);
    // Class activation maps weigh whole feature maps, and cannot tell corners apart.
    for method in ["integrated-gradients", "occlusion"] {
        for line in explained(&bench, &["corners", "--method", method, "--limit", "6"]) {
            let corner = if line["label"] == "0" { "top left" } else { "bottom right" };
            assert_eq!(line["class"], line["label"]);
            assert_eq!(line["focus"]["place"], corner, "{method}: {line}");
        }
    }
}
