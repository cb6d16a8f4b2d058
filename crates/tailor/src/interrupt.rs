//! Ctrl-C: the first asks for a clean end, the second ends at once.

use crate::progress::say;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The exit status of a shell's command that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

/// From now on, Ctrl-C and a termination signal only ask.
pub fn listen() {
    let listening = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        say("\nstopping after this step; press Ctrl-C again to stop at once");
    });
    // Without a handler the signal ends the process, and the last checkpoint stands.
    listening.unwrap_or_else(|error| say(format_args!("Ctrl-C will not be caught: {error}")));
}

/// Whether somebody has asked.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Asks as Ctrl-C does.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}
