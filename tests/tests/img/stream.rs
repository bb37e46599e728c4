//! `img convert` from and to pipes, with qemu-img as the judge of what arrives.

use std::path::Path;
use std::process::Command;

use system_tests::programs::{peer, program};

/// Runs a line of shell with `img` as `$IMG` in `directory`; returns its messages if it fails.
fn shell(directory: &Path, line: &str) -> Result<String, String> {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .current_dir(directory)
        .env("IMG", program("img"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn same(directory: &Path, a: &str, b: &str) {
    let path = |name: &str| directory.join(name).display().to_string();
    peer("qemu-img", &["compare", &path(a), &path(b)]);
    if peer("qemu-img", &["info", &path(b)]).contains("file format: qcow2") {
        peer("qemu-img", &["check", &path(b)]);
    }
}

/// A disk of 20 MiB and a bit, with holes, text and noise.
fn make_source(directory: &Path) {
    let line = "qemu-img create -q d.raw 20M && qemu-io -f raw -c 'write -P 7 0 3M' -c 'write -P 9 9M 70k' \
                d.raw >/dev/null && head -c 3000000 /dev/urandom | dd of=d.raw bs=1M seek=12 conv=notrunc \
                status=none && seq 1 400000 | dd of=d.raw bs=1M seek=16 conv=notrunc status=none && \
                truncate -s 21000192 d.raw";
    shell(directory, line).unwrap();
}

#[test]
fn images_are_written_to_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    make_source(directory.path());
    let options = [
        "-O raw",
        "-O qcow2",
        "-O qcow2 -o cluster_size=512",
        "-O qcow2 -o cluster_size=2M,compat=v2",
        "-O qcow2 -o refcount_bits=1",
        "-O qcow2 -o refcount_bits=64,extended_l2=on",
        "-c -O qcow2",
        "-c -O qcow2 -o cluster_size=4k",
        "-c -O qcow2 -o compression_type=zstd,compression_level=9,cluster_size=1M",
    ];
    for options in options {
        shell(directory.path(), &format!("$IMG convert {options} d.raw - | cat >o")).unwrap();
        same(directory.path(), "d.raw", "o");
    }
}

#[test]
fn images_are_read_from_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    make_source(directory.path());
    let sources = [
        "cat d.raw",
        "$IMG convert -O qcow2 d.raw -",
        "$IMG convert -c -O qcow2 d.raw -",
        "qemu-img convert -O qcow2 d.raw q && cat q",
        "qemu-img convert -c -O qcow2 d.raw q && cat q",
        "qemu-img convert -c -O qcow2 -o cluster_size=4k,compression_type=zstd d.raw q && cat q",
        "$IMG convert -c -O qcow2 d.raw q && cat q",
        // Tables that come late: the image was written from its end to its beginning.
        "qemu-img create -q -f qcow2 q 1G && qemu-io -f qcow2 -c 'write -P 5 900M 1M' -c 'write -P 6 1M 1M' q \
         >/dev/null && cp q late && cat q",
    ];
    for (index, source) in sources.iter().enumerate() {
        let original = if index + 1 == sources.len() { "late" } else { "d.raw" };
        for target in ["-O raw", "-O qcow2", "-c -O qcow2", "-O qcow2 -o cluster_size=2M"] {
            if source.contains("cluster_size=4k") && target.starts_with("-c") {
                continue;
            }
            let line = format!("rm -f late; {{ {source}; }} | $IMG convert {target} - o");
            shell(directory.path(), &line).unwrap_or_else(|e| panic!("{line}: {e}"));
            same(directory.path(), original, "o");
        }
    }
    // A file on standard input is read like any other.
    shell(directory.path(), "qemu-img convert -O qcow2 d.raw q; $IMG convert -O raw - o <q").unwrap();
    same(directory.path(), "d.raw", "o");
}

#[test]
fn what_cannot_be_done_in_one_pass_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    make_source(directory.path());
    let directory = directory.path();
    shell(directory, "qemu-img convert -O qcow2 d.raw q; qemu-img create -q -f qcow2 -b q -F qcow2 top")
        .unwrap();
    let refused = [
        ("head -c 1000000 q | $IMG convert - o", "the stream ends before"),
        ("cat top | $IMG convert - o", "backing file"),
        (
            "qemu-img convert -O qcow2 -o cluster_size=4k q s; cat s | $IMG convert -c -O qcow2 - o",
            "clusters that are not larger",
        ),
        ("cat q | $IMG convert -l s - o", "from beginning to end"),
        ("cat q | $IMG convert - q o", "from beginning to end"),
        ("cat q | $IMG convert -n - o", "-n cannot be used"),
        ("$IMG convert -O qcow2 -o preallocation=full q - | cat >p", "cannot have preallocation"),
        (
            "$IMG convert -O qcow2 -o backing_file=q,backing_fmt=qcow2 q - | cat >p",
            "cannot have a backing file",
        ),
        ("$IMG convert -O qcow2 -c -o refcount_bits=1 q - | cat >p", "refcount_bits"),
        ("$IMG convert -O raw -c q - | cat >p", "Compression not supported"),
        ("$IMG convert -O qcow2 d.raw - | head -c 100 >p", "Broken pipe"),
    ];
    for (line, words) in refused {
        let error = shell(directory, line).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
        assert!(!directory.join("o").exists(), "{line}");
    }
}
