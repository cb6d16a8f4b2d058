//! `tailor embed`: all images in the plane, as the model sees them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use tailor_baseline::Matrix;
use tailor_data::Judged;
use tailor_eval::thousands;
use tailor_explain::embedding::Embedding;
use tailor_report::{EmbeddingReport, MappedImage, Pictures, Projection, embedding_html};
use tailor_train::Classifier;
use tailor_train::inference::labels;
use tailor_train::run::replace_file;

use super::Usage;
use super::evaluate::{self, Part};
use crate::Context;
use crate::progress::say;
use crate::results::DatasetPictures;

/// Lay out images so that those that the model finds alike lie together, as a page to look around in
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor embed runs/starter-001                         the test part, as embedding.html
  tailor embed runs/starter-001 --part train --limit 5000 --output train.html
  tailor embed model.safetensors --data my-photos/ --output photos.html

Images are described by what the last layer of a network decides by, or by the features of a baseline, and brought into
the plane by their principal components and by t-SNE. The same model and data give the same map.")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Lay out this instead of what it was trained on (the source's test part if it has parts)
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Which part of the data
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,

    /// Lay out this many images at most, classes in their proportions
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    limit: u32,

    /// The page
    #[arg(long, value_name = "FILE.html", default_value = "embedding.html")]
    output: PathBuf,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    if args.output.extension().is_none_or(|extension| extension != "html") {
        let text = format!("--output {} must end in .html: it is a page", args.output.display());
        return Err(Usage(text).into());
    }
    let model = super::model(&args.model, None, &context)?;
    let Judged { name, part, images, .. } =
        evaluate::open(&model, args.data.as_deref(), args.part, &context)?;
    let images = images.limit(args.limit as usize, model.info.recipe.seed());
    let (logits, _) = model.logits_of(&images);
    let predictions = model.predictions(labels(&images), &logits)?;
    let features = model.features_of(&images);
    let features = Matrix::new(images.len(), features.len() / images.len().max(1), features);
    let kind = match model.classifier {
        Classifier::Network(_) => "features that the last layer decides by",
        Classifier::Baseline(_) => "features of the baseline",
    };
    let description = format!(
        "{} images of the {part} part of {name}, by {} {kind}",
        thousands(images.len()),
        thousands(features.columns())
    );
    if !context.quiet {
        say(&description);
    }
    let start = Instant::now();
    let Embedding { pca, pca_share, tsne } = Embedding::of(&features)?;
    let pictures = DatasetPictures(&images);
    let mapped: Vec<MappedImage> = (0..images.len())
        .map(|i| MappedImage {
            picture: pictures.picture(i),
            label: predictions.label(i),
            predicted: predictions.predicted(i),
            confidence: predictions.confidence(i),
            origin: images.origin(i),
        })
        .collect();
    let projections = [
        Projection {
            name: "t-SNE".into(),
            meaning: "Images that are alike to the model lie together; how far apart groups lie, and how large they are, \
                      means little."
                .into(),
            points: tsne,
        },
        Projection {
            name: "principal components".into(),
            meaning: format!(
                "The two directions in which the features differ most: {:.0} % of their variance. Distances are true to \
                 scale, but much is seen from above.",
                100.0 * pca_share
            ),
            points: pca,
        },
    ];
    let report = EmbeddingReport {
        title: model.info.recipe.name(),
        description: &description,
        class_names: &model.info.class_names,
        images: &mapped,
        projections: &projections,
        reproduce: &super::command_line(),
    };
    replace_file(&args.output, embedding_html(&report)?.as_bytes())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "page  {}", args.output.display())?;
    if !context.quiet {
        writeln!(out, "laid out in {:.1} s", start.elapsed().as_secs_f64())?;
    }
    Ok(ExitCode::SUCCESS)
}
