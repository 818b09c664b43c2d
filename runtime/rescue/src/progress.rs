//! Progress for a person: bars that also work on a serial line.

use crate::out::{note_along, remark, size, Out};
use crate::system;
use asl_ingest::{Acknowledged, Progress, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Redraws a second: a serial line at 115200 baud has little room.
const HERTZ: u8 = 2;
/// The bar gets new words no sooner than this.
const REDRAW: Duration = Duration::from_millis(100);

/// A bar for work of unknown size, and a watch over an ingest or a restore.
pub struct Screen<'a> {
    bar: ProgressBar,
    last: Mutex<Last>,
    /// Bytes that the source holds, where that is known.
    expected: Option<u64>,
    /// Asked at every acknowledgement: what a lease leaves, where one counts here.
    lease_left: Box<dyn Fn() -> Option<u64> + Sync + 'a>,
    /// When the bar was last given words: making them for every small file costs more than the file.
    told: Mutex<Option<Instant>>,
    /// Called at every acknowledgement, beside the drawing: what else waits for a quiet moment.
    at_acknowledgement: Box<dyn Fn(&Acknowledged) + Sync + 'a>,
}

/// What the last acknowledgement said.
#[derive(Default)]
struct Last {
    acknowledged: Option<Acknowledged>,
    lease_left: Option<u64>,
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
            last: Mutex::default(),
            expected: None,
            lease_left: Box::new(|| None),
            told: Mutex::default(),
            at_acknowledgement: Box::new(at_acknowledgement),
        }
    }

    /// Shows also what is left of a source of so many bytes.
    pub fn of(mut self, expected: Option<u64>) -> Self {
        self.expected = expected;
        self
    }

    /// Shows also what a lease leaves.
    pub fn within(mut self, lease_left: impl Fn() -> Option<u64> + Sync + 'a) -> Self {
        self.last = Mutex::new(Last {
            lease_left: lease_left(),
            ..Last::default()
        });
        self.lease_left = Box::new(lease_left);
        self
    }

    /// Clears the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Screen<'_> {
    fn progress(&self, p: &Progress) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        *told = Some(Instant::now());
        self.bar.set_position(p.bytes);
        self.bar.set_message(self.in_words(p));
    }

    fn acknowledged(&self, a: &Acknowledged) {
        note_along(&format!("  {} sealed here so far", size(a.stored_bytes)));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last {
            acknowledged: Some(*a),
            lease_left: (self.lease_left)(),
        };
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

    fn note(&self, what: &str) {
        self.bar.suspend(|| remark(&format!("  {what}")));
    }

    fn stop(&self) -> bool {
        system::stopped()
    }
}

impl Screen<'_> {
    /// What matters most comes first: a narrow line is cut at its end.
    fn in_words(&self, p: &Progress) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = Vec::new();
        if p.problems > 0 {
            parts.push(format!("{} problems", p.problems));
        }
        parts.extend(last.acknowledged.map(|a| {
            let kept = if a.durable { "durable" } else { "VOLATILE" };
            format!("{} {kept}", size(a.stored_bytes))
        }));
        // A file that grows, or a hole that takes no room, may make it more than was there.
        let to_go = self.expected.map(|all| all.saturating_sub(p.bytes));
        parts.extend(to_go.map(|left| format!("{} to go", size(left))));
        parts.extend(last.lease_left.map(|left| format!("lease {}", size(left))));
        parts.push(format!("{} files", p.files));
        parts.join(", ")
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
