//! `sysrescue-autorun`: runs the scripts of the medium and of the configuration, before the logins.

use crate::config::Config;
use crate::entries::{
    first_found, named, old_names, old_style, ordered_name, Entries, Entry, Wait,
};
use crate::machine::{is_word, run as program, Failures};
use crate::{say, script};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where old-style scripts are looked for; the first folder that has one counts.
const FOLDERS: &[&str] = &[
    "/run/archiso/bootmnt/autorun",
    "/root",
    "/usr/share/sys.autorun",
];
/// A script may make it while it runs: then the end waits for nobody.
const NO_WAIT: &str = "/etc/ar_nowait";

/// Where autorun keeps its copies and logs.
struct Places {
    copies: PathBuf,
    logs: PathBuf,
    console: PathBuf,
}

/// Runs every script, and returns how many failed.
pub fn run(config: &Config) -> usize {
    let places = Places {
        copies: "/var/autorun/tmp".into(),
        logs: "/var/autorun/log".into(),
        console: "/dev/console".into(),
    };
    let folders: Vec<&Path> = FOLDERS.iter().map(Path::new).collect();
    let mut failures = Failures::default();
    if failures.of(config.flag("autorun", "ar_disable", false)) == Some(true) {
        say("autorun is switched off by ar_disable");
        return failures.0;
    }
    let entries = gather(config, &folders, &places, &mut failures);
    if entries.is_empty() {
        return failures.0;
    }
    // Scripts may expect the network; a machine without one goes on after a while.
    let _ = program("nm-online", &["--quiet", "--timeout=20"], "");
    let _ = std::fs::remove_file(NO_WAIT);
    execute(&entries, &places, &mut failures);
    if failures.of(config.flag("autorun", "ar_nodel", false)) == Some(false) {
        let _ = std::fs::remove_dir_all(&places.copies);
    }
    say(&format!("autorun ended; {} failed", failures.0));
    if failures.of(config.flag("autorun", "ar_nowait", true)) == Some(false)
        && !Path::new(NO_WAIT).exists()
    {
        script::wait_for_enter(None, &places.console);
    }
    failures.0
}

/// Every script there is; old-style ones are copied first, so that the medium may go.
fn gather(config: &Config, folders: &[&Path], places: &Places, failures: &mut Failures) -> Entries {
    let must_work = failures.of(config.flag("autorun", "ar_ignorefail", false)) != Some(true);
    let mut entries = failures.of(named(config, must_work)).unwrap_or_default();
    for folder in [&places.copies, &places.logs] {
        failures.of(std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make {}: {e}", folder.display())));
    }
    match failures.of(config.text("autorun", "ar_source")).flatten() {
        Some(source) if source.contains("://") || source.starts_with("/dev/") => {
            failures.add(&format!("autorun.ar_source={source}: this base fetches no scripts; put them into /autorun of the medium"));
            return entries;
        }
        _ => {}
    }
    let suffixes = failures
        .of(config.text("autorun", "ar_suffixes"))
        .flatten()
        .unwrap_or_default();
    let (names, wrong) = old_names(&suffixes);
    wrong.iter().for_each(|why| failures.add(why));
    for path in first_found(folders, &names) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let copied = copy(&path, &places.copies.join(&name)).map(|to| old_style(&to, must_work));
        entries.insert(ordered_name(&name), copied);
    }
    entries
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf, String> {
    std::fs::copy(from, to)
        .and_then(|_| std::fs::set_permissions(to, PermissionsExt::from_mode(0o755)))
        .map_err(|e| format!("cannot copy {}: {e}", from.display()))?;
    Ok(to.to_path_buf())
}

/// One after the other by name, until one fails that must work.
fn execute(entries: &Entries, places: &Places, failures: &mut Failures) {
    for (name, entry) in entries {
        say(&format!("autorun: {name}"));
        let failed = match entry {
            Ok(entry) => run_one(name, entry, places),
            Err(why) => Err(why.clone()),
        };
        let must_work = entry.as_ref().map_or(true, |entry| entry.must_work);
        let failed = failed.err();
        if let Some(why) = &failed {
            failures.add(&format!("autorun: {name}: {why}"));
        }
        if let Ok(entry) = entry {
            if entry.wait == Wait::Always || entry.wait == Wait::OnError && failed.is_some() {
                script::wait_for_enter(entry.seconds, &places.console);
            }
        }
        if failed.is_some() && must_work {
            say("autorun: no further script is run; ar_ignorefail or on_error: continue would go on");
            return;
        }
    }
}

fn run_one(name: &str, entry: &Entry, places: &Places) -> Result<(), String> {
    if !is_word(name, ".") {
        return Err("not a name: use letters, digits, dot, - and _".into());
    }
    match script::run(entry, &places.logs.join(name), &places.console)? {
        0 => Ok(()),
        code => Err(format!("it ended with {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};
    use std::sync::{LockResult, MutexGuard};

    struct Scene {
        folder: tempfile::TempDir,
        places: Places,
        _alone: LockResult<MutexGuard<'static, ()>>,
    }

    impl Scene {
        fn new() -> Scene {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            std::fs::create_dir(at("medium")).unwrap();
            let places = Places {
                copies: at("tmp"),
                logs: at("log"),
                console: "/dev/null".into(),
            };
            Scene {
                folder,
                places,
                _alone: crate::script::ONE_AT_A_TIME.lock(),
            }
        }

        fn script(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join("medium").join(name), text).unwrap();
        }

        /// The number of failures, and the logs there are.
        fn run(&self, autorun: Value) -> (usize, Vec<String>) {
            let config = Config::of(json!({ "autorun": autorun }));
            let medium = self.folder.path().join("medium");
            let mut failures = Failures::default();
            let entries = gather(&config, &[&medium], &self.places, &mut failures);
            execute(&entries, &self.places, &mut failures);
            let logs = std::fs::read_dir(&self.places.logs).unwrap();
            let mut logs: Vec<_> = logs
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            logs.retain(|name| !name.ends_with(".return"));
            logs.sort();
            (failures.0, logs)
        }
    }

    #[test]
    fn scripts_of_both_styles_run_in_the_order_of_their_names() {
        let scene = Scene::new();
        let order = scene.folder.path().join("order");
        let line = |word: &str| format!("#!/bin/sh\necho {word} >>{}\n", order.display());
        scene.script("autorun", &line("old"));
        scene.script("autorunA", &line("A"));
        scene.script("autorun1", &line("unwanted"));
        let mut exec = json!({});
        for name in ["0999-first", "1015-between", "late"] {
            exec[name] =
                json!({"path": format!("echo {name} >>{}", order.display()), "shell": true});
        }
        let (failed, logs) = scene.run(json!({"ar_suffixes": "A", "exec": exec}));
        assert_eq!((failed, logs.len()), (0, 5));
        assert_eq!(
            std::fs::read_to_string(order).unwrap(),
            "0999-first\nold\n1015-between\nA\nlate\n"
        );
    }

    #[test]
    fn a_failure_ends_the_row_unless_it_may_fail() {
        let exec = |on_error: &str| json!({"a": {"path": "false", "wait": "never", "on_error": on_error}, "b": {"path": "true"}});
        assert_eq!(
            Scene::new().run(json!({"exec": exec("break")})),
            (1, vec!["a".into()])
        );
        assert_eq!(
            Scene::new().run(json!({"exec": exec("continue")})),
            (1, vec!["a".into(), "b".into()])
        );
        let ignoring = json!({"ar_ignorefail": true, "exec": {"a": {"path": "false", "wait": "never"}, "b": {"path": "true"}}});
        assert_eq!(
            Scene::new().run(ignoring),
            (1, vec!["a".into(), "b".into()])
        );
    }

    #[test]
    fn an_entry_that_cannot_be_run_counts_as_failed() {
        assert_eq!(
            Scene::new()
                .run(json!({"exec": {"a": {"url": "http://192.0.2.1/x"}, "b": {"path": "true"}}})),
            (1, vec![])
        );
        assert_eq!(
            Scene::new().run(json!({"exec": {"../out": {"path": "true", "wait": "never"}}})),
            (1, vec![])
        );
        assert_eq!(Scene::new().run(json!({"exec": "x"})), (1, vec![]));
    }

    #[test]
    fn a_source_elsewhere_is_refused_by_name_and_hides_the_medium() {
        let scene = Scene::new();
        scene.script("autorun", "#!/bin/sh\n");
        assert_eq!(
            scene.run(json!({"ar_source": "nfs://192.0.2.1:/x"})),
            (1, vec![])
        );
        assert_eq!(scene.run(json!({"ar_source": "/dev/sda1"})), (1, vec![]));
        assert_eq!(scene.run(json!({})), (0, vec!["1000-autorun".into()]));
    }
}
