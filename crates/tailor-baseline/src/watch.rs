//! Whoever watches a classifier being fitted.

use crate::{Error, Result};

/// Is told how far a fit has come, and can end it.
pub trait Watcher: Sync {
    /// `done` of `all` parts of a stage, such as "fitting pairs of classes", are done.
    fn progress(&self, stage: &str, done: usize, all: usize);
    /// Asked now and then, from any thread.
    fn should_stop(&self) -> bool;
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl dyn Watcher + '_ {
    /// Tells how far a stage has come, and returns [`Error::Stopped`] if it is not to go on.
    pub(crate) fn step(&self, stage: &str, done: usize, all: usize) -> Result<()> {
        self.progress(stage, done, all);
        self.go_on()
    }

    /// [`Error::Stopped`] if the fit is not to go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.should_stop() { Err(Error::Stopped) } else { Ok(()) }
    }
}
