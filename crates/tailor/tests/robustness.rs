//! `tailor robustness` and `tailor strangers`: what a model bears, and what it notices.

mod workbench;

use serde_json::Value;
use workbench::Bench;

/// A bench with a network and a baseline of the stripes: class k is a bright row 2k+1 of 8×8.
fn trained() -> Bench {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run", "--quiet"]);
    let fit = ["baseline", "logistic-regression", "--data", "stripes", "--set", "data.validation=40"];
    bench.succeed(&[&fit[..], &["--run", "base", "--quiet"]].concat());
    bench
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    serde_json::from_str(&bench.succeed(&[arguments, &["--json"]].concat()).out).unwrap()
}

#[test]
fn accuracy_falls_with_the_strength_of_what_destroys_stripes() {
    let bench = trained();
    let found = json(&bench, &["robustness", "run"]);
    assert_eq!(found["images"], 80);
    assert_eq!(found["clean_accuracy"], 1.0);
    let corruptions = found["corruptions"].as_array().unwrap();
    let names: Vec<&str> = corruptions.iter().map(|c| c["corruption"].as_str().unwrap()).collect();
    assert_eq!(names, ["blur", "noise", "rotation", "shift", "contrast", "occlusion", "inversion"]);
    let accuracy = |name: &str, strength: usize| {
        let corrupted = corruptions.iter().find(|c| c["corruption"] == name).unwrap();
        corrupted["accuracies"][strength - 1].as_f64().unwrap()
    };
    // A row that is moved by two is the row of another class; one that is turned by 60 degrees is none.
    for name in ["rotation", "shift"] {
        assert!(accuracy(name, 5) < accuracy(name, 1) - 0.2, "{name}: {found}");
    }
    assert!(accuracy("noise", 1) > 0.9);
    // Mean errors are what the accuracies say.
    let shift: Vec<f64> = (1..=5).map(|strength| accuracy("shift", strength)).collect();
    let error = corruptions[3]["mean_error"].as_f64().unwrap();
    assert!((1.0 - shift.iter().sum::<f64>() / 5.0 - error).abs() < 1e-12);
    assert_eq!(json(&bench, &["robustness", "run"]), found, "the same seed");
    assert_ne!(json(&bench, &["robustness", "run", "--seed", "2"]), found);
}

#[test]
fn two_models_are_set_in_relation_and_the_page_shows_both() {
    let bench = trained();
    let itself = json(&bench, &["robustness", "run", "--beside", "run"]);
    assert_eq!(itself["relative"]["mean_corruption_error"], 1.0);
    let out = bench
        .succeed(&["robustness", "run", "--beside", "base", "--output", "page.html", "--limit", "40"])
        .out;
    for part in ["mCE", "mean corruption error", "occlusion", "page: page.html", "40 images"] {
        assert!(out.contains(part), "{part} is not in: {out}");
    }
    let page = String::from_utf8(bench.read("page.html")).unwrap();
    assert_eq!(page.matches("<img").count(), 7 * 6);
    assert_eq!(page.matches("<polyline class=\"validation\"").count(), 7, "the other model's curves");
    bench.fail(&["robustness", "run", "--beside", "missing"], 1, &["missing"]);
}

#[test]
fn strangers_are_noticed_by_networks_and_baselines() {
    let bench = trained();
    for model in ["run", "base"] {
        let found = json(&bench, &["strangers", model, "--images", "200"]);
        assert!(found["known_accepted"].as_f64().unwrap() > 0.85, "{model}: {found}");
        let strangers = found["strangers"].as_array().unwrap();
        assert_eq!(strangers.len(), 5);
        let noise = &strangers[1];
        assert_eq!((noise["kind"].as_str(), noise["images"].as_u64()), (Some("uniform noise"), Some(200)));
        assert!(noise["distance"]["auroc"].as_f64().unwrap() > 0.9, "{model}: {noise}");
        assert_eq!(json(&bench, &["strangers", model, "--images", "200"]), found, "the same seed");
    }
    let out = bench.succeed(&["strangers", "base", "--images", "50", "--output", "page.html"]);
    assert!(out.out.contains("AUROC") && out.out.contains("blank images"), "{}", out.out);
    assert!(out.err.contains("energy says little"), "{}", out.err);
    assert_eq!(String::from_utf8(bench.read("page.html")).unwrap().matches("<img").count(), 5 * 12);
    let own = json(&bench, &["strangers", "run", "--data", "stripes", "--images", "80"]);
    let auroc = own["strangers"][0]["distance"]["auroc"].as_f64().unwrap();
    assert!((auroc - 0.5).abs() < 1e-9, "what it knows is no stranger: {auroc}");
}

#[test]
fn without_a_test_part_all_judge_by_what_was_held_out() {
    let bench = trained();
    for file in ["images-idx3", "labels-idx1"] {
        let name = format!("train-{file}-ubyte");
        bench.write(&format!("alone/{name}"), bench.read(&format!("stripes/{name}")));
    }
    let limits = ["--data", "alone", "--set", "data.validation=60", "--run", "alone-run", "--quiet"];
    bench.succeed(&[&["train", "stripes.toml"], &limits[..]].concat());
    let evaluation = json(&bench, &["evaluate", "alone-run"]);
    assert_eq!(evaluation["images"], 60);
    let found = json(&bench, &["robustness", "alone-run"]);
    assert_eq!((&found["images"], &found["clean_accuracy"]), (&60.into(), &evaluation["accuracy"]));
    assert_eq!(json(&bench, &["strangers", "alone-run", "--images", "99"])["known_images"], 60);
    for command in ["evaluate", "robustness", "strangers"] {
        let said = bench.succeed(&[command, "alone-run"]).out;
        assert!(said.contains("the validation part of alone"), "{command}: {said}");
    }
    bench.succeed(&["robustness", "alone-run", "--data", "stripes", "--quiet"]);
}

#[test]
fn predict_says_strange() {
    let bench = trained();
    bench.write("noise.png", workbench::png(8, |x, y| (x * 7919 + y * 104_729 + x * y * 31_337) as u8));
    bench.write("stripe.png", workbench::png(8, |_, y| if y == 3 { 220 } else { 20 }));
    let json = bench.succeed(&["predict", "run", "noise.png", "stripe.png", "--format", "json"]).out;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["strange"], &lines[1]["strange"]), (&true.into(), &false.into()), "{json}");
    assert!(lines[0]["distance"].as_f64() > lines[1]["distance"].as_f64());
    let table = bench.succeed(&["predict", "run", "noise.png", "stripe.png"]).out;
    assert!(
        table.lines().next().unwrap().contains("strange") && table.matches("strange").count() == 1,
        "{table}"
    );
    let csv = bench.succeed(&["predict", "run", "noise.png", "--format", "csv", "--top", "1"]).out;
    assert!(
        csv.starts_with("image,class_1,probability_1,distance,strange\n") && csv.contains(",true\n"),
        "{csv}"
    );
}
