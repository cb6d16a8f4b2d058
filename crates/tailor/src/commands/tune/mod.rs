//! `tailor tune`: many trainings of one recipe with other settings, and the best of them.
//!
//! ```text
//! arguments ──→ study (a folder) ──→ worker (this process, or several of its own) ──→ experiment (a training)
//!                  │
//!                  ├──→ watch    what a person sees meanwhile
//!                  └──→ results  best.toml, trials.csv, report.html
//! ```

mod experiment;
mod results;
mod watch;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tailor_train::Recipe;
use tailor_tune::{Ended, Pruner, Sampler, Settings, Space, Study, work};

use self::experiment::{Experiment, check_settings, start_of};
use self::watch::Watch;
use super::{RecipeArgs, Usage};
use crate::progress::say;
use crate::{Context, interrupt};

/// Search for better settings of a recipe, and show what they are worth
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor tune cnn-32-64 --vary train.lr=1e-4..1e-2:log --vary train.optimizer=adam,sgd --trials 40
  tailor tune cnn-bn-32-64-128 --space recipes/spaces/cnn-bn-32-64-128.toml --epochs 8 --workers 2
  tailor tune --study runs/cnn-32-64-tune-001       go on with a study, from as many terminals as you like
  tailor tune --study runs/cnn-32-64-tune-001 --trials 60

--vary takes any key of a recipe: KEY=LOW..HIGH, KEY=LOW..HIGH:log, KEY=LOW..HIGH:step=N (whole
numbers), or KEY=A,B,C. A space file has the same, and conditions (see recipes/spaces).
Trials are chosen by their validation accuracy. The winner and the recipe that the study began with are
then trained with fresh seeds, and only these runs look at the test part.
The study's folder holds best.toml, trials.csv, report.html, and a journal that survives being killed.")]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// A parameter and its values (may be repeated)
    #[arg(long = "vary", value_name = "KEY=RANGE")]
    vary: Vec<String>,

    /// A file of parameters, their ranges and conditions
    #[arg(long, value_name = "FILE.toml")]
    space: Option<PathBuf>,

    /// Trials in all [default: 40]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    trials: Option<u32>,

    /// Where the next values come from
    #[arg(long, value_enum, default_value_t = SamplerArg::Tpe)]
    sampler: SamplerArg,

    /// When a poor trial is stopped
    #[arg(long, value_enum, default_value_t = PrunerArg::Median)]
    pruner: PrunerArg,

    /// Processes that train at once, each with its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,

    /// Seeds with which the winner is trained again before it is tested; 0 leaves the test part alone
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=100))]
    confirm: u16,

    /// The study's folder; one that holds a study is gone on with [default: runs/RECIPE-tune-001, -002, …]
    #[arg(long, value_name = "DIR")]
    study: Option<PathBuf>,

    /// Work for the study in --study, until standard input ends
    #[arg(long, hide = true, requires = "study")]
    worker: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SamplerArg {
    /// Every combination, in random order
    Grid,
    /// Uniform and independent
    Random,
    /// A Sobol sequence: more even than random
    Sobol,
    /// Tree-structured Parzen estimator
    Tpe,
    /// Gaussian process with expected improvement
    Gp,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrunerArg {
    /// Never
    None,
    /// Below the median of the others after as many epochs
    Median,
    /// Not in the best third at epochs 1, 3, 9, …
    SuccessiveHalving,
    /// Successive halving that begins at several epochs
    Hyperband,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    interrupt::listen();
    if args.worker {
        return run_worker(&args, &context);
    }
    let mut study = open_or_begin(&args, &context)?;
    let recipe = Recipe::parse(&study.recipe, "the study's recipe")?;
    if !context.quiet {
        announce(&study, &recipe);
    }
    let watch = Watch::start(&study, &context)?;
    let ended = match args.workers {
        1 => work_here(&mut study, recipe.clone(), &context, 1),
        workers => work_in_processes(&study, &context, workers),
    };
    watch.stop();
    let ended = ended?;
    study.refresh()?;
    results::write(&study, &recipe, &context)?;
    if ended == Ended::Interrupted {
        say(format_args!("stopped; go on with: tailor tune --study {}", study.folder().display()));
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    results::print(&study, context.quiet)?;
    Ok(ExitCode::SUCCESS)
}

/// The study of the arguments: the one in the folder, or a new one.
fn open_or_begin(args: &Args, context: &Context) -> anyhow::Result<Study> {
    let is_new = !args.recipe.is_empty() || !args.vary.is_empty() || args.space.is_some();
    if let (Some(folder), false) = (&args.study, is_new) {
        let mut study = open(folder)?;
        if let Some(trials) = args.trials {
            let settings = Settings { trials: trials as usize, ..study.settings.clone() };
            study = Study::begin(folder, settings, study.space, &study.recipe)?;
        }
        return Ok(study);
    }
    let mut space = Space::default();
    if let Some(path) = &args.space {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read the space {}", path.display()))?;
        space = Space::parse(&text, &path.display().to_string())?;
    }
    args.vary.iter().try_for_each(|text| space.vary(text))?;
    // What is impossible is refused before anything is trained or written.
    let (recipe, data) = args.recipe.resolve(context)?;
    recipe.architecture().plan(data.shape(), data.train.classes())?;
    space.check(&|assignments| check_settings(&recipe, Some(&data), assignments))?;
    let seed = recipe.train.seed;
    let settings = Settings {
        trials: args.trials.unwrap_or(40) as usize,
        sampler: args.sampler.into(),
        pruner: args.pruner.into(),
        epochs: recipe.train.epochs,
        seed,
        confirm_seeds: (seed + 1..=seed + u64::from(args.confirm)).collect(),
        start: start_of(&recipe, &space),
    };
    let folder = match &args.study {
        Some(folder) => folder.clone(),
        None => next_folder(&recipe.name)?,
    };
    Ok(Study::begin(&folder, settings, space, &recipe.to_toml())?)
}

fn open(folder: &Path) -> anyhow::Result<Study> {
    let check = |recipe: &str, assignments: &[(String, String)]| {
        let recipe = Recipe::parse(recipe, "the study's recipe").map_err(|error| error.to_string())?;
        check_settings(&recipe, None, assignments)
    };
    Ok(Study::open(folder, check)?)
}

/// Makes the first unused folder `runs/NAME-tune-001`, `-002`, …
fn next_folder(name: &str) -> anyhow::Result<PathBuf> {
    for number in 1.. {
        let path = Path::new("runs").join(format!("{name}-tune-{number:03}"));
        std::fs::create_dir_all("runs").context("cannot make the folder runs")?;
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make the folder {}", path.display()));
            }
        }
    }
    unreachable!("some number is unused")
}

fn work_here(study: &mut Study, recipe: Recipe, context: &Context, workers: usize) -> anyhow::Result<Ended> {
    let mut experiment = Experiment::new(recipe, context);
    Ok(work(study, &mut experiment, context.threads, workers)?)
}

/// Starts a process for each worker: a process has one team of threads.
fn work_in_processes(study: &Study, context: &Context, workers: u16) -> anyhow::Result<Ended> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let start = || -> std::io::Result<Child> {
        let mut command = Command::new(&program);
        command.args(["tune", "--worker", "--quiet", "--study"]).arg(study.folder());
        command.args(["--workers", &workers.to_string(), "--threads", &context.threads.to_string()]);
        command.args(["--device", context.device_name]);
        // Its standard input ends when this process does, however that happens; then it stops.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
    };
    let children: Result<Vec<Child>, _> = (0..workers).map(|_| start()).collect();
    let mut children = children.context("cannot start a worker")?;
    let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
    while !interrupt::requested() && children.iter_mut().any(is_running) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut failed = None;
    for mut child in children {
        // Waiting closes its standard input.
        let status = child.wait().context("cannot wait for a worker")?;
        if !status.success() {
            failed = Some(status);
        }
    }
    match failed {
        _ if interrupt::requested() => Ok(Ended::Interrupted),
        Some(status) => Err(anyhow::anyhow!(
            "a worker ended with {status}; what it did is kept, go on with: tailor tune --study {}",
            study.folder().display()
        )),
        None => Ok(Ended::Finished),
    }
}

fn run_worker(args: &Args, context: &Context) -> anyhow::Result<ExitCode> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        interrupt::request();
    });
    let folder = args.study.as_deref().ok_or_else(|| Usage("a worker needs --study".into()))?;
    let mut study = open(folder)?;
    let recipe = Recipe::parse(&study.recipe, "the study's recipe")?;
    Ok(match work_here(&mut study, recipe, context, args.workers.into())? {
        Ended::Finished => ExitCode::SUCCESS,
        Ended::Interrupted => ExitCode::from(interrupt::EXIT_CODE),
    })
}

fn announce(study: &Study, recipe: &Recipe) {
    let Settings { trials, sampler, pruner, .. } = &study.settings;
    say(format_args!("recipe  {}  {}", recipe.name, recipe.description));
    for parameter in &study.space.parameters {
        say(format_args!("vary    {} = {}", parameter.key, parameter.domain.description()));
    }
    let epochs = study.settings.epochs;
    let (sampler, pruner) = (format!("{sampler:?}").to_lowercase(), format!("{pruner:?}").to_lowercase());
    say(format_args!("search  {trials} trials of up to {epochs} epochs, sampler {sampler}, pruner {pruner}"));
    say(format_args!("study   {}\n", study.folder().display()));
}

impl From<SamplerArg> for Sampler {
    fn from(sampler: SamplerArg) -> Self {
        match sampler {
            SamplerArg::Grid => Sampler::Grid,
            SamplerArg::Random => Sampler::Random,
            SamplerArg::Sobol => Sampler::Sobol,
            SamplerArg::Tpe => Sampler::Tpe,
            SamplerArg::Gp => Sampler::Gp,
        }
    }
}

impl From<PrunerArg> for Pruner {
    fn from(pruner: PrunerArg) -> Self {
        match pruner {
            PrunerArg::None => Pruner::None,
            PrunerArg::Median => Pruner::Median,
            PrunerArg::SuccessiveHalving => Pruner::SuccessiveHalving,
            PrunerArg::Hyperband => Pruner::Hyperband,
        }
    }
}
