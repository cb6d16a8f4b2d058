use super::*;
use crate::{Epoch, Pruner};

fn space(declarations: &[&str]) -> Space {
    let mut space = Space::default();
    declarations.iter().for_each(|text| space.vary(text).unwrap());
    space
}

fn settings(sampler: Sampler, seed: u64) -> Settings {
    Settings {
        trials: 40,
        sampler,
        pruner: Pruner::None,
        epochs: 1,
        seed,
        confirm_seeds: vec![],
        start: None,
    }
}

/// A study of a function that is cheap: every trial is complete at once.
fn study(space: &Space, settings: &Settings, count: usize, score: impl Fn(&Point) -> f64) -> Vec<Trial> {
    let mut trials = Vec::new();
    for number in 0..count {
        let Some(point) = settings.suggest(space, &trials) else { break };
        let epochs = vec![Epoch { epoch: 1, score: score(&point), seconds: 1.0 }];
        let (state, worker) = (State::Complete, String::new());
        trials.push(Trial { number, point, epochs, state, threads: 1, worker, taken_over_at: vec![] });
    }
    trials
}

fn best(trials: &[Trial]) -> f64 {
    trials.iter().filter_map(Trial::score).fold(f64::NEG_INFINITY, f64::max)
}

/// Highest, 0, at x = 0.3 with sgd; a learning rate that is wrong by a factor of ten costs as much as the wrong optimizer.
fn smooth(point: &Point) -> f64 {
    let (x, lr, optimizer) = (point[0].unwrap(), point[1].unwrap(), point[2].unwrap());
    -(x - 0.3).powi(2) - (lr / 3e-3).log10().powi(2) - if optimizer == 1.0 { 0.0 } else { 1.0 }
}

const SMOOTH: [&str; 3] = ["x=0..1", "train.lr=1e-5..1:log", "train.optimizer=adam,sgd,adamw"];

#[test]
fn models_find_more_than_chance_does_and_every_sampler_repeats() {
    let space = space(&SMOOTH);
    let mean = |sampler| {
        (0..8).map(|seed| best(&study(&space, &settings(sampler, seed), 40, smooth))).sum::<f64>() / 8.0
    };
    let (random, tpe, gp) = (mean(Sampler::Random), mean(Sampler::Tpe), mean(Sampler::Gp));
    assert!(tpe > 0.3 * random, "TPE {tpe}, random {random}");
    assert!(gp > 0.25 * random, "GP {gp}, random {random}");
    for sampler in [Sampler::Random, Sampler::Sobol, Sampler::Tpe, Sampler::Gp, Sampler::Grid] {
        let points = |seed| -> Vec<Point> {
            study(&space, &settings(sampler, seed), 14, smooth).into_iter().map(|trial| trial.point).collect()
        };
        assert_eq!(points(1), points(1), "{sampler:?}");
        assert_ne!(points(1), points(2), "{sampler:?}");
    }
}

#[test]
fn a_grid_is_the_whole_product_once() {
    let space = space(&["a=x,y,z", "b=1..2:step=1", "c=0..1"]);
    let trials = study(&space, &settings(Sampler::Grid, 1), 1000, |_| 0.0);
    assert_eq!(trials.len(), 3 * 2 * 5);
    let mut seen: Vec<String> = trials.iter().map(|trial| format!("{:?}", trial.point)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 30);
    for (position, end) in [(2, 0.0), (2, 1.0), (1, 2.0)] {
        assert!(trials.iter().any(|trial| trial.point[position] == Some(end)), "an end is missing");
    }
}

#[test]
fn a_grid_counts_a_parameter_only_where_it_exists() {
    let text = "[[vary]]\nkey = \"o\"\nchoices = [\"adam\", \"sgd\"]\n\
                [[vary]]\nkey = \"m\"\nrange = \"1..3:step=1\"\nwhen = { o = \"sgd\" }\n";
    let space = Space::parse(text, "file").unwrap();
    assert_eq!(grid(&space, 1).len(), 1 + 3);
}

#[test]
fn sobol_points_spread_evenly() {
    // Of 16 points of a scrambled (0, 2)-sequence, each of the 4 × 4 squares holds exactly one.
    let space = space(&["a=0..1", "b=0..1"]);
    let trials = study(&space, &settings(Sampler::Sobol, 3), 16, |_| 0.0);
    let mut squares: Vec<(u8, u8)> = trials
        .iter()
        .map(|trial| ((trial.point[0].unwrap() * 4.0) as u8, (trial.point[1].unwrap() * 4.0) as u8))
        .collect();
    squares.sort();
    squares.dedup();
    assert_eq!(squares.len(), 16);
}

#[test]
fn no_point_is_trained_twice_while_there_are_others() {
    let space = space(&["a=x,y,z", "b=1..4:step=1"]);
    for sampler in [Sampler::Random, Sampler::Sobol, Sampler::Tpe, Sampler::Gp] {
        let trials = study(&space, &settings(sampler, 5), 14, |point| point[1].unwrap());
        let mut points: Vec<String> = trials.iter().map(|trial| format!("{:?}", trial.point)).collect();
        assert_eq!(points.len(), 14, "{sampler:?}: the space is used up, and the study goes on");
        points.sort();
        points.dedup();
        assert!(points.len() >= 11, "{sampler:?}: {} of 12", points.len());
    }
}

#[test]
fn the_first_trial_is_the_start_where_the_space_holds_it() {
    let space = space(&["a=0..1", "b=x,y"]);
    let start = |a: &str| Some([("a".to_string(), a.to_string()), ("b".into(), "y".into())].into());
    for sampler in [Sampler::Random, Sampler::Sobol, Sampler::Tpe, Sampler::Gp] {
        let inside = Settings { start: start("0.25"), ..settings(sampler, 1) };
        assert_eq!(inside.suggest(&space, &[]).unwrap(), [Some(0.25), Some(1.0)]);
        let outside = Settings { start: start("7"), ..settings(sampler, 1) };
        assert_eq!(outside.suggest(&space, &[]), settings(sampler, 1).suggest(&space, &[]));
    }
}

#[test]
fn workers_keep_apart() {
    // Two trials are running where all would go next: the third goes elsewhere.
    let space = space(&["x=0..1"]);
    for sampler in [Sampler::Tpe, Sampler::Gp] {
        let settings = settings(sampler, 2);
        let mut trials = study(&space, &settings, 20, |point| -(point[0].unwrap() - 0.5).powi(2));
        for number in 20..24 {
            let point = settings.suggest(&space, &trials).unwrap();
            let epochs = Vec::new();
            trials.push(Trial { number, point, epochs, state: State::Running, ..trials[0].clone() });
        }
        let mut points: Vec<f64> = trials[20..].iter().map(|trial| trial.point[0].unwrap()).collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        assert_eq!(points.len(), 4, "{sampler:?}");
    }
}

#[test]
fn failures_and_divergence_do_not_stop_a_model() {
    let space = space(&SMOOTH);
    for sampler in [Sampler::Tpe, Sampler::Gp] {
        let settings = settings(sampler, 4);
        let mut trials = study(&space, &settings, 12, smooth);
        for trial in &mut trials {
            trial.state = match trial.number % 2 {
                0 => State::Diverged("at once".into()),
                _ => State::Failed("no memory".into()),
            };
            trial.epochs.clear();
        }
        let point = settings.suggest(&space, &trials).unwrap();
        assert!(point.iter().all(Option::is_some));
    }
}
