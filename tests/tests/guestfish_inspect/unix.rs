//! Systems of the Unix kind, as many as there are distributions.

use std::path::PathBuf;

use system_tests::fish::{command, feed};

use crate::recipe::{self, Guest, QUESTIONS};

/// What is said of these guests, each on a disk of its own: all answers of a root, or none if it is no root.
fn answers(images: &[PathBuf], how: &str) -> Vec<Option<Vec<String>>> {
    let mut arguments = vec!["--ro", "--format=raw", how];
    for image in images {
        arguments.extend(["-a", image.to_str().unwrap()]);
    }
    let mut script = "run\ninspect-os\n".to_owned();
    for index in 0..images.len() {
        for question in QUESTIONS {
            script.push_str(&format!("echo =\n-inspect-get-{question} {}\n", root(index)));
        }
    }
    let ran = feed(&mut command(&arguments), script.as_bytes());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut parts = ran.text().split("=\n").skip(1);
    let mut all = Vec::new();
    for _ in images {
        let said: Vec<&str> = parts.by_ref().take(QUESTIONS.len()).collect();
        let line = |(question, answer): (&&str, &&str)| {
            format!("{question} {}", answer.trim_end_matches('\n').replace('\n', " | "))
        };
        let is_root = said.iter().any(|answer| !answer.is_empty());
        all.push(is_root.then(|| QUESTIONS.iter().zip(&said).map(line).collect()));
    }
    all
}

fn root(index: usize) -> String {
    format!("/dev/sd{}", char::from(b'a' + u8::try_from(index).unwrap()))
}

/// Each guest alone is read without a machine.
#[test]
fn distributions_are_read_directly() {
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for guest in recipe::guests("unix.txt") {
        let image = guest.image(directory.path());
        let said = answers(&[image], "--direct=only").remove(0);
        let expected = guest.expected("/dev/sda");
        if said != expected {
            wrong.push(format!("{}: {said:#?}\nnot {expected:#?}", guest.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Many at once in the appliance: neither changes what is said of another.
#[test]
fn distributions_are_told_by_the_appliance() {
    let directory = tempfile::tempdir().unwrap();
    let guests = recipe::guests("unix.txt");
    for some in guests.chunks(16) {
        let images: Vec<PathBuf> = some.iter().map(|guest| guest.image(directory.path())).collect();
        let said = answers(&images, "--direct=never");
        let expected: Vec<_> = some
            .iter()
            .enumerate()
            .map(|(index, guest): (usize, &Guest)| guest.expected(&root(index)))
            .collect();
        assert_eq!(said, expected);
    }
}

/// What is said of a system comes from several of its file systems.
#[test]
fn parts_are_put_together() {
    let directory = tempfile::tempdir().unwrap();
    let guests = recipe::guests("parts.txt");
    let images: Vec<PathBuf> = guests.iter().map(|guest| guest.image(directory.path())).collect();
    let expected: Vec<_> =
        guests.iter().enumerate().map(|(index, guest)| guest.expected(&root(index))).collect();
    for how in ["--direct=only", "--direct=never"] {
        assert_eq!(answers(&images, how), expected, "{how}");
    }
}
