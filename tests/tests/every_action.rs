//! Every action is tried by some test: one that none names is told here by name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use guestd_api::{CommandSpec, commands};

/// Where tests of actions are, from the root of the workspace.
const PLACES: &[&str] = &[
    "appliance/engine/tests",
    "appliance/guest/src/handle",
    "appliance/guest/src/inspect",
    "appliance/guest/tests",
    "guestd/tests",
    "tests/tests",
    "tools/guestfish/src",
];

/// Actions that need what no test machine has.
const WITHOUT_TEST: &[&str] = &[];

fn sources(place: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("every_action.rs")
        {
            into.push(path);
        }
    }
}

/// The tests in a file: all of it, or what follows the line that begins them.
fn tests_in(path: &Path, root: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let inside = path.strip_prefix(root).unwrap();
    if inside.components().any(|part| part.as_os_str() == "tests") {
        return text;
    }
    text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()).unwrap_or_default()
}

/// What a test calls: methods by their names, and the first words of lines for guestfish.
fn called(text: &str, into: &mut BTreeSet<String>) {
    // A line of a script ends in the text of a program as `\n`, perhaps with the line's own end after it.
    let text = text.replace("\\n\\\n", "\n").replace("\\n", "\n");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut rest = text.as_str();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
        if name.is_empty() {
            if !(first == ' ' && matches!(before, '\n' | '"' | '|' | ':')) {
                before = first;
            }
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let after = rest[name.len()..].chars().next().unwrap_or(' ');
        let method = before == '.' && after == '(';
        let word = matches!(before, '\n' | '"' | '|' | ':') && matches!(after, ' ' | '"' | '\n' | '\\' | '|');
        if method || word {
            into.insert(name.trim_start_matches('-').replace('-', "_").to_ascii_lowercase());
        }
        rest = &rest[name.len()..];
        before = 'x';
    }
}

fn is_called(command: &CommandSpec, called: &BTreeSet<String>) -> bool {
    let names = std::iter::once(&command.name).chain(command.aliases);
    names.map(|name| name.to_ascii_lowercase()).any(|name| {
        // The older of two forms is a method of its own.
        called.contains(&name) || called.contains(&format!("{name}_opts"))
            // Tables of questions about systems name what stands behind `inspect-get-`.
            || name.strip_prefix("inspect_get_").is_some_and(|question| called.contains(question))
    })
}

#[test]
fn no_action_is_without_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for place in PLACES {
        sources(&root.join(place), &mut files);
    }
    let mut names = BTreeSet::new();
    files.iter().for_each(|file| called(&tests_in(file, root), &mut names));
    let known: BTreeSet<&str> = WITHOUT_TEST.iter().copied().collect();
    let (mut untested, mut stale) = (Vec::new(), Vec::new());
    for command in commands() {
        match (is_called(command, &names), known.contains(command.name)) {
            (false, false) => untested.push(command.name),
            (true, true) => stale.push(command.name),
            _ => {}
        }
    }
    assert!(untested.is_empty(), "{} actions have no test: {}", untested.len(), untested.join(" "));
    assert!(stale.is_empty(), "these have one now: {stale:?}");
}

#[test]
fn names_are_found_where_they_are_called() {
    let mut names = BTreeSet::new();
    called(
        "g.is_lv(\"x\"); \"mkfs ext4 /dev/sda\\n-part-del /dev/sda 1\\n\\\n   glob rm /x : umount /\", sync",
        &mut names,
    );
    let expected: BTreeSet<String> =
        ["is_lv", "mkfs", "part_del", "glob", "x", "umount"].map(str::to_owned).into();
    assert!(names.is_superset(&expected) && !names.contains("ext4") && !names.contains("sync"), "{names:?}");
}
