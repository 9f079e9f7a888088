//! What xtask says while it works: on stderr, so that stdout holds results only.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar over `steps`; where there is no terminal, one line that says what begins.
pub(crate) fn bar(what: &str, steps: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        say(&format!("{what} ({steps} steps)"));
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// One line for the person in front of it.
#[expect(clippy::print_stderr, reason = "this is a command line tool, and stderr is where it talks")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
