//! Files that are not what an action expects: pipes, sockets, devices, links that climb and links that go round.
//!
//! Every action of the table is called with each of them in the place of every path that it takes.

use super::Host;
use guestd_api::{ArgKind, CommandSpec, commands};
use std::collections::BTreeSet;

/// What lies where a file is expected, and the command that puts it there.
const ODD: &[(&str, &str)] = &[
    ("fifo", "mkfifo 0666 DIR/odd"),
    ("socket", "mknod 0140666 0 0 DIR/odd"),
    ("endless device", "mknod-c 0666 1 5 DIR/odd"),
    ("full device", "mknod-c 0666 1 7 DIR/odd"),
    ("console", "mknod-c 0666 5 1 DIR/odd"),
    ("memory of the kernel", "mknod-c 0666 1 1 DIR/odd"),
    ("no such disk", "mknod-b 0666 250 77 DIR/odd"),
    ("directory", "mkdir DIR/odd"),
    ("link that goes round", "ln-s odd DIR/odd"),
    ("link that climbs", "ln-s ../../../../../../../../../proc/1/root/etc/hostname DIR/odd"),
    ("link to the top", "ln-s / DIR/odd"),
    ("link to a pipe", "ln-s /pipe DIR/odd"),
    ("file of holes", "truncate-size DIR/odd 15T"),
    ("nothing", "rm-f DIR/odd"),
];

/// Actions that end the session, wait on purpose, or are about the host.
const LEFT_OUT: &[&str] = &[
    "shutdown",
    "close",
    "kill_subprocess",
    "internal_exit",
    "sleep",
    "launch",
    "debug",
    "debug_upload",
    "umount_all",
    "user_cancel",
];

fn takes_path(kind: ArgKind) -> bool {
    matches!(kind, ArgKind::Pathname | ArgKind::DevOrPath | ArgKind::MountableOrPath)
}

/// The words of an example. Blanks separate, double quotes keep together.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('"').enumerate();
    pieces
        .flat_map(|(at, piece)| match at % 2 {
            0 => piece.split_whitespace().map(str::to_owned).collect(),
            _ => vec![format!("\"{piece}\"")],
        })
        .collect()
}

/// The example of an action in its help.
fn example(command: &CommandSpec) -> Option<Vec<String>> {
    let help = command.help();
    let lines = help.lines().filter_map(|line| line.strip_prefix("    ")).map(words);
    let own = |words: &Vec<String>| {
        words
            .first()
            .is_some_and(|name| guestd_api::find(name).is_some_and(|found| found.name == command.name))
    };
    let enough = |words: &Vec<String>| words.len() > command.args.len();
    lines.into_iter().find(|words| own(words) && enough(words))
}

/// An action's example with a path of the test in the `odd`th place that takes a path, and good files in the others.
fn call(command: &CommandSpec, odd: usize) -> Option<String> {
    let mut words = example(command)?;
    let mut paths = 0;
    for (argument, word) in command.args.iter().zip(words.iter_mut().skip(1)) {
        match argument.kind {
            kind if takes_path(kind) => {
                *word = if paths == odd { "DIR/odd".to_owned() } else { "DIR/good".to_owned() };
                paths += 1;
            }
            ArgKind::Device | ArgKind::Mountable => *word = "/dev/sdb".to_owned(),
            ArgKind::DeviceList => *word = "\"/dev/sdb /dev/sdc\"".to_owned(),
            ArgKind::FileIn => *word = "/etc/hostname".to_owned(),
            ArgKind::FileOut => *word = "/dev/null".to_owned(),
            ArgKind::FilenameList => *word = "\"odd good\"".to_owned(),
            _ => {}
        }
    }
    Some(words.join(" "))
}

/// An action that reads to the end of a file has that to do.
fn ends(name: &str, command: &CommandSpec) -> bool {
    name != "file of holes" || matches!(command.group, "stat" | "xattr" | "dirs" | "links" | "transfer")
}

#[test]
fn every_action_that_takes_a_path() {
    let host = Host::new();
    let disks: Vec<_> = ["a", "b", "c"].into_iter().map(|name| host.disk(name)).collect();
    let mut seen = BTreeSet::new();
    // All of them with everything takes minutes: unless asked for, each meets a third, in turn.
    let all = std::env::var_os("DISKWRIGHT_ROUNDS").is_some();
    for (turn, (name, make)) in ODD.iter().enumerate() {
        for (disk, mib) in disks.iter().zip([1024, 32, 32]) {
            std::fs::File::create(disk).unwrap().set_len(mib << 20).unwrap();
        }
        let mut lines: Vec<String> =
            ["mkfs ext4 /dev/sda", "mount /dev/sda /", "mkfifo 0666 /pipe"].map(str::to_owned).into();
        let mut number = 0;
        for (at, command) in commands().enumerate() {
            if !all && (at + turn) % 3 != 0 {
                continue;
            }
            let paths = command.args.iter().filter(|argument| takes_path(argument.kind)).count();
            if LEFT_OUT.contains(&command.name) || !ends(name, command) {
                continue;
            }
            for odd in 0..paths {
                let Some(line) = call(command, odd) else {
                    panic!("{} has no example to go by", command.name)
                };
                seen.insert(command.name);
                // Some actions change what is mounted.
                if number % 16 == 15 {
                    lines.extend(["umount-all", "mount /dev/sda /"].map(str::to_owned));
                }
                let fresh = ["mkdir DIR", "write DIR/good \"good\\n\"", make, &line];
                lines.extend(fresh.map(|line| line.replace("DIR", &format!("/w{number}"))));
                number += 1;
            }
        }
        host.survives(&[], &disks, &lines);
    }
    assert!(seen.len() > 150, "{seen:?}");
}
