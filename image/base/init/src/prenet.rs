//! `sysrescue-initialize-prenet`: what must be done before the network comes up.

use crate::config::Config;
use crate::machine::{append, is_word, run as program, Failures};
use std::net::IpAddr;

/// Does it, and returns how much failed.
pub fn run(config: &Config) -> usize {
    let mut failures = Failures::default();
    if failures.of(config.flag("global", "nofirewall", false)) == Some(true) {
        // Their start waits for this unit; --no-block lets the stop replace it.
        failures.of(program(
            "systemctl",
            &[
                "--no-block",
                "--now",
                "disable",
                "iptables.service",
                "ip6tables.service",
            ],
            "",
        ));
    }
    let (settings, wrong) = sysctl_lines(config);
    wrong.iter().for_each(|why| failures.add(why));
    if !settings.is_empty() {
        failures.of(program("sysctl", &["--quiet", "--load=-"], &settings));
    }
    let (hosts, wrong) = host_lines(config);
    wrong.iter().for_each(|why| failures.add(why));
    failures.of(append("/etc/hosts", &hosts, 0o644, 0o755));
    failures.0
}

/// The input of sysctl.
fn sysctl_lines(config: &Config) -> (String, Vec<String>) {
    let (texts, mut wrong) = config.texts("sysconfig", "sysctl");
    let mut lines = String::new();
    for (key, value) in texts {
        if is_word(&key, "./") && !value.chars().any(char::is_control) {
            lines.push_str(&format!("{key} = {value}\n"));
        } else {
            wrong.push(format!(
                "sysconfig.sysctl: {key:?} is no setting in one line"
            ));
        }
    }
    (lines, wrong)
}

/// Lines for /etc/hosts: an address and its names.
fn host_lines(config: &Config) -> (Vec<String>, Vec<String>) {
    let (texts, mut wrong) = config.texts("sysconfig", "hosts");
    let mut lines = Vec::new();
    for (address, names) in texts {
        let mut each = names.split_whitespace().peekable();
        if address.parse::<IpAddr>().is_ok()
            && each.peek().is_some()
            && each.all(|n| is_word(n, "."))
        {
            lines.push(format!("{address} {names}"));
        } else {
            wrong.push(format!(
                "sysconfig.hosts: {address:?} needs an IP address and names"
            ));
        }
    }
    (lines, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_take_addresses_and_names_and_nothing_else() {
        let config = Config::of(json!({"sysconfig": {"hosts": {
            "192.0.2.1": "one one.example", "fe80::1": "two", "::1 evil": "x", "192.0.2.2": "a\nb c;d", "192.0.2.3": " ", "host": "y"
        }}}));
        let (lines, wrong) = host_lines(&config);
        assert_eq!(lines, ["192.0.2.1 one one.example", "fe80::1 two"]);
        assert_eq!(wrong.len(), 4, "{wrong:?}");
    }

    #[test]
    fn a_sysctl_is_one_line() {
        let config = Config::of(json!({"sysconfig": {"sysctl": {
            "kernel.panic": 10.0, "net.ipv4.conf.all.rp_filter": "1", "a\nkernel.x": "1", "kernel.y": "1\nkernel.z = 2", "-w": "1"
        }}}));
        let (lines, wrong) = sysctl_lines(&config);
        assert_eq!(
            lines,
            "kernel.panic = 10\nnet.ipv4.conf.all.rp_filter = 1\n"
        );
        assert_eq!(wrong.len(), 3, "{wrong:?}");
    }

    #[test]
    fn nothing_asked_for_does_nothing() {
        assert_eq!(run(&Config::of(json!({}))), 0);
    }
}
