//! What was measured: one row for each run of a step, and medians over them.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// One run of one step by one tool.
#[derive(Clone, Debug)]
pub struct Row {
    pub set: String,
    pub round: u32,
    pub tool: String,
    pub step: String,
    /// Seconds.
    pub wall: f64,
    pub user: f64,
    pub system: f64,
    /// KiB of its largest process.
    pub peak: f64,
    /// Bytes of the repository before and after.
    pub before: f64,
    pub after: f64,
    /// Of all processor time meanwhile, what was not this tool's, in percent.
    pub others: f64,
    /// `ok`, or what was wrong: then its figures count for nothing.
    pub result: String,
}

/// A figure of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    Wall,
    Cpu,
    User,
    /// MiB.
    Peak,
    /// MB.
    Store,
    /// MB.
    Growth,
    Others,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let mut words = line.split('\t');
        let mut word = || words.next();
        let row = Row {
            set: word()?.into(),
            round: word()?.parse().ok()?,
            tool: word()?.into(),
            step: word()?.into(),
            wall: word()?.parse().ok()?,
            user: word()?.parse().ok()?,
            system: word()?.parse().ok()?,
            peak: word()?.parse().ok()?,
            before: word()?.parse().ok()?,
            after: word()?.parse().ok()?,
            others: word()?.parse().ok()?,
            result: word()?.into(),
        };
        words.next().is_none().then_some(row)
    }

    /// Whether its figures count.
    pub fn good(&self) -> bool {
        self.result == "ok"
    }

    /// One of its figures.
    pub fn figure(&self, what: What) -> f64 {
        match what {
            What::Wall => self.wall,
            What::Cpu => self.user + self.system,
            What::User => self.user,
            What::Peak => self.peak / 1024.0,
            What::Store => self.after / 1e6,
            What::Growth => (self.after - self.before) / 1e6,
            What::Others => self.others,
        }
    }
}

/// All rows of a run, in the order they were measured.
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// Reads the rows' file.
    pub fn read(path: &Path) -> Result<Rows> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let rows = text
            .lines()
            .map(|line| Row::parse(line).with_context(|| format!("not a row: {line}")));
        Ok(Rows(rows.collect::<Result<_>>()?))
    }

    /// Each value once, in the order of its first row.
    pub fn each<'a>(&'a self, of: impl Fn(&'a Row) -> &'a str) -> Vec<&'a str> {
        let mut found = Vec::new();
        for value in self.0.iter().map(of) {
            if !found.contains(&value) {
                found.push(value);
            }
        }
        found
    }

    /// The rows of one step of one tool.
    fn of<'a>(&'a self, (set, tool, step): Key<'a>) -> impl Iterator<Item = &'a Row> {
        let fits = move |row: &&Row| row.set == set && row.tool == tool && row.step == step;
        self.0.iter().filter(fits)
    }

    /// The median over the rounds; none where no round counts.
    pub fn median(&self, key: Key, what: What) -> Option<f64> {
        median(self.of(key).filter(|r| r.good()).map(|r| r.figure(what)))
    }

    /// What was wrong, where any round failed.
    pub fn fault<'a>(&'a self, key: Key<'a>) -> Option<&'a str> {
        self.of(key).find(|r| !r.good()).map(|r| r.result.as_str())
    }

    /// The median of the ratios within each round, where both stood beside each other.
    pub fn ratio(&self, one: Key, other: Key, what: What) -> Option<f64> {
        median(self.of(one).filter(|r| r.good()).filter_map(|row| {
            let beside = self.of(other).find(|r| r.good() && r.round == row.round)?;
            let below = beside.figure(what);
            (below > 0.0).then(|| row.figure(what) / below)
        }))
    }
}

/// Set, tool and step.
pub type Key<'a> = (&'a str, &'a str, &'a str);

/// The middle value; of an even number the mean of the two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values.get(low)? + values.get(high)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lines: &[&str]) -> Rows {
        let parse = |line: &&str| Row::parse(&line.replace(' ', "\t")).unwrap();
        Rows(lines.iter().map(parse).collect())
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was twice as slow in the second round, and for both.
        let rows = rows(&[
            "home 1 probe ingest 4 1 1 1 0 9 5 ok",
            "home 1 asl ingest 6 1 1 1 0 9 5 ok",
            "home 2 probe ingest 8 1 1 1 0 9 5 ok",
            "home 2 asl ingest 12 1 1 1 0 9 5 ok",
        ]);
        let (asl, probe) = (("home", "asl", "ingest"), ("home", "probe", "ingest"));
        assert_eq!(rows.ratio(asl, probe, What::Wall), Some(1.5));
        assert_eq!(rows.median(asl, What::Wall), Some(9.0));
    }

    #[test]
    fn an_unequal_tree_is_no_result() {
        let rows = rows(&[
            "home 1 asl restore 1 1 1 1 0 9 5 unequal",
            "home 2 asl restore 7 1 1 1 0 9 5 ok",
            "home 1 borg restore 2 1 1 1 0 9 5 ok",
        ]);
        let (asl, borg) = (("home", "asl", "restore"), ("home", "borg", "restore"));
        assert_eq!(rows.median(asl, What::Wall), Some(7.0));
        assert_eq!(rows.fault(asl), Some("unequal"));
        assert_eq!(rows.ratio(asl, borg, What::Wall), None);
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn a_torn_row_is_refused() {
        assert!(Row::parse("home\t1\tasl\tingest\t4").is_none());
        assert!(Row::parse("home\t1\tasl\tingest\t4\t1\t1\t1\t0\t9\t5\tok\tmore").is_none());
    }
}
