//! A whole study of a function: what the journal holds, also after workers ended in the middle.

use std::path::Path;

use tailor_tune::*;

/// x is good around 0.5; a trial at x < 0.1 diverges; each trial has three epochs.
struct Function {
    /// Stops in the middle of the trial after so many epochs in all.
    epochs_left: usize,
    threads: Vec<usize>,
}

impl Objective for Function {
    fn run(
        &mut self,
        trial: &Trial,
        settings: &[(String, String)],
        _folder: &Path,
        report: &mut dyn FnMut(Epoch) -> Verdict,
    ) -> Outcome {
        self.threads.push(trial.threads);
        let x: f64 = settings[0].1.parse().unwrap();
        if x < 0.1 {
            return Outcome::Ended(State::Diverged("at epoch 1".into()));
        }
        for epoch in trial.epochs.len() + 1..=3 {
            if self.epochs_left == 0 {
                return Outcome::Interrupted;
            }
            self.epochs_left -= 1;
            let score = 1.0 - (x - 0.5).abs() - 0.1 / epoch as f64;
            if report(Epoch { epoch, score, seconds: 1.0 }) == Verdict::Stop {
                return Outcome::Interrupted;
            }
        }
        Outcome::Ended(State::Complete)
    }

    fn confirm(
        &mut self,
        settings: &[(String, String)],
        seed: u64,
        _threads: usize,
        _folder: &Path,
    ) -> Option<std::result::Result<Confirmed, String>> {
        let x = settings.first().map_or(0.3, |(_, x)| x.parse().unwrap());
        let score = 1.0 - f64::abs(x - 0.5) - 0.01 * seed as f64;
        Some(Ok(Confirmed {
            validation: score,
            test: Some(score - 0.05),
            test_images: 100,
            epochs: 3,
            seconds: 3.0,
        }))
    }

    fn should_stop(&self) -> bool {
        self.epochs_left == 0
    }
}

fn settings(sampler: Sampler) -> Settings {
    let start = Some([("x".to_string(), "0.3".to_string())].into());
    Settings {
        trials: 30,
        sampler,
        pruner: Pruner::Median,
        epochs: 3,
        seed: 1,
        confirm_seeds: vec![2, 3],
        start,
    }
}

fn begin(folder: &Path, settings: Settings) -> Result<Study> {
    let mut space = Space::default();
    space.vary("x=0..1")?;
    space.check(&|_| Ok(()))?;
    Study::begin(folder, settings, space, "name = \"start\"")
}

fn function() -> Function {
    Function { epochs_left: usize::MAX, threads: Vec::new() }
}

#[test]
fn a_study_ends_with_a_winner_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = begin(folder.path(), settings(Sampler::Tpe)).unwrap();
    assert_eq!(work(&mut study, &mut function(), 2, 1).unwrap(), Ended::Finished);
    let count = |is: fn(&State) -> bool| study.trials().iter().filter(|trial| is(&trial.state)).count();
    assert_eq!(study.trials().len(), 30);
    assert!(count(|state| *state == State::Pruned) > 5 && count(|state| *state == State::Complete) >= 5);
    assert_eq!(count(|state| *state == State::Running), 0);
    let best = study.best().unwrap();
    assert!(best.score().unwrap() > 0.9, "{best:?}");
    assert_eq!(study.confirmations().len(), 4, "two candidates, two seeds");
    let (start, winner) = (Candidate::Start, Candidate::Trial(best.number));
    let [start, winner] = [start, winner].map(|candidate| gain::Scores::of(candidate, study.confirmations()));
    assert!(winner.gain_over(&start).unwrap().mean > 0.1);
    assert_eq!(importance::importance(&study.space, study.trials(), 1).unwrap().len(), 1);
    // Again: nothing is left to do.
    assert_eq!(
        work(&mut study, &mut Function { epochs_left: 1, threads: vec![] }, 2, 1).unwrap(),
        Ended::Finished
    );
}

#[test]
fn a_study_stopped_again_and_again_is_the_study_that_was_not() {
    let whole = tempfile::tempdir().unwrap();
    let mut study = begin(whole.path(), settings(Sampler::Tpe)).unwrap();
    work(&mut study, &mut function(), 2, 1).unwrap();

    let stopped = tempfile::tempdir().unwrap();
    for _ in 0..200 {
        let mut study = begin(stopped.path(), settings(Sampler::Tpe)).unwrap();
        let mut function = Function { epochs_left: 2, threads: vec![] };
        if work(&mut study, &mut function, 2, 1).unwrap() == Ended::Finished {
            break;
        }
    }
    let again = begin(stopped.path(), settings(Sampler::Tpe)).unwrap();
    let story = |study: &Study| -> Vec<_> {
        study.trials().iter().map(|t| (t.point.clone(), t.epochs.clone(), t.state.clone())).collect()
    };
    assert_eq!(story(&again), story(&study));
    assert_eq!(again.confirmations().len(), study.confirmations().len());
}

#[test]
fn two_workers_share_the_trials_and_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let work_on = || {
        let mut study = begin(folder.path(), settings(Sampler::Random)).unwrap();
        let mut function = function();
        work(&mut study, &mut function, 8, 2).unwrap();
        function.threads
    };
    let (a, b) = std::thread::scope(|scope| {
        let (a, b) = (scope.spawn(work_on), scope.spawn(work_on));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert_eq!(a.len() + b.len(), 30, "each trial is run once");
    assert!(a.iter().chain(&b).all(|threads| *threads == 4), "half of eight threads each");
    let study = begin(folder.path(), settings(Sampler::Random)).unwrap();
    assert!(study.trials().iter().all(|trial| trial.state != State::Running));
    assert_eq!(study.confirmations().iter().filter(|c| c.result.is_some()).count(), 4);
}

#[test]
fn a_trial_that_ends_every_worker_is_given_up() {
    struct Fatal;
    impl Objective for Fatal {
        fn run(
            &mut self,
            trial: &Trial,
            _: &[(String, String)],
            _: &Path,
            report: &mut dyn FnMut(Epoch) -> Verdict,
        ) -> Outcome {
            assert!(trial.number != 1, "the worker ends");
            report(Epoch { epoch: 1, score: 0.5, seconds: 1.0 });
            Outcome::Ended(State::Complete)
        }
        fn confirm(
            &mut self,
            _: &[(String, String)],
            _: u64,
            _: usize,
            _: &Path,
        ) -> Option<std::result::Result<Confirmed, String>> {
            Some(Err("not of interest".into()))
        }
        fn should_stop(&self) -> bool {
            false
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { trials: 4, ..settings(Sampler::Random) };
    let run = || {
        let mut study = begin(folder.path(), settings.clone()).unwrap();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&mut study, &mut Fatal, 1, 1))).is_ok()
    };
    assert_eq!([run(), run(), run(), run(), run(), run()], [false, false, false, false, false, true]);
    let study = begin(folder.path(), settings.clone()).unwrap();
    let states: Vec<bool> = study.trials().iter().map(|trial| trial.state == State::Complete).collect();
    assert_eq!(states, [true, false, true, true]);
    assert!(matches!(&study.trials()[1].state, State::Failed(why) if why.contains("5 workers")));
}

#[test]
fn another_study_in_the_folder_is_refused_and_more_trials_are_not() {
    let folder = tempfile::tempdir().unwrap();
    work(&mut begin(folder.path(), settings(Sampler::Random)).unwrap(), &mut function(), 1, 1).unwrap();
    let error = begin(folder.path(), settings(Sampler::Sobol)).unwrap_err();
    assert!(error.to_string().contains("another sampler"), "{error}");
    let mut study = begin(folder.path(), Settings { trials: 33, ..settings(Sampler::Random) }).unwrap();
    work(&mut study, &mut function(), 1, 1).unwrap();
    assert_eq!(study.trials().len(), 33);
    assert!(
        Study::open(&folder.path().join("none"), |_, _| Ok(()))
            .unwrap_err()
            .to_string()
            .contains("holds no study")
    );
    let opened = Study::open(folder.path(), |_, _| Ok(())).unwrap();
    assert_eq!(opened.trials(), study.trials());
}
