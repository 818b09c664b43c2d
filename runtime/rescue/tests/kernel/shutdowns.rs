//! P2: the file system is shut down below the program, as where its disk is pulled.

use crate::common::loops::Volume;
use crate::life::{along, count, scratch, Life, Verb};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The flags of FS_IOC_SHUTDOWN: all is flushed, the log is, nothing is.
const HOW: [u32; 4] = [2, 2, 1, 0];

#[test]
fn p2_after_a_shutdown_of_its_file_system_everything_told_is_there() {
    let each = count(6).div_ceil(2);
    let mut told = 0;
    for fstype in ["ext4", "xfs"] {
        let home = scratch();
        let mut medium = Volume::new(home.path(), fstype, &home.path().join("target"));
        let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
        let began = Instant::now();
        life.goes_on();
        let length = began.elapsed();
        for n in 0..each {
            let verb = life.next();
            let share = life.dice.below(1100) as u32;
            let how = HOW[life.dice.below(4) as usize];
            life.told.begins(&verb);
            let mut command = life.command(&verb);
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let child = command.spawn().unwrap();
            std::thread::sleep(length * share / 1000);
            medium.shut_down(how);
            let output = child.wait_with_output().unwrap();
            life.told.heard_all(&verb, &output.stdout);
            medium.unmount();
            medium.mount();
            if let Err(lost) = life.check() {
                panic!("{fstype} {n}, {verb:?}, shut down ({how}) at {share}/1000: {lost}");
            }
            if n % 4 == 3 {
                life.goes_on();
            }
            along(n, "shutdowns");
        }
        told += life.told.count;
        medium.unmount();
    }
    println!("{} shutdowns, {told} acknowledgements, 0 lost", 2 * each);
}

/// A program whose medium is gone ends, and says so.
#[test]
fn after_a_shutdown_the_program_ends_and_says_that_the_medium_failed() {
    let home = scratch();
    let mut medium = Volume::new(home.path(), "xfs", &home.path().join("target"));
    let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
    life.goes_on();
    life.change();
    medium.shut_down(HOW[0]);
    let began = Instant::now();
    let output = life.command(&Verb::Seal(0)).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("the medium"), "{said}");
    medium.unmount();
    medium.mount();
    life.check().unwrap();
}
