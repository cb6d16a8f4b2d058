//! `tailor study`: curves and words from runs that are not repeated.

mod workbench;

use workbench::Bench;

#[test]
fn a_study_trains_every_variant_once_and_says_in_words_what_came_of_it() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    let study = ["study", "convergence", &recipe, "--epochs", "2", "--seeds", "1,2", "--output", "study"];
    let first = bench.succeed(&study);
    for part in ["Batch norm\n", "Initialization\n", "he-normal instead of glorot-uniform", "page: study/"] {
        assert!(first.out.contains(part), "{part:?} is not in: {}", first.out);
    }
    assert!(first.err.contains("20/20"), "{}", first.err);
    let csv = String::from_utf8(bench.read("study/convergence.csv")).unwrap();
    // Ten variants, two seeds, two epochs, and the heading.
    assert_eq!(csv.lines().count(), 10 * 2 * 2 + 1);
    let page = String::from_utf8(bench.read("study/convergence.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 3 * 2 + 4 + 4 + 7, "plots and samples of lines");
    assert!(!page.contains("https://") && !page.contains("<script"));

    // A part of it is lost: only that is trained again, to the same bits.
    std::fs::remove_dir_all(bench.path("study/he-normal/seed-2")).unwrap();
    let untouched = bench.read("study/plain/seed-1/metrics.csv");
    let again = bench.succeed(&study);
    assert_eq!(again.out, first.out);
    assert_eq!(bench.read("study/convergence.csv"), csv.as_bytes());
    // Times are in it, so it would differ.
    assert_eq!(bench.read("study/plain/seed-1/metrics.csv"), untouched);
    bench.fail(
        &[&study[..3], &["--epochs", "3", "--output", "study"]].concat(),
        1,
        &["begun otherwise", "--output"],
    );
    bench.fail(&[&study[..3], &["--seeds", "4,4"]].concat(), 2, &["--seeds names 4 twice"]);
}
