//! The goals of performance.md, section 4, as ratios within one run.

use crate::rows::{Key, Rows, What};

/// The tool that is judged.
pub const US: &str = "asl";
/// The limit it is held against.
pub const PROBE: &str = "probe";
/// No data set: 100 000 small pieces made durable, many to a commit; fewer one by one.
pub const COMMITS: &str = "commits";
/// Programs that copy an image and seal nothing.
pub const IMAGERS: [&str; 3] = ["dd", "dc3dd", "ewf"];

/// What a figure is held against.
#[derive(Clone, Copy, PartialEq)]
pub enum Against {
    /// The same figure of this tool.
    Tool(&'static str),
    /// The same figure of the best peer.
    BestPeer,
    /// A figure by itself.
    Nothing,
}

/// One line of the table of goals.
pub struct Goal {
    pub set: &'static str,
    pub step: &'static str,
    pub what: What,
    pub against: Against,
    /// At most this makes us first of all.
    pub first: f64,
    /// At most this is what we are after.
    pub after: Option<f64>,
}

const fn goal(
    (set, step, what): (&'static str, &'static str, What),
    against: Against,
    first: f64,
    after: Option<f64>,
) -> Goal {
    Goal {
        set,
        step,
        what,
        against,
        first,
        after,
    }
}

use Against::{BestPeer, Nothing, Tool};
use What::{Cpu, Growth, Peak, Store, User, Wall};

/// Any step has no more than this, in MiB.
const fn peak(set: &'static str, step: &'static str) -> Goal {
    goal((set, step, Peak), Nothing, 128.0, Some(64.0))
}

/// Every goal that this run can judge.
pub const GOALS: [Goal; 36] = [
    goal(("home", "ingest", Wall), Tool(PROBE), 1.4, Some(1.15)),
    goal(("big", "ingest", Wall), Tool(PROBE), 1.3, Some(1.1)),
    goal(("small", "ingest", Wall), Tool(PROBE), 1.1, Some(0.8)),
    goal(("home", "ingest", Cpu), Tool(PROBE), 1.3, Some(1.1)),
    goal(("big", "ingest", Cpu), Tool(PROBE), 1.15, Some(1.05)),
    goal(("small", "ingest", Cpu), Tool(PROBE), 1.1, Some(0.8)),
    // 0.30 s where bupstash takes 0.37 and 0.35.
    goal(("home", "rerun", Wall), Tool("bupstash"), 0.81, Some(0.5)),
    goal(("small", "rerun", Wall), Tool("bupstash"), 0.86, Some(0.5)),
    goal(("home", "incremental", Wall), BestPeer, 0.75, Some(0.4)),
    goal(("home", "incremental", Growth), Tool("restic"), 1.0, None),
    goal(("home", "incremental", Growth), Nothing, 12.0, None),
    goal(("big", "incremental", Growth), Nothing, 40.0, Some(15.0)),
    goal(("home", "verify", Wall), Tool("rustic"), 0.65, Some(0.4)),
    goal(("home", "restore", Wall), Tool("restic"), 0.8, Some(0.6)),
    goal(("home", "restore", User), Tool("bupstash"), 1.0, None),
    goal(("small", "restore", Wall), Tool("restic"), 0.8, Some(0.6)),
    goal(("big", "restore", Wall), Tool("restic"), 0.8, Some(0.6)),
    goal(("home", "one", Wall), Nothing, 0.03, Some(0.01)),
    peak("home", "ingest"),
    peak("home", "rerun"),
    peak("home", "verify"),
    peak("home", "restore"),
    peak("home", "one"),
    peak("home", "incremental"),
    peak("small", "ingest"),
    peak("small", "rerun"),
    peak("small", "verify"),
    peak("small", "restore"),
    peak("big", "ingest"),
    peak("big", "verify"),
    peak("big", "restore"),
    peak("big", "incremental"),
    // 100 000 pieces: 50 000 and 150 000 a second.
    goal((COMMITS, "grouped", Wall), Nothing, 2.0, Some(0.667)),
    goal(("big", "ingest", Wall), Tool("dc3dd"), 0.5, None),
    goal(("big", "ingest", Wall), Tool("ewf"), 0.2, None),
    goal(("home", "ingest", Store), Tool("restic"), 1.0, Some(0.97)),
];

impl Goal {
    fn key<'a>(&'a self, tool: &'a str) -> Key<'a> {
        (self.set, tool, self.step)
    }

    /// What we reached; none where the run has no pair of figures for it. Figures that are held
    /// against nothing depend on the size of the set, and are judged on the full one.
    pub fn reached(&self, rows: &Rows, full: bool) -> Option<f64> {
        match self.against {
            Tool(tool) => rows.ratio(self.key(US), self.key(tool), self.what),
            BestPeer => {
                let peers = rows.each(|r| &r.tool);
                let figure = |tool: &&str| rows.median(self.key(tool), self.what);
                let others = peers
                    .iter()
                    .filter(|t| ![US, PROBE].contains(*t) && !IMAGERS.contains(*t));
                let best = others.filter(|t| figure(t).is_some()).min_by(|a, b| {
                    let (a, b) = (figure(a), figure(b));
                    a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
                })?;
                rows.ratio(self.key(US), self.key(best), self.what)
            }
            Nothing => full.then(|| rows.median(self.key(US), self.what)).flatten(),
        }
    }

    /// The goal in words.
    pub fn said(&self) -> String {
        let figure = match self.what {
            Wall => "wall",
            Cpu => "CPU",
            User => "user CPU",
            Peak => "peak memory, MiB",
            Store => "stored bytes",
            Growth if self.against == Nothing => "growth, MB",
            Growth => "growth",
            What::Others => "load of others",
        };
        let against = match self.against {
            Tool(tool) => format!(", x {tool}"),
            BestPeer => ", x the fastest peer".into(),
            Nothing if self.what == Wall => ", s".into(),
            Nothing => String::new(),
        };
        format!("{} `{}`: {figure}{against}", self.step, self.set)
    }

    /// How far we are.
    pub fn verdict(&self, reached: f64) -> &'static str {
        match self.after {
            Some(after) if reached <= after => "what we are after",
            _ if reached <= self.first => "first",
            _ => "not yet",
        }
    }
}
