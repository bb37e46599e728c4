//! LUKS beside QEMU and cryptsetup: images of either are read and written by the others in turn.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use libimage::crypto::{CipherAlg, CipherMode, HashAlg, IvGen};
use libimage::format::luks::{Amend, CreateOptions, Luks, SlotState};
use libimage::storage::{FileOptions, FileStorage, Memory};
use libimage::{Block, Preallocation};

const SIZE: u64 = 1 << 20;

fn quick(alg: CipherAlg, mode: CipherMode, ivgen: IvGen, hash: HashAlg) -> CreateOptions {
    CreateOptions { alg, mode, ivgen, ivgen_hash: None, hash, iter_time: Duration::from_millis(1) }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

fn qemu_io(path: &Path, secret: &str, commands: &[String]) {
    let image = format!("driver=luks,key-secret=s,file.filename={}", path.display());
    let object = format!("secret,id=s,data={secret}");
    let mut arguments = vec!["--object", &object, "--image-opts", &image];
    commands.iter().for_each(|command| arguments.extend(["-c", command]));
    let text = run("qemu-io", &arguments);
    assert!(!text.contains("Pattern verification failed"), "{text}");
}

fn open(path: &Path, secret: &str) -> Luks {
    let file = Arc::new(FileStorage::open(path, FileOptions::default()).unwrap());
    Luks::open(file, None, Some(secret.as_bytes()), false).unwrap()
}

/// Every cipher, every mode with every kind of number, every hash.
fn combinations() -> Vec<CreateOptions> {
    let mut list = Vec::new();
    for alg in CipherAlg::ALL {
        let mode = if alg == CipherAlg::Cast5 { CipherMode::Cbc } else { CipherMode::Xts };
        list.push(quick(alg, mode, IvGen::Plain64, HashAlg::Sha256));
    }
    for mode in CipherMode::ALL {
        list.extend(IvGen::ALL.map(|ivgen| quick(CipherAlg::Aes256, mode, ivgen, HashAlg::Sha256)));
    }
    let (alg, mode) = (CipherAlg::Aes128, CipherMode::Xts);
    list.extend(HashAlg::ALL.map(|hash| quick(alg, mode, IvGen::Plain64, hash)));
    // An ESSIV cipher with a longer key than the payload's, and one with shorter blocks.
    list.push(quick(CipherAlg::Aes128, CipherMode::Cbc, IvGen::Essiv, HashAlg::Sha1));
    list.push(quick(CipherAlg::Cast5, CipherMode::Ctr, IvGen::Plain, HashAlg::Sha1));
    list
}

#[test]
fn what_qemu_writes_is_read_and_the_reverse() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.luks");
    // QEMU measures for a second how fast it is, so not all of them.
    for options in combinations().iter().step_by(5) {
        let shown = path.to_str().unwrap();
        let (alg, mode) = (options.alg.name(), options.mode.name());
        let (ivgen, hash) = (options.ivgen.name(), options.hash.name());
        let o = format!(
            "key-secret=s,iter-time=1,cipher-alg={alg},cipher-mode={mode},ivgen-alg={ivgen},hash-alg={hash}"
        );
        let create =
            ["create", "-q", "-f", "luks", "--object", "secret,id=s,data=abc", "-o", &o, shown, "1M"];
        run("qemu-img", &create);
        qemu_io(&path, "abc", &["write -P 0x11 0 64k".into(), "write -P 0x22 1023k 1k".into()]);
        let image = open(&path, "abc");
        assert_eq!(image.size(), SIZE);
        check(&image, 0, 65536, 0x11);
        check(&image, 1023 << 10, 1 << 10, 0x22);
        image.write_at(&[0x33; 5000], 777).unwrap();
        image.flush().unwrap();
        drop(image);
        qemu_io(
            &path,
            "abc",
            &["read -P 0x11 0 777".into(), "read -P 0x33 777 5000".into(), "read -P 0x11 5777 59759".into()],
        );
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_written_here_is_read_by_qemu_and_the_reverse() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.luks");
    for options in combinations() {
        let file = Arc::new(FileStorage::create(&path).unwrap());
        let image = Luks::create(file, SIZE, Preallocation::Off, &options, b"xyz").unwrap();
        image.write_zeroes(0..SIZE, libimage::Zero::MayUnmap).unwrap();
        image.write_at(&[0x44; 100], 300_000).unwrap();
        image.flush().unwrap();
        let info = image.info().unwrap();
        drop(image);
        qemu_io(
            &path,
            "xyz",
            &[
                "read -P 0 0 300000".into(),
                "read -P 0x44 300000 100".into(),
                "write -P 0x55 300050 600000".into(),
            ],
        );
        let image = open(&path, "xyz");
        check(&image, 300_000, 50, 0x44);
        check(&image, 300_050, 600_000, 0x55);
        check(&image, 900_050, (SIZE - 900_050) as usize, 0);
        assert_eq!(image.info().unwrap(), info);
        std::fs::remove_file(&path).unwrap();
    }
}

fn check(image: &Luks, offset: u64, length: usize, byte: u8) {
    let mut buf = vec![!byte; length];
    image.read_at(&mut buf, offset).unwrap();
    assert!(buf.iter().all(|&b| b == byte), "{byte:#x} at {offset}");
}

#[test]
fn cryptsetup_opens_what_is_made_here() {
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("x.luks"), directory.path().join("key"));
    let (shown, key_shown) = (path.to_str().unwrap(), key.to_str().unwrap());
    std::fs::write(&key, "second").unwrap();
    let cases = [
        (CipherAlg::Aes256, CipherMode::Xts, IvGen::Plain64, HashAlg::Sha256),
        (CipherAlg::Aes128, CipherMode::Cbc, IvGen::Plain64, HashAlg::Sha1),
        (CipherAlg::Aes192, CipherMode::Cbc, IvGen::Plain, HashAlg::Ripemd160),
        (CipherAlg::Aes128, CipherMode::Xts, IvGen::Plain64, HashAlg::Sha512),
    ];
    for (alg, mode, ivgen, hash) in cases {
        let file = Arc::new(FileStorage::create(&path).unwrap());
        let options = quick(alg, mode, ivgen, hash);
        let image = Luks::create(file, SIZE, Preallocation::Off, &options, b"first").unwrap();
        let mut change = Amend::new(SlotState::Active);
        change.new_secret = Some(b"second".to_vec().into());
        change.keyslot = Some(5);
        change.iter_time = Some(Duration::from_millis(1));
        image.amend(&change).unwrap();
        let uuid = image.info().unwrap().uuid;
        drop(image);
        let dump = run("cryptsetup", &["luksDump", shown]);
        assert!(dump.contains(&uuid) && dump.contains("Key Slot 5: ENABLED"), "{dump}");
        assert!(dump.contains("Payload offset:"), "{dump}");
        run("cryptsetup", &["open", "--test-passphrase", "--key-file", key_shown, "--key-slot", "5", shown]);
        std::fs::remove_file(&path).unwrap();
    }
    // And the reverse.
    std::fs::write(&path, vec![0; 4 << 20]).unwrap();
    let format = [
        "luksFormat",
        "-q",
        "--type",
        "luks1",
        "--pbkdf-force-iterations",
        "1000",
        "--key-file",
        key_shown,
        shown,
    ];
    run("cryptsetup", &format);
    let image = open(&path, "second");
    assert!(image.info().unwrap().slots[0].active.is_some());
    image.write_at(&[7; 600], 100).unwrap();
    drop(image);
    qemu_io(&path, "second", &["read -P 7 100 600".into()]);
}

fn new_image(memory: &Arc<Memory>) -> Luks {
    let options = quick(CipherAlg::Aes128, CipherMode::Xts, IvGen::Plain64, HashAlg::Sha1);
    Luks::create(memory.clone(), SIZE, Preallocation::Off, &options, b"first").unwrap()
}

fn activate(image: &Luks, password: &str, slot: Option<i64>) -> libimage::Result<()> {
    let mut change = Amend::new(SlotState::Active);
    change.new_secret = Some(password.as_bytes().to_vec().into());
    change.keyslot = slot;
    change.iter_time = Some(Duration::from_millis(1));
    image.amend(&change)
}

fn opens(memory: &Arc<Memory>, password: &str) -> bool {
    Luks::open(memory.clone(), None, Some(password.as_bytes()), true).is_ok()
}

#[test]
fn slots_are_filled_and_erased_but_never_the_last_one() {
    let memory = Arc::new(Memory::new(0));
    let image = new_image(&memory);
    image.write_at(&[1; 512], 0).unwrap();
    for slot in 1..8 {
        activate(&image, &format!("password {slot}"), None).unwrap();
    }
    assert!(activate(&image, "ninth", None).is_err());
    assert!(activate(&image, "other", Some(0)).is_err());
    assert!(activate(&image, "other", Some(8)).is_err() && activate(&image, "other", Some(-1)).is_err());
    assert!(opens(&memory, "first") && opens(&memory, "password 7") && !opens(&memory, "password 8"));

    let mut erase = Amend::new(SlotState::Inactive);
    assert!(image.amend(&erase).is_err());
    erase.old_secret = Some(b"password 3".to_vec().into());
    image.amend(&erase).unwrap();
    assert!(image.amend(&erase).is_err());
    assert!(!opens(&memory, "password 3") && opens(&memory, "password 4"));
    erase.old_secret = None;
    for slot in (1..8).filter(|&slot| slot != 3) {
        erase.keyslot = Some(slot);
        image.amend(&erase).unwrap();
    }
    erase.keyslot = Some(0);
    assert!(image.amend(&erase).is_err());
    assert!(opens(&memory, "first"));
    erase.force = true;
    image.amend(&erase).unwrap();
    assert!(!opens(&memory, "first"));
    check(&image, 0, 512, 1);
}

#[test]
fn any_damage_of_the_header_is_an_error_at_most() {
    let memory = Arc::new(Memory::new(0));
    drop(new_image(&memory));
    let mut sound = vec![0; memory.size() as usize];
    memory.read_at(&mut sound, 0).unwrap();
    for at in 0..592 {
        // Names are compared whole: one change of a byte is as good as another.
        let values: &[u8] = if (8..104).contains(&at) { &[0xff] } else { &[0, 1, 0x7f, 0xff] };
        for &value in values {
            let mut bytes = sound.clone();
            bytes[at] = value;
            if let Ok(image) = Luks::open(Arc::new(Memory::from_bytes(&bytes)), None, None, true) {
                let _ = image.info();
                assert!(image.read_at(&mut [0; 10], 0).is_err());
            }
        }
    }
    for length in [0, 1, 6, 591, 592, 4096, 100_000] {
        let cut = Arc::new(Memory::from_bytes(&sound[..length]));
        assert!(Luks::open(cut, None, Some(b"first"), true).is_err());
    }
}

#[test]
fn work_without_end_is_refused() {
    let memory = Arc::new(Memory::new(0));
    drop(new_image(&memory));
    for place in [164, 208 + 4] {
        let mut before = [0; 4];
        memory.read_at(&mut before, place).unwrap();
        memory.write_at(&[0xff; 4], place).unwrap();
        let error = Luks::open(memory.clone(), None, Some(b"first"), true).err().unwrap();
        assert!(error.to_string().contains("4294967295 iterations"), "{error}");
        memory.write_at(&before, place).unwrap();
    }
    assert!(opens(&memory, "first"));
}
