//! `tailor compare`: which model is better, and whether that is luck.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tailor_data::{Dataset, OpenOptions, Source, open_judged};
use tailor_eval::{Comparison, Contestant};
use tailor_report::{ComparisonReport, Pictures, comparison_html};
use tailor_train::data::network_shape;
use tailor_train::run::{files, replace_file};
use tailor_train::{Recipe, RunData};
use toml::Value;

use super::Usage;
use crate::Context;
use crate::finished::{FinishedRun, Folders, contestants};
use crate::progress::say;
use crate::results::DatasetPictures;

/// Compare runs: which is better, by how much, in which classes, at what cost, and whether it is luck
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor compare runs/cnn-32-64-001 runs/ann-256-128-001
  tailor compare results/ --output comparison.html       every run beneath a folder, with a page
  tailor compare results/ --pair starter cnn-32-64-64 --output comparison.html
  tailor compare runs/a runs/b --json | jq .differences

Runs of the same recipe with other seeds are grouped into mean ± deviation. All must have been judged by
the same test images: they are compared image by image, so each needs its predictions.csv. Of runs beneath
a folder those are taken that are on the same data as most.")]
pub struct Args {
    /// Folders of finished runs, or folders that hold some
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// The two to show in detail, by name, place or folder [default: the best two]
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pair: Option<Vec<String>>,

    /// Write a page with curves, matrices and pictures into this file
    #[arg(long, value_name = "FILE.html")]
    output: Option<PathBuf>,

    /// Print every figure as JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.output
        && path.extension().is_none_or(|extension| extension != "html")
    {
        return Err(Usage(format!("--output {} must end in .html: it is a page", path.display())).into());
    }
    let Folders { folders, mut notes } = Folders::find(&args.runs)?;
    if let [only] = folders.as_slice() {
        let text = format!(
            "a comparison needs at least two runs, and {} is one; `tailor evaluate` judges it alone",
            only.display()
        );
        return Err(Usage(text).into());
    }
    let mut runs =
        folders.iter().map(|folder| FinishedRun::read(folder)).collect::<anyhow::Result<Vec<_>>>()?;
    keep_one_source(&mut runs, &args.runs, &mut notes);
    let images = TestImages::of(&runs, &mut notes)?;
    if let Some(images) = &images {
        runs.iter_mut().for_each(|run| count_parameters(run, &images.images));
    }
    let is_one_recipe = runs.iter().all(|run| run.recipe == runs[0].recipe);
    if is_one_recipe {
        notes.push(
            "All runs are of one recipe: they differ by their seed, which says nothing about recipes".into(),
        );
    }
    let comparison = Comparison::of(contestants(runs)?).map_err(|error| Usage(error.to_string()))?;
    let pair = args.pair.as_deref().map_or(Ok((0, 1)), |names| find_pair(&comparison, names))?;
    if !context.quiet {
        notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    if let Some(path) = &args.output {
        let page = page(&args, &comparison, pair, images.as_ref(), &notes)?;
        replace_file(path, page.as_bytes())?;
    }
    print(&args, &comparison, context.quiet)?;
    Ok(ExitCode::SUCCESS)
}

/// Where folders hold runs on several data sets, only those on the one that most are on can be compared; the others are left
/// out with a note, but not those that were named.
fn keep_one_source(runs: &mut Vec<FinishedRun>, named: &[PathBuf], notes: &mut Vec<String>) {
    let source = |run: &FinishedRun| run.recipe.get("data")?.get("source")?.as_str().map(str::to_owned);
    let count = |wanted: &Option<String>| runs.iter().filter(|run| source(run) == *wanted).count();
    // The first of several with as many: `max_by_key` gives the last.
    let Some(most) = runs.iter().rev().map(source).max_by_key(count).filter(|most| count(most) > 1) else {
        return;
    };
    runs.retain(|run| {
        let stays = source(run) == most || named.contains(&run.folder);
        if !stays {
            notes.push(format!("{} is on other data than most, and is left out", run.run.place));
        }
        stays
    });
}

fn print(args: &Args, comparison: &Comparison, quiet: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, comparison)?;
        return Ok(writeln!(out)?);
    }
    write!(out, "{comparison}")?;
    match &args.output {
        _ if quiet => {}
        Some(page) => writeln!(out, "\npage: {}", page.display())?,
        None => writeln!(out, "\nfor a page with curves and pictures: --output FILE.html")?,
    }
    Ok(())
}

fn page(
    args: &Args,
    comparison: &Comparison,
    pair: (usize, usize),
    images: Option<&TestImages>,
    notes: &[String],
) -> anyhow::Result<String> {
    let pictures = images.map(|images| DatasetPictures(&images.images));
    let runs: Vec<String> = args.runs.iter().map(|run| run.display().to_string()).collect();
    let pair_option =
        args.pair.as_ref().map_or(String::new(), |names| format!(" --pair {}", names.join(" ")));
    let report = ComparisonReport {
        comparison,
        pair,
        data_name: images.map_or("their data", |images| &images.name),
        pictures: pictures.as_ref().map(|pictures| pictures as &dyn Pictures),
        notes: &notes.iter().map(|note| format!("{note}.")).collect::<Vec<_>>(),
        reproduce: &format!("tailor compare {}{pair_option} --output comparison.html", runs.join(" ")),
    };
    Ok(comparison_html(&report)?)
}

/// The places of two contestants that the user named.
fn find_pair(comparison: &Comparison, names: &[String]) -> anyhow::Result<(usize, usize)> {
    let is_named = |name: &str, place: usize, contestant: &Contestant| {
        contestant.name == name
            || name.parse() == Ok(place + 1)
            || contestant.runs.iter().any(|run| Path::new(&run.place) == Path::new(name))
    };
    let find = |name: &String| {
        let mut contestants = comparison.contestants.iter().enumerate();
        let found = contestants.find(|(place, contestant)| is_named(name, *place, contestant));
        found.map(|(place, _)| place).ok_or_else(|| {
            let known: Vec<&str> = comparison.contestants.iter().map(|known| known.name.as_str()).collect();
            Usage(format!("--pair {name}: there is no such model; there are {}", known.join(", ")))
        })
    };
    let (a, b) = (find(&names[0])?, find(&names[1])?);
    if a == b {
        return Err(
            Usage(format!("--pair names {} twice; name two models", comparison.contestants[a].name)).into()
        );
    }
    Ok((a, b))
}

/// The images that runs were judged by.
struct TestImages {
    name: String,
    images: Dataset,
    /// Whether the seed chose them: data without a part to judge by is split by it.
    is_held_out: bool,
}

impl TestImages {
    /// Opens the images of every run and sees that they are the same. Labels alone would not tell: the parts that two seeds
    /// hold out of sorted data have the same ones. None if they are not at hand; a note says so.
    fn of(runs: &[FinishedRun], notes: &mut Vec<String>) -> anyhow::Result<Option<Self>> {
        let mut opened: Vec<(&FinishedRun, Self)> = Vec::new();
        for run in runs {
            let is_open = |(other, images): &(&FinishedRun, Self)| {
                let same_seed = !images.is_held_out || other.run.seed == run.run.seed;
                same_seed && other.recipe.get("data") == run.recipe.get("data")
            };
            if opened.iter().any(is_open) {
                continue;
            }
            match Self::open(run) {
                Ok(images) => opened.push((run, images)),
                Err(error) => {
                    notes.push(format!(
                        "The images that {} was judged by are not at hand ({error:#}): there are no pictures, and that all \
                         runs saw the same images is known by the labels alone",
                        run.run.place
                    ));
                    return Ok(None);
                }
            }
        }
        let mut opened = opened.into_iter();
        let Some((first, images)) = opened.next() else { return Ok(None) };
        match opened.find(|(_, others)| !images.are(others)) {
            None => Ok(Some(images)),
            Some((run, others)) => Err(Usage(format!(
                "{} and {} were judged by other images ({} of {} and {} of {}); compare runs on the same test images",
                first.run.place,
                run.run.place,
                images.images.len(),
                images.name,
                others.images.len(),
                others.name
            ))
            .into()),
        }
    }

    /// What a run was judged by: the test part, else what its seed held out.
    fn open(run: &FinishedRun) -> anyhow::Result<Self> {
        let data = run.recipe.get("data").and_then(Value::as_table);
        let source = data.and_then(|data| data.get("source")).and_then(Value::as_str);
        let Some(source) = source else { anyhow::bail!("its recipe names no data.source") };
        let number = |key: &str| data?.get(key)?.as_integer().and_then(|number| usize::try_from(number).ok());
        let options = OpenOptions {
            size: number("size").map(|size| (size, size)),
            channels: number("channels"),
            class_names: Some(run.run.answers.class_names().to_vec()),
            ..OpenOptions::default()
        };
        let judged = open_judged(&Source::parse(source), &options)?;
        let is_held_out = judged.part == "only";
        let images = if is_held_out { RunData::open(&recipe(run)?)?.validation } else { judged.images };
        let labels = run.run.answers.labels();
        if images.len() != labels.len() || (0..labels.len()).any(|i| images.label(i) != labels[i]) {
            anyhow::bail!("{source} holds others now");
        }
        Ok(TestImages { name: judged.name, images, is_held_out })
    }

    /// Whether these images are those, pixel by pixel.
    fn are(&self, others: &Self) -> bool {
        let (a, b) = (&self.images, &others.images);
        a.len() == b.len() && a.shape() == b.shape() && (0..a.len()).all(|i| a.image(i) == b.image(i))
    }
}

/// A network's recipe, as its folder holds it.
fn recipe(run: &FinishedRun) -> anyhow::Result<Recipe> {
    let path = run.folder.join(files::RECIPE);
    Ok(Recipe::parse(&std::fs::read_to_string(&path)?, &path.display().to_string())?)
}

/// Where the model file was not kept, a network's recipe tells how many parameters it had.
fn count_parameters(run: &mut FinishedRun, images: &Dataset) {
    if run.run.cost.parameters.is_none()
        && let Ok(recipe) = recipe(run)
        && let Ok(layers) = recipe.architecture().plan(network_shape(images), images.classes())
    {
        run.run.cost.parameters =
            Some(layers.iter().map(|layer| layer.trainable() + layer.statistics()).sum());
    }
}
