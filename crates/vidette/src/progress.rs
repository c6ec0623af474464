//! One live line on standard error, when it is a terminal and the work takes over half a second.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use vidette_telemetry::Progress;

pub struct Bar {
    line: ProgressBar,
    started: Instant,
}

impl Bar {
    pub fn new() -> Bar {
        let line = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            line.set_style(style);
        }
        Bar { line, started: Instant::now() }
    }

    pub fn update(&self, progress: Progress) {
        self.say(|| format!("reading {}/{} files, {} events", progress.files_done, progress.files, progress.events));
    }

    pub fn say(&self, message: impl FnOnce() -> String) {
        if self.started.elapsed() > Duration::from_millis(500) {
            self.line.set_message(message());
            self.line.tick();
        }
    }

    pub fn finish(&self) {
        self.line.finish_and_clear();
    }
}
