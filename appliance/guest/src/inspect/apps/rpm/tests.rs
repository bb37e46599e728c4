//! The databases are made by `rpm` and Berkeley DB's own tools. Damaged ones are read as far as they make sense.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .env("HOME", "/nonexistent")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed by this test (make test): {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output.stdout
}

/// A package with nothing in it. A long description takes a record over several pages.
fn package(directory: &Path, name: &str, epoch: u32, description: &str) -> PathBuf {
    let spec = directory.join(format!("{name}.spec"));
    let text = format!(
        "Name: {name}\nVersion: 1.2\nRelease: 3.el9\nEpoch: {epoch}\nSummary: About {name}\nLicense: x\nURL: http://{name}\n\
         BuildArch: noarch\n%description\n{description}\n%files\n"
    );
    fs::write(&spec, text).unwrap();
    let top = directory.to_str().unwrap();
    run("rpmbuild", &["-bb", "--quiet", "-D", &format!("_topdir {top}"), spec.to_str().unwrap()]);
    directory.join(format!("RPMS/noarch/{name}-1.2-3.el9.noarch.rpm"))
}

/// A root directory in which these are installed.
fn installed(packages: &[PathBuf]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let options =
        ["--root", path, "-D", "_db_backend sqlite", "-D", "_dbpath /var/lib/rpm", "--nodeps", "-i"];
    let files = packages.iter().map(|file| file.to_str().unwrap());
    run("rpm", &options.into_iter().chain(files).collect::<Vec<_>>());
    root
}

fn packages(directory: &Path) -> Vec<PathBuf> {
    let long = "A line of no importance, and not the last one.\n".repeat(2000);
    let small =
        (0..40).map(|number| package(directory, &format!("small-{number:02}"), number % 3, "Little."));
    small.chain([package(directory, "large", 7, &long)]).collect()
}

type Summary = (String, i32, String, String, String, String, String, usize);

fn summary(records: &[impl AsRef<[u8]>]) -> Vec<Summary> {
    let apps = records.iter().filter_map(|record| super::package(record.as_ref()));
    let mut all: Vec<Summary> = apps
        .map(|app| {
            (
                app.app2_name.to_string(),
                app.app2_epoch,
                app.app2_version.to_string(),
                app.app2_release.to_string(),
                app.app2_arch.to_string(),
                app.app2_url.to_string(),
                app.app2_summary.to_string(),
                app.app2_description.len(),
            )
        })
        .collect();
    all.sort();
    all
}

/// What `rpm` itself says about a root.
fn as_rpm_says(root: &Path, backend: &str) -> Vec<Summary> {
    let format =
        "%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{URL}\t%{SUMMARY}\t%{DESCRIPTION}\x01";
    let backend = format!("_db_backend {backend}");
    let said = run(
        "rpm",
        &[
            "--root",
            root.to_str().unwrap(),
            "-D",
            &backend,
            "-D",
            "_dbpath /var/lib/rpm",
            "-qa",
            "--qf",
            format,
        ],
    );
    let said = String::from_utf8(said).unwrap();
    let mut all: Vec<Summary> = said
        .split_terminator('\x01')
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let text = |index: usize| fields[index].to_owned();
            (
                text(0),
                fields[1].parse().unwrap(),
                text(2),
                text(3),
                text(4),
                text(5),
                text(6),
                fields[7].len(),
            )
        })
        .collect();
    all.sort();
    all
}

/// Puts records into a hash of Berkeley DB as RPM did: keyed by number, with a counter under 0.
fn in_berkeley_db(records: &[Vec<u8>], file: &Path, options: &str) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text = format!("VERSION=3\nformat=bytevalue\ntype=hash\n{options}HEADER=END\n");
    let counter = u32::try_from(records.len()).unwrap().to_le_bytes().to_vec();
    for (key, value) in (0_u32..).zip([&counter].into_iter().chain(records)) {
        text.push_str(&format!(" {}\n {}\n", hex(&key.to_le_bytes()), hex(value)));
    }
    text.push_str("DATA=END\n");
    let dump = file.with_extension("dump");
    fs::write(&dump, text).unwrap();
    run("db5.3_load", &["-f", dump.to_str().unwrap(), file.to_str().unwrap()]);
}

/// Puts records into a file as RPM's `rpmpkg.c` lays it out: a page of slots, then records in units of 16 bytes. No
/// RPM that Debian has writes these.
fn in_ndb(records: &[Vec<u8>]) -> Vec<u8> {
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let mut slots = b"RpmP".to_vec();
    slots.extend(words(&[0, 9, 1, 1000, 0, 0, 0]));
    let mut contents = Vec::new();
    for (index, record) in (1..).zip(records) {
        let start = u32::try_from(4096 + contents.len()).unwrap() / 16;
        let mut blob = b"BlbS".to_vec();
        blob.extend(words(&[index, 5, u32::try_from(record.len()).unwrap()]));
        blob.extend(record);
        blob.resize((blob.len() + 12).next_multiple_of(16) - 12, 0);
        blob.extend(words(&[0, u32::try_from(record.len()).unwrap()]));
        blob.extend(b"BlbE");
        slots.extend(b"Slot");
        slots.extend(words(&[index, start, u32::try_from(blob.len()).unwrap() / 16]));
        contents.extend(blob);
    }
    // Free slots have no index.
    while slots.len() < 4096 {
        slots.extend(b"Slot");
        slots.extend(words(&[0, 0, 0]));
    }
    assert_eq!(slots.len(), 4096);
    slots.extend(contents);
    slots
}

#[test]
fn databases_of_all_kinds_hold_what_rpm_put_into_them() {
    let directory = tempfile::tempdir().unwrap();
    let packages = packages(directory.path());
    let root = installed(&packages);
    let expected = as_rpm_says(root.path(), "sqlite");
    assert_eq!(expected.len(), 41);
    let database = root.path().join("var/lib/rpm");
    let file = fs::read(database.join("rpmdb.sqlite")).unwrap();
    let log = fs::read(database.join("rpmdb.sqlite-wal")).unwrap_or_default();
    let records = sqlite::records(&file, &log).unwrap();
    assert_eq!(summary(&records), expected);

    assert_eq!(summary(&ndb::records(&in_ndb(&records)).unwrap()), expected);

    for options in ["", "h_nelem=1000\n", "db_pagesize=512\n", "db_pagesize=65536\n", "db_lorder=4321\n"] {
        let packages = directory.path().join(format!("Packages-{}", options.trim()));
        in_berkeley_db(&records, &packages, options);
        assert_eq!(summary(&bdb::records(&fs::read(&packages).unwrap()).unwrap()), expected, "{options}");
    }
    // RPM reads such files as well, which says that they are what it once wrote.
    let old = tempfile::tempdir().unwrap();
    fs::create_dir_all(old.path().join("var/lib/rpm")).unwrap();
    in_berkeley_db(&records, &old.path().join("var/lib/rpm/Packages"), "");
    fs::remove_file(old.path().join("var/lib/rpm/Packages.dump")).unwrap();
    assert_eq!(as_rpm_says(old.path(), "bdb_ro"), expected);
}

/// What was written last is in the log until it is moved, which a machine that crashed did not do.
#[test]
fn a_log_that_was_left_behind_counts() {
    let directory = tempfile::tempdir().unwrap();
    let root = installed(&[package(directory.path(), "first", 0, "x")]);
    let database = root.path().join("var/lib/rpm/rpmdb.sqlite");
    let script = format!(
        r"
import shutil, sqlite3
path = {database:?}
connection = sqlite3.connect(path)
connection.execute('pragma journal_mode=wal')
connection.execute('pragma wal_autocheckpoint=0')
blob, = connection.execute('select blob from Packages').fetchone()
for name in b'secon', b'third':
    connection.execute('insert into Packages(blob) values(?)', (blob.replace(b'first', name),))
    connection.commit()
shutil.copy(path, path + '.copy')
shutil.copy(path + '-wal', path + '.log')
"
    );
    run("python3", &["-c", &script]);
    let read = |suffix: &str| fs::read(format!("{}{suffix}", database.display())).unwrap();
    let (file, log) = (read(".copy"), read(".log"));
    let names = |log: &[u8]| -> Vec<String> {
        let records = sqlite::records(&file, log).unwrap();
        summary(&records).into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(names(&[]), ["first"]);
    assert_eq!(names(&log), ["first", "secon", "third"]);
    // A log that ends in the middle counts up to its last commit; one that is damaged up to there.
    assert!(names(&log[..log.len() - 100]).len() < 3);
    let mut damaged = log.clone();
    damaged[40] ^= 1;
    assert_eq!(names(&damaged), ["first"]);
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"x", &[0; 8192], b"SQLite format 3\0", b"RpmP\x01\0\0\0"] {
        assert!(sqlite::records(bytes, &[]).is_err());
        assert!(ndb::records(bytes).is_err());
        assert!(bdb::records(bytes).is_err());
    }
}

/// One database of each kind.
fn samples() -> &'static [Vec<u8>; 3] {
    static SAMPLES: std::sync::OnceLock<[Vec<u8>; 3]> = std::sync::OnceLock::new();
    SAMPLES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let long = "A line of no importance.\n".repeat(1000);
        let packages = [package(directory.path(), "one", 0, "x"), package(directory.path(), "two", 1, &long)];
        let sqlite = fs::read(installed(&packages).path().join("var/lib/rpm/rpmdb.sqlite")).unwrap();
        let records = sqlite::records(&sqlite, &[]).unwrap();
        let packages = directory.path().join("Packages");
        in_berkeley_db(&records, &packages, "db_pagesize=4096\n");
        [sqlite, in_ndb(&records), fs::read(packages).unwrap()]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is changed in a file, reading it ends, and takes no more memory than the file.
    #[test]
    fn damage_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(0), Just(0xff), any::<u8>()]), 1..40),
        near_start: bool,
        cut: Option<prop::sample::Index>,
    ) {
        for (kind, sample) in samples().iter().enumerate() {
            let mut bytes = sample.clone();
            for (at, value) in &changes {
                let most = if near_start { bytes.len().min(256) } else { bytes.len() };
                bytes[at.index(most)] = *value;
            }
            if let Some(cut) = &cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let records: Vec<Vec<u8>> = match kind {
                0 => sqlite::records(&bytes, &bytes).unwrap_or_default(),
                1 => ndb::records(&bytes).map(|all| all.iter().map(|r| r.to_vec()).collect()).unwrap_or_default(),
                _ => bdb::records(&bytes).unwrap_or_default(),
            };
            prop_assert!(records.iter().map(Vec::len).sum::<usize>() <= sample.len());
            summary(&records);
        }
    }

    #[test]
    fn headers_of_noise_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), entries in 0..6_u8, tag in 1000..1006_u32) {
        let mut record = vec![0, 0, 0, entries, 0, 0, 0, 16];
        record.extend(tag.to_be_bytes());
        record.extend(&bytes);
        super::package(&record);
        super::package(&bytes);
    }
}
