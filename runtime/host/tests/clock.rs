//! P10 as a table: whatever a clock, a boot or an old disk says, no lease that was seen to end comes
//! back by itself, and with the clocks put right asking again is always enough.
//!
//! What no table can show: a granting host whose whole disk is put back *and* whose clock is set back
//! with it knows of nothing that has passed, and a home without evidence never ends a lease; there the
//! host that lends has the last word, and it is asked in those rows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::{AdmissionResult, Decision, DomainState};
use asl_core::Kind;
use asl_host::{Credentials, LeaseScope};
use asl_store::Mode;
use common::*;
use std::path::Path;
use std::time::Duration;

const DAY_S: u64 = 86_400;
const WEEK: u64 = 7 * DAY_S;
const END: i64 = NOW + 7 * DAY;

/// What happens to a machine, one after the other.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Its wall clock says this.
    Wall(i64),
    /// So many seconds pass, for both its clocks.
    Pass(u64),
    /// It boots again.
    Boot,
    /// It looks at the lease: seals at home, looks for ended leases at the host.
    Look,
    /// Its whole disk is as it was when the lease was granted.
    OldDisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    Home,
    Host,
}

use Machine::{Home, Host as Lender};
use Step::{Boot, Look, OldDisk, Pass, Wall};

/// Where, what it is called, what happens, and whether the lease still runs there at the end.
type Row = (Machine, &'static str, &'static [Step], bool);

const TABLE: &[Row] = &[
    (Home, "fresh", &[], true),
    (Home, "1970", &[Wall(0)], true),
    (Home, "the earliest clock", &[Wall(i64::MIN)], true),
    (Home, "2106", &[Wall(YEAR_2106)], true),
    (Home, "the latest clock", &[Wall(i64::MAX)], true),
    (
        Home,
        "back an hour",
        &[Pass(3600), Wall(NOW - DAY / 24)],
        true,
    ),
    (
        Home,
        "2106 for one session",
        &[Wall(YEAR_2106), Look, Boot, Wall(NOW)],
        true,
    ),
    (
        Home,
        "1970 for one session",
        &[Wall(0), Look, Boot, Wall(NOW)],
        true,
    ),
    (
        Home,
        "forward past the end and back",
        &[Wall(END + DAY), Look, Wall(NOW)],
        true,
    ),
    (Home, "a second before the end", &[Pass(WEEK - 1)], true),
    (Home, "a second after the end", &[Pass(WEEK + 1)], false),
    (
        Home,
        "after the end, in 1970",
        &[Pass(WEEK + 1), Wall(0)],
        false,
    ),
    (
        Home,
        "after the end, in 2106",
        &[Pass(WEEK + 1), Wall(YEAR_2106)],
        false,
    ),
    (
        Home,
        "after the end, back a week",
        &[Pass(WEEK + 1), Wall(NOW)],
        false,
    ),
    (
        Home,
        "seen to end, booted, clock right",
        &[Pass(WEEK + 1), Look, Boot],
        false,
    ),
    (
        Home,
        "seen to end, booted in 1970",
        &[Pass(WEEK + 1), Look, Boot, Wall(0)],
        false,
    ),
    (
        Home,
        "seen to end, booted in 2106",
        &[Pass(WEEK + 1), Look, Boot, Wall(YEAR_2106)],
        false,
    ),
    (
        Home,
        "seen to end, booted at the beginning",
        &[Pass(WEEK + 1), Look, Boot, Wall(NOW)],
        false,
    ),
    (
        Home,
        "seen to end, old disk, same boot",
        &[Pass(WEEK + 1), Look, OldDisk, Wall(NOW)],
        false,
    ),
    (
        Home,
        "another boot, no evidence",
        &[Boot, Wall(END + 70 * DAY)],
        true,
    ),
    (
        Home,
        "long in another boot, no evidence",
        &[Boot, Pass(700 * DAY_S)],
        true,
    ),
    (Lender, "fresh", &[Look], true),
    (Lender, "1970", &[Wall(0), Look], true),
    (Lender, "the earliest clock", &[Wall(i64::MIN), Look], true),
    (Lender, "back an hour", &[Wall(NOW - DAY / 24), Look], true),
    (Lender, "at the very end", &[Wall(END), Look], true),
    (Lender, "past the end", &[Wall(END + 1), Look], false),
    (
        Lender,
        "past the end and back",
        &[Wall(END + 1), Look, Wall(NOW), Look],
        false,
    ),
    (
        Lender,
        "past the end and in 1970",
        &[Wall(END + 1), Look, Wall(0), Look],
        false,
    ),
    (
        Lender,
        "past the end, booted",
        &[Pass(WEEK + 1), Look, Boot, Wall(NOW), Look],
        false,
    ),
    (Lender, "2106", &[Wall(YEAR_2106), Look], false),
    (
        Lender,
        "2106 and back",
        &[Wall(YEAR_2106), Look, Wall(NOW), Look],
        false,
    ),
    (
        Lender,
        "the latest clock and the earliest",
        &[Wall(i64::MAX), Look, Wall(i64::MIN), Look],
        false,
    ),
    (
        Lender,
        "2106 while nobody looked",
        &[Wall(YEAR_2106), Wall(NOW), Look],
        true,
    ),
    (
        Lender,
        "past the end, old disk, clock right",
        &[Pass(WEEK + 1), Look, OldDisk, Look],
        false,
    ),
    (
        Lender,
        "past the end, old disk, booted",
        &[Pass(WEEK + 1), Look, OldDisk, Boot, Look],
        false,
    ),
];

/// A home and a host as they were when the lease was granted.
struct World {
    all: Admitted,
    kept: tempfile::TempDir,
    boot: u8,
}

impl World {
    fn host(&self, machine: Machine) -> &Host {
        match machine {
            Home => &self.all.home,
            Lender => &self.all.keeper,
        }
    }

    fn restore(&self, machine: Machine) {
        let at = self.host(machine).path();
        std::fs::remove_dir_all(&at).unwrap();
        copy(&self.kept.path().join(name_of(machine)), &at);
    }

    /// Both machines as at the beginning, in a boot of their own in which the lease came.
    fn begin(&mut self) {
        self.boot = BOOT[0];
        for machine in [Home, Lender] {
            self.restore(machine);
            self.host(machine).clock.reboot();
            self.host(machine).clock.set_wall_ns(NOW);
        }
    }

    /// Whether the lease lets a piece in at home, by what home can know.
    fn seals(&self) -> bool {
        let seal = Credentials::Seal(self.all.owner.credential());
        let (mode, boot) = (Mode::Write, [self.boot; 16]);
        let home = &self.all.home;
        let handle = home
            .open(&self.all.owner, mode, seal, LeaseScope::Both, boot)
            .unwrap();
        let done = put(&handle, u64::from(self.boot), 100);
        if let Err(e) = &done {
            assert_eq!(e.kind(), Kind::Refused);
            assert!(e.why().contains("expired"), "{e}");
            assert!(e.what_next().contains("admission request"), "{e:?}");
        }
        done.is_ok()
    }

    fn lends(&self) -> bool {
        self.all.keeper.keeper().lapse().unwrap();
        match self.all.keeper.domain(&self.all.owner).state() {
            DomainState::Courtesy => true,
            DomainState::Suspended => false,
            other => panic!("{other}"),
        }
    }

    fn runs(&self, machine: Machine) -> bool {
        match machine {
            Home => self.seals(),
            Lender => self.lends(),
        }
    }

    fn step(&mut self, machine: Machine, step: Step) {
        match step {
            Wall(ns) => self.host(machine).clock.set_wall_ns(ns),
            Pass(seconds) => self
                .host(machine)
                .clock
                .advance(Duration::from_secs(seconds)),
            Look => drop(self.runs(machine)),
            OldDisk => self.restore(machine),
            Boot => {
                self.boot += 1;
                self.host(machine).clock.reboot();
            }
        }
    }

    /// With the clocks right, one more request is enough for both.
    fn asks_again(&self) {
        for machine in [Home, Lender] {
            self.host(machine).clock.set_wall_ns(END + 30 * DAY);
        }
        let Admitted {
            home,
            keeper,
            owner,
            ..
        } = &self.all;
        let petition = owner.petition_under(&owner.dam, &keeper.root(), |r| {
            (r.nonce, r.time) = ([99; 16], asl_core::Timestamp::claimed(END + 30 * DAY));
        });
        let signed = keeper.keeper().admit(&petition).unwrap();
        let decision = Decision::decode(&signed.bytes).unwrap();
        assert_eq!(
            decision.outcome,
            AdmissionResult::AcceptedLimited,
            "{}",
            decision.reason
        );
        let mut domain = home.domain(owner);
        let pin = *keeper.root().public_key();
        let boot = [self.boot; 16];
        asl_host::admission::apply(&mut domain, &home.context, &pin, &petition, &signed, boot)
            .unwrap();
        assert!(self.seals() && self.lends());
    }
}

fn name_of(machine: Machine) -> &'static Path {
    Path::new(match machine {
        Home => "home",
        Lender => "host",
    })
}

#[test]
fn p10_no_clock_revives_a_lease_and_none_locks_its_holder_out() {
    let all = admitted(1 << 30, WEEK, 99);
    let kept = tempfile::tempdir().unwrap();
    copy(&all.home.path(), &kept.path().join(name_of(Home)));
    copy(&all.keeper.path(), &kept.path().join(name_of(Lender)));
    let mut world = World { all, kept, boot: 0 };
    assert!(TABLE.len() >= 24);
    let (mut revived, mut locked_out) = (Vec::new(), Vec::new());
    for (machine, name, steps, runs) in TABLE {
        world.begin();
        steps.iter().for_each(|step| world.step(*machine, *step));
        match (world.runs(*machine), runs) {
            (true, false) => revived.push((machine, name)),
            (false, true) => locked_out.push((machine, name)),
            _ => {}
        }
        // Wherever the end was recorded, looking again with the first clock finds it ended.
        if !runs {
            world.host(*machine).clock.set_wall_ns(NOW);
            assert!(!world.runs(*machine), "{name}: came back");
            world.asks_again();
        }
    }
    println!(
        "{} cases: {} revivals, {} lock-outs",
        TABLE.len(),
        revived.len(),
        locked_out.len()
    );
    assert!(
        revived.is_empty() && locked_out.is_empty(),
        "{revived:?} {locked_out:?}"
    );
}
