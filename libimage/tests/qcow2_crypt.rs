//! Encrypted qcow2 images beside QEMU: written by both in turn, and judged by qemu-img.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use libimage::crypto::{CipherAlg, CipherMode, IvGen, Secret};
use libimage::format::luks::{self, Amend, SlotState};
use libimage::format::qcow2::{CreateOptions, Encryption, EncryptionInfo, OpenOptions, Qcow2};
use libimage::storage::{FileOptions, FileStorage, Memory};
use libimage::{Block, Preallocation, Zero};

const PASSWORD: &str = "open sesame";
const SIZE: u64 = 5 << 20;

fn secret() -> Secret {
    PASSWORD.as_bytes().to_vec().into()
}

fn luks() -> Encryption {
    let options = luks::CreateOptions { iter_time: Duration::from_millis(1), ..Default::default() };
    Encryption::Luks { options, password: secret() }
}

fn aes() -> Encryption {
    Encryption::Aes { password: secret() }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let object = format!("secret,id=s,data={PASSWORD}");
    let mut all = match program {
        "qemu-io" => vec!["--object", &object],
        _ => vec![arguments[0], "--object", &object],
    };
    all.extend(&arguments[usize::from(program != "qemu-io")..]);
    let output = Command::new(program).args(&all).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

fn spec(path: &Path) -> String {
    format!("driver=qcow2,encrypt.key-secret=s,file.filename={}", path.display())
}

fn qemu_io(path: &Path, commands: &[&str]) {
    let spec = spec(path);
    let mut arguments = vec!["--image-opts", &spec];
    commands.iter().for_each(|command| arguments.extend(["-c", command]));
    let text = run("qemu-io", &arguments);
    assert!(!text.contains("Pattern verification failed"), "{text}");
}

fn judge(path: &Path) {
    run("qemu-img", &["check", "--image-opts", &spec(path)]);
}

fn open(path: &Path) -> Qcow2 {
    let file = Arc::new(FileStorage::open(path, FileOptions::default()).unwrap());
    let image = Qcow2::open(file, OpenOptions::default()).unwrap();
    assert!(image.needs_key());
    image.unlock(PASSWORD.as_bytes()).unwrap();
    image
}

fn create(path: &Path, options: &CreateOptions) -> Qcow2 {
    Qcow2::create(Arc::new(FileStorage::create(path).unwrap()), options).unwrap()
}

fn check(image: &dyn Block, offset: u64, length: usize, byte: u8) {
    let mut buf = vec![!byte; length];
    image.read_at(&mut buf, offset).unwrap();
    assert!(buf.iter().all(|&b| b == byte), "{byte:#x} at {offset}");
}

#[test]
fn images_of_qemu_are_read_and_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.qcow2");
    let shown = path.to_str().unwrap();
    let kinds = [
        "encrypt.format=luks,encrypt.iter-time=1",
        "encrypt.format=luks,encrypt.iter-time=1,cluster_size=512",
        "encrypt.format=luks,encrypt.iter-time=1,extended_l2=on,encrypt.cipher-alg=aes-128",
        "encrypt.format=luks,encrypt.iter-time=1,compat=0.10,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv",
        "encrypt.format=aes",
        "encrypt.format=aes,cluster_size=4k,compat=0.10",
    ];
    for kind in kinds {
        let options = format!("encrypt.key-secret=s,{kind}");
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &options, shown, "5M"]);
        qemu_io(&path, &["write -P 1 0 200k", "write -P 2 3000k 1k", "write -z 4k 8k"]);
        let image = open(&path);
        check(&image, 0, 4096, 1);
        check(&image, 4096, 8192, 0);
        check(&image, 12_288, 204_800 - 12_288, 1);
        check(&image, 204_800, 3_072_000 - 204_800, 0);
        check(&image, 3_072_000, 1024, 2);
        image.write_at(&[3; 10_000], 5001).unwrap();
        image.write_at(&[4; 70_001], 4_000_003).unwrap();
        image.write_zeroes(100_001..150_001, Zero::MayUnmap).unwrap();
        image.close().unwrap();
        judge(&path);
        qemu_io(
            &path,
            &[
                "read -P 0 4096 905",
                "read -P 3 5001 10000",
                "read -P 1 15001 85000",
                "read -P 0 100001 50000",
                "read -P 1 150001 54799",
                "read -P 0 3930000 70003",
                "read -P 4 4000003 70001",
                "read -P 0 4070004 60000",
            ],
        );
        std::fs::remove_file(&path).unwrap();
    }
}

/// A small generator of repeatable numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Writes, zeroes and discards at random places, into the image and into a raw model.
fn play(image: &Qcow2, model: &mut [u8], random: &mut Random) {
    for _ in 0..120 {
        let start = random.below(SIZE);
        let most = if random.below(4) == 0 { 300_000 } else { 3000 };
        let length = random.below(most).min(SIZE - start);
        let (range, inside) = (start..start + length, start as usize..(start + length) as usize);
        match random.below(5) {
            0 => {
                image.write_zeroes(range, Zero::MayUnmap).unwrap();
                model[inside].fill(0);
            }
            1 => {
                image.write_zeroes(range, Zero::KeepAllocated).unwrap();
                model[inside].fill(0);
            }
            _ => {
                let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
                image.write_at(&bytes, start).unwrap();
                model[inside].copy_from_slice(&bytes);
            }
        }
        let at = random.below(SIZE - 2000);
        let mut buf = vec![0; random.below(2000) as usize];
        image.read_at(&mut buf, at).unwrap();
        assert!(buf == model[at as usize..][..buf.len()]);
    }
}

#[test]
fn random_requests_on_images_of_all_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let (path, raw) = (directory.path().join("x.qcow2"), directory.path().join("model"));
    let base = directory.path().join("base");
    let below: Vec<u8> = (0..SIZE).map(|i| (i / 777) as u8).collect();
    std::fs::write(&base, &below).unwrap();
    let plain = || CreateOptions { size: SIZE, encryption: Some(luks()), ..Default::default() };
    let kinds = [
        plain(),
        CreateOptions { cluster_size: 512, refcount_bits: 64, ..plain() },
        CreateOptions { cluster_size: 2 << 20, extended_l2: true, ..plain() },
        CreateOptions {
            cluster_size: 16384,
            extended_l2: true,
            backing_file: Some("base".into()),
            ..plain()
        },
        CreateOptions { version: 2, backing_file: Some("base".into()), ..plain() },
        CreateOptions { encryption: Some(aes()), ..plain() },
        CreateOptions { encryption: Some(aes()), version: 2, cluster_size: 1024, ..plain() },
    ];
    for (seed, mut kind) in (1..).zip(kinds) {
        kind.backing_format = kind.backing_file.is_some().then(|| "raw".into());
        let mut random = Random(seed);
        let mut model = vec![0; SIZE as usize];
        let image = create(&path, &kind);
        let connect = |image: &Qcow2| {
            image.set_backing(kind.backing_file.is_some().then(|| {
                Arc::new(
                    FileStorage::open(&base, FileOptions { read_only: true, ..Default::default() }).unwrap(),
                ) as Arc<dyn Block>
            }));
        };
        connect(&image);
        if kind.backing_file.is_some() {
            model.copy_from_slice(&below);
        }
        play(&image, &mut model, &mut random);
        image.create_snapshot("s", Duration::ZERO).unwrap();
        let then = model.clone();
        play(&image, &mut model, &mut random);
        image.close().unwrap();

        std::fs::write(&raw, &model).unwrap();
        judge(&path);
        let compare = |path: &Path| {
            let raw = format!("driver=raw,file.filename={}", raw.display());
            run("qemu-img", &["compare", "--image-opts", &spec(path), &raw]);
        };
        compare(&path);
        let image = open(&path);
        connect(&image);
        play(&image, &mut model, &mut random);
        image.apply_snapshot("s").unwrap();
        image.close().unwrap();
        std::fs::write(&raw, &then).unwrap();
        judge(&path);
        compare(&path);
    }
}

#[test]
fn writers_of_parts_of_a_sector_do_not_lose_bytes() {
    let memory = Arc::new(Memory::new(0));
    let options = CreateOptions { size: SIZE, encryption: Some(luks()), ..Default::default() };
    let image = Qcow2::create(memory, &options).unwrap();
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let image = &image;
            scope.spawn(move || {
                // Every fourth byte belongs to each of them.
                for at in (thread..4096).step_by(threads as usize) {
                    image.write_at(&[thread as u8 + 1], at).unwrap();
                }
            });
        }
    });
    let mut buf = [0; 4096];
    image.read_at(&mut buf, 0).unwrap();
    assert!(buf.iter().enumerate().all(|(i, &byte)| byte == (i % 4) as u8 + 1));
}

#[test]
fn keys_are_needed_and_can_be_changed() {
    let memory: Arc<dyn Block> = Arc::new(Memory::new(0));
    let options = CreateOptions { size: SIZE, encryption: Some(luks()), ..Default::default() };
    let image = Qcow2::create(Arc::clone(&memory), &options).unwrap();
    image.write_at(&[9; 4096], 0).unwrap();
    let mut change = Amend::new(SlotState::Active);
    change.new_secret = Some(b"second".to_vec().into());
    change.iter_time = Some(Duration::from_millis(1));
    image.amend_keys(&change).unwrap();
    let mut erase = Amend::new(SlotState::Inactive);
    erase.old_secret = Some(secret());
    image.amend_keys(&erase).unwrap();
    image.close().unwrap();

    let image = Qcow2::open(Arc::clone(&memory), OpenOptions::default()).unwrap();
    assert!(
        image.needs_key()
            && image.read_at(&mut [0; 512], 0).is_err()
            && image.write_at(&[0; 512], 0).is_err()
    );
    assert!(image.unlock(PASSWORD.as_bytes()).is_err() && image.needs_key());
    image.unlock(b"second").unwrap();
    check(&image, 0, 4096, 9);
    let Some(EncryptionInfo::Luks(info)) = image.encryption() else { panic!() };
    assert_eq!(
        info.slots.iter().map(|slot| slot.active.is_some()).collect::<Vec<_>>()[..3],
        [false, true, false]
    );
    assert!(image.check().unwrap().corruptions == 0);
    drop(image);

    let plain =
        Qcow2::create(Arc::new(Memory::new(0)), &CreateOptions { size: SIZE, ..Default::default() }).unwrap();
    assert!(plain.amend_keys(&change).is_err() && !plain.needs_key() && plain.encryption().is_none());
    let old = CreateOptions { size: SIZE, encryption: Some(aes()), ..Default::default() };
    let old = Qcow2::create(Arc::new(Memory::new(0)), &old).unwrap();
    assert!(old.amend_keys(&change).is_err());
}

#[test]
fn new_images_are_laid_out_as_qemu_does_it() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
    let (xts, cbc) = (
        (CipherAlg::Aes256, CipherMode::Xts, IvGen::Plain64),
        (CipherAlg::Aes128, CipherMode::Cbc, IvGen::Essiv),
    );
    let kinds = [
        (xts, Preallocation::Off, 65536),
        (cbc, Preallocation::Off, 512),
        (cbc, Preallocation::Metadata, 65536),
        (xts, Preallocation::Metadata, 2 << 20),
    ];
    for ((alg, mode, ivgen), preallocation, cluster_size) in kinds {
        let options =
            luks::CreateOptions { alg, mode, ivgen, iter_time: Duration::ZERO, ..Default::default() };
        let encryption = Some(Encryption::Luks { options, password: secret() });
        let options =
            CreateOptions { size: SIZE, cluster_size, preallocation, encryption, ..Default::default() };
        create(&ours, &options).close().unwrap();
        let how = if preallocation == Preallocation::Off { "off" } else { "metadata" };
        let options = format!(
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1,encrypt.cipher-alg={},\
             encrypt.cipher-mode={},encrypt.ivgen-alg={},cluster_size={cluster_size},preallocation={how}",
            alg.name(),
            mode.name(),
            ivgen.name()
        );
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &options, theirs.to_str().unwrap(), "5M"]);
        judge(&ours);
        let length = |path| std::fs::metadata(path).unwrap().len();
        assert_eq!(length(&ours), length(&theirs), "{options}");
    }
}

#[test]
fn nothing_is_stored_in_the_clear() {
    let secret_text = b"nobody else should be able to read this";
    let cluster: Vec<u8> = secret_text.iter().copied().cycle().take(65_536).collect();
    for encryption in [luks(), aes()] {
        let memory = Arc::new(Memory::new(0));
        let options = CreateOptions { size: SIZE, encryption: Some(encryption), ..Default::default() };
        let image = Qcow2::create(memory.clone(), &options).unwrap();
        image.write_at(&cluster, 0).unwrap();
        image.write_at(secret_text, 70_001).unwrap();
        // Packed clusters are not encrypted, so there must be none.
        let packed = image.compressor(None).compress(&cluster).unwrap();
        assert!(image.write_compressed_cluster(1 << 20, &packed).is_err());
        assert!(image.write_compressed_data(1 << 20, &cluster).is_err());
        image.close().unwrap();
        let mut bytes = vec![0; memory.size() as usize];
        memory.read_at(&mut bytes, 0).unwrap();
        assert!(!bytes.windows(secret_text.len()).any(|window| window == secret_text));
        assert!(!bytes.windows(packed.len()).any(|window| window == packed));
    }
}

#[test]
fn bad_pointers_are_refused() {
    let memory = Arc::new(Memory::new(0));
    let options = CreateOptions { size: SIZE, encryption: Some(luks()), ..Default::default() };
    Qcow2::create(memory.clone(), &options).unwrap().close().unwrap();
    // The extension is the first one: id, length, offset, length of the LUKS header.
    for (at, bytes, text) in [
        (112 + 3, vec![0x78], "Missing CRYPTO header"),
        (112 + 7, vec![8], "expected size 16"),
        (112 + 8 + 7, vec![1], "not a multiple of cluster size"),
        (112 + 8, vec![0; 8], "not a multiple of cluster size"),
        (32 + 3, vec![0], "only expected with LUKS"),
        (32 + 3, vec![1], "only expected with LUKS"),
        (32 + 3, vec![3], "Unsupported encryption method"),
    ] {
        let mut before = vec![0; bytes.len()];
        memory.read_at(&mut before, at).unwrap();
        memory.write_at(&bytes, at).unwrap();
        let error = Qcow2::open(memory.clone(), OpenOptions::default()).err().unwrap();
        assert!(error.to_string().contains(text), "{error}");
        memory.write_at(&before, at).unwrap();
    }
    assert!(Qcow2::open(memory, OpenOptions::default()).is_ok());
}
