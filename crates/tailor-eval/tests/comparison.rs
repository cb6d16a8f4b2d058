//! Comparisons: the statistics are those of SciPy and statsmodels (`vectors/make_comparison.py`), and the sentences say what
//! the figures do.

use std::collections::BTreeMap;

use serde::Deserialize;
use tailor_eval::comparison::{ImagesTest, McNemar, TTest, Verdict, holm, percentile_interval};
use tailor_eval::{Answers, Comparison, Contestant, Cost, Evaluation, History, Predictions, Run};

#[derive(Deserialize)]
struct Vectors {
    mcnemar: Vec<McNemarCase>,
    welch: Vec<WelchCase>,
    paired: Vec<PairedCase>,
    bootstrap: BootstrapCase,
    holm: Vec<HolmCase>,
}

#[derive(Deserialize)]
struct McNemarCase {
    b: usize,
    c: usize,
    p: f64,
}

#[derive(Deserialize)]
struct WelchCase {
    first: Vec<f64>,
    second: Vec<f64>,
    t: f64,
    degrees: f64,
    p: f64,
}

#[derive(Deserialize)]
struct PairedCase {
    /// How often each number of thirds occurs.
    thirds: BTreeMap<i32, usize>,
    t: f64,
    p: f64,
}

#[derive(Deserialize)]
struct BootstrapCase {
    distribution: Vec<f64>,
    of_distribution: [f64; 2],
    first: Vec<usize>,
    second: Vec<usize>,
    of_difference: [f64; 2],
}

#[derive(Deserialize)]
struct HolmCase {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/comparison.json")).unwrap()
}

/// To nine digits, also of the smallest p.
#[track_caller]
fn assert_close(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs(), "{ours}, but SciPy says {theirs}");
}

#[test]
fn mcnemar_is_that_of_statsmodels() {
    for case in vectors().mcnemar {
        assert_close(McNemar::exact(case.b, case.c).p, case.p);
    }
}

#[test]
fn t_tests_are_those_of_scipy() {
    for case in vectors().welch {
        let test = TTest::welch(&case.first, &case.second);
        assert_close(test.t, case.t);
        assert_close(test.degrees, case.degrees);
        assert_close(test.p, case.p);
    }
    for case in vectors().paired {
        let thirds = case.thirds.iter();
        let differences: Vec<f64> =
            thirds.flat_map(|(&n, &times)| std::iter::repeat_n(f64::from(n) / 3.0, times)).collect();
        let test = TTest::paired(&differences);
        assert_close(test.t, case.t);
        assert_close(test.p, case.p);
    }
}

#[test]
fn holm_is_that_of_statsmodels() {
    for case in vectors().holm {
        holm(&case.p).into_iter().zip(case.adjusted).for_each(|(ours, theirs)| assert_close(ours, theirs));
    }
}

#[test]
fn percentiles_are_those_of_scipy_and_our_resampling_agrees_with_theirs() {
    let case = vectors().bootstrap;
    let interval = percentile_interval(case.distribution);
    assert!((interval.low - case.of_distribution[0]).abs() < 1e-12);
    assert!((interval.high - case.of_distribution[1]).abs() < 1e-12);

    // Right is class 0; of 10,000 draws, an end of the interval has a standard error of about 0.0004.
    let wrong = |right: &[usize]| right.iter().map(|&right| 1 - right).collect::<Vec<_>>();
    let labels = vec![0; case.first.len()];
    let contestants = vec![
        contestant("first", &[1], &labels, &[&wrong(&case.first)]),
        contestant("second", &[1], &labels, &[&wrong(&case.second)]),
    ];
    let comparison = Comparison::of(contestants).unwrap();
    let interval = comparison.differences[0].interval;
    assert!((interval.low - case.of_difference[0]).abs() < 0.0015, "{interval:?}");
    assert!((interval.high - case.of_difference[1]).abs() < 0.0015, "{interval:?}");
}

/// Predictions of three classes with a confidence of 0.8.
fn run(place: &str, seed: u64, labels: &[usize], predicted: &[usize]) -> Run {
    let names = ["Coat", "Shirt", "Bag", "Dress", "Boot"].map(String::from).to_vec();
    let row = |&p: &usize| (0..5).map(move |class| if class == p { 0.8 } else { 0.05 });
    let predictions =
        Predictions::new(names, labels.to_vec(), predicted.iter().flat_map(row).collect()).unwrap();
    Run {
        place: place.to_owned(),
        seed: Some(seed),
        evaluation: Evaluation::of(&predictions).unwrap(),
        answers: Answers::from(&predictions),
        history: History::default(),
        cost: Cost { parameters: Some(1000), ..Cost::default() },
    }
}

fn contestant(name: &str, seeds: &[u64], labels: &[usize], predicted: &[&[usize]]) -> Contestant {
    let runs = seeds.iter().zip(predicted);
    let runs = runs.map(|(seed, predicted)| run(&format!("runs/{name}-{seed}"), *seed, labels, predicted));
    Contestant { name: name.to_owned(), runs: runs.collect() }
}

/// 500 images, the five classes in turn.
fn labels() -> Vec<usize> {
    (0..500).map(|i| i % 5).collect()
}

/// Right answers but for the first `mistakes` images of each class.
fn with_mistakes(mistakes: [usize; 5]) -> Vec<usize> {
    let is_mistake = |i: usize| i / 5 < mistakes[i % 5];
    (0..500).map(|i| (i % 5 + usize::from(is_mistake(i))) % 5).collect()
}

fn compare(first: &[[usize; 5]], second: &[[usize; 5]]) -> Comparison {
    let contestant = |name, mistakes: &[[usize; 5]]| {
        let answers: Vec<_> = mistakes.iter().map(|&mistakes| with_mistakes(mistakes)).collect();
        let answers: Vec<&[usize]> = answers.iter().map(Vec::as_slice).collect();
        contestant(name, &[1, 2, 3, 4][..answers.len()], &labels(), &answers)
    };
    Comparison::of(vec![contestant("a", first), contestant("b", second)]).unwrap()
}

#[test]
fn a_clear_difference_is_said_to_be_one_and_where_it_lies() {
    // `b` is ahead by 40 images in Shirt, 20 in Bag, and 20 fewer in Boot: 40 of 500 are 8 points. McNemar: 60 against 20.
    let comparison = compare(&[[5, 50, 25, 5, 5]], &[[5, 10, 5, 5, 25]]);
    let difference = &comparison.differences[0];
    assert_eq!(comparison.standings[0].name, "b");
    assert!((difference.accuracy - 0.08).abs() < 1e-12);
    let ImagesTest::McNemar(test) = difference.images else { panic!("two single runs") };
    assert_eq!((test.only_first, test.only_second, difference.agreement.both), (60, 20, 390.0));
    assert!(
        (difference.classes[1].recall - 0.4).abs() < 1e-12
            && (difference.classes[1].accuracy - 0.08).abs() < 1e-12
    );
    let sentence = comparison.sentence(difference);
    assert!(
        sentence.starts_with(
            "`b` is better than `a` by 8.0 ± 3.4 points; most of it in Shirt, but it is worse in Boot;"
        ) && sentence.ends_with("this is not luck of the images (p < 0.001)."),
        "{sentence}"
    );
    assert!(
        comparison
            .caveats()
            .last()
            .unwrap()
            .contains("With fewer than 3 runs (`b` and `a`), luck of the seeds")
    );
}

#[test]
fn what_may_be_luck_and_what_is_equal_is_said_to_be() {
    let comparison = compare(&[[5, 6, 5, 5, 5]], &[[5, 5, 7, 5, 5]]);
    // One image against two: p = 1.
    let sentence = comparison.sentence(&comparison.differences[0]);
    assert!(
        sentence.starts_with("`a` is 0.2 ± 0.7 points ahead of `b`, which may be luck (p > 0.999)"),
        "{sentence}"
    );
    let comparison = compare(&[[5; 5]], &[[5; 5]]);
    assert_eq!(comparison.differences[0].verdict(), Verdict::Equal);
    assert_eq!(comparison.sentence(&comparison.differences[0]), "`a` and `b` are right equally often.");
}

#[test]
fn several_runs_must_pass_both_tests() {
    // Over the images, 8 points are clear; over the seeds, they are not.
    let comparison = compare(&[[2, 2, 2, 2, 2], [40, 40, 9, 9, 9], [9; 5]], &[[20; 5], [25; 5], [30; 5]]);
    let difference = &comparison.differences[0];
    let seeds = difference.seeds.unwrap();
    assert!(difference.images.p() < 0.001 && seeds.p > 0.1 && difference.p == seeds.p);
    let sentence = comparison.sentence(difference);
    assert!(
        sentence.contains("which may be luck of the seeds (p = 0.") && sentence.contains("p < 0.001"),
        "{sentence}"
    );
    assert!(comparison.standings[0].accuracy.deviation.unwrap() > 0.0);

    let clear = compare(&[[5; 5], [6; 5], [7; 5]], &[[20; 5], [21; 5], [23; 5]]);
    let sentence = clear.sentence(&clear.differences[0]);
    assert!(sentence.contains("spread over the classes; this is not luck (p < 0.001)"), "{sentence}");
    assert!(
        clear.caveats().iter().all(|caveat| !caveat.contains("luck of the seeds is unknown")),
        "three seeds are enough"
    );

    // Against a single run, the seeds cannot be tested.
    let mixed = compare(&[[5; 5], [6; 5], [7; 5]], &[[20; 5]]);
    assert!(mixed.differences[0].seeds.is_none());
    assert!(matches!(mixed.differences[0].images, ImagesTest::PairedT(_)));
}

#[test]
fn the_table_shows_the_best_first_and_a_dash_for_what_is_unknown() {
    let text = compare(&[[5; 5], [6; 5]], &[[20; 5]]).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "   recipe  runs   accuracy, %   95 % interval  macro F1           loss  parameters  training  predicting  file",
            "1  a          2  94.50 ± 0.71  92.26 to 96.26     0.945  0.376 ± 0.020       1,000         –           –     –",
            "2  b          1         80.00  76.27 to 83.27     0.800          0.778       1,000         –           –     –",
        ]
    );
    assert!(lines[4].starts_with("`a` is better than `b` by 14.5 ±"), "{text}");
}

#[test]
fn json_holds_every_figure() {
    let json = serde_json::to_value(compare(&[[5; 5]; 1], &[[20; 5]])).unwrap();
    assert_eq!(json["standings"][0]["accuracy"]["mean"], 0.95);
    assert_eq!(json["differences"][0]["images"]["test"], "mcnemar");
    assert_eq!(json["differences"][0]["images"]["only_first"], 75);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let of = |contestants| Comparison::of(contestants).unwrap_err().to_string();
    let one = contestant("a", &[1], &[0, 1], &[&[0, 1]]);
    assert!(of(vec![one.clone()]).contains("at least two runs"));
    let other = contestant("b", &[1], &[1, 1], &[&[0, 1]]);
    assert!(of(vec![one.clone(), other]).contains("runs/a-1 and runs/b-1 were judged by other images"));
    let mut other = contestant("b", &[1], &[0, 1], &[&[0, 1]]);
    let names = ["Coat", "Shirt"].map(String::from).to_vec();
    let two = Predictions::new(names, vec![0, 1], vec![1.0, 0.0, 0.0, 1.0]).unwrap();
    other.runs[0].answers = Answers::from(&two);
    assert!(of(vec![one, other]).contains("know other classes"));
}
