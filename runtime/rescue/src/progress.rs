//! Progress for a person: bars that also work on a serial line.

use crate::out::{note_along, remark, size, Out};
use crate::system;
use asl_ingest::{Acknowledged, Progress, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Redraws a second: a serial line at 115200 baud has little room.
const HERTZ: u8 = 2;

/// A bar for work of unknown size, and a watch over an ingest or a restore.
pub struct Screen<'a> {
    bar: ProgressBar,
    last: Mutex<Option<Acknowledged>>,
    /// Called at every acknowledgement, beside the drawing: what else waits for a quiet moment.
    at_acknowledgement: Box<dyn Fn(&Acknowledged) + Sync + 'a>,
}

impl<'a> Screen<'a> {
    /// A screen that says what is going on; nothing is drawn for `--json`.
    pub fn new(
        out: Out,
        what: &str,
        at_acknowledgement: impl Fn(&Acknowledged) + Sync + 'a,
    ) -> Self {
        Screen {
            bar: spinner(out, what),
            last: Mutex::new(None),
            at_acknowledgement: Box::new(at_acknowledgement),
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Screen<'_> {
    fn progress(&self, p: &Progress) {
        let safe = match &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(a) if a.durable => format!(", {} durable", size(a.stored_bytes)),
            Some(a) => format!(", {} VOLATILE", size(a.stored_bytes)),
            None => String::new(),
        };
        let problems = if p.problems > 0 {
            format!(", {} problems", p.problems)
        } else {
            String::new()
        };
        self.bar.set_position(p.bytes);
        self.bar
            .set_message(format!("{} files{safe}{problems}", p.files));
    }

    fn acknowledged(&self, a: &Acknowledged) {
        note_along(&format!("  {} sealed here so far", size(a.stored_bytes)));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(*a);
        (self.at_acknowledgement)(a);
    }

    fn problem(&self, path: &[u8], why: &str) {
        let path: String = String::from_utf8_lossy(path)
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        self.bar
            .suspend(|| remark(&format!("  problem: {path}: {why}")));
    }

    fn stop(&self) -> bool {
        system::stopped()
    }
}

fn spinner(out: Out, what: &str) -> ProgressBar {
    let bar = drawn(out, ProgressBar::new_spinner());
    // The template is a constant; where it cannot be read the plain style serves.
    let style = ProgressStyle::with_template(
        "  {prefix} {decimal_bytes} {decimal_bytes_per_sec} {elapsed} {msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.set_prefix(what.to_string());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn drawn(out: Out, bar: ProgressBar) -> ProgressBar {
    bar.set_draw_target(if out.is_text() {
        ProgressDrawTarget::stderr_with_hz(HERTZ)
    } else {
        ProgressDrawTarget::hidden()
    });
    bar
}

/// A bar for work of known size.
pub fn bar(out: Out, what: &str) -> ProgressBar {
    let bar = drawn(out, ProgressBar::new(0));
    let style = ProgressStyle::with_template(
        "  {prefix} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(what.to_string());
    bar
}
