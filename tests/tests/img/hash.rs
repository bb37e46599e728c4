//! `img hash`: the same content has the same hash, however it is stored, and the construction is the documented one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::programs::{output_of, peer};

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

fn hash(options: &[&str], image: &str) -> String {
    let mut arguments = vec!["hash"];
    arguments.extend(options);
    arguments.push(image);
    output_of("img", &arguments).split_whitespace().next().unwrap().to_owned()
}

/// A raw disk with data, zeroes that are stored, and holes.
fn make_source(directory: &Path) -> String {
    let raw = path(directory, "d.raw");
    peer("qemu-img", &["create", "-q", &raw, "37M"]);
    let writes = ["write -P 7 100k 3M", "write -P 0 9M 2M", "write -P 9 36M 1000k"];
    for write in writes {
        peer("qemu-io", &["-f", "raw", "-c", write, &raw]);
    }
    raw
}

#[test]
fn the_format_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let raw = make_source(directory.path());
    let expected = hash(&[], &raw);
    let target = path(directory.path(), "o");
    let ways: [&[&str]; 5] = [
        &["-O", "qcow2"],
        &["-O", "qcow2", "-o", "cluster_size=4k"],
        &["-c", "-O", "qcow2", "-o", "compression_type=zstd"],
        &["-S", "0", "-O", "raw"],
        &["-O", "qcow2", "-o", "preallocation=metadata"],
    ];
    for way in ways {
        let mut arguments = vec!["convert"];
        arguments.extend(way);
        arguments.extend([raw.as_str(), target.as_str()]);
        peer("qemu-img", &arguments);
        assert_eq!(hash(&[], &target), expected, "{way:?}");
    }
    // A snapshot keeps it, a write changes it.
    peer("qemu-img", &["snapshot", "-c", "s", &target]);
    peer("qemu-io", &["-f", "qcow2", "-c", "write -P 1 20M 512", &target]);
    assert_ne!(hash(&[], &target), expected);
    assert_eq!(hash(&["-l", "s"], &target), expected);
    let json = output_of("img", &["hash", "--output", "json", &raw]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["hash"], Value::from(expected));
    assert_eq!(json[0]["virtual-size"], Value::from(37 << 20));
}

/// The construction as the documentation has it, in another language.
#[test]
fn the_construction_is_the_documented_one() {
    let directory = tempfile::tempdir().unwrap();
    let raw = make_source(directory.path());
    let script = r"
import hashlib, sys
data = open(sys.argv[1], 'rb').read()
size = len(data)
H = lambda *parts: getattr(hashlib, sys.argv[2])(b''.join(parts)).digest()
chunks = max(1, -(-size // (4 << 20)))
while chunks & (chunks - 1):
    chunks += 1
data += bytes((chunks << 22) - size)
level = [H(b'\0', data[i:i + 65536]) for i in range(0, len(data), 65536)]
while len(level) > 1:
    level = [H(b'\1', level[i], level[i + 1]) for i in range(0, len(level), 2)]
print(H(b'\2', size.to_bytes(8, 'big'), level[0]).hex())
";
    for algorithm in ["sha256", "sha512"] {
        let output = Command::new("python3").args(["-c", script, &raw, algorithm]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = String::from_utf8(output.stdout).unwrap();
        assert_eq!(hash(&["-a", algorithm], &raw), expected.trim());
    }
}
