//! `tailor compare`: what it says of finished runs, and what it refuses.

mod workbench;

use std::io::Write;

use workbench::Bench;

/// Runs of [`Bench::stripes`]: `good` learns it, with seeds 1 and 2, `poor` hardly does.
fn bench() -> Bench {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    let train = |run: &str, more: &[&str]| {
        bench.succeed(&[&["train", recipe.as_str(), "--run", run, "--quiet"], more].concat());
    };
    train("runs/good-1", &[]);
    train("runs/good-2", &["--seed", "2"]);
    train("runs/poor", &["--epochs", "1", "--set", "train.lr=1e-5"]);
    bench
}

/// The file with its first four columns only, packed, as `results/run.sh` keeps it.
fn pack_predictions(bench: &Bench, run: &str) {
    let csv = String::from_utf8(bench.read(&format!("{run}/predictions.csv"))).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for line in csv.lines() {
        let fields: Vec<&str> = line.split(',').take(4).collect();
        writeln!(packed, "{}", fields.join(",")).unwrap();
    }
    bench.write(&format!("{run}/predictions.csv.gz"), packed.finish().unwrap());
}

#[test]
fn runs_are_compared_in_a_table_in_words_as_json_and_on_a_page() {
    let bench = bench();
    let ran = bench.succeed(&["compare", "runs/poor", "runs/good-1", "runs/good-2", "--output", "page.html"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    // The same name: the keys in which they differ tell them apart.
    assert!(lines[1].starts_with("1  stripes (train.epochs=3, train.lr=0.01)        2"), "{}", ran.out);
    assert!(lines[2].starts_with("2  stripes (train.epochs=1, train.lr=0.00001)     1"), "{}", ran.out);
    let said = "is better than `stripes (train.epochs=1, train.lr=0.00001)` by";
    assert!(ran.out.contains(said) && ran.out.contains("not luck of the images (p < 0.001)"), "{}", ran.out);
    assert!(ran.out.contains("page: page.html"));
    let page = String::from_utf8(bench.read("page.html")).unwrap();
    for part in [
        "is better than",
        "data:image/png;base64,",
        "seeds 1, 2",
        "80 test images",
        "prediction, images a second",
    ] {
        assert!(page.contains(part), "{part} is not on the page");
    }

    let json = bench.succeed(&["compare", "runs", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let good = &json["standings"][0];
    assert_eq!(good["seeds"], serde_json::json!([1, 2]));
    assert!(good["accuracy"]["mean"].as_f64().unwrap() > 0.95 && good["accuracy"]["deviation"].is_number());
    assert_eq!(
        good["cost"]["file_bytes"],
        std::fs::metadata(bench.path("runs/good-1/model.safetensors")).unwrap().len()
    );
    assert!(good["cost"]["parameters"].as_u64().unwrap() > 0 && good["cost"]["training_seconds"].is_number());
    assert_eq!(json["differences"].as_array().unwrap().len(), 1);
}

#[test]
fn results_without_model_files_are_compared_too() {
    let bench = bench();
    let whole = bench.succeed(&["compare", "runs", "--json"]).out;
    for run in ["runs/good-1", "runs/good-2", "runs/poor"] {
        pack_predictions(&bench, run);
        for entry in std::fs::read_dir(bench.path(run)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !["recipe.toml", "metrics.csv", "evaluation.json", "predictions.csv.gz"].contains(&name) {
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
    let ran = bench.succeed(&["compare", "runs"]);
    assert!(ran.out.lines().nth(1).unwrap().split_whitespace().rev().take(2).eq(["–", "–"]), "{}", ran.out);
    let [whole, kept] = [whole, bench.succeed(&["compare", "runs", "--json"]).out]
        .map(|json| serde_json::from_str::<serde_json::Value>(&json).unwrap());
    assert_eq!(whole["differences"], kept["differences"]);
    // Counted in the file, and by the recipe.
    assert_eq!(whole["standings"][1]["cost"]["parameters"], kept["standings"][1]["cost"]["parameters"]);

    for run in ["runs/good-1", "runs/good-2"] {
        bench.write(&format!("{run}/size.json"), br#"{"values": 7, "bytes": 1234}"#);
    }
    let sized: serde_json::Value =
        serde_json::from_str(&bench.succeed(&["compare", "runs", "--json"]).out).unwrap();
    let cost = &sized["standings"][0]["cost"];
    assert_eq!((cost["file_bytes"].as_u64(), cost["parameters"].as_u64()), (Some(1234), Some(7)));
    bench.write("runs/good-1/size.json", b"1234");
    bench.fail(&["compare", "runs"], 1, &["runs/good-1/size.json is no model's size"]);
}

#[test]
fn seeds_of_one_recipe_are_compared_with_a_note_and_a_pair_can_be_chosen() {
    let bench = bench();
    let ran = bench.succeed(&["compare", "runs/good-1", "runs/good-2"]);
    assert!(ran.err.contains("note: All runs are of one recipe"), "{}", ran.err);
    assert!(ran.out.contains("stripes (seed 1)") && ran.out.contains("stripes (seed 2)"), "{}", ran.out);
    let pair = ["compare", "runs/good-1", "runs/good-2", "--output", "page.html", "--pair"];
    bench.succeed(&[&pair[..], &["stripes (seed 2)", "runs/good-1"]].concat());
    bench.succeed(&[&pair[..], &["2", "1"]].concat());
    bench.fail(&[&pair[..], &["1", "nobody"]].concat(), 2, &["nobody", "stripes (seed 1)"]);
    bench.fail(&[&pair[..], &["1", "1"]].concat(), 2, &["twice"]);
}

#[test]
fn what_cannot_be_compared_gets_one_sentence() {
    let bench = bench();
    let good = "runs/good-1";
    bench.fail(&["compare"], 2, &["RUN"]);
    bench.fail(&["compare", good], 2, &["at least two runs", good]);
    bench.fail(&["compare", good, "runs/../runs/good-1"], 2, &["the same run"]);
    bench.fail(&["compare", good, "runs/nowhere"], 2, &["runs/nowhere does not exist"]);
    bench.fail(&["compare", good, "runs/good-2/model.safetensors"], 2, &["is not a run's folder"]);
    bench.fail(&["compare", good, "stripes"], 2, &["stripes holds no run"]);
    bench.fail(&["compare", good, "runs/poor", "--output", "page.pdf"], 2, &["page.pdf", ".html"]);
    bench.succeed(&["train", "stripes.toml", "--run", "again", "--quiet"]);
    bench.fail(&["compare", good, "again"], 2, &["again", "recipe and seed are equal"]);

    std::fs::remove_file(bench.path("again/evaluation.json")).unwrap();
    bench.fail(&["compare", "again", "runs/poor"], 2, &["again is not finished", "--resume"]);
    let ran = bench.succeed(&["compare", ".", "--quiet"]);
    assert!(
        ran.err.is_empty() && ran.out.lines().nth(2).unwrap().starts_with("2"),
        "it is left out: {}",
        ran.out
    );

    let predictions = bench.read("runs/poor/predictions.csv");
    std::fs::remove_file(bench.path("runs/poor/predictions.csv")).unwrap();
    bench.fail(
        &["compare", good, "runs/poor"],
        2,
        &["runs/poor has no predictions.csv", "tailor evaluate runs/poor"],
    );
    let half = String::from_utf8(predictions).unwrap().lines().take(40).collect::<Vec<_>>().join("\n");
    bench.write("runs/poor/predictions.csv", half);
    bench.fail(
        &["compare", good, "runs/poor"],
        1,
        &["runs/poor/predictions.csv", "not those of evaluation.json"],
    );
    assert!(!bench.path("page.html").exists());
}

#[test]
fn runs_on_other_images_or_classes_are_refused() {
    let bench = bench();
    // The same labels, other pixels.
    let mut images = bench.read("stripes/t10k-images-idx3-ubyte");
    images[16] ^= 1;
    let copy = |name: &str| bench.write(&format!("other/{name}"), bench.read(&format!("stripes/{name}")));
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"] {
        copy(name);
    }
    bench.write("other/t10k-images-idx3-ubyte", images);
    bench.succeed(&["train", "stripes.toml", "--data", "other", "--run", "other-run", "--quiet"]);
    bench.fail(&["compare", "runs/good-1", "other-run"], 2, &["runs/good-1 and other-run", "other images"]);
    let ran = bench.succeed(&["compare", "."]);
    assert!(ran.err.contains("note: ./other-run is on other data than most, and is left out"), "{}", ran.err);

    // Where they are no longer at hand, labels must do, and a note says so.
    std::fs::remove_file(bench.path("other/t10k-images-idx3-ubyte")).unwrap();
    let ran = bench.succeed(&["compare", "runs/good-1", "other-run", "--output", "page.html"]);
    assert!(ran.err.contains("note: ") && ran.err.contains("not at hand"), "{}", ran.err);
    assert!(!String::from_utf8(bench.read("page.html")).unwrap().contains("<img"));

    bench.succeed(&[
        "train",
        "cnn-32-64-64",
        "--limit",
        "200",
        "--epochs",
        "1",
        "--run",
        "fashion",
        "--quiet",
    ]);
    bench.fail(&["compare", "runs/good-1", "fashion"], 2, &["runs/good-1 and fashion", "other images"]);
}

#[test]
fn what_seeds_hold_out_differs_even_where_its_labels_do_not() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        std::fs::remove_file(bench.path(format!("stripes/{name}"))).unwrap();
    }
    for (run, seed) in [("a", "1"), ("b", "2")] {
        bench.succeed(&["train", &recipe, "--run", run, "--seed", seed, "--quiet"]);
    }
    bench.succeed(&["train", &recipe, "--run", "c", "--epochs", "1", "--quiet"]);
    bench.fail(&["compare", "a", "b"], 2, &["a and b", "other images"]);
    assert!(bench.succeed(&["compare", "a", "c"]).out.contains("resamplings of the 40 images"));
}
