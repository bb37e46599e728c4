//! Inputs to begin with: good images of every kind, made by QEMU where it can, and the same with one lie each.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::audit::{Bounds, audit};
use libimage::filter::Undo;
use libimage::format::luks::{self, Luks};
use libimage::format::qcow2::{CreateOptions, StreamManner, write_stream};
use libimage::job::Silent;
use libimage::job::delta;
use libimage::storage::Memory;

/// An input.
pub struct Seed {
    /// What it is, or what is wrong with it.
    pub name: String,
    pub bytes: Vec<u8>,
    /// Nothing is wrong with it.
    pub good: bool,
}

pub(crate) fn good(name: &str, bytes: Vec<u8>) -> Seed {
    Seed { name: name.to_owned(), bytes, good: true }
}

/// The inputs that the body called `target` begins with.
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "qcow2" => images(),
        "stream" => images().into_iter().map(not_all_streams).chain(piped()).collect(),
        "luks" => volumes(),
        "disk" => disks(),
        "audit" => uploads(),
        "delta" => deltas(),
        "undo" => undo_files(),
        "packed" => packed(),
        "tar" => archives(),
        "options" => texts(),
        other => crate::file_systems::of(other),
    }
}

/// What a shell command leaves in the file `image`.
pub(crate) fn made(command: &str) -> Vec<u8> {
    let room = tempfile::tempdir().unwrap();
    let output = Command::new("sh").args(["-ec", command]).current_dir(room.path()).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    std::fs::read(room.path().join("image")).unwrap()
}

/// qcow2 images with everything that can be in one.
fn images() -> Vec<Seed> {
    let whole = |options: &str| {
        made(&format!(
            "qemu-img create -q -f qcow2 -o {options} image 300k
             qemu-io -c 'write -P 1 0 9k' -c 'write -P 2 100k 20k' image >/dev/null
             qemu-img snapshot -c one image
             qemu-io -c 'write -c -P 3 32k 32k' -c 'write -P 4 4k 3k' -c 'write -z 200k 64k' image >/dev/null
             qemu-img bitmap --add image bits || [ {options} = compat=0.10,cluster_size=512 ]
             qemu-io -c 'write -P 5 8k 1k' image >/dev/null"
        ))
    };
    let mut seeds = vec![
        good("small", whole("cluster_size=4096")),
        good("version-2", whole("compat=0.10,cluster_size=512")),
        good("extended", whole("cluster_size=16k,extended_l2=on")),
        good(
            "one-bit",
            made(
                "qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=1 image 64k; qemu-io -c 'write 0 9k' image >/dev/null",
            ),
        ),
        good("lazy", whole("cluster_size=4096,lazy_refcounts=on,refcount_bits=64")),
        good("backed", made("qemu-img create -q -u -f qcow2 -o cluster_size=512 -b base -F raw image 64k")),
        good(
            "apart",
            made("qemu-img create -q -f qcow2 -o cluster_size=512,data_file=d,data_file_raw=on image 64k"),
        ),
        good(
            "encrypted",
            made(
                "qemu-img create -q -f qcow2 -o cluster_size=4096,encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 --object secret,id=s,data=abc image 64k",
            ),
        ),
    ];
    let lies = lies(&seeds[0].bytes);
    seeds.extend(lies);
    seeds
}

/// Images that refer to others, or need a key, are no streams.
fn not_all_streams(seed: Seed) -> Seed {
    let good = seed.good && !["extended", "backed", "apart", "encrypted"].contains(&&*seed.name);
    Seed { good, ..seed }
}

/// An image as streams are written: every table before what it maps.
fn piped() -> Vec<Seed> {
    let source = Memory::new(1 << 20);
    source.write_at(&[7; 100_000], 200_000).unwrap();
    let mut bytes = Vec::new();
    let options = CreateOptions { size: 1 << 20, ..Default::default() };
    let manner = StreamManner { workers: 1, compress: None, progress: &Silent };
    write_stream(&source, &options, &mut bytes, &manner).unwrap();
    vec![good("piped", bytes)]
}

fn get(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(*bytes[at..].first_chunk().unwrap())
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().unwrap())
}

/// Where the parts of an image are, in bytes.
struct Places {
    l1: usize,
    l2: usize,
    table: usize,
    block: usize,
    snapshots: usize,
    extensions: usize,
    directory: usize,
}

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

impl Places {
    fn of(image: &[u8]) -> Self {
        let (l1, table) = (get(image, 40) as usize, get(image, 48) as usize);
        let extensions = get32(image, 100) as usize;
        let mut at = extensions;
        while get32(image, at) != 0x2385_2875 {
            assert_ne!(get32(image, at), 0, "there is a bitmap");
            at += 8 + (get32(image, at + 4) as usize).next_multiple_of(8);
        }
        Places {
            l1,
            l2: (get(image, l1) & OFFSET) as usize,
            table,
            block: get(image, table) as usize,
            snapshots: get(image, 64) as usize,
            extensions,
            directory: get(image, at + 24) as usize,
        }
    }
}

/// A good image with one lie each.
fn lies(image: &[u8]) -> Vec<Seed> {
    let p = Places::of(image);
    let copied = 1 << 63;
    let (l1, l2, table, block) = (p.l1 as u64, p.l2 as u64, p.table as u64, p.block as u64);
    let words: [(&str, usize, u64); 38] = [
        ("size-of-all", 24, u64::MAX),
        ("size-signed", 24, 1 << 63),
        ("l1-beyond", 40, 1 << 50),
        ("l1-is-header", 40, 0),
        ("l1-is-refcount-table", 40, table),
        ("l1-at-the-top", 40, u64::MAX - 4095),
        ("refcount-table-beyond", 48, 1 << 50),
        ("refcount-table-is-header", 48, 0),
        ("refcount-table-is-l1", 48, l1),
        ("snapshots-beyond", 64, u64::MAX - 511),
        ("snapshots-are-l1", 64, l1),
        ("unknown-features", 72, u64::MAX),
        ("dirty", 72, 1),
        ("corrupt", 72, 2),
        ("data-file-without-name", 72, 4),
        ("subclusters-too-small", 72, 16),
        ("autoclear-all", 88, u64::MAX),
        ("refcount-block-is-table", p.table, table),
        ("refcount-block-is-header", p.table, 0),
        ("refcount-block-unaligned", p.table, block + 512),
        ("refcount-block-beyond", p.table, 1 << 50),
        ("refcount-block-twice", p.table + 8, block),
        ("refcount-block-is-l2", p.table, l2),
        ("refcounts-zero", p.block, 0),
        ("refcounts-full", p.block, u64::MAX),
        ("l2-is-header", p.l1, copied),
        ("l2-is-l1", p.l1, l1 | copied),
        ("l2-is-refcount-block", p.l1, block | copied),
        ("l2-beyond", p.l1, (1 << 50) | copied),
        ("l2-unaligned", p.l1, (l2 + 512) | copied),
        ("data-is-l2", p.l2, l2 | copied),
        ("data-is-l1", p.l2, l1 | copied),
        ("data-is-refcount-table", p.l2, table | copied),
        ("data-beyond", p.l2, (1 << 50) | copied),
        ("compressed-beyond", p.l2, (1 << 62) | (1 << 50)),
        ("compressed-longest", p.l2, 0x7fff_ffff_ffff_ffff),
        ("compressed-is-table", p.l2, (1 << 62) | l2),
        ("everything-set", p.l2, u64::MAX),
    ];
    let halves: [(&str, usize, u32); 22] = [
        ("version-0", 4, 0),
        ("clusters-of-a-byte", 20, 0),
        ("clusters-largest", 20, 21),
        ("clusters-absurd", 20, u32::MAX),
        ("encrypted-by-nothing", 32, 2),
        ("l1-absurd", 36, u32::MAX),
        ("l1-large", 36, 4 << 20),
        ("l1-none", 36, 0),
        ("refcount-table-absurd", 56, u32::MAX),
        ("refcount-table-none", 56, 0),
        ("snapshots-absurd", 60, u32::MAX),
        ("snapshots-many", 60, 65536),
        ("refcounts-absurd", 96, 63),
        ("header-endless", 100, u32::MAX),
        ("header-short", 100, 8),
        ("backing-name-over-extensions", 16, 1023),
        ("extension-endless", p.extensions + 4, u32::MAX),
        ("extension-over-the-next", p.extensions + 4, 400),
        ("snapshot-l1-absurd", p.snapshots + 8, u32::MAX),
        ("snapshot-extra-absurd", p.snapshots + 36, u32::MAX),
        ("bitmap-table-absurd", p.directory + 8, u32::MAX),
        ("bitmap-granularity-absurd", p.directory + 16, 0x01ff_ffff),
    ];
    let words = words.into_iter().map(|(name, at, value)| (name, at, value.to_be_bytes().to_vec()));
    let halves = halves.into_iter().map(|(name, at, value)| (name, at, value.to_be_bytes().to_vec()));
    let others = [
        ("snapshot-names-absurd", p.snapshots + 12, vec![0xff; 4]),
        ("snapshot-l1-is-active", p.snapshots, l1.to_be_bytes().to_vec()),
        ("snapshot-l1-is-snapshots", p.snapshots, (p.snapshots as u64).to_be_bytes().to_vec()),
        ("snapshot-l1-unaligned", p.snapshots, vec![0xff; 8]),
        ("bitmap-table-is-l1", p.directory, l1.to_be_bytes().to_vec()),
        ("bitmap-name-absurd", p.directory + 18, vec![0xff; 2]),
        ("bitmap-extra-absurd", p.directory + 20, vec![0xff; 4]),
        ("bitmap-flags-absurd", p.directory + 12, vec![0xff; 4]),
        ("l1-loops", p.l1, (0..64).flat_map(|_| (l2 | copied).to_be_bytes()).collect()),
        ("refcount-blocks-loop", p.table, (0..512).flat_map(|_| block.to_be_bytes()).collect()),
        ("bitmap-directory-absurd", p.extensions + bitmaps(image, p.extensions), vec![0xff; 24]),
    ];
    let mut seeds: Vec<Seed> = (words.chain(halves).chain(others))
        .map(|(name, at, value)| {
            let mut bytes = image.to_vec();
            bytes[at..at + value.len()].copy_from_slice(&value);
            Seed { name: name.to_owned(), bytes, good: false }
        })
        .collect();
    for length in [0, 3, 71, 104, 511, 4095, 4096 * 3, image.len() - 1] {
        seeds.push(Seed { name: format!("cut-{length}"), bytes: image[..length].to_vec(), good: false });
    }
    seeds
}

/// Where the data of the bitmaps extension is, from the first extension.
fn bitmaps(image: &[u8], first: usize) -> usize {
    let mut at = first;
    while get32(image, at) != 0x2385_2875 {
        at += 8 + (get32(image, at + 4) as usize).next_multiple_of(8);
    }
    at + 8 - first
}

/// Volumes that the passphrase "abc" opens, and headers with absurd areas.
fn volumes() -> Vec<Seed> {
    let memory: Arc<dyn Block> = Arc::new(Memory::new(0));
    let options =
        luks::CreateOptions { iter_time: std::time::Duration::from_millis(1), ..Default::default() };
    let off = libimage::Preallocation::Off;
    drop(Luks::create(Arc::clone(&memory), 1 << 16, off, &options, b"abc").unwrap());
    let mut whole = vec![0; memory.size() as usize];
    memory.read_at(&mut whole, 0).unwrap();
    let mut seeds = vec![good("volume", whole.clone())];
    for (name, at, value) in [
        ("payload-beyond", 104, u32::MAX),
        ("payload-is-header", 104, 0),
        ("key-none", 108, 0),
        ("key-absurd", 108, u32::MAX),
        ("iterations-none", 164, 0),
        ("slot-neither-on-nor-off", 208, 7),
        ("slot-iterations-none", 212, 0),
        ("slot-beyond", 248, u32::MAX),
        ("slot-is-header", 248, 0),
        ("slot-is-payload", 248, get32(&whole, 104)),
        ("stripes-none", 252, 0),
        ("stripes-absurd", 252, u32::MAX),
        ("second-slot-is-first", 208 + 48, 0x00ac_71f3),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        seeds.push(Seed { name: name.to_owned(), bytes, good: false });
    }
    let mut second = vec![0; 0x8000];
    second[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    for (name, text) in [
        ("2-empty", "{}"),
        ("2-nested", &*format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
        (
            "2-areas-absurd",
            r#"{"keyslots":{"0":{"type":"luks2","key_size":4294967295,"af":{"type":"luks1","stripes":4294967295,"hash":"sha256"},"area":{"type":"raw","offset":"18446744073709551615","size":"18446744073709551615","encryption":"aes-xts-plain64","key_size":64},"kdf":{"type":"pbkdf2","hash":"sha256","iterations":1,"salt":""}}},"tokens":{},"segments":{"0":{"type":"crypt","offset":"18446744073709551615","iv_tweak":"18446744073709551615","size":"dynamic","encryption":"aes-xts-plain64","sector_size":4294967295}},"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1,"salt":"","digest":""}},"config":{"json_size":"18446744073709551615","keyslots_size":"0"}}"#,
        ),
    ] {
        let mut bytes = second.clone();
        bytes[4096..4096 + text.len()].copy_from_slice(text.as_bytes());
        seeds.push(Seed { name: name.to_owned(), bytes, good: false });
    }
    seeds
}

fn disks() -> Vec<Seed> {
    let disk = |label: &str| {
        made(&format!(
            "truncate -s 512k ext; mkdir -p t/a/b; echo text > t/a/file; ln -s file t/a/link
             mke2fs -q -F -t ext4 -b 1024 -N 16 -J size=1 -O ^has_journal -d t ext
             truncate -s 2M image
             printf 'label: {label}\\nstart=256,size=1024\\nsize=100\\n' | sfdisk -q image
             dd if=ext of=image bs=512 seek=256 conv=notrunc status=none"
        ))
    };
    vec![good("gpt", disk("gpt")), good("dos", disk("dos"))]
}

fn uploads() -> Vec<Seed> {
    let formats = ["qcow2 -o cluster_size=512", "qed", "vmdk", "vdi", "vpc", "qcow", "parallels"];
    let mut seeds: Vec<Seed> = formats
        .iter()
        .map(|format| {
            let bytes = made(&format!("qemu-img create -q -f {format} image 1M"));
            good(format.split(' ').next().unwrap_or(format), bytes)
        })
        .collect();
    let text = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/hostname\" 0\n";
    seeds.push(good("descriptor", text.into()));
    for seed in &seeds {
        let memory: Arc<dyn Block> = Arc::new(Memory::from_bytes(&seed.bytes));
        assert_ne!(audit(&memory, Bounds::default()).unwrap().format(), "raw", "{}", seed.name);
    }
    seeds
}

fn deltas() -> Vec<Seed> {
    let old: Arc<dyn Block> = Arc::new(Memory::new(1 << 18));
    let new: Arc<dyn Block> = Arc::new(Memory::new(300_000));
    new.write_at(&[9; 5000], 8000).unwrap();
    let noise: Vec<u8> = (0..9000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    new.write_at(&noise, 100_000).unwrap();
    let mut bytes = Vec::new();
    delta::make(&*old, &*new, None, &mut bytes, "delta", 1, &Silent).unwrap();
    let mut seeds = vec![good("delta", bytes.clone())];
    for (name, at, value) in [
        ("new-size-absurd", 16, u64::MAX),
        ("old-size-absurd", 8, u64::MAX),
        ("offset-absurd", 33, u64::MAX),
        ("length-absurd", 41, u64::MAX),
    ] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        seeds.push(Seed { name: name.to_owned(), bytes, good: false });
    }
    seeds
}

fn undo_files() -> Vec<Seed> {
    let room = tempfile::tempdir().unwrap();
    let made = |name: &str, sealed: bool| {
        let path: &Path = &room.path().join(name);
        let undo = Undo::new(Arc::new(Memory::new(200_000)), path).unwrap();
        undo.write_at(&[0; 100], 70_000).unwrap();
        undo.write_zeroes(0..10, libimage::Zero::KeepAllocated).unwrap();
        if sealed {
            undo.seal().unwrap();
        }
        good(name, std::fs::read(path).unwrap())
    };
    let mut seeds = vec![made("sealed", true), made("open", false)];
    let whole = seeds[1].bytes.clone();
    for (name, at, value) in [
        ("size-absurd", 8, u64::MAX),
        ("page-absurd", 21, u64::MAX / 65536),
        ("page-overflows", 21, u64::MAX),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        seeds.push(Seed { name: name.to_owned(), bytes, good: false });
    }
    seeds
}

fn texts() -> Vec<Seed> {
    let nested = format!("json:{}1{}", r#"{"file":"#.repeat(300), "}".repeat(300));
    let texts = [
        (
            true,
            r#"json:{"driver":"raw","size":1024,"offset":512,"file":{"driver":"null-co","size":65536,"read-zeroes":true}}"#,
        ),
        (
            true,
            "driver=raw,file.driver=null-co,file.size=1M,file.read-zeroes=on,detect-zeroes=unmap,discard=unmap",
        ),
        (true, "driver=null-aio,size=1M,latency-ns=1"),
        (
            false,
            "driver=qcow2,file.driver=null-co,lazy-refcounts=on,cache-size=1M,l2-cache-size=9E,overlap-check.template=all",
        ),
        (true, "secret,id=s,data=YWJj,format=base64"),
        (true, "secret,id=s,data=x=y,,z"),
        (false, "secret,id=s,keyid=s,data=YWJj,iv=c2l4dGVlbiBieXRlIGl2Lg=="),
        (false, r#"{"qom-type":"throttle-group","id":"t","limits":{"iops-total":1}}"#),
        (false, "throttle-group,id=t,x-iops-total=9223372036854775807,limits.bps-read=1"),
        (false, "authz-list,id=a,rules.0.match=*,policy=deny"),
        (false, "json:{'a':[1,2.5e10,true,null,\"\\ud83d\\ude00\"]}"),
        (false, "json:{\"backing\":null,\"file.file.file\":{}}"),
        (false, ",,,=,=,,no,noread,on=,help,?"),
        (false, "9223372036854775807.999999E"),
        (false, &nested),
    ];
    let seed = |(index, (good, text)): (usize, &(bool, &str))| Seed {
        name: format!("text-{index}"),
        bytes: text.as_bytes().to_vec(),
        good: *good,
    };
    texts.iter().enumerate().map(seed).collect()
}

/// What is packed in the seeds: little, with a hole.
const CONTENT: &str = "(seq 1 3000; head -c 20000 /dev/zero; seq 1 2000) > content;";

/// Compressed files of every kind that is read.
fn packed() -> Vec<Seed> {
    let kinds = [
        ("xz", "xz -0 --block-size=8KiB -T1 -c content > image"),
        ("xz-filters", "xz --check=sha256 --delta=dist=4 --x86 --lzma2=preset=0 -c content > image"),
        ("xz-streams", "(xz -0 -c content; head -c 8 /dev/zero; xz -0 --check=none -c content) > image"),
        ("gzip", "gzip -c content > image"),
        ("gzip-members", "(gzip -n -1 -c content; gzip -c content; head -c 100 /dev/zero) > image"),
        ("bzip2", "(bzip2 -c content; bzip2 -1 -c content) > image"),
        ("zstd", "zstd -q -c content > image"),
        ("zstd-stream", "cat content | zstd -q > image"),
        (
            "zstd-frames",
            "(split -b 9000 --filter='zstd -q --stream-size=9000' content 2> /dev/null || zstd -q -c content) > image",
        ),
    ];
    kinds.map(|(name, command)| good(name, made(&format!("{CONTENT} {command}")))).into()
}

/// Archives of every format, each with a member `image` behind others.
fn archives() -> Vec<Seed> {
    let long = "d".repeat(120);
    let formats = ["v7", "ustar", "oldgnu", "gnu", "pax"].map(|format| {
        let names = if matches!(format, "v7" | "ustar") { String::new() } else { format!("; cp content {long}") };
        let command = format!(
            "{CONTENT} mkdir all; cp content all/first; cp content all/image; truncate -s 1M all/holes;
            ln all/first all/hard; cd all {names}; tar --format={format} -Scf ../tar $(ls -rv | grep -v '^image$') image; mv ../tar ../image"
        );
        let command = match format {
            "v7" | "ustar" => command.replace(" -Scf", " -cf"),
            _ => command.replace("cp content ddd", "cp ../content ddd"),
        };
        good(format, made(&command))
    });
    formats.into()
}
