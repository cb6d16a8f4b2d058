//! `tailor train`: what it leaves, that it repeats, and that it survives being stopped in any way.

mod workbench;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use workbench::Bench;

/// The metrics without the columns that time goes into.
fn metrics(bench: &Bench, run: &str) -> Vec<String> {
    let csv = String::from_utf8(bench.read(&format!("{run}/metrics.csv"))).unwrap();
    csv.lines().map(|line| line.rsplitn(3, ',').last().unwrap().to_string()).collect()
}

/// The tensors of a checkpoint: weights and the optimizer's moments.
fn checkpoint_tensors(bench: &Bench, run: &str) -> Vec<tailor_nn::weights::NamedTensor> {
    let bytes = bench.read(&format!("{run}/last.checkpoint"));
    tailor_nn::weights::from_safetensors(&bytes).unwrap().0
}

/// Starts a training run and waits until it has printed the line of the first epoch.
fn start_and_wait_for_first_epoch(bench: &Bench, arguments: &[&str]) -> Child {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("tailor"))
        .current_dir(bench.path(""))
        .args(arguments)
        .args(["--threads", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The reader is dropped then: nobody listens any more, which must not trouble the run.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.trim_start().starts_with("1/")), "the run ended before its first epoch");
    child
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Long enough to be stopped in the middle: 200 steps an epoch.
fn long_recipe(bench: &Bench) -> [&'static str; 5] {
    bench.stripes_recipe();
    let recipe = String::from_utf8(bench.read("stripes.toml")).unwrap();
    let recipe = recipe.replace("batch-size = 20", "batch-size = 2\nlabel-smoothing = 0.1");
    let recipe = recipe.replace("validation = 40", "validation = 40\naugment = [\"horizontal-flip\"]");
    bench.write(
        "long.toml",
        recipe.replace("filters = 4", "filters = 64").replace("epochs = 3", "epochs = 6"),
    );
    ["train", "long.toml", "--run", "", "--quiet"]
}

#[test]
fn a_run_leaves_its_whole_folder_and_a_model_that_works() {
    let bench = Bench::new();
    let ran = bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run"]);
    assert!(
        ran.err.contains("2/3") && ran.out.contains("report: run/report.html"),
        "{}\n{}",
        ran.err,
        ran.out
    );

    let files = bench.listing();
    for name in [
        "recipe.toml",
        "metrics.csv",
        "model.safetensors",
        "last.checkpoint",
        "evaluation.json",
        "predictions.csv",
        "report.html",
        "curves.svg",
        "curves.png",
        "confusion.svg",
        "confusion.png",
    ] {
        assert!(files.contains(&format!("run/{name}")), "{name} is not among {files:?}");
    }
    assert!(files.iter().any(|name| name.starts_with("run/events.out.tfevents.")), "{files:?}");
    assert!(!files.iter().any(|name| name.contains(".writing-")), "a temporary file stayed: {files:?}");
    assert_eq!(metrics(&bench, "run").len(), 1 + 3);

    let evaluation: serde_json::Value = serde_json::from_slice(&bench.read("run/evaluation.json")).unwrap();
    assert!(evaluation["accuracy"].as_f64().unwrap() > 0.95, "stripes are easy: {}", evaluation["accuracy"]);
}

#[test]
fn evaluate_repeats_the_figures_of_the_run_bit_for_bit() {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run"]);
    let again = bench.succeed(&["evaluate", "run", "--json"]);
    assert_eq!(again.out.as_bytes(), bench.read("run/evaluation.json"));

    bench.succeed(&["evaluate", "run/model.safetensors", "--output", "judged"]);
    for name in ["evaluation.json", "predictions.csv", "confusion.svg"] {
        assert!(
            bench.read(&format!("judged/{name}")) == bench.read(&format!("run/{name}")),
            "{name} differs"
        );
    }
    assert!(bench.path("judged/report.html").exists());

    bench.succeed(&["evaluate", "run", "--output", "flipped", "--views", "flip"]);
    assert!(bench.read("flipped/predictions.csv") != bench.read("judged/predictions.csv"));
    let page = String::from_utf8(bench.read("flipped/report.html")).unwrap();
    assert!(page.contains("tailor evaluate model.safetensors --views flip"));
    bench.fail(&["evaluate", "run", "--views", "sideways"], 2, &["sideways", "none, flip, flip+shift"]);
}

#[test]
fn a_recipe_says_which_views_its_model_looks_at() {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run", "--set", "model.views=flip"]);
    bench.succeed(&["evaluate", "run", "--output", "own"]);
    bench.succeed(&["evaluate", "run", "--output", "both", "--views", "flip"]);
    bench.succeed(&["evaluate", "run", "--output", "one", "--views", "none"]);
    let predictions = |folder: &str| bench.read(&format!("{folder}/predictions.csv"));
    assert!(predictions("own") == predictions("run") && predictions("both") == predictions("run"));
    assert!(predictions("one") != predictions("run"));
    let page = |folder: &str| String::from_utf8(bench.read(&format!("{folder}/report.html"))).unwrap();
    assert!(page("one").contains("tailor evaluate model.safetensors --views none"));
    assert!(!page("own").contains("model.safetensors --views"));
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    bench.succeed(&["train", &recipe, "--run", "a"]);
    bench.succeed(&["train", &recipe, "--run", "b"]);
    bench.succeed(&["train", &recipe, "--run", "c", "--seed", "2"]);
    assert!(bench.read("a/model.safetensors") == bench.read("b/model.safetensors"));
    assert!(bench.read("a/predictions.csv") == bench.read("b/predictions.csv"));
    assert_eq!(metrics(&bench, "a"), metrics(&bench, "b"));
    assert!(bench.read("a/model.safetensors") != bench.read("c/model.safetensors"));
}

#[test]
fn a_killed_run_resumes_to_the_bits_of_one_that_was_not() {
    let bench = Bench::new();
    let mut arguments = long_recipe(&bench);
    arguments[3] = "whole";
    bench.succeed(&arguments);

    arguments[3] = "killed";
    let mut child = start_and_wait_for_first_epoch(&bench, &arguments[..4]);
    signal(&child, "-KILL");
    assert!(!child.wait().unwrap().success());
    assert!(!bench.path("killed/evaluation.json").exists(), "the run ended before it was killed");
    bench.succeed(&["train", "--run", "killed", "--resume"]);
    assert_same_run(&bench, "whole", "killed");
}

#[test]
fn ctrl_c_ends_cleanly_in_the_middle_of_an_epoch_and_the_run_resumes_to_the_same_bits() {
    let bench = Bench::new();
    let mut arguments = long_recipe(&bench);
    arguments[3] = "whole";
    bench.succeed(&arguments);

    arguments[3] = "stopped";
    let child = start_and_wait_for_first_epoch(&bench, &arguments[..4]);
    signal(&child, "-INT");
    assert_eq!(wait(child), Some(130));
    bench.succeed(&["train", "--run", "stopped", "--resume", "--quiet"]);
    assert_same_run(&bench, "whole", "stopped");

    // A run that is complete has nothing left to do, and says its figures again.
    let before = bench.read("stopped/model.safetensors");
    bench.succeed(&["train", "--run", "stopped", "--resume"]);
    assert!(before == bench.read("stopped/model.safetensors"));
}

#[test]
fn averages_muon_and_frozen_tensors_survive_a_stop_and_averages_are_what_is_kept() {
    let frozen_norm =
        "train.groups=[{ match = \"bn1.*\", frozen = true }, { match = \"*.bias\", lr-factor = 2 }]";
    for settings in [
        ["train.ema=0.99", "train.optimizer=muon", frozen_norm],
        ["train.look-ahead={ every = 7 }", "train.class-weights=balanced", "train.decay-biases=false"],
    ] {
        let bench = Bench::new();
        long_recipe(&bench);
        let recipe = String::from_utf8(bench.read("long.toml")).unwrap();
        bench.write("averaged.toml", recipe.replace("\"max-pool\"", "\"batch-norm\", \"max-pool\""));
        let arguments = |run| {
            let changes =
                ["train.keep=last"].into_iter().chain(settings).flat_map(|change| ["--set", change]);
            let train = ["train", "averaged.toml", "--run", run, "--epochs", "2"];
            train.into_iter().chain(changes).collect::<Vec<_>>()
        };
        bench.succeed(&arguments("whole"));
        let child = start_and_wait_for_first_epoch(&bench, &arguments("stopped"));
        signal(&child, "-INT");
        assert_eq!(wait(child), Some(130));
        bench.succeed(&["train", "--run", "stopped", "--resume", "--quiet"]);
        assert_same_run(&bench, "whole", "stopped");

        let model = tailor_nn::weights::from_safetensors(&bench.read("whole/model.safetensors")).unwrap().0;
        let checkpoint = checkpoint_tensors(&bench, "whole");
        let values = |name: String| &checkpoint.iter().find(|tensor| tensor.name == name).unwrap().values;
        for tensor in &model {
            assert!(*values(format!("average.{}", tensor.name)) == tensor.values, "{} differs", tensor.name);
        }
        assert!(values("average.conv1.weight".into()) != values("model.conv1.weight".into()));
        // A frozen batch norm leaves its running statistics alone.
        let is_still = values("model.bn1.running_mean".into()).iter().all(|&mean| mean == 0.0);
        assert_eq!(is_still, settings.contains(&frozen_norm));
    }
}

#[test]
fn frozen_tensors_stay_as_they_are_and_a_group_for_nothing_is_refused_before_a_folder_is_made() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    let train = |run, lr| {
        let freeze = "train.groups=[{ match = \"conv1.*\", frozen = true }]";
        bench.succeed(&["train", &recipe, "--run", run, "--epochs", "1", "--set", lr, "--set", freeze]);
        tailor_nn::weights::from_safetensors(&bench.read(&format!("{run}/model.safetensors"))).unwrap().0
    };
    for (slow, fast) in train("slow", "train.lr=1e-3").iter().zip(&train("fast", "train.lr=1e-2")) {
        assert_eq!(slow.values == fast.values, slow.name.starts_with("conv1"), "{}", slow.name);
    }

    let before = bench.listing();
    for (change, parts) in [
        ("train.groups=[{ match = \"conv2.*\", frozen = true }]", ["conv2.*", "did you mean `conv1.*`?"]),
        ("train.groups=[{ match = \"*\", frozen = true }]", ["train.groups", "nothing to train"]),
        ("train.class-weights=[1, 2]", ["2 weights", "4 classes"]),
        ("train.class-weights=equal", ["class-weights", "\"balanced\""]),
    ] {
        bench.fail(&["train", &recipe, "--run", "run", "--set", change], 2, &parts);
    }
    assert_eq!(bench.listing(), before);
}

fn wait(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

fn assert_same_run(bench: &Bench, a: &str, b: &str) {
    for name in ["model.safetensors", "evaluation.json", "predictions.csv", "recipe.toml"] {
        assert!(bench.read(&format!("{a}/{name}")) == bench.read(&format!("{b}/{name}")), "{name} differs");
    }
    assert_eq!(metrics(bench, a), metrics(bench, b));
    assert!(checkpoint_tensors(bench, a) == checkpoint_tensors(bench, b), "the checkpoints differ");
}

#[test]
fn early_stopping_ends_a_run_that_no_longer_gains() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    // A learning rate of almost nothing cannot lower the loss by much; one that overshoots raises it.
    bench.succeed(&[
        "train",
        &recipe,
        "--run",
        "run",
        "--epochs",
        "50",
        "--set",
        "train.patience=2",
        "--set",
        "train.lr=0.5",
        "--set",
        "train.optimizer=sgd",
    ]);
    assert!(metrics(&bench, "run").len() < 1 + 50, "the run was not stopped early");
}

#[test]
fn a_run_folder_in_use_or_used_is_refused_and_left_alone() {
    let bench = Bench::new();
    let mut arguments = long_recipe(&bench);
    arguments[3] = "run";
    let mut child = start_and_wait_for_first_epoch(&bench, &arguments[..4]);
    bench.fail(&["train", "long.toml", "--run", "run"], 1, &["run", "in use"]);
    bench.fail(&["train", "--run", "run", "--resume"], 1, &["run", "in use"]);
    signal(&child, "-KILL");
    child.wait().unwrap();

    let before = bench.read("run/last.checkpoint");
    bench.fail(&["train", "long.toml", "--run", "run"], 2, &["already holds a run", "--resume"]);
    assert!(before == bench.read("run/last.checkpoint"));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_says_what_to_try() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    bench.fail(
        &[
            "train",
            &recipe,
            "--run",
            "run",
            "--set",
            "train.lr=1e30",
            "--set",
            "train.optimizer=sgd",
            "--quiet",
        ],
        1,
        &["diverged", "epoch 1", "train.lr="],
    );
}

#[test]
fn runs_get_numbers_of_their_own_when_no_folder_is_named() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    bench.succeed(&["train", &recipe]);
    bench.succeed(&["train", &recipe]);
    assert!(bench.path("runs/stripes-001/report.html").exists());
    assert!(bench.path("runs/stripes-002/report.html").exists());
}

#[test]
fn real_fashion_mnist_is_learned_from_a_small_part_of_it() {
    let bench = Bench::new();
    bench.succeed(&["train", "cnn-32-64-64", "--limit", "2000", "--epochs", "2", "--run", "run"]);
    let evaluation: serde_json::Value = serde_json::from_slice(&bench.read("run/evaluation.json")).unwrap();
    assert_eq!(evaluation["images"], 10_000);
    // Chance is 10 %; two epochs of 2,000 images reach some 70 %.
    assert!(evaluation["accuracy"].as_f64().unwrap() > 0.6, "{}", evaluation["accuracy"]);
}

#[test]
fn data_without_a_test_part_is_judged_by_what_was_held_out_each_time() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        std::fs::remove_file(bench.path(format!("stripes/{name}"))).unwrap();
    }
    let trained = bench.succeed(&["train", &recipe, "--run", "run"]).out;
    assert!(trained.contains("on the validation part"), "{trained}");
    let judged = bench.succeed(&["evaluate", "run"]).out;
    assert!(judged.contains("on the validation part") && judged.contains("40 images"), "{judged}");
    assert_eq!(
        bench.succeed(&["evaluate", "run", "--json"]).out.as_bytes(),
        bench.read("run/evaluation.json")
    );
}

#[test]
fn a_run_stopped_in_its_first_epoch_can_be_resumed() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    let diverging = ["--set", "train.lr=1e30", "--set", "train.optimizer=sgd", "--quiet"];
    let arguments = [&["train", recipe.as_str(), "--run", "run"], &diverging[..]].concat();
    bench.fail(&arguments, 1, &["diverged"]);
    // It goes on from its first step, to the same end.
    bench.fail(&["train", "--run", "run", "--resume", "--quiet"], 1, &["diverged"]);
}
