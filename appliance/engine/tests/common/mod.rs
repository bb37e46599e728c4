//! A guest for tests: a few modules and a shell that takes commands over the port.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use appliance_engine::backend::{Backend, Died, Drive, LaunchSpec, Machine, RPC_PORT};
use appliance_engine::build::cache_dir;
use appliance_engine::build::cpio::Cpio;
use appliance_engine::build::modules::ModuleTree;
use appliance_engine::build::packages::Apt;
use libimage::storage::Memory;
use libimage::{Block, Extent, Limits, Zero};

const BUSYBOX: &str = "/bin/busybox";
/// Longest that a guest is waited for; reached only when the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs what the host says, one line at a time, and ends each answer with a line `=== STATUS`.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "insmod $module failed"; done
# A port gets its name a moment after it appears, and a bus may still be looking for its devices.
port=
while [ -z "$port" ]; do
    for name in /sys/class/virtio-ports/*/name; do
        [ "$(cat $name 2>/dev/null)" = PORT ] && port=$(basename $(dirname $name))
    done
    [ -n "$port" ] || usleep 2000
done
while [ ! -c /dev/$port ]; do usleep 1000; done
exec 3<>/dev/$port
echo ready >&3
while read -r line <&3; do
    eval "$line" >/tmp.out 2>&1 3>&3
    status=$?
    cat /tmp.out >&3
    echo >&3; echo "=== $status" >&3
done
poweroff -f
"#;

/// A package of the distribution, unpacked; `linux-image-cloud-amd64` is the kernel that it stands for.
pub fn package(name: &str) -> PathBuf {
    let cache = cache_dir().unwrap();
    let apt = Apt::new(cache.join("packages")).unwrap();
    let name = apt.real_package(name).unwrap_or_else(|_| name.to_owned());
    apt.unpacked(&name, &cache.join("unpacked")).unwrap()
}

/// An initial root file system with modules of an unpacked kernel package.
pub fn initrd(directory: &Path, package: &Path, names: &[&str]) -> PathBuf {
    let mut archive = Cpio::new();
    archive.directory("bin");
    archive.directory("modules");
    archive.file(
        "bin/busybox",
        0o755,
        &fs::read(BUSYBOX).expect("the package busybox-static is needed by this test"),
    );
    archive.file("init", 0o755, INIT.replace("PORT", RPC_PORT).as_bytes());
    let mut order = String::new();
    // What the kernel has built in is left out.
    for module in ModuleTree::find(package).unwrap().closure(names, false).unwrap() {
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.bytes);
        order.push_str(&format!("{}.ko\n", module.name));
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    let path = directory.join("initrd");
    fs::write(&path, archive.finish()).unwrap();
    path
}

pub fn spec(initrd: &Path) -> LaunchSpec {
    LaunchSpec {
        initrd: initrd.to_owned(),
        cmdline: Vec::new(),
        memory_mib: 256,
        cpus: 1,
        disks: Vec::new(),
        spare_slots: 0,
        network: None,
        raid6: false,
        console: None,
    }
}

/// A booted guest that takes commands.
pub struct Guest {
    pub machine: Box<dyn Machine>,
    pub stream: UnixStream,
    reader: BufReader<UnixStream>,
    name: &'static str,
}

impl Guest {
    pub fn boot(backend: &dyn Backend, spec: LaunchSpec) -> Guest {
        let mut machine = backend.launch(spec).unwrap();
        let stream = machine.rpc().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut guest = Guest { machine, stream, reader, name: backend.name() };
        assert_eq!(guest.line(), "ready");
        guest
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let outcome = self.reader.read_line(&mut line);
        if !matches!(outcome, Ok(1..)) {
            let log = self.machine.kernel_log();
            panic!(
                "{outcome:?}: {:?}\n{log}",
                Died::of(self.name, &*self.machine).map(|died| died.to_string())
            );
        }
        line.trim_end().to_owned()
    }

    pub fn start(&mut self, command: &str) {
        self.stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    }

    pub fn read_exact(&mut self, bytes: &mut [u8]) {
        self.reader.read_exact(bytes).unwrap();
    }

    pub fn finish(&mut self) -> (String, i32) {
        let mut output = String::new();
        loop {
            let line = self.line();
            if let Some(status) = line.strip_prefix("=== ") {
                return (output.trim_end().to_owned(), status.parse().unwrap());
            }
            output.push_str(&line);
            output.push('\n');
        }
    }

    /// What `command` prints; it has to succeed.
    pub fn run(&mut self, command: &str) -> String {
        self.start(command);
        let (output, status) = self.finish();
        assert_eq!(status, 0, "{command}: {output}\n{}", self.machine.kernel_log());
        output
    }

    /// Powers the guest off, and sees its stream end.
    pub fn power_off(mut self) {
        self.start("grep -q diskwright.end=restart /proc/cmdline && reboot -f || poweroff -f");
        let ended = self.machine.wait(PATIENCE);
        assert_eq!(ended, Some(appliance_engine::backend::Ended::Exited(0)), "{}", self.machine.kernel_log());
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}

/// Processes whose command line has `mark` in it.
pub fn processes(mark: &str) -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect()
}

pub fn wait_for_no_process(mark: &str) {
    let start = Instant::now();
    while !processes(mark).is_empty() {
        assert!(start.elapsed() < PATIENCE, "left over: {:?}", processes(mark));
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A disk in memory that notes what was asked of it.
pub struct Watched {
    inner: Memory,
    pub calls: Mutex<Vec<&'static str>>,
}

impl Watched {
    pub fn new(size: u64) -> Arc<Self> {
        Arc::new(Watched { inner: Memory::new(size), calls: Mutex::default() })
    }

    pub fn bytes(&self, offset: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.inner.read_at(&mut bytes, offset).unwrap();
        bytes
    }

    fn called(&self, what: &str) -> bool {
        self.calls.lock().unwrap().contains(&what)
    }

    fn note(&self, what: &'static str) {
        self.calls.lock().unwrap().push(what);
    }
}

impl Block for Watched {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> libimage::Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> libimage::Result<()> {
        self.note("write");
        self.inner.write_at(buf, offset)
    }

    fn write_zeroes(&self, range: std::ops::Range<u64>, how: Zero) -> libimage::Result<()> {
        self.note("write_zeroes");
        self.inner.write_zeroes(range, how)
    }

    fn discard(&self, range: std::ops::Range<u64>) -> libimage::Result<()> {
        self.note("discard");
        self.inner.write_zeroes(range, Zero::MayUnmap)
    }

    fn flush(&self) -> libimage::Result<()> {
        self.note("flush");
        self.inner.flush()
    }

    fn status(&self, range: std::ops::Range<u64>) -> libimage::Result<Extent> {
        self.inner.status(range)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn name(&self) -> &str {
        "watched"
    }
}

pub fn drive(block: Arc<dyn Block>, serial: &str) -> Drive {
    Drive { block, serial: serial.into(), read_only: false, block_size: 512 }
}

/// Boots a guest with disks of every kind and checks what a guest can do with them. The same for all
/// back-ends.
pub fn disks_and_port(backend: &dyn Backend, mut spec: LaunchSpec) {
    let (first, second) = (Watched::new(8 << 20), Watched::new(4 << 20));
    let read_only = Watched::new(1 << 20);
    let pattern: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 512) as u8 ^ (at % 251) as u8).collect();
    first.inner.write_at(&pattern, 1 << 20).unwrap();
    spec.disks = vec![
        drive(first.clone(), "first"),
        Drive { block_size: 4096, ..drive(second.clone(), "twenty bytes exactly") },
        Drive { read_only: true, ..drive(read_only.clone(), "ro") },
    ];
    spec.spare_slots = 2;
    let mut guest = Guest::boot(backend, spec);

    let serials = guest.run("cat /sys/block/vda/serial; echo; cat /sys/block/vdb/serial; echo; cat /sys/block/vdc/serial; echo; cat /sys/block/vdd/serial");
    assert_eq!(serials, "first\ntwenty bytes exactly\nro\nslot0");
    assert_eq!(guest.run("cat /sys/block/vd?/size"), "16384\n8192\n2048\n0\n0");
    assert_eq!(guest.run("cat /sys/block/vd[abc]/queue/logical_block_size"), "512\n4096\n512");
    assert_eq!(guest.run("cat /sys/block/vd[ac]/ro"), "0\n1");
    assert_eq!(guest.run("cat /sys/block/vda/queue/write_cache"), "write back");

    // The guest reads what the host wrote, and the other way round, in several sizes.
    let expected = guest_sum(&pattern);
    for size in ["512", "4k", "1M"] {
        let count = (1 << 20)
            / if size == "512" {
                512
            } else if size == "4k" {
                4096
            } else {
                1 << 20
            };
        let read =
            format!("dd if=/dev/vda bs={size} skip={count} count={count} iflag=direct 2>/dev/null | md5sum");
        assert_eq!(guest.run(&read), expected, "{size}");
    }
    guest.run(
        "dd if=/dev/vda of=/dev/vdb bs=64k skip=16 seek=8 count=16 iflag=direct oflag=direct 2>/dev/null",
    );
    assert!(second.bytes(512 << 10, 1 << 20) == pattern);
    first.calls.lock().unwrap().clear();
    guest.run("echo hello | dd of=/dev/vda conv=fsync 2>/dev/null");
    assert_eq!(first.bytes(0, 6), b"hello\n");
    assert!(first.called("flush"));
    assert_ne!(guest.run("echo x | dd of=/dev/vdc conv=fsync 2>/dev/null; echo $?"), "0");
    assert!(read_only.calls.lock().unwrap().iter().all(|call| *call == "flush"));

    // Discard: busybox has blkdiscard.
    guest.run("blkdiscard -o 1048576 -l 1048576 /dev/vda");
    assert!(first.called("discard"));
    assert!(first.bytes(1 << 20, 1 << 20).iter().all(|byte| *byte == 0));

    // Write-through at the guest's wish: each write is followed by a flush.
    guest.run("echo 'write through' > /sys/block/vda/cache_type");
    first.calls.lock().unwrap().clear();
    guest.run("echo again | dd of=/dev/vda bs=512 conv=sync oflag=direct 2>/dev/null");
    assert_eq!(*first.calls.lock().unwrap(), ["write", "flush"]);

    // A slot grows under the running guest, is used, and goes away again.
    let late = Watched::new(3 << 20);
    late.inner.write_at(&pattern, 0).unwrap();
    guest.machine.set_slot(1, Some(late.clone())).unwrap();
    guest.run("while [ $(cat /sys/block/vde/size) != 6144 ]; do usleep 1000; done");
    assert_eq!(guest.run("dd if=/dev/vde bs=1M count=1 2>/dev/null | md5sum"), expected);
    guest.run("dd if=/dev/vdb of=/dev/vde bs=512k count=1 seek=4 conv=fsync 2>/dev/null");
    assert!(late.called("write"));
    guest.machine.set_slot(1, None).unwrap();
    guest.run("while [ $(cat /sys/block/vde/size) != 0 ]; do usleep 1000; done");
    assert!(guest.machine.set_slot(2, None).is_err());

    // Both ways through the port, more than its buffers hold.
    guest.start("dd if=/dev/vdb bs=64k count=32 2>/dev/null >&3");
    let mut bytes = vec![0; 2 << 20];
    guest.read_exact(&mut bytes);
    assert!(bytes == second.bytes(0, 2 << 20));
    assert_eq!(guest.finish().1, 0);
    guest.start("dd bs=1 count=5 <&3 2>/dev/null >/dev/null; head -c 1048576 <&3 | md5sum");
    guest.stream.write_all(b"12345").unwrap();
    guest.stream.write_all(&pattern).unwrap();
    assert_eq!(guest.finish().0, expected);

    assert!(guest.machine.wait(Duration::ZERO).is_none());
    guest.power_off();
}

/// What `md5sum` prints for `bytes`.
fn guest_sum(bytes: &[u8]) -> String {
    let mut child = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim_end().to_owned()
}
