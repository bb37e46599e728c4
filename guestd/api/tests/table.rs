//! The table as a shell sees it: names, help and examples hold together.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use guestd_api::prelude::*;
use guestd_api::structs::{Partition, Version};
use guestd_api::{ArgError, ArgKind, Call, Field, IntStyle, Ret, Value, actions, commands, find};
use std::cell::RefCell;
use std::collections::HashSet;

fn words(line: &str) -> Vec<GuestString> {
    // Enough of a shell for the examples: blanks separate, double quotes keep together.
    line.split('"')
        .enumerate()
        .flat_map(|(at, piece)| if at % 2 == 1 { vec![piece] } else { piece.split_whitespace().collect() })
        .map(GuestString::from)
        .collect()
}

fn parse(line: &str) -> Result<Call, ArgError> {
    let words = words(line.split_once(' ').map_or("", |(_, rest)| rest));
    let name = line.split(' ').next().unwrap();
    find(name)
        .unwrap_or_else(|| panic!("no action '{name}'"))
        .parse(&words, &mut |_| Ok("secret".into()))
        .map(|r| r.call)
}

#[test]
fn names_are_unique_and_found_in_every_spelling() {
    let mut seen = HashSet::new();
    for command in commands() {
        for name in std::iter::once(&command.name).chain(command.aliases) {
            assert!(seen.insert(name.to_ascii_lowercase()), "'{name}' is declared twice");
            assert_eq!(find(&name.replace('_', "-").to_uppercase()).unwrap().name, command.name);
        }
    }
    assert!(find("no-such-action").is_none());
}

#[test]
fn every_action_has_a_summary_and_an_example_that_parses() {
    for command in commands() {
        assert!(command.summary().ends_with('.'), "{}: summary", command.name);
        let help = command.help();
        let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let uses =
            |line: &&&str| find(line.split(' ').next().unwrap()).is_some_and(|c| c.name == command.name);
        assert!(examples.iter().any(|line| uses(&line)), "{}: no example of itself", command.name);
        for line in examples {
            parse(line).unwrap_or_else(|error| panic!("{}: '{line}': {error}", command.name));
        }
    }
}

#[test]
fn words_become_calls() {
    assert_eq!(
        parse("chmod 0755 /x"),
        Ok(actions::files::Call::chmod { mode: 0o755, path: "/x".into() }.into())
    );
    assert_eq!(parse("chmod 0755"), Err(ArgError::Count));
    assert_eq!(parse("chmod 0755 /x /y"), Err(ArgError::Count));
    let opts = actions::mkfs::MkfsOptions::default().label("a:b").blocksize(4096);
    let call = actions::mkfs::Call::mkfs { fstype: "ext4".into(), device: "/dev/sda".into(), opts };
    assert_eq!(parse("mkfs ext4 /dev/sda label:a:b blocksize:4k"), Ok(call.into()));
    assert_eq!(parse("mkfs ext4 /dev/sda label:a label:b"), Err(ArgError::Twice("label".into())));
    assert_eq!(parse("mkfs ext4 /dev/sda lable:a"), Err(ArgError::UnknownOption("lable".into())));
    assert!(matches!(parse("umount / force:maybe"), Err(ArgError::Bool(_))));
    let upload = find("upload").unwrap();
    let request = upload.parse(&words("- /etc/motd"), &mut |_| Ok("".into())).unwrap();
    assert_eq!((request.input.unwrap(), request.output), (GuestString::from("-"), None));
    assert_eq!(upload.args.first().unwrap().kind, ArgKind::FileIn);
}

#[test]
fn the_table_says_how_to_print() {
    assert_eq!(find("umask").unwrap().style, IntStyle::Octal);
    let Ret::StructList(spec) = find("part_list").unwrap().ret else {
        panic!("part_list returns no list of structs")
    };
    assert_eq!(
        spec.fields.iter().map(|f| f.name).collect::<Vec<_>>(),
        ["part_num", "part_start", "part_end", "part_size"]
    );
}

/// Answers every call with one value and keeps what was asked.
struct Canned(Value, RefCell<Vec<Call>>);

impl Actions for Canned {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> guestd_api::Result<Value> {
        self.1.borrow_mut().push(call.clone());
        if let Some(output) = &mut context.output {
            output.write_all(b"streamed").unwrap();
        }
        Ok(self.0.clone())
    }
}

#[test]
fn typed_methods_build_calls_and_check_results() {
    let fields = vec![Field::Int(1), Field::Int(2), Field::Int(3), Field::Text("x".into())];
    let guest = Canned(Value::Struct(fields), RefCell::default());
    assert_eq!(guest.version().unwrap(), Version { major: 1, minor: 2, release: 3, extra: "x".into() });
    // A result of another kind, or with a field missing, is an error and nothing else.
    assert!(matches!(guest.ls("/"), Err(guestd_api::Error::Protocol(_))));
    let short = Canned(Value::StructList(vec![vec![Field::Int(1)]]), RefCell::default());
    let list: Result<Vec<Partition>, _> = short.part_list("/dev/sda");
    assert!(matches!(list, Err(guestd_api::Error::Protocol(_))));

    let guest = Canned(Value::Void, RefCell::default());
    let mut received = Vec::new();
    guest.download("/x", &mut received).unwrap();
    let through: &dyn Actions = &guest;
    With::new(through).chmod(0o644, b"/na\xefve").unwrap();
    assert_eq!(received, b"streamed");
    let path = GuestString::from(&b"/na\xefve"[..]);
    assert_eq!(guest.1.borrow().last(), Some(&actions::files::Call::chmod { mode: 0o644, path }.into()));
}
