//! The made-up guests of `testdata/guests`: what lies in each, and what is said of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use system_tests::images;

/// All that is asked about a system, in the order in which answers are written down.
pub(crate) const QUESTIONS: [&str; 14] = [
    "type",
    "distro",
    "product-name",
    "product-variant",
    "major-version",
    "minor-version",
    "arch",
    "hostname",
    "package-format",
    "package-management",
    "osinfo",
    "build-id",
    "mountpoints",
    "filesystems",
];

/// A guest in one file system.
#[derive(Debug, Default)]
pub(crate) struct Guest {
    pub(crate) name: String,
    contents: Vec<String>,
    answers: Vec<(String, String)>,
}

/// Reads the recipes of a file. A comment may stand on lines of its own.
pub(crate) fn guests(file: &str) -> Vec<Guest> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/guests").join(file);
    let mut guests: Vec<Guest> = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some(name) = line.strip_prefix("== ") {
            guests.push(Guest { name: name.to_owned(), ..Guest::default() });
        } else if line.is_empty() || line.starts_with('#') {
            continue;
        } else if let Some(answer) = line.strip_prefix(": ") {
            let (question, answer) = answer.split_once(' ').unwrap();
            assert!(QUESTIONS.contains(&question), "{line}");
            guests.last_mut().unwrap().answers.push((question.to_owned(), answer.to_owned()));
        } else {
            guests.last_mut().unwrap().contents.push(line.to_owned());
        }
    }
    guests
}

impl Guest {
    /// A file system with what lies in this guest.
    pub(crate) fn image(&self, directory: &Path) -> PathBuf {
        let tree = directory.join(format!("{}.tree", self.name));
        fs::create_dir_all(&tree).unwrap();
        let mut make = vec!["mkfs.ext2"];
        for line in &self.contents {
            match line.strip_prefix("label ") {
                Some(label) => make.extend(["-L", label]),
                None => add(&tree, line),
            }
        }
        let image = directory.join(format!("{}.img", self.name));
        images::ext(&image, 2, &make, &tree, "");
        image
    }

    /// What is said of it, with `root` as its device; nothing if it is no system at all.
    pub(crate) fn expected(&self, root: &str) -> Option<Vec<String>> {
        let said = |question: &str| {
            let written = self.answers.iter().find(|(theirs, _)| theirs == question);
            match (written, question) {
                (Some((_, answer)), _) => answer.replace("ROOT", root),
                (_, "major-version" | "minor-version") => "0".to_owned(),
                (_, "mountpoints") => format!("/: {root}"),
                (_, "filesystems") => root.to_owned(),
                _ => "unknown".to_owned(),
            }
        };
        let lines = QUESTIONS.iter().map(|question| format!("{question} {}", said(question)));
        (!self.answers.is_empty()).then(|| lines.collect())
    }
}

fn add(tree: &Path, line: &str) {
    let place = |path: &str| {
        let path = tree.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    if line == "linux" {
        fs::write(place("/bin/ls"), program("x86_64")).unwrap();
        fs::write(place("/etc/fstab"), "").unwrap();
    } else if let Some((path, text)) = line.split_once(" <-") {
        let text = text.strip_prefix(' ').unwrap_or_default();
        fs::write(place(path), text.replace("\\\\", "\0").replace("\\n", "\n").replace('\0', "\\")).unwrap();
    } else if let Some((path, target)) = line.split_once(" -> ") {
        symlink(target, place(path)).unwrap();
    } else if let Some((path, machine)) = line.split_once(" @ ") {
        fs::write(place(path), program(machine)).unwrap();
    } else {
        assert!(line.ends_with('/'), "{line}");
        fs::create_dir_all(place(line)).unwrap();
    }
}

/// The header of a program for a machine: of Linux, or with `pe` before it of Windows.
pub(crate) fn program(machine: &str) -> Vec<u8> {
    let word = |number: u16, big: bool| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let (class, big, number) = match machine {
        "x86_64" => (2, false, 62),
        "i386" => (1, false, 3),
        "aarch64" => (2, false, 183),
        "arm" => (1, false, 40),
        "pe32" => return windows_program(0x14c, 0x10b),
        "pe64" => return windows_program(0x8664, 0x20b),
        other => panic!("{other} is no machine of these tests"),
    };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', class, if big { 2 } else { 1 }, 1];
    bytes.resize(16, 0);
    for number in [2, number, 1, 0] {
        bytes.extend(word(number, big));
    }
    bytes.resize(if class == 2 { 64 } else { 52 }, 0);
    bytes
}

fn windows_program(machine: u16, optional: u16) -> Vec<u8> {
    let mut bytes = b"MZ".to_vec();
    bytes.resize(0x3c, 0);
    bytes.extend(0x80_u32.to_le_bytes());
    bytes.resize(0x80, 0);
    bytes.extend(b"PE\0\0");
    bytes.extend(machine.to_le_bytes());
    bytes.resize(0x98, 0);
    bytes.extend(optional.to_le_bytes());
    bytes.resize(0x200, 0);
    bytes
}
