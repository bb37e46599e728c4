//! What names and options open, over real files.

use std::cell::RefCell;

use super::*;
use crate::format::qcow2::CreateOptions;
use crate::storage::FileOptions;

struct Files(tempfile::TempDir);

impl Files {
    /// `base.raw` with a 7 in each byte, and `top.qcow2` over it.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("base.raw"), vec![7; 65_536]).unwrap();
        let files = Files(dir);
        files.qcow2("top.qcow2", Some("base.raw"));
        files
    }

    fn qcow2(&self, name: &str, backing: Option<&str>) {
        let storage = FileStorage::create(self.0.path().join(name)).unwrap();
        let options = CreateOptions {
            size: 65_536,
            backing_file: backing.map(str::to_owned),
            backing_format: backing.map(|_| "raw".to_owned()),
            ..CreateOptions::default()
        };
        Qcow2::create(Arc::new(storage), &options).unwrap().flush().unwrap();
    }

    /// Opens a list of options in which `@` stands for the directory.
    fn open(&self, list: &str, options: OpenOptions) -> Result<Image> {
        let list = list.replace('@', &self.0.path().display().to_string());
        let spec = Spec::image_opts(list.as_ref(), &|_| ())?;
        Image::open_spec(
            spec,
            options,
            &Context { objects: &Objects::default(), warn: &|_| (), untrusted: false },
        )
    }

    fn error(&self, list: &str) -> String {
        let error = self.open(list, READ).err().unwrap();
        crate::error::describe(&error).replace(&self.0.path().display().to_string(), "@")
    }
}

const READ: OpenOptions = OpenOptions {
    format: None,
    read_only: true,
    force_share: false,
    no_backing: false,
    no_data: false,
    check: false,
    cache: CacheMode::Writeback,
    writable_below: 0,
};

fn first_byte(image: &Image) -> u8 {
    let mut byte = [99];
    image.block().read_at(&mut byte, 0).unwrap();
    byte[0]
}

#[test]
fn chains_are_what_the_options_say() {
    let files = Files::new();
    let top = "driver=qcow2,file.filename=@/top.qcow2";
    assert_eq!(first_byte(&files.open(top, READ).unwrap()), 7);
    let alone = files.open(&format!("{top},backing="), READ).unwrap();
    assert_eq!(first_byte(&alone), 0);
    assert!(alone.name().starts_with("json:") && alone.name().contains("\"backing\": null"));
    let window = format!("{top},backing.driver=raw,backing.size=512,backing.file.filename=@/base.raw");
    let window = files.open(&window, READ).unwrap();
    assert_eq!(window.backing().unwrap().block().size(), 512);
    let nested = files.open("driver=qcow2,file.driver=raw,file.file.filename=@/top.qcow2", READ).unwrap();
    assert_eq!(first_byte(&nested), 7);
    assert!(nested.name().starts_with("json:{\"driver\": \"qcow2\", \"file\": {\"driver\": \"raw\""));
}

#[test]
fn names_in_headers_may_be_options() {
    let files = Files::new();
    files.qcow2("j.qcow2", Some(r#"json:{"driver":"raw","file":{"driver":"null-co","read-zeroes":true}}"#));
    let image = Image::open(files.0.path().join("j.qcow2"), READ).unwrap();
    assert_eq!(
        image.backing().unwrap().name(),
        r#"json:{"driver": "raw", "file": {"read-zeroes": true, "driver": "null-co"}}"#
    );
    assert!(image.storage().is_some() && image.backing().unwrap().storage().is_none());
}

#[test]
fn what_nobody_takes_is_an_error() {
    let files = Files::new();
    for (list, expected) in [
        (
            "driver=qcow2,file.filename=@/top.qcow2,foo=1",
            "Block format 'qcow2' does not support the option 'foo'",
        ),
        (
            "driver=raw,file.filename=@/base.raw,file.foo=1",
            "Block protocol 'file' doesn't support the option 'foo'",
        ),
        ("driver=qcow2,file.filename=@/base.raw", "Image is not in qcow2 format"),
        ("driver=raw", "A block device must be specified for \"file\""),
        ("", "Must specify either driver or file"),
        ("filename=@/base.raw", "Must specify either driver or file"),
        ("base", "Cannot find device='base' nor node-name='base'"),
        ("driver=nope", "Unknown driver 'nope'"),
        ("driver=file", "The 'file' block driver requires a file name"),
        (
            "driver=host_device,filename=@/base.raw",
            "'host_device' driver requires '@/base.raw' to be either a character or block device",
        ),
        (
            "driver=raw,offset=65537,file.filename=@/base.raw",
            "Offset (65537) cannot be greater than size of the containing file (65536)",
        ),
        (
            "driver=qcow2,file.filename=@/top.qcow2,backing.foo=1",
            "Could not open backing file: Block format 'raw' does not support the option 'foo'",
        ),
        ("driver=raw,file.filename=@/base.raw,backing.driver=raw", "Driver doesn't support backing files"),
        (
            "driver=raw,node-name=x,file.filename=@/base.raw,file.node-name=x",
            "Duplicate nodes with node-name='x'",
        ),
        (
            "driver=qcow2,file.filename=@/top.qcow2,overlap-check=x",
            "Unsupported value 'x' for qcow2 option 'overlap-check'. Allowed are any of the following: none, constant, cached, all",
        ),
    ] {
        assert_eq!(files.error(list), expected, "{list}");
    }
}

#[test]
fn read_only_nodes_and_locks() {
    let files = Files::new();
    let write = OpenOptions { read_only: false, ..READ };
    let refused = files.open("driver=raw,file.filename=@/base.raw,file.read-only=on", write).err().unwrap();
    assert_eq!(refused.to_string(), "Block node is read-only");
    let _reader = files.open("driver=raw,file.filename=@/base.raw", READ).unwrap();
    assert!(files.open("driver=raw,file.filename=@/base.raw", write).is_err());
    let unlocked = files.open("driver=raw,file.filename=@/base.raw,file.locking=off", write).unwrap();
    unlocked.block().write_at(&[1], 0).unwrap();
    let options = FileOptions { read_only: true, ..FileOptions::default() };
    assert!(FileStorage::open(files.0.path().join("base.raw"), options).is_ok());
}

#[test]
fn a_chain_never_meets_itself() {
    let files = Files::new();
    files.qcow2("loop.qcow2", None);
    {
        let image = Image::open(files.0.path().join("loop.qcow2"), OpenOptions::default()).unwrap();
        image.qcow2().unwrap().set_backing_name(Some("loop.qcow2"), Some("qcow2")).unwrap();
    }
    let error = Image::open(files.0.path().join("loop.qcow2"), READ).err().unwrap();
    assert!(crate::error::describe(&error).contains("infinite loop"));
}

#[test]
fn old_forms_are_told() {
    let warnings = RefCell::new(Vec::new());
    let warn = |text: &str| warnings.borrow_mut().push(text.to_owned());
    let spec = Spec::image_opts("driver=null-co,read-zeroes,backing=".as_ref(), &warn).unwrap();
    Image::open_spec(spec, READ, &Context { objects: &Objects::default(), warn: &warn, untrusted: false })
        .unwrap();
    assert_eq!(warnings.borrow().len(), 2);
}

/// What is in the file when a program dies that has just flushed: QEMU reads from it whether it was in use.
#[test]
fn counts_are_postponed_as_the_options_say() {
    let files = Files::new();
    for (made, option, dirty) in
        [("off", "on", true), ("on", "off", false), ("on", "on", true), ("off", "off", false)]
    {
        let path = |name: &str| files.0.path().join(name).display().to_string();
        let qemu_img = |arguments: &[&str]| {
            let output = std::process::Command::new("qemu-img").args(arguments).output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let lazy = format!("lazy_refcounts={made}");
        qemu_img(&["create", "-q", "-f", "qcow2", "-o", &lazy, &path("lazy.qcow2"), "1M"]);
        let write = OpenOptions { read_only: false, ..READ };
        let list = format!("driver=qcow2,lazy-refcounts={option},file.filename=@/lazy.qcow2");
        let image = files.open(&list, write).unwrap();
        image.block().write_at(&[1; 100_000], 0).unwrap();
        image.block().flush().unwrap();
        std::fs::copy(path("lazy.qcow2"), path("dead.qcow2")).unwrap();
        drop(image);
        let (_, told) = qemu_img(&["info", "--output=json", &path("dead.qcow2")]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let lagging = told["dirty-flag"].as_bool();
        assert_eq!(lagging, Some(dirty), "made with {made}, opened with {option}");
        // Nothing is lost, and what was closed properly is clean.
        qemu_img(&["check", "-q", "-r", "all", &path("dead.qcow2")]);
        assert_eq!(qemu_img(&["check", "-q", &path("lazy.qcow2")]).0, Some(0));
        assert_eq!(qemu_img(&["compare", "-q", &path("dead.qcow2"), &path("lazy.qcow2")]).0, Some(0));
    }
}
