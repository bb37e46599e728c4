//! Exports of real servers wherever an image may be named: `img` beside `qemu-img`, and requests of all kinds against
//! qemu-nbd and nbdkit, judged by the files that those write.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libimage::block::{Block, Zero};
use libimage::open::{Context, Image, OpenOptions};
use libimage::spec::{Objects, Spec};
use system_tests::peers::compare;
use system_tests::programs::{program, run};
use system_tests::random::Random;
use system_tests::socket::listens;

/// Runs a command beside a server: `with WORDS OF QEMU-NBD -- COMMAND`.
const WITH: &str = r#"!! printf '%s\n' 'a=(); while [ "$1" != -- ]; do a+=("$1"); shift; done; shift; d=$(mktemp -d)' 'qemu-nbd -t -k "$PWD/s" --fork --pid-file=$d/p "${a[@]}" || exit 99' '"$@"; r=$?; p=$(cat $d/p); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.01; done; rm -r $d; exit $r' > with; qemu-img create -q -f qcow2 a.qcow2 3M; qemu-io -c 'write -P 5 1M 512k' -c 'write -z 2M 64k' a.qcow2 >/dev/null; qemu-img bitmap --add a.qcow2 marks; qemu-io -c 'write -P 6 64k 64k' a.qcow2 > /dev/null; qemu-img convert -O raw a.qcow2 same.raw; head -c 1000 same.raw > odd.raw; head -c 2M /dev/zero | tr '\0' 'x' > big.raw; qemu-img create -q -f qcow2 empty.qcow2 3M; head -c 8M /dev/zero | tr '\0' 'y' > place.raw
"#;

const LIKE_QEMU_IMG: &str = r#"
== what is told
bash with -r -A -B marks -f qcow2 a.qcow2 -- bash -c 'for w in "info nbd+unix:///?socket=$PWD/s" "info --output=json nbd:unix:$PWD/s" "map nbd:unix:$PWD/s" "map --output=json nbd:unix:$PWD/s" "map --output=json --image-opts driver=nbd,path=$PWD/s,x-dirty-bitmap=qemu:allocation-depth" "map --output=json --image-opts driver=nbd,path=$PWD/s,x-dirty-bitmap=qemu:dirty-bitmap:marks" "measure -O qcow2 nbd:unix:$PWD/s" "check nbd:unix:$PWD/s" "compare nbd:unix:$PWD/s same.raw" "snapshot -l nbd:unix:$PWD/s" "info --image-opts driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=$PWD/s" "info json:{\"driver\":\"nbd\",\"server\":{\"type\":\"unix\",\"path\":\"$PWD/s\"}}" "info nbd:unix:$PWD/s:exportname=m" "info -f qcow2 nbd:unix:$PWD/s" "dd if=nbd:unix:$PWD/s of=part.raw bs=64k skip=15 count=3" "convert -O qcow2 nbd:unix:$PWD/s new.qcow2" "convert -n -O raw big.raw nbd:unix:$PWD/s"; do qemu-img $w; echo $?; done'
bash with -x n -f raw odd.raw -- bash -c 'for w in "info nbd+unix:///n?socket=$PWD/s" "map nbd:unix:$PWD/s:exportname=n" "info nbd:unix:$PWD/s" "compare nbd:unix:$PWD/s:exportname=n same.raw" "convert -O raw nbd:unix:$PWD/s:exportname=n new.raw" "convert -n -O raw big.raw nbd:unix:$PWD/s:exportname=n"; do qemu-img $w; echo $?; done'
bash with -r -f raw a.qcow2 -- qemu-img info nbd:unix:$PWD/s
== what is copied
bash with -f qcow2 empty.qcow2 -- bash -c 'qemu-img convert -n -O raw same.raw nbd:unix:$PWD/s; qemu-img resize -f raw nbd:unix:$PWD/s 4M'
bash with -f qcow2 empty.qcow2 -- qemu-img convert -n -f qcow2 -O raw a.qcow2 nbd:unix:$PWD/s
== new images in an export
bash with -f raw place.raw -- bash -c 'U=nbd:unix:$PWD/s; for w in "create -f raw $U 4M" "create -f raw $U 16M" "create -f raw -o preallocation=full $U 4M" "create -f qcow2 $U 64M" "info $U" "create -f raw nbd:unix:/no 1M" "create -f qcow2 nbd:unix:/no 1M" "convert -O raw same.raw $U" "compare -f raw -F raw same.raw $U" "convert -f qcow2 -O qcow2 a.qcow2 $U" "compare -f raw -F qcow2 same.raw $U" "convert -c -O qcow2 same.raw $U" "check -f qcow2 $U" "compare -f raw -F qcow2 same.raw $U" "dd if=same.raw of=$U bs=1M" "compare -f raw -F raw same.raw $U" "convert -O raw same.raw nbd:unix:/no"; do qemu-img $w; echo $?; done'
== a backing file
bash with -r -f qcow2 a.qcow2 -- bash -c 'qemu-img create -f qcow2 -F raw -b nbd:unix:$PWD/s over.qcow2; qemu-img info --backing-chain over.qcow2; qemu-img map --output=json over.qcow2; qemu-img convert -O raw over.qcow2 flat.raw; qemu-img rebase -f qcow2 -b "" over.qcow2'
== names that lead nowhere
for n in nbd: nbd:unix: nbd:/ nbd:localhost nbd:localhost:abc nbd:localhost:1 nbd:localhost:1:exportname= nbd:localhost:1:exportname=a:b nbd:unix:/no:exportname= nbd:unix:/no:exportname=q nbd:unix:/no:x=y nbd:[::1]:1; do qemu-img info $n; done
for n in nbd:// nbd:///x nbd://:5/x nbd://localhost:1 nbd://localhost:1/x#y nbd://localhost:1/x?y=z nbd://localhost:99999 nbd://h?socket=/x nbd+tcp://localhost:1/x nbd+tls://x; do qemu-img info $n; done
for n in 'nbd+unix:///x?socket=/no' 'nbd+unix://h/x?socket=/no' 'nbd+unix:///x?Socket=/no' 'nbd+unix:///x?a=b&socket=/no' 'nbd+unix:///x?socket=/no;a' 'nbd+unix:///?socket='; do qemu-img info "$n"; done
for o in '' ,server.type=unix ,server.type=inet ,server.type=inet,server.host=localhost ,server.type=foo ,server.type=unix,server.path=/x,server.foo=1 ,server.type=inet,server.host=localhost,server.port=1 ,path=/x,host=h ,port=5 ,host=localhost ,server.type=unix,server.path=/x,host=h ,path=/x,tls-creds=x ,path=/x,reconnect-delay=x ,path=/no,foo=1 ,filename=nbd:localhost:1; do qemu-img info --image-opts driver=nbd$o; done
"#;

#[test]
fn an_export_is_an_image_as_for_qemu_img() {
    compare(&format!("{WITH}{LIKE_QEMU_IMG}")).unwrap();
}

/// A server of the system, which ends with the test.
struct Server {
    process: Child,
    socket: PathBuf,
}

impl Server {
    /// Starts `words`, in which `SOCKET` stands for a path in `directory`, and waits until it listens.
    fn start(directory: &Path, words: &str) -> Self {
        let socket = directory.join("s");
        let _ = std::fs::remove_file(&socket);
        let words = words.replace("SOCKET", socket.to_str().unwrap());
        let mut words = words.split(' ');
        let process = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, socket };
        let start = Instant::now();
        while !listens(&server.socket) {
            assert!(start.elapsed() < Duration::from_secs(20), "the server does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn open(&self, more: &str, read_only: bool) -> libimage::Result<Arc<dyn Block>> {
        let name = format!(
            r#"json:{{"driver":"nbd","server":{{"type":"unix","path":"{}"}}{more}}}"#,
            self.socket.display()
        );
        let context = Context { objects: &Objects::default(), warn: &|_| (), untrusted: false };
        let options = OpenOptions { read_only, ..OpenOptions::default() };
        Image::open_spec(Spec::name(name.as_ref())?, options, &context).map(|image| image.block())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Requests of all kinds from one thread, in its own part of the export; `model` is what should be there.
fn requests(export: &dyn Block, part: u64, length: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut model = vec![0u8; length as usize];
    export.read_at(&mut model, part).unwrap();
    for round in 0..60u8 {
        let at = random.below(length);
        let size = 1 + random.below((length - at).min(300_000));
        let range = at as usize..(at + size) as usize;
        match random.below(6) {
            0 | 1 => {
                let bytes: Vec<u8> = (0..size).map(|n| (n as u8).wrapping_mul(31) ^ round).collect();
                export.write_at(&bytes, part + at).unwrap();
                model[range].copy_from_slice(&bytes);
            }
            2 => {
                let how = random.pick(&[Zero::MayUnmap, Zero::KeepAllocated]);
                export.write_zeroes(part + at..part + at + size, how).unwrap();
                model[range].fill(0);
            }
            3 => {
                // What was discarded may be anything: it is written again.
                export.discard(part + at..part + at + size).unwrap();
                export.write_at(&model[range], part + at).unwrap();
            }
            4 => {
                let extent = export.status(part + at..part + at + size).unwrap();
                assert!(extent.length >= 1 && extent.length <= size);
                let known = &model[at as usize..(at + extent.length) as usize];
                assert!(!extent.zero || known.iter().all(|byte| *byte == 0), "{extent:?} at {at}");
            }
            _ => {
                let mut bytes = vec![0xee; size as usize];
                export.read_at(&mut bytes, part + at).unwrap();
                assert!(bytes == model[range], "{size} bytes at {}", part + at);
            }
        }
    }
    export.flush().unwrap();
    let mut bytes = vec![0; length as usize];
    export.read_at(&mut bytes, part).unwrap();
    assert!(bytes == model);
}

#[test]
fn servers_of_all_sorts_keep_what_is_written() {
    const SIZE: u64 = 3_000_320;
    for words in [
        "qemu-nbd -t -k SOCKET -f raw disk --discard=unmap",
        "qemu-nbd -t -e 8 -k SOCKET -f raw disk --detect-zeroes=on",
        "nbdkit -f -U SOCKET file disk",
        "nbdkit -f -U SOCKET --no-sr file disk",
        "nbdkit -f --mask-handshake=0 -U SOCKET file disk",
        "nbdkit -f -U SOCKET --filter=nozero --filter=noextents file disk",
        "nbdkit -f -U SOCKET --filter=blocksize-policy file disk blocksize-minimum=512 blocksize-maximum=64K blocksize-error-policy=error",
        "nbdkit -f -U SOCKET --filter=fua file disk fuamode=emulate",
        "nbdkit -f -U SOCKET --filter=multi-conn file disk multi-conn-mode=disable",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let disk = std::fs::File::create(directory.path().join("disk")).unwrap();
        disk.set_len(SIZE).unwrap();
        disk.write_all_at(&[7; 100_000], 1_000_000).unwrap();
        let server = Server::start(directory.path(), words);
        let export = server.open("", false).unwrap();
        assert_eq!(export.size(), SIZE, "{words}");
        let each = SIZE / 4;
        thread::scope(|scope| {
            for thread in 0..4 {
                let export = &export;
                scope.spawn(move || requests(&**export, thread * each, each, thread + 1));
            }
        });
        let mut through = vec![0; SIZE as usize];
        export.read_at(&mut through, 0).unwrap();
        assert!(export.read_at(&mut [0; 2], SIZE - 1).is_err());
        drop(export);
        drop(server);
        assert!(std::fs::read(directory.path().join("disk")).unwrap() == through, "{words}");
    }
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("disk"), vec![1; 1 << 20]).unwrap();
    let words = "qemu-nbd -t -e 4 -k SOCKET -f raw disk";
    let server = Server::start(directory.path(), words);
    let patient = server.open(r#","reconnect-delay":10"#, false).unwrap();
    let hasty = server.open("", true).unwrap();
    patient.write_at(&[2; 512], 512).unwrap();
    drop(server);
    assert!(hasty.read_at(&mut [0; 512], 0).is_err());
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut bytes = [0; 512];
                    patient.read_at(&mut bytes, 512).map(|()| bytes)
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        let _server = Server::start(directory.path(), words);
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), [2; 512]);
        }
        patient.write_at(&[3; 512], 0).unwrap();
        patient.flush().unwrap();
    });
    assert_eq!(
        std::fs::read(directory.path().join("disk")).unwrap()[..513],
        [[3; 512].as_slice(), &[2]].concat()
    );
    // Another export in its place is refused.
    std::fs::write(directory.path().join("disk"), vec![1; 2 << 20]).unwrap();
    let _server = Server::start(directory.path(), words);
    assert!(patient.read_at(&mut [0; 512], 0).is_err());
}

#[test]
fn what_comes_through_a_pipe_becomes_an_image_in_an_export() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let mut disk = vec![0; 3 << 20];
    disk[1 << 20..(1 << 20) + 5].copy_from_slice(b"there");
    std::fs::write(file("disk"), &disk).unwrap();
    for format in ["raw", "qcow2"] {
        // Whatever was there before is not what is read.
        std::fs::write(file("place"), vec![0xee; 8 << 20]).unwrap();
        let server = Server::start(directory.path(), "qemu-nbd -t -k SOCKET -f raw place");
        let made = Command::new(program("img"))
            .args(["convert", "-f", "raw", "-O", format, "-"])
            .arg(format!("nbd:unix:{}", server.socket.display()))
            .stdin(std::fs::File::open(file("disk")).unwrap())
            .status();
        assert!(made.unwrap().success());
        drop(server);
        let mut peer = Command::new("qemu-img");
        peer.args(["convert", "-f", format, "-O", "raw"]).args([file("place"), file("flat")]);
        assert!(peer.status().unwrap().success());
        assert!(std::fs::read(file("flat")).unwrap()[..disk.len()] == disk, "{format}");
    }
}

#[test]
fn a_server_that_comes_late_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("disk"), vec![1; 1 << 16]).unwrap();
    let opts = format!("driver=nbd,open-timeout=30,path={}", directory.path().join("s").display());
    let early = thread::spawn(move || run("img", &["info", "--image-opts", &opts]));
    thread::sleep(Duration::from_millis(300));
    let _server = Server::start(directory.path(), "qemu-nbd -t -k SOCKET -r -f raw disk");
    let output = early.join().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn encrypted_exports() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("disk"), vec![1; 1 << 16]).unwrap();
    std::fs::write(directory.path().join("keys.psk"), "me:0123456789abcdef0123456789abcdef\n").unwrap();
    let words = "nbdkit -f -r --tls=require --tls-psk=keys.psk -U SOCKET file disk";
    let server = Server::start(directory.path(), words);
    let (socket, dir) = (server.socket.display(), directory.path().display());
    let by_uri = format!("nbds+unix://me@/?socket={socket}&tls-psk-file={dir}/keys.psk");
    let object = format!("tls-creds-psk,id=t,endpoint=client,username=me,dir={dir}");
    let by_object = format!("driver=nbd,path={socket},tls-creds=t");
    let words = [vec!["info", &by_uri], vec!["info", "--object", &object, "--image-opts", &by_object]];
    for words in words {
        let output = run("img", &words);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("64 KiB (65536 bytes)"));
    }
    let output = run("img", &["info", &format!("nbd+unix:///?socket={socket}")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Server requires TLS"), "{said}");
}
