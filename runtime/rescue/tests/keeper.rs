//! A keeper's day at the command line: rules checked, explained and changed under a serving host;
//! domains suspended, resumed and revoked; leases changed; and the log of it all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// A signed request in a directory.
fn mail(world: &World, name: &str) -> PathBuf {
    let to = world.path(name);
    let mut command = world
        .asl()
        .words(["admission", "request", "--host", "home", "--stick"]);
    command
        .arg(world.stick())
        .arg("--passphrase-file")
        .arg(world.passphrase());
    command.words(["--to"]).words([&to]).run().ok();
    to
}

fn send(world: &World, verb: &str, mail: &PathBuf) -> Ran {
    let mut command = world
        .asl()
        .words(["admission", verb, "--host", "home", "--stick"]);
    command.arg(world.stick()).arg("--request").arg(mail);
    command.run()
}

fn keeper(world: &World, words: &[&str]) -> Ran {
    asl(&world.keeper()).words(words).run()
}

fn change_policy(world: &World, from: &str, to: &str) {
    let path = world.keeper().join("host/host-policy");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_keeper_stops_a_domain_lets_it_go_on_and_stops_it_for_good() {
    let world = World::new().with_domain();
    let first = mail(&world, "first");
    send(&world, "submit", &first).ok();
    keeper(&world, &["domain", "suspend", "--why", "too\u{7} loud"]).ok();
    let shown = keeper(&world, &["domain", "list", "--json"]).ok().json();
    assert_eq!(shown["domains"][0]["state"], "SUSPENDED");
    let appeal = mail(&world, "appeal");
    let said = send(&world, "submit", &appeal).ok().out;
    assert!(said.starts_with("DEFERRED"), "{said}");
    keeper(&world, &["domain", "suspend"]).refused(3, &["suspended already", "domain resume"]);
    keeper(&world, &["domain", "resume"]).ok();
    keeper(&world, &["domain", "resume"]).refused(3, &["not suspended"]);

    let back = world.path("back");
    let to = back.to_str().unwrap();
    let shrunk = keeper(
        &world,
        &["lease", "shrink", "--bytes", "5GiB", "--json", "--to", to],
    );
    assert_eq!(shrunk.ok().json()["lease"]["storage_bytes"], 5u64 << 30);
    send(&world, "apply", &back).ok();
    let here = world
        .asl()
        .words(["lease", "show", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(here["leases"][0]["leases"][0]["storage_bytes"], 5u64 << 30);
    keeper(&world, &["lease", "shrink", "--bytes", "6GiB"]).refused(3, &["not fewer bytes"]);
    keeper(&world, &["lease", "renew", "--days", "1"]).refused(3, &["longer already"]);
    keeper(&world, &["lease", "renew", "--days", "90"]).ok();
    keeper(
        &world,
        &["lease", "grant", "--bytes", "900TiB", "--days", "1"],
    )
    .refused(3, &["left of all"]);
    keeper(&world, &["lease", "grant", "--bytes", "9XB", "--days", "1"]).ends(2);
    keeper(
        &world,
        &["lease", "grant", "--bytes", "9GiB", "--days", "2"],
    )
    .ok();
    keeper(&world, &["lease", "revoke", "--why", "the disk is full"]).ok();
    let shown = keeper(&world, &["lease", "show", "--json"]).ok().json();
    assert_eq!(shown["leases"][0]["state"], "SUSPENDED");
    assert_eq!(shown["leases"][0]["leases"][0]["expired"], true);
    keeper(&world, &["domain", "resume"]).ok();
    keeper(&world, &["lease", "renew", "--days", "30"]).ok();

    keeper(&world, &["admission", "invalidate"]).ok();
    keeper(&world, &["admission", "invalidate"]).refused(3, &["not admitted"]);
    keeper(&world, &["domain", "revoke"]).refused(2, &["--for-good"]);
    keeper(&world, &["domain", "revoke", "--for-good"]).ok();
    keeper(&world, &["domain", "resume"]).refused(3, &["REVOKED", "for good"]);
    let last = mail(&world, "last");
    let said = send(&world, "submit", &last).ends(3).out;
    assert!(said.contains("revoked here"), "{said}");

    let told = keeper(&world, &["admission", "log"]).ok().out;
    let events: Vec<&str> = told
        .lines()
        .map(|l| l.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "admission",
            "suspend",
            "admission",
            "resume",
            "lease-shrink",
            "lease-renew",
            "lease-grant",
            "lease-revoke",
            "resume",
            "lease-renew",
            "invalidate",
            "revoke",
            "admission"
        ]
    );
    assert!(told.contains("too loud"), "{told}");
    assert!(!told.contains('\u{7}'), "a reason drives the terminal");
    let one = keeper(&world, &["admission", "log", "--last", "1", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&one["outcome"], &one["rule"]),
        (&"REJECTED".into(), &"the domain's state".into())
    );
    let none = keeper(&world, &["admission", "log", "--domain", "bob"])
        .ok()
        .out;
    assert!(none.contains("Nothing was asked"), "{none}");
    let path = world.keeper().join("host/audit/audit.log");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("SUSPENDED", "COURTESY", 1)).unwrap();
    let told = keeper(&world, &["admission", "log"]).ends(4).out;
    assert!(told.contains("DAMAGED"), "{told}");
}

#[test]
fn a_policy_is_checked_with_its_line_and_explained_rule_by_rule() {
    let world = World::new().with_domain();
    let good = keeper(&world, &["policy", "check", "--json"]).ok().json();
    assert_eq!(good["known_roots"], "ACCEPTED_LIMITED");
    assert_eq!(good["trusted_roots"].as_array().unwrap().len(), 1);
    let letter = mail(&world, "mail");
    let rules = "[[rule]]\nname = \"friends\"\nlabels = [\"bob\"]\noutcome = \"ACCEPTED\"\n\
                 [[rule]]\nname = \"large\"\nbytes_over = \"1 GiB\"\noutcome = \"DEFERRED\"\n";
    let path = world.keeper().join("host/host-policy");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{rules}")).unwrap();
    let said = keeper(&world, &["policy", "explain", letter.to_str().unwrap()])
        .ok()
        .out;
    for word in [
        "DEFERRED",
        "Decided by rule \"large\"",
        "not this    rule \"friends\"",
        "the label alice.personal is not among its labels",
        "an operator of the DAM signed it",
    ] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    let said = keeper(
        &world,
        &["policy", "explain", letter.to_str().unwrap(), "--json"],
    )
    .ok()
    .json();
    assert!(said["decided_by"].as_str().unwrap().contains("large"));
    // Explaining decides nothing.
    assert!(keeper(&world, &["admission", "list"])
        .ok()
        .out
        .contains("No admissions"));

    let file = world.path("policy.toml");
    std::fs::write(&file, text.replacen("64 GiB", "64 GB", 1)).unwrap();
    keeper(&world, &["policy", "check", file.to_str().unwrap()]).refused(1, &["line 20:", "KiB"]);
    keeper(&world, &["policy", "check", "/nonexistent"]).ends(1);
}

/// A serving host whose log is read.
struct Serving {
    child: Child,
    said: serde_json::Value,
    log: BufReader<std::process::ChildStderr>,
}

impl Serving {
    fn start(world: &World) -> Serving {
        let mut command = asl(&world.keeper()).words([
            "serve",
            "--json",
            "--log",
            "json",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
        ]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said = serde_json::from_str(&line).expect(&line);
        let log = BufReader::new(child.stderr.take().unwrap());
        Serving { child, said, log }
    }

    /// The next line of the log about this event; those before it are passed over.
    fn wait(&mut self, event: &str) -> serde_json::Value {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "no {event} in the log"
            );
            let line: serde_json::Value = serde_json::from_str(&line).expect(&line);
            assert!(line["time"].is_string());
            if line["event"] == event {
                return line;
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(self.said["metrics"].as_str().unwrap()).unwrap();
        write!(tcp, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_serving_host_takes_up_changed_rules_tells_mistakes_and_gives_numbers() {
    let world = World::new().with_domain();
    let mut serving = Serving::start(&world);
    change_policy(&world, "\"64 GiB\"", "\"1 GiB\"");
    assert_eq!(serving.wait("policy")["taken"], true);
    change_policy(&world, "\"1 GiB\"", "\"1 GB\"");
    let told = serving.wait("policy");
    assert_eq!(told["taken"], false);
    assert!(
        told["error"].as_str().unwrap().contains("line 20"),
        "{told}"
    );

    // The host that the stick names is the other process of the same root: both decide there.
    let said = send(&world, "submit", &mail(&world, "mail"));
    assert_eq!(said.code, 0, "{}", said.err);
    let metrics = serving.get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    for line in [
        "asl_domains 1",
        "asl_promised_bytes ",
        "asl_connections_open 0",
        "# TYPE asl_answers_total counter",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    // Which of the sizes it was depends on which the other process has seen.
    assert!(!metrics.contains("asl_promised_bytes 0\n"), "{metrics}");
    assert!(serving.get("/asl/1/health").contains("serving"));
    assert!(serving.get("/asl/1/admission").starts_with("HTTP/1.1 404"));
    // The keeper's commands work beside it, once the mistake is mended.
    keeper(&world, &["policy", "check"]).refused(1, &["line 20"]);
    change_policy(&world, "\"1 GB\"", "\"1 GiB\"");
    keeper(&world, &["domain", "suspend"]).ok();
    keeper(&world, &["status"]).ok();

    signal(&serving.child, nix::sys::signal::Signal::SIGTERM);
    serving.wait("stopped");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}
