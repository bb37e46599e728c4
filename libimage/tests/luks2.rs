//! LUKS version 2: volumes whose header cryptsetup made and whose data QEMU wrote, before they were converted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::crypto::HashAlg;
use libimage::format::luks::{Amend, Luks, SlotState};
use libimage::storage::{FileOptions, FileStorage, Memory};

const SIZE: u64 = 3 << 20;
/// Where cryptsetup puts the data of such volumes.
const PAYLOAD: u64 = 2 << 20;
const HEADER: usize = 0x4000;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    assert!(!text.contains("Pattern verification failed"), "{text}");
}

/// A volume with the passphrase `first`: 64 KiB of 0x41 at its start, 1 KiB of 0x42 at 512 KiB.
struct Volume {
    _directory: tempfile::TempDir,
    path: PathBuf,
    keys: [PathBuf; 2],
}

impl Volume {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let in_it = |name: &str| directory.path().join(name);
        let volume =
            Volume { path: in_it("volume"), keys: [in_it("first"), in_it("second")], _directory: directory };
        std::fs::write(&volume.keys[0], "first").unwrap();
        std::fs::write(&volume.keys[1], "second").unwrap();
        std::fs::write(&volume.path, vec![0; SIZE as usize]).unwrap();
        volume.cryptsetup("luksFormat", &["--type", "luks1", "--pbkdf-force-iterations", "1000"]);
        let image = format!("driver=luks,key-secret=s,file.filename={}", volume.path.display());
        let data = ["-c", "write -P 0x41 0 64k", "-c", "write -P 0x42 512k 1k"];
        run(
            "qemu-io",
            &[&["--object", "secret,id=s,data=first", "--image-opts", &image], &data[..]].concat(),
        );
        volume.cryptsetup("convert", &["--type", "luks2"]);
        volume
    }

    fn cryptsetup(&self, action: &str, options: &[&str]) {
        let key = shown(&self.keys[0]);
        let mut arguments = vec![action, "-q"];
        if action != "convert" {
            arguments.extend(["--key-file", key]);
        }
        arguments.extend(options);
        arguments.push(shown(&self.path));
        if action == "luksAddKey" {
            arguments.push(shown(&self.keys[1]));
        }
        run("cryptsetup", &arguments);
    }

    fn open(&self, password: &str) -> libimage::Result<Luks> {
        let options = FileOptions { read_only: true, ..Default::default() };
        let file = Arc::new(FileStorage::open(&self.path, options).unwrap());
        Luks::open(file, None, Some(password.as_bytes()), true)
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn check(image: &Luks) {
    assert_eq!(image.size(), SIZE - PAYLOAD);
    for (offset, length, byte) in [(0, 65_536, 0x41), (700, 100, 0x41), (512 << 10, 1024, 0x42)] {
        let mut buf = vec![0; length];
        image.read_at(&mut buf, offset).unwrap();
        assert!(buf.iter().all(|&b| b == byte), "{byte:#x} at {offset}");
    }
}

#[test]
fn volumes_of_cryptsetup_are_read() {
    let volume = Volume::new();
    check(&volume.open("first").unwrap());
    assert!(volume.open("second").is_err());
    let argon = ["--pbkdf-force-iterations", "4", "--pbkdf-memory", "1024", "--pbkdf-parallel", "2"];
    volume.cryptsetup("luksConvertKey", &[&["--pbkdf", "argon2id"], &argon[..]].concat());
    check(&volume.open("first").unwrap());
    volume.cryptsetup("luksAddKey", &[&["--pbkdf", "argon2i"], &argon[..]].concat());
    check(&volume.open("first").unwrap());
    let image = volume.open("second").unwrap();
    check(&image);
    let info = image.info().unwrap();
    assert_eq!((info.alg.name(), info.mode.name(), info.ivgen.name()), ("aes-256", "xts", "plain64"));
    assert_eq!((info.payload_offset, info.slots.len()), (PAYLOAD, 2));
    // Nothing is ever written to one.
    assert!(image.is_read_only() && image.write_at(&[0; 512], 0).is_err());
    assert!(image.amend(&Amend::new(SlotState::Inactive)).is_err());
}

#[test]
fn data_that_cryptsetup_encrypted_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("volume"), directory.path().join("key"));
    std::fs::write(&key, "first").unwrap();
    let plain: Vec<u8> = (0..2u32 << 20).map(|i| (i / 97 + i / 4096) as u8).collect();
    for (sector, cipher) in
        [("512", "aes-xts-plain64"), ("4096", "aes-xts-plain64"), ("2048", "aes-cbc-plain64")]
    {
        let mut bytes = plain.clone();
        // Room for the header, which goes in front of the data.
        bytes.resize(plain.len() + (32 << 20), 0);
        std::fs::write(&path, bytes).unwrap();
        let pbkdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--reduce-device-size", "32M"];
        let how = ["--sector-size", sector, "--cipher", cipher, "--key-file", shown(&key), shown(&path)];
        run("cryptsetup", &[&["reencrypt", "-q", "--encrypt", "--type", "luks2"], &pbkdf[..], &how].concat());
        let file = FileStorage::open(&path, FileOptions { read_only: true, ..Default::default() }).unwrap();
        let image = Luks::open(Arc::new(file), None, Some(b"first"), true).unwrap();
        for (offset, length) in [(0, plain.len()), (1, 1), (4095, 2), (511, 10_000), (70_000, 123_457)] {
            let mut buf = vec![0; length];
            image.read_at(&mut buf, offset as u64).unwrap();
            assert!(buf == plain[offset..offset + length], "{sector} {cipher} {offset}");
        }
        assert_eq!(image.limits().alignment.to_string(), sector);
    }
}

#[test]
fn one_sound_copy_of_the_header_is_enough() {
    let volume = Volume::new();
    let sound = std::fs::read(&volume.path).unwrap();
    let opens = |bytes: &[u8]| {
        let memory = Arc::new(Memory::from_bytes(bytes));
        Luks::open(memory, None, Some(b"first"), true).map(|image| check(&image))
    };
    for at in [0, 7, 10, 100, 450, 4096, 5000, HEADER - 1] {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x40;
        opens(&bytes).unwrap();
        bytes[HEADER + at] ^= 0x40;
        assert!(opens(&bytes).is_err(), "{at}");
    }
    let mut bytes = sound.clone();
    bytes[HEADER + 4096] ^= 1;
    opens(&bytes).unwrap();
    for length in [0, 8, 4095, 4096, HEADER, 2 * HEADER, PAYLOAD as usize - 512] {
        assert!(opens(&sound[..length]).is_err(), "{length}");
    }
}

/// The volume with other metadata, under a right checksum.
fn with_metadata(sound: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    let end = bytes[4096..HEADER].iter().position(|&b| b == 0).unwrap();
    let json = change(std::str::from_utf8(&bytes[4096..4096 + end]).unwrap());
    bytes[4096..HEADER].fill(0);
    bytes[4096..4096 + json.len()].copy_from_slice(json.as_bytes());
    bytes[448..512].fill(0);
    let digest = HashAlg::Sha256.digest(&[&bytes[..HEADER]]);
    bytes[448..480].copy_from_slice(&digest);
    // The other copy does not count.
    bytes[HEADER] = 0;
    bytes
}

#[test]
fn metadata_that_asks_for_too_much_is_refused() {
    let volume = Volume::new();
    let sound = std::fs::read(&volume.path).unwrap();
    let open = |bytes: &[u8]| Luks::open(Arc::new(Memory::from_bytes(bytes)), None, Some(b"first"), true);
    check(&open(&with_metadata(&sound, str::to_owned)).unwrap());
    let kdf = |time: u64, memory: u64, cpus: u64| {
        format!(
            r#""kdf":{{"type":"argon2id","time":{time},"memory":{memory},"cpus":{cpus},"salt":"c2FsdHNhbHRzYWx0c2FsdA=="}}"#
        )
    };
    let replaced = |from: &str, to: &str| {
        with_metadata(&sound, |json| {
            assert!(json.contains(from), "{json}");
            json.replace(from, to)
        })
    };
    let old = {
        let text = String::from_utf8_lossy(&sound[4096..HEADER]).into_owned();
        let start = text.find(r#""kdf":{"#).unwrap();
        text[start..start + text[start..].find('}').unwrap() + 1].to_owned()
    };
    for (from, to, expected) in [
        (old.as_str(), kdf(4_294_967_295, 1 << 20, 4), "passes over"),
        (&old, kdf(4, 4_294_967_295, 4), "passes over"),
        (&old, kdf(4, 1024, 4_294_967_295), "lanes"),
        (&old, kdf(0, 1024, 4), "Argon2"),
        (&old, kdf(4, 1, 4), "Argon2"),
        (&old, r#""kdf":{"type":"scrypt","salt":""}"#.to_owned(), "'scrypt'"),
        (r#""iterations":1000"#, r#""iterations":4294967295"#.to_owned(), "iterations"),
        (r#""stripes":4000"#, r#""stripes":4000000000"#.to_owned(), "stripes"),
        (r#""stripes":4000"#, r#""stripes":0"#.to_owned(), "stripes"),
        (r#""key_size":64"#, r#""key_size":4000000000"#.to_owned(), "stripes"),
        (r#""sector_size":512"#, r#""sector_size":8192"#.to_owned(), "Sectors of 8192"),
        (r#""offset":"2097152""#, r#""offset":"9223372036854775808""#.to_owned(), ""),
        (r#""offset":"2097152""#, r#""offset":"x""#.to_owned(), "no offset"),
        (r#""size":"dynamic""#, r#""size":"18446744073709551615""#.to_owned(), ""),
        (r#""type":"crypt""#, r#""type":"linear""#.to_owned(), "one encrypted segment"),
        (r#""encryption":"aes-xts-plain64""#, r#""encryption":"aes""#.to_owned(), ""),
        (r#""keyslots":["0"]"#, r#""keyslots":["7"]"#.to_owned(), "Invalid password"),
        (r#""segments":["0"]"#, r#""segments":[]"#.to_owned(), "no digest"),
        ("{", "[".to_owned(), "LUKS2 header"),
    ] {
        let error = open(&replaced(from, &to)).err().unwrap_or_else(|| panic!("{to} is accepted"));
        let text = libimage::error::describe(&error);
        assert!(text.contains(expected), "{to}: {text}");
    }
}
