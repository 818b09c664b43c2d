//! The tables of a run, in Markdown or JSON.

use crate::goals::{COMMITS, GOALS, PROBE, US};
use crate::rows::{Rows, What};
use anyhow::{Context, Result};
use serde_json::{json, Map, Value};
use std::fs;
use std::path::Path;

/// The steps, in the order they are run.
const STEPS: [&str; 6] = ["ingest", "rerun", "verify", "restore", "one", "incremental"];

/// What is known of the run beside its rows: lines of a name, a tab and a value.
struct Facts(Vec<(String, String)>);

impl Facts {
    fn read(path: &Path) -> Result<Facts> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(Facts(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        ))
    }

    fn full(&self) -> bool {
        self.0
            .iter()
            .any(|(name, value)| name == "size" && value == "full")
    }

    /// The tools that could not be had, and why.
    fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, why)| Some((name.strip_prefix("missing ")?, why.as_str())))
    }
}

/// Prints all that these files hold.
pub fn print(rows: &Path, facts: &Path, as_json: bool) -> Result<()> {
    let (rows, facts) = (Rows::read(rows)?, Facts::read(facts)?);
    if as_json {
        println!("{}", in_json(&rows, &facts));
    } else {
        print!("{}", in_markdown(&rows, &facts));
    }
    Ok(())
}

fn in_markdown(rows: &Rows, facts: &Facts) -> String {
    let mut out = String::new();
    for (name, value) in &facts.0 {
        if !name.starts_with("missing ") {
            out += &format!("- {name}: {value}\n");
        }
    }
    for set in rows.each(|r| &r.set) {
        if set == COMMITS {
            out += &commit_line(rows);
            continue;
        }
        out += &set_table(rows, facts, set);
        out += &ratio_table(rows, set);
    }
    out + &goal_table(rows, facts.full()) + NOTES
}

/// What a reader must know to compare.
const NOTES: &str = "
Keys: ours lies under a passphrase that costs no time to try here; a real one takes half a second
and 128 MiB once, at the beginning of an ingest. That of bupstash is a file; restic, rustic and
borg derive theirs at each step. casync and the imagers encrypt nothing. `asl` reads nothing back,
like the peers; `asl_read_back` does, which is what `asl-host` does by itself. Peak memory is that
of a tool's largest process.
";

/// One row for each tool: what it took.
fn set_table(rows: &Rows, facts: &Facts, set: &str) -> String {
    let mut out = format!(
        "\n**{set}**: medians; x: of the probe's; load: of all processor time, what others took, in %\n\n\
        | tool | ingest s | x | CPU s | x | peak MiB | store MB | rerun s | verify s | restore s (user CPU) \
        | one file s | incremental s (+MB) | load |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for tool in rows.each(|r| &r.tool) {
        if !rows.0.iter().any(|r| r.set == set && r.tool == tool) {
            continue;
        }
        let key = |step| (set, tool, step);
        let probe = (set, PROBE, "ingest");
        let figure = |step, what| rows.median(key(step), what);
        let cell = |step| match (figure(step, What::Wall), rows.fault(key(step))) {
            (Some(wall), None) => seconds(wall),
            (Some(wall), Some(fault)) => format!("{} ({fault})", seconds(wall)),
            (None, Some(fault)) => format!("**{fault}**"),
            (None, None) => "-".into(),
        };
        let times = |what| said(rows.ratio(key("ingest"), probe, what), 2);
        let peak = STEPS
            .iter()
            .filter_map(|s| figure(s, What::Peak))
            .reduce(f64::max);
        let load = crate::rows::median(STEPS.iter().filter_map(|s| figure(s, What::Others)));
        let beside = |figure: Option<String>| figure.map_or(String::new(), |f| format!(" ({f})"));
        out += &format!(
            "| {tool} | {} | {} | {} | {} | {} | {} | {} | {} | {}{} | {} | {}{} | {} |\n",
            cell("ingest"),
            times(What::Wall),
            figure("ingest", What::Cpu).map_or("-".into(), seconds),
            times(What::Cpu),
            said(peak, 0),
            said(figure("ingest", What::Store), 0),
            cell("rerun"),
            cell("verify"),
            cell("restore"),
            beside(figure("restore", What::User).map(seconds)),
            cell("one"),
            cell("incremental"),
            beside(figure("incremental", What::Growth).map(|mb| format!("+{mb:.1}"))),
            said(load, 0),
        );
    }
    for (tool, why) in facts.missing() {
        out += &format!("| {tool} | missing: {why} |{}\n", " - |".repeat(11));
    }
    out
}

/// What small commits take.
fn commit_line(rows: &Rows) -> String {
    let of = |step| match (
        rows.median((COMMITS, US, step), What::Wall),
        rows.fault((COMMITS, US, step)),
    ) {
        (Some(wall), _) => format!("{} s", seconds(wall)),
        (None, fault) => format!("**{}**", fault.unwrap_or("not measured")),
    };
    let (grouped, single) = (of("grouped"), of("single"));
    format!(
        "\n**commits** of pieces of 4 KiB, until durable: 100 000 pieces, 1000 to a commit: {grouped}; \
        1000 pieces, one to a commit: {single} (counts as small as the run's size)\n"
    )
}

/// Our wall time against that of each other tool, paired by round.
fn ratio_table(rows: &Rows, set: &str) -> String {
    let mut out = format!(
        "\n{set}: our wall time as a multiple of theirs, paired; below 1 we are faster\n\n\
        | against | {} |\n|---|{}\n",
        STEPS.join(" | "),
        "---|".repeat(STEPS.len())
    );
    for tool in rows.each(|r| &r.tool).into_iter().filter(|t| *t != US) {
        let ratio = |step| rows.ratio((set, US, step), (set, tool, step), What::Wall);
        let ratios = STEPS.map(ratio);
        if ratios.iter().any(Option::is_some) {
            let cells = ratios.map(|r| said(r, 2));
            out += &format!("| {tool} | {} |\n", cells.join(" | "));
        }
    }
    out
}

fn goal_table(rows: &Rows, full: bool) -> String {
    let mut out = String::from(
        "\n**goals**\n\n| goal (at most) | first of all | what we are after | reached | so |\n|---|---|---|---|---|\n",
    );
    for goal in &GOALS {
        let reached = goal.reached(rows, full);
        out += &format!(
            "| {} | {} | {} | {} | {} |\n",
            goal.said(),
            goal.first,
            goal.after.map_or("-".into(), |after| after.to_string()),
            said(reached, 2 + usize::from(goal.first < 0.1)),
            reached.map_or("not measured", |reached| goal.verdict(reached)),
        );
    }
    out
}

/// Three digits that matter, down to milliseconds.
fn seconds(wall: f64) -> String {
    let digits = match wall {
        w if w >= 10.0 => 1,
        w if w >= 1.0 => 2,
        _ => 3,
    };
    format!("{wall:.digits$}")
}

fn said(figure: Option<f64>, digits: usize) -> String {
    figure.map_or("-".into(), |figure| format!("{figure:.digits$}"))
}

fn in_json(rows: &Rows, facts: &Facts) -> Value {
    let every = rows.0.iter().map(|r| {
        json!({
            "set": r.set, "round": r.round, "tool": r.tool, "step": r.step,
            "wall_s": r.wall, "user_s": r.user, "system_s": r.system, "peak_kib": r.peak,
            "store_before": r.before, "store_after": r.after,
            "others_percent": r.others, "result": r.result,
        })
    });
    let mut medians = Vec::new();
    for set in rows.each(|r| &r.set) {
        for tool in rows.each(|r| &r.tool) {
            for step in STEPS {
                let key = (set, tool, step);
                let Some(wall) = rows.median(key, What::Wall) else {
                    continue;
                };
                let of = |other| rows.ratio(key, (set, other, step), What::Wall);
                medians.push(json!({
                    "set": set, "tool": tool, "step": step, "wall_s": wall,
                    "cpu_s": rows.median(key, What::Cpu),
                    "wall_of_probe": of(PROBE),
                    "asl_of_this": rows.ratio((set, US, step), key, What::Wall),
                }));
            }
        }
    }
    let goals = GOALS.iter().map(|g| {
        let reached = g.reached(rows, facts.full());
        json!({
            "goal": g.said(), "first": g.first, "after": g.after, "reached": reached,
            "so": reached.map(|r| g.verdict(r)),
        })
    });
    let known = facts
        .0
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)));
    json!({
        "facts": known.collect::<Map<_, _>>(),
        "rows": every.collect::<Vec<_>>(),
        "medians": medians,
        "goals": goals.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tools, of which one gave back another tree, and one that could not be had.
    fn said(as_json: bool) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (rows, facts) = (dir.path().join("rows"), dir.path().join("facts"));
        let lines = [
            "home 1 asl ingest 2.0 1 1 65536 0 9000000 5 ok",
            "home 1 probe ingest 1.0 1 0 1024 0 9000000 5 ok",
            "home 1 restic ingest 4.0 1 1 1024 0 9000000 5 ok",
            "home 1 asl restore 1.0 1 1 1024 0 9000000 5 ok",
            "home 1 restic restore 0.1 1 1 1024 0 9000000 5 unequal",
        ];
        fs::write(&rows, lines.join("\n").replace(' ', "\t")).unwrap();
        fs::write(&facts, "size\ttenth\nmissing borg\tit is not installed\n").unwrap();
        let (rows, facts) = (Rows::read(&rows).unwrap(), Facts::read(&facts).unwrap());
        if as_json {
            in_json(&rows, &facts).to_string()
        } else {
            in_markdown(&rows, &facts)
        }
    }

    #[test]
    fn a_missing_peer_is_a_named_row() {
        assert!(said(false).contains("| borg | missing: it is not installed |"));
    }

    #[test]
    fn a_fast_and_wrong_peer_has_no_time_and_no_ratio() {
        let said = said(false);
        assert!(
            said.contains("**unequal**") && !said.contains("0.100"),
            "{said}"
        );
        let goal = "| restore `home`: wall, x restic | 0.8 | 0.6 | - | not measured |";
        assert!(said.contains(goal), "{said}");
    }

    #[test]
    fn commits_are_a_line_and_no_table() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, facts) = (dir.path().join("rows"), dir.path().join("facts"));
        let line = "commits 1 asl grouped 1.5 1 1 65536 0 9000000 5 ok";
        fs::write(&rows, line.replace(' ', "\t")).unwrap();
        fs::write(&facts, "size\tfull\n").unwrap();
        let (rows, facts) = (Rows::read(&rows).unwrap(), Facts::read(&facts).unwrap());
        let said = in_markdown(&rows, &facts);
        assert!(said.contains("1000 to a commit: 1.50 s"), "{said}");
        assert!(said.contains("one to a commit: **not measured**"), "{said}");
        assert!(!said.contains("| asl |"), "{said}");
        let goal = "| grouped `commits`: wall, s | 2 | 0.667 | 1.50 | first |";
        assert!(said.contains(goal), "{said}");
    }

    #[test]
    fn a_goal_is_judged_by_both_columns() {
        let said = said(false);
        assert!(
            said.contains("| ingest `home`: wall, x probe | 1.4 | 1.15 | 2.00 | not yet |"),
            "{said}"
        );
        assert!(
            said.contains("| ingest `home`: stored bytes, x restic | 1 | 0.97 | 1.00 | first |"),
            "{said}"
        );
    }

    #[test]
    fn what_depends_on_the_size_is_judged_on_the_full_set_alone() {
        let said = said(false);
        assert!(
            said.contains("| ingest `home`: peak memory, MiB | 128 | 64 | - | not measured |"),
            "{said}"
        );
    }

    #[test]
    fn json_holds_the_same() {
        let value: Value = serde_json::from_str(&said(true)).unwrap();
        assert_eq!(value["facts"]["missing borg"], "it is not installed");
        assert_eq!(value["rows"].as_array().map(Vec::len), Some(5));
        let restic = value["medians"].as_array().unwrap().iter();
        let restic: Vec<_> = restic.filter(|m| m["tool"] == "restic").collect();
        assert_eq!(restic.len(), 1);
        assert_eq!(restic[0]["asl_of_this"], 0.5);
    }
}
