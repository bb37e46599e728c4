//! Registry hives and journals: what is read directly is what the appliance says, and an appliance that takes over goes
//! on where the direct reader was.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use system_tests::fish::{each, output_of, script};
use system_tests::images::{self, Table, WINDOWS_QUESTIONS, hives};
use system_tests::programs::{output_of as tool, peer};
use tempfile::TempDir;

/// A partition with a system of Windows, whose hives were filled by libhivex's tools, and a journal written by systemd's.
struct Made {
    directory: TempDir,
}

impl Made {
    fn new(system: &str, fill: impl FnOnce(&Path)) -> Self {
        let made = Made { directory: tempfile::tempdir().unwrap() };
        let tree = made.path("tree");
        let config = tree.join("Windows/System32/config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::create_dir_all(tree.join("empty")).unwrap();
        hives(made.directory.path(), system);
        for hive in ["software", "system"] {
            std::fs::copy(made.path(&format!("{system}-{hive}")), config.join(hive.to_uppercase())).unwrap();
        }
        std::fs::write(tree.join("Windows/System32/cmd.exe"), "MZ").unwrap();
        std::fs::write(tree.join("text"), "no hive\n").unwrap();
        let good = std::fs::read(config.join("SOFTWARE")).unwrap();
        std::fs::write(tree.join("cut"), &good[..0x1100]).unwrap();
        std::os::unix::fs::symlink("Windows/System32/config/SOFTWARE", tree.join("link")).unwrap();
        peer("mkfifo", &[tree.join("pipe").to_str().unwrap()]);
        fill(&tree);
        images::ext(&made.path("root"), 32, &["mkfs.ext4"], &tree, "");
        images::disk(&made.path("disk"), Table::Gpt, &[Some(&made.path("root"))]);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn arguments<'a>(&self, how: &'a str, disk: &'a str) -> Vec<&'a str> {
        vec!["--ro", how, "--format=raw", "-a", disk]
    }

    /// The answers to questions after the partition was mounted, the same from both; nothing is left to the appliance.
    fn agree(&self, questions: &[String]) -> Vec<String> {
        let disk = self.path("disk").to_str().unwrap().to_owned();
        let ask = |how: &str| {
            let before = "run\nmount-ro /dev/sda1 /";
            each(&self.arguments(how, &disk), before, questions, self.directory.path())
        };
        let (direct, appliance) = (ask("--direct=only"), ask("--direct=never"));
        for ((question, direct), appliance) in questions.iter().zip(&direct).zip(&appliance) {
            assert_eq!(direct, appliance, "{question} (direct left, the appliance right)");
        }
        direct.iter().map(|answer| String::from_utf8_lossy(&answer.out).into_owned()).collect()
    }
}

/// The numbers in a list of nodes or values.
fn numbers(answer: &str) -> Vec<u64> {
    answer.lines().filter_map(|line| line.trim().split_once("_h: ")?.1.parse().ok()).collect()
}

fn lines(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// All nodes and values of a hive, found by a walk through it.
fn walked(disk: &str, hive: &str) -> (Vec<u64>, Vec<u64>) {
    let start = format!("run\nmount-ro /dev/sda1 /\nhivex-open {hive}\n");
    let ask = |what: &str, nodes: &[u64]| {
        let questions: String = nodes.iter().map(|node| format!("hivex-node-{what} {node}\n")).collect();
        let arguments = ["--ro", "--direct=only", "--format=raw", "-a", disk];
        numbers(&output_of(&arguments, &format!("{start}{questions}")))
    };
    let root =
        output_of(&["--ro", "--direct=only", "--format=raw", "-a", disk], &format!("{start}hivex-root\n"));
    let (mut nodes, mut level) = (Vec::new(), vec![root.trim().parse().unwrap()]);
    while !level.is_empty() {
        let next = ask("children", &level);
        nodes.append(&mut level);
        level = next;
    }
    let values = ask("values", &nodes);
    (nodes, values)
}

#[test]
fn hives_are_read_as_the_appliance_reads_them() {
    let made = Made::new("win10", |_| {});
    let disk = made.path("disk").to_str().unwrap().to_owned();
    let mut questions = lines(&["hivex-root", "hivex-close", "hivex-node-name 4128"]);
    for path in ["/missing", "/empty", "/text", "/cut", "/pipe", "/missing/x", "/link"] {
        questions.push(format!("hivex-open {path}"));
        questions.push("hivex-root".to_owned());
    }
    let (mut nodes_seen, mut values_seen) = (0, 0);
    for hive in ["SOFTWARE", "SYSTEM"] {
        let path = format!("/Windows/System32/config/{hive}");
        questions.push(format!("hivex-open {path} verbose:true unsafe:true"));
        questions.push("hivex-root".to_owned());
        let (nodes, values) = walked(&disk, &path);
        for node in &nodes {
            for action in ["name", "children", "values", "parent"] {
                questions.push(format!("hivex-node-{action} {node}"));
            }
            for name in ["microsoft", "Current", "größe", "\"\""] {
                questions.push(format!("hivex-node-get-child {node} {name}"));
                questions.push(format!("hivex-node-get-value {node} {name}"));
            }
        }
        for value in &values {
            for action in ["key", "type", "value", "string", "utf8"] {
                questions.push(format!("hivex-value-{action} {value}"));
            }
        }
        // Numbers of nothing, and of the other kind; and what would change it.
        let odd = [-1, 0, 1, 4096, 4132, i64::MAX, i64::MIN, i64::try_from(values[0]).unwrap()];
        for number in odd {
            questions.push(format!("hivex-node-name {number}"));
            questions.push(format!("hivex-value-key {number}"));
            questions.push(format!("hivex-node-delete-child {number}"));
        }
        questions.push(format!("hivex-node-add-child {} new", nodes[0]));
        questions.push(format!("hivex-node-set-value {} key 1 x", nodes[0]));
        questions.push(format!("hivex-node-delete-child {}", nodes[1]));
        (nodes_seen, values_seen) = (nodes_seen + nodes.len(), values_seen + values.len());
    }
    // It stays open when its file system is not mounted any more.
    questions.extend(lines(&[
        "umount-all",
        "hivex-root",
        "ls /",
        "hivex-close",
        "hivex-close",
        "hivex-open /text",
    ]));
    made.agree(&questions);
    assert!(nodes_seen > 20 && values_seen > 20, "{nodes_seen} nodes, {values_seen} values");
}

#[test]
fn windows_is_inspected_without_an_appliance() {
    let made = Made::new("win10", |_| {});
    let disk = made.path("disk").to_str().unwrap().to_owned();
    let mut asking = "run\ninspect-os\n".to_owned();
    for question in WINDOWS_QUESTIONS.iter().chain(&["filesystems", "icon"]) {
        asking.push_str(&format!("inspect-get-{question} /dev/sda1\n"));
    }
    asking.push_str("mount-ro /dev/sda1 /\ninspect-list-applications2 /dev/sda1\n");
    let answer = |how: &str| output_of(&made.arguments(how, &disk), &asking);
    let direct = answer("--direct=only");
    assert_eq!(direct, answer("--direct=never"));
    for part in ["Windows 10 Pro", "desk.example.com", "Größter Editor", "ControlSet001"] {
        assert!(direct.contains(part), "{part}: {direct}");
    }
    let inspected = |how: &str| tool("virt-inspector", &[how, "--format=raw", "-a", &disk]);
    assert_eq!(inspected("--direct=only"), inspected("--direct=never"));
}

/// Has systemd write a journal of entries numbered from `first`, some of which are long enough to be packed.
fn write_journal(path: &Path, first: u32, count: u32, options: &[&str]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let export = path.with_extension("export");
    let entry = |number: u32| {
        let long = if number.is_multiple_of(3) { "long ".repeat(1000) } else { String::new() };
        format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n\
             PRIORITY=6\nMESSAGE=entry {number} {long}\n\n",
            1_700_000_000_000_000 + u64::from(number),
            1000 + number
        )
    };
    std::fs::write(&export, (first..first + count).map(entry).collect::<String>()).unwrap();
    let words = [options, &["-o", path.to_str().unwrap(), export.to_str().unwrap()]].concat();
    peer("/lib/systemd/systemd-journal-remote", &words);
    std::fs::remove_file(export).unwrap();
}

const MACHINE: &str = "var/log/journal/0123456789abcdef0123456789abcdef";

fn add_journals(tree: &Path) {
    let machine = tree.join(MACHINE);
    write_journal(&machine.join("one.journal"), 0, 60, &["--split-mode=none"]);
    write_journal(&machine.join("two.journal"), 60, 30, &["--split-mode=none", "--compress=no"]);
    let bad = std::fs::read(machine.join("one.journal")).unwrap();
    std::fs::write(machine.join("cut.journal~"), &bad[..bad.len() / 40]).unwrap();
    std::fs::write(machine.join("short.journal"), "LPKSHHRH").unwrap();
    std::fs::create_dir(machine.join("directory.journal")).unwrap();
    // A link that leads nowhere spoils the directory that it is in, but not those around.
    std::fs::create_dir(tree.join("dangling")).unwrap();
    std::os::unix::fs::symlink("/nowhere", tree.join("dangling/x.journal")).unwrap();
}

#[test]
fn journals_are_read_as_the_appliance_reads_them() {
    let made = Made::new("winxp", add_journals);
    let mut questions =
        lines(&["journal-next", "journal-get", "journal-close", "journal-get-data-threshold"]);
    for directory in ["/missing", "/text", "/dangling", "/empty", "/"] {
        questions.extend([format!("journal-open {directory}"), "journal-next".to_owned()]);
    }
    for directory in ["/var/log/journal".to_owned(), format!("/{MACHINE}")] {
        questions.push(format!("journal-open {directory}"));
        questions.extend(lines(&["journal-get", "journal-get-realtime-usec", "journal-skip 0"]));
        for _ in 0..8 {
            questions.extend(lines(&["journal-next", "journal-get", "journal-get-realtime-usec"]));
        }
        for (skip, threshold) in [(70, "0"), (-40, "20"), (-1000, "70000"), (1000, "-5"), (1, "0"), (-3, "0")]
        {
            questions.push(format!("journal-set-data-threshold {threshold}"));
            questions.push(format!("journal-skip {skip}"));
            questions.extend(lines(&[
                "journal-get-data-threshold",
                "journal-get",
                "journal-get-realtime-usec",
            ]));
        }
    }
    questions.extend(lines(&["journal-close", "journal-close", "umount-all"]));
    let answers = made.agree(&questions);
    let seen: BTreeSet<&str> =
        answers.iter().filter_map(|text| text.split("entry ").nth(1)?.split(' ').next()).collect();
    assert!(seen.len() >= 10, "{seen:?}");
}

#[test]
fn an_appliance_takes_over_what_is_open() {
    let made = Made::new("win10", add_journals);
    let disk = made.path("disk").to_str().unwrap().to_owned();
    // What only the program file knows boots the appliance; a hive that is open outlives its mount, a journal not.
    let asking = "run\nmount-ro /dev/sda1 /\nhivex-open /Windows/System32/config/SOFTWARE\n\
        hivex-node-get-child 4128 Microsoft\numount-all\nmount-ro /dev/sda1 /\njournal-open /var/log/journal\n\
        journal-set-data-threshold 100\njournal-skip 75\njournal-get\nfile /text\njournal-get\njournal-get-data-threshold\n\
        journal-next\njournal-get-realtime-usec\nmounts\nhivex-root\nhivex-node-children 4128\n-umount-all\n\
        journal-close\numount-all\nhivex-node-name 4128\n";
    let answer = |how: &str| script(&made.arguments(how, &disk), asking);
    let (auto, appliance) = (answer("--direct=auto"), answer("--direct=never"));
    assert_eq!(auto, appliance);
    assert!(auto.code == Some(0) && auto.text().contains("ASCII text"), "{auto:?}");
    // A hive that is to be changed is the appliance's from the start.
    let refused = script(
        &made.arguments("--direct=only", &disk),
        "run\nmount-ro /dev/sda1 /\nhivex-open /Windows/System32/config/SOFTWARE write:true\n",
    );
    assert!(refused.err.contains("the hive is to be changed"), "{refused:?}");
}
