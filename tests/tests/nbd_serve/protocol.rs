//! The same messages to qemu-nbd and to ours, and the same answers.

use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use system_tests::programs::program;

use crate::raw::{
    ABORT, EXPORT_NAME, EXTENDED, GO, INFO, LIST, LIST_META, Raw, SET_META, STARTTLS, STRUCTURED, named,
    queries,
};
use crate::server::{Server, directory, shell};

const BASE: &str = "base:allocation";
const DEPTH: &str = "qemu:allocation-depth";
const MARKS: &str = "qemu:dirty-bitmap:marks";
const SIZE: u64 = 3 << 20;

type Scenario = fn(&mut Raw) -> io::Result<()>;

const SCENARIOS: &[(&str, u32, Scenario)] = &[
    ("lists", 3, |raw| {
        raw.option(LIST, b"")?;
        raw.option(LIST, b"x")?;
        raw.option(LIST, b"")
    }),
    ("information", 3, |raw| {
        for infos in [&[][..], &[0], &[1], &[2], &[3], &[0, 1, 2, 3], &[9], &[3, 3]] {
            raw.option(INFO, &named(b"", infos))?;
            raw.option(INFO, &named(b"nope", infos))?;
        }
        Ok(())
    }),
    ("information that is not asked for properly", 3, |raw| {
        let mut cut = named(b"", &[1]);
        cut.pop();
        let long = [&5000u32.to_be_bytes()[..], &[b'a'; 5000], &[0, 0]].concat();
        let more = [&named(b"", &[])[..], b"x"].concat();
        for data in [&b""[..], &[0; 3], b"\0\0\0\x05abc", &more, &cut, &long, b"\0\0\0\0\0\x05"] {
            raw.option(INFO, data)?;
        }
        raw.option(INFO, &named(&[b'a'; 4096], &[]))?;
        raw.option(INFO, &named(&[b'a'; 4097], &[]))?;
        raw.option(INFO, &named(b"\xff\xfe", &[]))
    }),
    ("options that nobody knows", 3, |raw| {
        for option in [0, 4, 12, 13, 99, 0x8000_0000] {
            raw.option(option, b"")?;
            raw.option(option, b"data")?;
        }
        raw.option(99, &[b'z'; 1 << 20])?;
        raw.option(INFO, &[0; 1 << 20])?;
        raw.option(STARTTLS, b"")?;
        raw.option(STARTTLS, b"x")?;
        raw.option(LIST, b"")
    }),
    ("forms of answers", 3, |raw| {
        for option in [STRUCTURED, STRUCTURED, EXTENDED, STRUCTURED, EXTENDED] {
            raw.option(option, b"")?;
        }
        raw.option(STRUCTURED, b"x")?;
        raw.option(EXTENDED, b"x")
    }),
    ("contexts too early", 3, |raw| {
        raw.option(LIST_META, &queries("", &[]))?;
        raw.option(SET_META, &queries("", &[BASE]))
    }),
    ("contexts", 3, |raw| {
        raw.option(STRUCTURED, b"")?;
        let long = "a".repeat(5000);
        let asked: &[&[&str]] = &[
            &[],
            &["base:"],
            &[BASE],
            &["qemu:"],
            &["qemu:dirty-bitmap:"],
            &[MARKS],
            &[DEPTH],
            &["x:y"],
            &["base:x"],
            &["base"],
            &["qemu:dirty-bitmap:none"],
            &[BASE, BASE],
            &[MARKS, DEPTH, BASE],
            &["base:allocation2"],
            &[&long],
            &[""],
        ];
        for option in [LIST_META, SET_META] {
            for name in ["", "nope"] {
                for asked in asked {
                    raw.option(option, &queries(name, asked))?;
                }
            }
            for data in [&b""[..], &[0; 4], b"\0\0\0\x09a", b"\0\0\0\0\0\0\0\x02\0\0\0\x01"] {
                raw.option(option, data)?;
            }
        }
        Ok(())
    }),
    ("chosen contexts", 3, |raw| {
        raw.option(EXTENDED, b"")?;
        raw.option(SET_META, &queries("", &[BASE, DEPTH]))?;
        raw.option(GO, &named(b"", &[]))?;
        let payload = |length: u64, ids: &[u32]| {
            let ids = ids.iter().flat_map(|id| id.to_be_bytes());
            length.to_be_bytes().into_iter().chain(ids).collect::<Vec<u8>>()
        };
        for payload in [
            payload(1 << 20, &[0]),
            payload(1 << 20, &[1]),
            payload(1 << 20, &[1, 0]),
            payload(1 << 20, &[0, 0]),
            payload(1 << 20, &[7]),
            payload(1 << 20, &[]),
            payload(0, &[0]),
            payload(4 << 20, &[0]),
            [&payload(1 << 20, &[0])[..], b"x"].concat(),
            Vec::new(),
        ] {
            for flags in [32, 32 | 8] {
                raw.request((7, flags, 0, payload.len() as u64), &payload)?;
            }
        }
        for command in [0, 3] {
            raw.request((command, 32, 0, 4), b"abcd")?;
        }
        raw.request((0, 0, 0, 16), b"")
    }),
    ("simple answers", 3, |raw| {
        raw.option(GO, &named(b"", &[]))?;
        requests(raw, false)
    }),
    ("answers in chunks", 3, |raw| {
        raw.option(STRUCTURED, b"")?;
        raw.option(SET_META, &queries("", &[BASE, DEPTH, MARKS]))?;
        raw.option(GO, &named(b"", &[0, 1, 2, 3]))?;
        requests(raw, false)
    }),
    ("long answers", 3, |raw| {
        raw.option(EXTENDED, b"")?;
        raw.option(SET_META, &queries("", &[MARKS, BASE, DEPTH]))?;
        raw.option(GO, &named(b"", &[3]))?;
        requests(raw, true)
    }),
    ("contexts of another export", 3, |raw| {
        raw.option(STRUCTURED, b"")?;
        raw.option(SET_META, &queries("nope", &[BASE]))?;
        raw.option(GO, &named(b"", &[]))?;
        raw.request((7, 0, 0, 512), b"")
    }),
    ("an export that is not there, and one that is", 3, |raw| {
        raw.option(GO, &named(b"nope", &[]))?;
        raw.option(GO, &named(b"", &[]))?;
        raw.request((0, 0, 0, 5), b"")
    }),
    ("the old way", 3, |raw| {
        raw.send_option(EXPORT_NAME, b"", 0)?;
        let answer = raw.read(10)?;
        raw.heard.push(format!("{answer:02x?}"));
        raw.request((0, 0, 0, 5), b"")
    }),
    ("the old way with zeroes", 1, |raw| {
        raw.option(STRUCTURED, b"")?;
        raw.send_option(EXPORT_NAME, b"", 0)?;
        let answer = raw.read(134)?;
        raw.heard.push(format!("{answer:02x?}"));
        raw.request((0, 0, 0, 5), b"")?;
        raw.request((7, 0, 0, 5), b"")
    }),
    ("the old way to nowhere", 3, |raw| {
        raw.send_option(EXPORT_NAME, b"nope", 4)?;
        raw.expect_end();
        Ok(())
    }),
    ("the old way after the new", 3, |raw| {
        raw.option(EXTENDED, b"")?;
        raw.send_option(EXPORT_NAME, b"", 0)?;
        raw.expect_end();
        Ok(())
    }),
    ("no end of a name", 3, |raw| {
        raw.send_option(EXPORT_NAME, &[b'n'; 5000], 5000)?;
        raw.expect_end();
        Ok(())
    }),
    ("good bye", 3, |raw| {
        raw.option(ABORT, b"")?;
        raw.expect_end();
        Ok(())
    }),
    ("no option", 3, |raw| {
        io::Write::write_all(&mut raw.stream, &[b'X'; 16])?;
        raw.expect_end();
        Ok(())
    }),
    ("more than anybody sends", 3, |raw| {
        raw.send_option(INFO, b"", (32 << 20) + 1)?;
        raw.expect_end();
        Ok(())
    }),
    ("without fixed newstyle", 0, |raw| {
        raw.send_option(EXPORT_NAME, b"", 0)?;
        let answer = raw.read(134)?;
        raw.heard.push(format!("{answer:02x?}"));
        raw.request((0, 0, 0, 5), b"")
    }),
    ("flags that nobody knows", 4, |raw| {
        raw.expect_end();
        Ok(())
    }),
];

/// Requests of all kinds, at the beginning, at the end, beyond it, with all flags.
fn requests(raw: &mut Raw, extended: bool) -> io::Result<()> {
    let places = [
        (0, 0),
        (0, 512),
        (0, 1),
        (1, 1),
        (SIZE - 1, 1),
        (SIZE, 0),
        (SIZE, 1),
        (SIZE - 1, 2),
        (0, SIZE),
        (0, SIZE + 1),
        (1 << 63, 1),
        (u64::MAX, 1),
        (100, 70_000),
        (500_000, 200_000),
    ];
    for (offset, length) in places {
        for command in [0, 3, 4, 6, 7] {
            // What is written beyond the end is ENOSPC by the document; qemu-nbd has EINVAL.
            if command == 6 && offset.checked_add(length).is_none_or(|end| end > SIZE) {
                continue;
            }
            for flags in [0, 1, 2, 4, 8, 16, 64] {
                raw.request((command, flags, offset, length), b"")?;
            }
        }
    }
    for (offset, length) in [(0, 1), (0, 512), (SIZE - 1, 1), (70_000, 100_000)] {
        for flags in [0, 1, 2, 4, 8, 16, 64] {
            let flags = if extended { flags | 32 } else { flags };
            raw.request((1, flags, offset, length), &vec![b'w'; length as usize])?;
        }
    }
    for command in [8, 9, 77] {
        raw.request((command, 0, 0, 0), b"")?;
    }
    raw.request((0, 0, 0, 33 << 20), b"")?;
    raw.request((0, 0, 0, SIZE), b"")
}

fn heard(server: &Server, flags: u32, scenario: Scenario) -> Vec<String> {
    let mut raw = Raw::new(server, flags);
    if let Err(error) = scenario(&mut raw) {
        let lost = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        raw.heard.push(if lost { "end".to_owned() } else { format!("{:?}", error.kind()) });
    }
    raw.heard
}

fn image(directory: &Path) {
    shell(
        directory,
        "qemu-img create -q -f qcow2 base.qcow2 3M; qemu-io -c 'write -P 7 0 1M' base.qcow2 >/dev/null
         qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 t.qcow2
         qemu-io -c 'write -P 9 512k 64k' -c 'write -z 2M 64k' t.qcow2 >/dev/null
         qemu-img bitmap --add t.qcow2 marks; qemu-io -c 'write -P 5 1536k 64k' t.qcow2 >/dev/null
         qemu-img bitmap --disable t.qcow2 marks; cp t.qcow2 theirs.qcow2; cp t.qcow2 ours.qcow2",
    );
}

/// All scenarios with servers that have these options.
fn same(options: &[&str]) {
    let directory = directory();
    image(directory.path());
    let link = directory.path().join("ours");
    std::fs::create_dir(&link).unwrap();
    let link = link.join("qemu-nbd");
    symlink(program("nbd"), &link).unwrap();
    let start = |program: &Path, image: &str, more: &[&str]| {
        let words = [options, &["-t", "-f", "qcow2"], more, &[image]].concat();
        Server::start(program, directory.path(), &words)
    };
    // One word more, so that the sockets have different names.
    let theirs = start(Path::new("qemu-nbd"), "theirs.qcow2", &[]);
    let ours = start(&link, "ours.qcow2", &["--discard=ignore"]);
    for (name, flags, scenario) in SCENARIOS {
        let expected = heard(&theirs, *flags, *scenario);
        let found = heard(&ours, *flags, *scenario);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found, expected, "{name} {options:?}");
        }
        assert_eq!(found.len(), expected.len(), "{name} {options:?}: {:?}", expected.last());
    }
}

#[test]
fn every_answer_is_that_of_qemu_nbd() {
    same(&["-e", "0", "-A", "-B", "marks", "-D", "for people"]);
}

#[test]
fn one_client_at_a_time_is_told_so() {
    same(&[]);
}
