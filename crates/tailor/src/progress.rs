//! What a person sees of a training run: a bar on a terminal, and a line an epoch everywhere; on standard error.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tailor_eval::EpochRecord;
use tailor_nn::Summary;
use tailor_train::checkpoint::{ComputedBy, Partial, Progress};
use tailor_train::{Observer, Recipe};

use crate::{Context, interrupt};

/// Prints a line to standard error. Nobody may be listening any more; that is no reason to stop working.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a run's progress.
pub struct Console {
    quiet: bool,
    computed_by: ComputedBy,
    epochs: usize,
    steps_per_epoch: usize,
    bar: ProgressBar,
}

impl Console {
    pub fn new(recipe: &Recipe, context: &Context) -> Self {
        Console {
            quiet: context.quiet,
            computed_by: ComputedBy::here(context.threads),
            epochs: recipe.train.epochs,
            steps_per_epoch: 0,
            bar: ProgressBar::hidden(),
        }
    }

    /// A line above the bar, or on its own.
    fn line(&self, text: &str) {
        match self.bar.is_hidden() {
            true => say(text),
            false => self.bar.println(text),
        }
    }
}

impl Observer for Console {
    fn started(&mut self, summary: &Summary, progress: &Progress, steps_per_epoch: usize) {
        self.steps_per_epoch = steps_per_epoch;
        if self.quiet {
            return;
        }
        say(format_args!("{summary}\n"));
        if progress.epochs > 0 || progress.steps > 0 {
            let ComputedBy { threads, instructions } = &progress.computed_by;
            if progress.computed_by != self.computed_by {
                say(format_args!(
                    "note: begun with --threads {threads} on {instructions}; with anything else the bits differ"
                ));
            }
            say(format_args!("resuming after epoch {}, step {}", progress.epochs, progress.steps));
        }
        say("epoch      train loss  accuracy   validation loss  accuracy   learning rate   seconds");
        for record in &progress.history.0 {
            let kept = progress.best.is_some_and(|best| best.epoch == record.epoch);
            say(epoch_line(record, self.epochs, kept));
        }
        // Hides itself when standard error is no terminal.
        self.bar = ProgressBar::new((steps_per_epoch * self.epochs) as u64);
        let template = "{wide_bar:.cyan/dim} {percent:>3}%  {msg}  {eta_precise} left";
        self.bar.set_style(bar_style(template));
        self.bar.set_position((progress.epochs * steps_per_epoch + progress.steps) as u64);
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn step(&mut self, epoch: usize, step: usize, partial: &Partial) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(((epoch - 1) * self.steps_per_epoch + step) as u64);
        let images = partial.images as f64;
        self.bar.set_message(format!(
            "epoch {epoch}/{}  loss {:.4}  {:.2} %  {:.0} images/s",
            self.epochs,
            partial.loss / images,
            100.0 * partial.correct as f64 / images,
            images / partial.seconds
        ));
    }

    fn epoch(&mut self, record: &EpochRecord, kept: bool) {
        if !self.quiet {
            self.line(&epoch_line(record, self.epochs, kept));
        }
    }

    fn features(&mut self, images: usize, of: usize) {
        if images == of {
            self.bar.set_message("");
        } else {
            self.bar.set_message(format!("features of {images} of {of} images"));
        }
    }

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How every bar of the program looks, with these fields.
pub fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a valid template").progress_chars("━━─")
}

/// Shows how far a download is.
pub struct Download(ProgressBar);

impl Download {
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let template = "{msg:30} {wide_bar:.cyan/dim} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
        bar.set_style(bar_style(template));
        Download(bar)
    }

    pub fn show(&self, progress: tailor_data::fetch::Progress) {
        let Download(bar) = self;
        if bar.message() != progress.file {
            bar.set_message(progress.file.to_string());
        }
        bar.set_length(progress.total.unwrap_or(progress.bytes));
        bar.set_position(progress.bytes);
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Shows how many photographs are decoded.
pub struct Decoding(ProgressBar);

impl Decoding {
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        bar.set_style(bar_style("{wide_bar:.cyan/dim} photograph {pos} of {len}  {eta} left"));
        Decoding(bar)
    }

    pub fn show(&self, done: usize, of: usize) {
        let Decoding(bar) = self;
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn epoch_line(record: &EpochRecord, epochs: usize, kept: bool) -> String {
    let optional = |value: Option<f64>, text: fn(f64) -> String| value.map_or("–".to_string(), text);
    format!(
        "{:>4}/{:<4}  {:>10.4}  {:>7.2}%  {:>16}  {:>8}  {:>14.3e}  {:>8.1}{}",
        record.epoch,
        epochs,
        record.train_loss,
        100.0 * record.train_accuracy,
        optional(record.validation_loss, |loss| format!("{loss:.4}")),
        optional(record.validation_accuracy, |accuracy| format!("{:.2}%", 100.0 * accuracy)),
        record.learning_rate,
        record.seconds,
        if kept { "  ✓ best" } else { "" },
    )
}
