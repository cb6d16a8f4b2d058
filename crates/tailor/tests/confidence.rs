//! What a model's confidence is worth: `tailor calibrate`, and what evaluate, predict and the report make of it.

mod workbench;

use serde_json::Value;
use workbench::{Bench, idx_images, idx_labels};

/// A bench with a network that is often wrong: class k is a bright row of 8×8, hidden in noise.
fn doubtful() -> Bench {
    let bench = Bench::new();
    for (part, images, seed) in [("train", 1200_u32, 1_u32), ("t10k", 1200, 2)] {
        let label = |i: u32| (i % 4) as u8;
        let pixel = move |i: u32, p: u32| {
            let mut state = (i * 64 + p).wrapping_mul(2_654_435_761).wrapping_add(seed * 97_531);
            state ^= state >> 15;
            state = state.wrapping_mul(2_246_822_519);
            let noise = (state >> 24) as u8;
            if p / 8 == 2 * (i % 4) + 1 { (noise / 2).saturating_add(70) } else { noise / 2 + 30 }
        };
        let pixels = (0..images).flat_map(move |i| (0..64).map(move |p| pixel(i, p)));
        bench.write(&format!("noisy/{part}-images-idx3-ubyte"), idx_images(images, 8, pixels));
        bench.write(&format!("noisy/{part}-labels-idx1-ubyte"), idx_labels(images, (0..images).map(label)));
    }
    let recipe = "name = \"noisy\"\n\
        [model]\nlayers = [{ type = \"dense\", units = 32 }]\n\
        [data]\nsource = \"noisy\"\nvalidation = 600\n\
        [train]\nepochs = 12\nbatch-size = 20\nlr = 5e-3\nkeep = \"last\"\n";
    bench.write("noisy.toml", recipe);
    bench
}

fn evaluation(bench: &Bench, arguments: &[&str]) -> Value {
    let out = bench.succeed(&[&["evaluate", "run", "--json"], arguments].concat()).out;
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_network_is_calibrated_promises_are_stored_and_kept_on_the_test_part() {
    let bench = doubtful();
    bench.succeed(&["train", "noisy.toml", "--run", "run", "--quiet"]);
    let plain = evaluation(&bench, &[]);
    let check = &plain["confidence"];
    let (loss, before) = (plain["loss"].as_f64().unwrap(), check["unscaled"]["loss"].as_f64().unwrap());
    assert!(check["temperature"].as_f64().unwrap() > 1.05, "learned by heart, hence too sure: {check}");
    assert!(loss < before, "the temperature lowers the loss on other images, too: {before} to {loss}");
    assert!(
        plain["expected_calibration_error"].as_f64()
            < check["unscaled"]["expected_calibration_error"].as_f64()
    );
    assert!(check.get("abstention").is_none() && check.get("sets").is_none());
    let accuracy = plain["accuracy"].as_f64().unwrap();
    assert!((0.6..0.97).contains(&accuracy), "{accuracy} leaves nothing to test");

    let wanted = (accuracy + 1.0) / 2.0 - 0.02;
    let said =
        bench.succeed(&["calibrate", "run", "--accuracy", &wanted.to_string(), "--coverage", "0.9"]).out;
    for part in
        ["temperature", "not sure below", "95 % interval", "sets (lac)", "stored in run/model.safetensors"]
    {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let kept = evaluation(&bench, &[]);
    assert_eq!(kept["loss"], plain["loss"], "the temperature is the same");
    let sure = &kept["confidence"]["abstention"];
    assert!(sure["accuracy"].as_f64().unwrap() > wanted - 0.02, "{sure}");
    let coverage = sure["coverage"].as_f64().unwrap();
    assert!((0.1..0.99).contains(&coverage), "{sure}");
    let sets = &kept["confidence"]["sets"];
    assert!((sets["covered"].as_f64().unwrap() - 0.9).abs() < 0.04, "{sets}");

    // Sets of another kind in place of the first; the threshold is chosen anew, and the same.
    bench.succeed(&["calibrate", "run", "--coverage", "0.9", "--sets", "aps", "--quiet"]);
    let other = evaluation(&bench, &[]);
    assert_eq!(other["confidence"]["abstention"], kept["confidence"]["abstention"]);
    assert!(other["confidence"]["sets"]["covered"].as_f64().unwrap() > 0.87);
    bench.succeed(&["calibrate", "run", "--accuracy", "0", "--coverage", "0"]);
    assert_eq!(evaluation(&bench, &[]), plain);
}

#[test]
fn predict_says_not_sure_and_names_sets_in_every_format() {
    let bench = doubtful();
    bench.succeed(&["train", "noisy.toml", "--run", "run", "--quiet"]);
    bench.succeed(&["calibrate", "run", "--accuracy", "0.93", "--coverage", "0.95"]);
    let table = bench.succeed(&["predict", "run", "noisy", "--top", "1"]).out;
    let marked = table.lines().filter(|line| line.contains("not sure")).count();
    let json = bench.succeed(&["predict", "run", "noisy", "--format", "json"]).out;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unsure = lines.iter().filter(|line| line["sure"] == false).count();
    assert!(unsure > 20 && unsure < 1180, "{unsure} of 1200");
    // What is strange is not called "not sure" as well.
    assert_eq!(lines.iter().filter(|line| line["sure"] == false && line["strange"] == false).count(), marked);
    for line in &lines {
        assert_eq!(line["set"][0], line["predictions"][0]["class"], "the likeliest comes first");
    }
    let sets: usize = lines.iter().map(|line| line["set"].as_array().unwrap().len()).sum();
    assert!(sets > 1200, "some sets have several classes");
    let csv = bench.succeed(&["predict", "run", "noisy", "--format", "csv", "--top", "1"]).out;
    assert!(csv.starts_with("image,class_1,probability_1,sure,set,distance,strange\n"), "{csv}");
    let of_csv = csv.lines().skip(1).filter(|line| line.split(',').rev().nth(3) == Some("false")).count();
    assert_eq!(of_csv, unsure, "{csv}");
}

#[test]
fn what_cannot_be_promised_is_said_and_changes_nothing() {
    let bench = doubtful();
    bench.succeed(&["train", "noisy.toml", "--run", "run", "--quiet"]);
    let before = bench.read("run/model.safetensors");
    bench.fail(
        &["calibrate", "run", "--accuracy", "0.9999"],
        1,
        &["100.0 %", "cannot be promised", "the highest"],
    );
    bench.fail(&["calibrate", "run", "--accuracy", "99"], 2, &["--accuracy is 99"]);
    bench.fail(&["calibrate", "run", "--coverage", "0.9", "--sets", "raps"], 2, &["raps"]);
    bench.fail(&["calibrate", "run", "--data", "missing"], 1, &["missing"]);
    assert!(bench.read("run/model.safetensors") == before);
}

#[test]
fn other_images_are_calibrated_on_without_their_test_part_and_baselines_too() {
    let bench = doubtful();
    let fit = ["baseline", "logistic-regression", "--data", "noisy", "--set", "data.validation=600"];
    bench.succeed(&[&fit[..], &["--run", "run", "--quiet"]].concat());
    let said = bench.succeed(&["calibrate", "run", "--accuracy", "0.9", "--coverage", "0.98"]).out;
    assert!(said.contains("on 600 images of the validation part"), "{said}");
    let sets = &evaluation(&bench, &[])["confidence"]["sets"];
    assert!((sets["covered"].as_f64().unwrap() - 0.98).abs() < 0.02, "{sets}");
    let mut copy = bench.read("noisy/train-images-idx3-ubyte");
    let labels = bench.read("noisy/train-labels-idx1-ubyte");
    copy[100] = 77;
    bench.write("other/train-images-idx3-ubyte", copy);
    bench.write("other/train-labels-idx1-ubyte", labels);
    let said = bench.succeed(&["calibrate", "run", "--data", "other"]).out;
    assert!(said.contains("on 1,200 images of"), "{said}");
}

#[test]
fn a_file_without_confidence_still_loads_and_a_hostile_one_is_refused() {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run", "--quiet"]);
    let model = bench.read("run/model.safetensors");
    let header = 8 + u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    let text = String::from_utf8(model[8..header].to_vec()).unwrap();
    let rewrite = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        let mut header = text.replace(from, to).into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let bytes =
            [&(header.len() as u64).to_le_bytes(), header.as_slice(), &model[8 + text.len()..]].concat();
        bench.write("other.safetensors", bytes);
    };
    rewrite("\"confidence\":", "\"once\":");
    let old: Value =
        serde_json::from_str(&bench.succeed(&["evaluate", "other.safetensors", "--json"]).out).unwrap();
    assert!(old.get("confidence").is_none() && old["accuracy"].as_f64().unwrap() > 0.9);
    rewrite("\\\"temperature\\\":", "\\\"temperature\\\":-");
    bench.fail(&["evaluate", "other.safetensors"], 1, &["confidence", "temperature is -"]);
    rewrite("\\\"temperature\\\":", "\\\"heat\\\":");
    bench.fail(&["evaluate", "other.safetensors"], 1, &["confidence", "temperature"]);
}
