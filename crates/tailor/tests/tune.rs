//! `tailor tune`: what a study leaves, that it survives being killed, and that several processes share it.

mod workbench;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use workbench::Bench;

/// A study that is over in a moment; more arguments follow.
const QUICK: [&str; 12] = [
    "tune",
    "stripes.toml",
    "--vary",
    "train.lr=1e-3..1e-1:log",
    "--vary",
    "train.optimizer=adam,sgd",
    "--vary",
    "model.layers.0.filters=2..6",
    "--epochs",
    "2",
    "--study",
    "study",
];

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    QUICK.into_iter().chain(more.iter().copied()).collect()
}

/// The rows of trials.csv as columns by name.
fn trials(bench: &Bench, study: &str) -> Vec<std::collections::HashMap<String, String>> {
    let bytes = bench.read(&format!("{study}/trials.csv"));
    csv::Reader::from_reader(bytes.as_slice()).deserialize().map(Result::unwrap).collect()
}

/// What must repeat: everything but times.
fn story(bench: &Bench, study: &str) -> Vec<Vec<(String, String)>> {
    let columns = |row: std::collections::HashMap<String, String>| {
        let mut columns: Vec<_> = row.into_iter().filter(|(name, _)| name != "seconds").collect();
        columns.sort();
        columns
    };
    trials(bench, study).into_iter().map(columns).collect()
}

fn spawn(bench: &Bench, arguments: &[&str]) -> Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("tailor"));
    command.current_dir(bench.path("")).args(arguments).args(["--threads", "2"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lines of a study's journal.
fn journal_lines(bench: &Bench, study: &str) -> usize {
    let journal = std::fs::read_to_string(bench.path(format!("{study}/journal.jsonl")));
    journal.map_or(0, |text| text.lines().count())
}

/// Waits until the journal has so many lines; false if the process ended before.
fn wait_for_lines(bench: &Bench, study: &str, lines: usize, child: &mut Child) -> bool {
    let start = Instant::now();
    while journal_lines(bench, study) < lines {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the journal does not grow");
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

#[test]
fn a_study_leaves_a_recipe_that_train_takes_and_a_page_that_says_what_it_is_worth() {
    let bench = Bench::new();
    bench.stripes_recipe();
    // A start that leaves something to gain: few images, few and small steps.
    let start = ["--trials", "9", "--confirm", "2", "--limit", "60", "--set", "train.lr=1e-3"];
    let ran = bench.succeed(&quick(&start));
    assert!(ran.err.contains("trial  validation  epochs") && ran.err.contains("confirmed"), "{}", ran.err);
    for part in
        ["best: trial", "start   test accuracy", "gain", "optimism", "study/best.toml", "study/report.html"]
    {
        assert!(ran.out.contains(part), "{part:?} is not in: {}", ran.out);
    }
    let trials = trials(&bench, "study");
    assert_eq!(trials.len(), 9);
    // The first trial is the recipe itself.
    let values = ["train.lr", "train.optimizer", "model.layers.0.filters"].map(|key| trials[0][key].as_str());
    assert_eq!(values, ["0.001", "adam", "4"]);
    let page = String::from_utf8(bench.read("study/report.html")).unwrap();
    for part in [
        "What the winner is worth",
        "Optimism",
        "Parallel coordinates",
        "fANOVA",
        "Accuracy against training time",
        "once, was the test part looked at",
    ] {
        assert!(page.contains(part), "{part:?} is not on the page");
    }
    // No trial was tested; the confirming runs were, and are whole runs.
    let files = bench.listing();
    let tested: Vec<&String> = files.iter().filter(|name| name.ends_with("evaluation.json")).collect();
    assert!(tested.iter().all(|name| name.starts_with("study/confirm/")), "{tested:?}");
    assert!(tested.contains(&&"study/confirm/start-seed-2/evaluation.json".to_string()), "{tested:?}");
    assert!(!files.iter().any(|name| name.starts_with("study/trials/") && name.ends_with(".safetensors")));
    bench.succeed(&["train", "study/best.toml", "--run", "again", "--quiet"]);
    // Nothing is left to do, and the same is said again.
    let again = bench.succeed(&["tune", "--study", "study"]);
    assert_eq!(again.out, ran.out);
}

#[test]
fn what_is_impossible_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    bench.stripes_recipe();
    let before = bench.listing();
    for (vary, parts) in [
        (vec!["--vary", "train.lrr=1e-3..1e-1"], ["--vary train.lrr", "`lr`"]),
        (vec!["--vary", "train.lr=-1..1"], ["train.lr", "above 0"]),
        (vec!["--vary", "model.layers.7.filters=8..16"], ["`7` is not a position", "0 to 2"]),
        (vec!["--vary", "train.optimizer=adam,adamm"], ["`adamm`", "`adam`"]),
        (vec!["--vary", "train.batch-size=0..64"], ["train.batch-size", "at least 1"]),
        (vec!["--vary", "model.layers.0.kernel=3..99"], ["--vary model.layers.0.kernel", "model.layers.0"]),
        (vec![], ["nothing varies", "--vary"]),
    ] {
        let arguments: Vec<&str> =
            ["tune", "stripes.toml", "--study", "study"].into_iter().chain(vary).collect();
        bench.fail(&arguments, 2, &parts);
    }
    bench.fail(&["tune", "--study", "none"], 2, &["none holds no study"]);
    assert_eq!(bench.listing(), before);
}

#[test]
fn a_study_killed_at_any_moment_ends_as_one_that_was_not() {
    let bench = Bench::new();
    bench.stripes_recipe();
    let arguments = |study: &'static str| -> Vec<&'static str> {
        let mut arguments = quick(&["--trials", "14", "--confirm", "1", "--quiet"]);
        arguments[11] = study;
        arguments
    };
    bench.succeed(&arguments("whole"));
    let lines = journal_lines(&bench, "whole");
    let mut kills = 0;
    for part in 1..8 {
        let mut child = spawn(&bench, &arguments("killed"));
        let is_early = wait_for_lines(&bench, "killed", part * lines / 8, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        kills += usize::from(is_early);
    }
    assert!(kills >= 5, "only {kills} processes were killed before they had ended");
    bench.succeed(&arguments("killed"));
    assert_eq!(story(&bench, "killed"), story(&bench, "whole"));
    assert_eq!(bench.read("killed/best.toml"), bench.read("whole/best.toml"));
    let evaluation = "confirm/start-seed-2/evaluation.json";
    assert_eq!(bench.read(&format!("killed/{evaluation}")), bench.read(&format!("whole/{evaluation}")));
}

#[test]
fn two_processes_share_a_study_and_the_machine() {
    let bench = Bench::new();
    bench.stripes_recipe();
    let arguments = quick(&["--trials", "12", "--confirm", "1", "--sampler", "sobol", "--pruner", "none"]);
    let mut first = spawn(&bench, &arguments);
    assert!(wait_for_lines(&bench, "study", 1, &mut first));
    let mut second = spawn(&bench, &["tune", "--study", "study"]);
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    let rows = trials(&bench, "study");
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row["state"] == "complete" && row["epochs"] == "2"), "{rows:?}");
    assert!(
        rows.iter().filter(|row| row["threads"] == "1").count() >= 6,
        "half of two threads each: {rows:?}"
    );
    let journal = String::from_utf8(bench.read("study/journal.jsonl")).unwrap();
    let mut workers: Vec<&str> =
        journal.lines().filter_map(|line| line.split("\"worker\":\"").nth(1)?.split('"').next()).collect();
    workers.sort();
    workers.dedup();
    assert_eq!(workers.len(), 2, "both worked: {workers:?}");
}

#[test]
fn workers_of_one_command_have_their_share_of_threads_and_end_with_it() {
    let bench = Bench::new();
    bench.stripes_recipe();
    bench.succeed(&quick(&["--trials", "6", "--confirm", "0", "--workers", "2", "--sampler", "random"]));
    let rows = trials(&bench, "study");
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row["threads"] == "1"), "{rows:?}");
    let page = String::from_utf8(bench.read("study/report.html")).unwrap();
    assert!(page.contains("the test part has not been looked at"));

    let mut parent =
        spawn(&bench, &["tune", "--study", "study", "--trials", "2000", "--workers", "2", "--quiet"]);
    let lines = journal_lines(&bench, "study");
    assert!(wait_for_lines(&bench, "study", lines + 6, &mut parent));
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Its workers notice, finish their step and leave.
    std::thread::sleep(Duration::from_millis(1500));
    let lines = journal_lines(&bench, "study");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(journal_lines(&bench, "study"), lines, "workers go on without the command that started them");
}

#[test]
fn a_trial_that_diverges_or_fails_is_recorded_and_the_study_goes_on() {
    let bench = Bench::new();
    bench.stripes_recipe();
    // A warm-up as long as the run is refused by the recipe; that rate overflows at once.
    let space = "[[vary]]\nkey = \"train.lr\"\nchoices = [0.01, 1e30]\n\
                 [[vary]]\nkey = \"train.epochs\"\nchoices = [2, 3]\n\
                 [[vary]]\nkey = \"train.warmup-epochs\"\nchoices = [0, 2]\n";
    bench.write("space.toml", space);
    bench.succeed(&[
        "tune",
        "stripes.toml",
        "--space",
        "space.toml",
        "--sampler",
        "grid",
        "--epochs",
        "3",
        "--pruner",
        "none",
        "--study",
        "study",
        "--confirm",
        "1",
    ]);
    let rows = trials(&bench, "study");
    assert_eq!(rows.len(), 8, "the whole grid, and no more");
    let count = |state: &str| rows.iter().filter(|row| row["state"].starts_with(state)).count();
    assert_eq!([count("failed: "), count("diverged: "), count("complete")], [2, 3, 3], "{rows:?}");
    assert!(rows.iter().any(|row| row["state"].contains("warmup-epochs")), "{rows:?}");
    assert!(bench.path("study/best.toml").exists());
}

#[test]
fn a_study_of_other_settings_does_not_mix_with_one_in_the_folder() {
    let bench = Bench::new();
    bench.stripes_recipe();
    bench.succeed(&quick(&["--trials", "2", "--confirm", "0"]));
    bench.fail(
        &quick(&["--trials", "2", "--confirm", "0", "--set", "train.weight-decay=0.1"]),
        2,
        &["study holds a study with another recipe"],
    );
    bench.fail(&quick(&["--trials", "2", "--confirm", "0", "--sampler", "random"]), 2, &["another sampler"]);
    bench.succeed(&["tune", "--study", "study", "--trials", "3"]);
    assert_eq!(trials(&bench, "study").len(), 3);
}

#[test]
fn fashion_mnist_is_tuned_on_a_few_images() {
    let bench = Bench::new();
    let recipe = "name = \"tiny\"\n[model]\nlayers = [\"max-pool\", { type = \"dense\", units = 8 }]\n\
                  [train]\nepochs = 2\nbatch-size = 32\n";
    bench.write("tiny.toml", recipe);
    let ran = bench.succeed(&[
        "tune",
        "tiny.toml",
        "--limit",
        "600",
        "--set",
        "data.validation=500",
        "--vary",
        "train.lr=1e-4..1e-1:log",
        "--vary",
        "model.layers.1.units=4..32:log",
        "--trials",
        "5",
        "--sampler",
        "gp",
        "--confirm",
        "1",
        "--quiet",
    ]);
    assert!(ran.out.contains("best: trial") && ran.out.contains("test accuracy"), "{}", ran.out);
    assert_eq!(trials(&bench, "runs/tiny-tune-001").len(), 5);
}

#[test]
fn the_learning_rate_is_found_and_drawn() {
    let bench = Bench::new();
    bench.stripes_recipe();
    let ran = bench.succeed(&["train", "stripes.toml", "--find-lr", "--run", "rates"]);
    let suggestion: f64 = ran.out.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!((1e-5..1.0).contains(&suggestion), "{}", ran.out);
    let files = bench.listing();
    for name in ["rates/learning-rate.svg", "rates/learning-rate.png", "rates/learning-rate.csv"] {
        assert!(files.contains(&name.to_string()), "{name} is not among {files:?}");
    }
    assert!(!files.iter().any(|name| name.ends_with("model.safetensors")), "nothing was trained");
    let again = bench.succeed(&["train", "stripes.toml", "--find-lr", "--quiet"]);
    assert!(ran.out.starts_with(&again.out), "the same suggestion again: {}", again.out);
}

#[test]
fn an_automatic_batch_size_becomes_a_number() {
    let bench = Bench::new();
    bench.stripes_recipe();
    let ran = bench.succeed(&[
        "train",
        "stripes.toml",
        "--set",
        "train.batch-size=auto",
        "--epochs",
        "1",
        "--run",
        "run",
    ]);
    assert!(ran.err.contains("images/s") && ran.err.contains("train.batch-size ="), "{}", ran.err);
    let recipe = String::from_utf8(bench.read("run/recipe.toml")).unwrap();
    let line = recipe.lines().find(|line| line.starts_with("batch-size")).unwrap();
    let size: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(size.is_power_of_two() && (8..=256).contains(&size), "{line}");
}
