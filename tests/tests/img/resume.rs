//! `img convert --resume`: conversions that are killed and taken up again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use system_tests::programs::{output_of, peer, program, run};

struct Case {
    directory: tempfile::TempDir,
    options: &'static [&'static str],
}

impl Case {
    fn new(options: &'static [&'static str]) -> Self {
        let case = Case { directory: tempfile::tempdir().unwrap(), options };
        let raw = case.path("d.raw");
        peer("qemu-img", &["create", "-q", &raw, "80M"]);
        for command in ["write -P 7 30M 70k", "write -P 8 50M 20M"] {
            peer("qemu-io", &["-f", "raw", "-c", command, &raw]);
        }
        // What cannot be packed, so that there is something to see while it goes on.
        let noise = format!("of={raw}");
        peer("dd", &["if=/dev/urandom", &noise, "bs=1M", "count=28", "conv=notrunc", "status=none"]);
        case
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn arguments(&self) -> Vec<String> {
        let mut list = vec!["convert".to_owned(), "--resume".to_owned()];
        list.extend(self.options.iter().map(|option| (*option).to_owned()));
        list.extend([self.path("d.raw"), self.path("o")]);
        list
    }

    /// Begins a slow conversion and kills it when a part of it is there.
    fn interrupt(&self) {
        let mut child = Command::new(program("img"))
            .args(self.arguments())
            .args(["-r", "10M"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let part = self.path(".o.part");
        let written =
            || Path::new(&part).metadata().map_or(0, |m| std::os::unix::fs::MetadataExt::blocks(&m));
        while written() * 512 < 6 << 20 && begun.elapsed() < Duration::from_secs(60) {
            assert!(child.try_wait().unwrap().is_none(), "it should take longer");
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Path::new(&part).exists() && !Path::new(&self.path("o")).exists());
    }

    fn resume(&self) -> std::process::Output {
        let arguments = self.arguments();
        run("img", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn finish(&self) {
        let output = self.resume();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        peer("qemu-img", &["compare", &self.path("d.raw"), &self.path("o")]);
        if peer("qemu-img", &["info", &self.path("o")]).contains("file format: qcow2") {
            peer("qemu-img", &["check", &self.path("o")]);
        }
        let left: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

const WAYS: [&[&str]; 3] = [&["-O", "raw"], &["-O", "qcow2"], &["-c", "-O", "qcow2"]];

#[test]
fn a_killed_conversion_is_continued() {
    for way in WAYS {
        let case = Case::new(way);
        case.interrupt();
        case.interrupt();
        case.finish();
    }
}

#[test]
fn what_is_there_is_not_trusted() {
    for way in WAYS {
        let case = Case::new(way);
        case.interrupt();
        // Something wrong in the middle of what was copied, and something where nothing was to be.
        let part = case.path(".o.part");
        let format = if way.contains(&"raw") { "raw" } else { "qcow2" };
        for command in ["write -P 66 300k 100k", "write -P 67 75M 64k"] {
            peer("qemu-io", &["-f", format, "-c", command, &part]);
        }
        case.finish();
    }
}

#[test]
fn another_source_or_another_way_is_refused() {
    let case = Case::new(&["-O", "qcow2"]);
    case.interrupt();
    let refused = |case: &Case| {
        let output = case.resume();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains("begun in another way"), "{error}");
    };
    let other = Case { options: &["-O", "qcow2", "-o", "cluster_size=4k"], ..case };
    refused(&other);
    let case = Case { options: &["-O", "qcow2"], ..other };
    peer("qemu-io", &["-f", "raw", "-c", "write -P 1 0 512", &case.path("d.raw")]);
    refused(&case);
    for name in [".o.part", ".o.part.json"] {
        std::fs::remove_file(case.path(name)).unwrap();
    }
    case.finish();
    // Without the option nothing is left behind, and nothing is continued.
    output_of("img", &["convert", "-O", "qcow2", &case.path("d.raw"), &case.path("o")]);
}
