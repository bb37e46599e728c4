//! Boots real kernels with `vmm-mini` and looks at them from both sides; needs a KVM that works.
//!
//! `vmm_checks DIRECTORY`: the directory holds `vmlinux`, `bzImage`, `initrd` (whose init runs the check that
//! the kernel command line names), `raw.img` and `disk.qcow2` (16 MiB each, a pattern at their start), and
//! `vmm-mini`. Prints a line per check; the exit status says whether all went well.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libimage::Block;
use libimage::open::{Image, OpenOptions};
use system_tests::vmm::{self, CMDLINE};
use vmm_mini::virtio::blk::{Blk, BlkConfig};
use vmm_mini::virtio::console::{Console, NamedPort};
use vmm_mini::virtio::rng::Rng;
use vmm_mini::{Config, Exit, Vm};

/// Longest that one guest may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a guest prints, kept.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Printed {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).replace('\r', "")
    }

    /// The value that the guest's check printed as `NAME=value`.
    fn value(&self, name: &str) -> Result<String> {
        let text = self.text();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next().map(str::to_owned).with_context(|| format!("the guest did not print {name}="))
    }

    fn expect(&self, name: &str, expected: &str) -> Result<()> {
        let value = self.value(name)?;
        ensure!(value == expected, "{name} is {value:?}, not {expected:?}");
        Ok(())
    }
}

struct Checks {
    directory: PathBuf,
}

impl Checks {
    fn config(&self, kernel: &str, check: &str) -> (Config, Printed) {
        let printed = Printed::default();
        let mut config = Config::new(self.directory.join(kernel));
        config.initrd = Some(self.directory.join("initrd"));
        config.cmdline = format!("{CMDLINE} check={check}");
        config.serial = Some(Box::new(printed.clone()));
        (config, printed)
    }

    /// Runs a guest to its end.
    fn finish(vm: &Vm, printed: &Printed, expected: &Exit) -> Result<()> {
        let exit = vm.wait_timeout(PATIENCE);
        vm.stop();
        match exit {
            Some(exit) if exit == *expected => Ok(()),
            other => bail!("ended with {other:?}, not {expected:?}; it printed:\n{}", printed.text()),
        }
    }

    fn disk(&self, name: &str, serial: &str) -> Result<(Arc<dyn Block>, Arc<Blk>)> {
        let block = Image::open(self.directory.join(name), OpenOptions::default())?.block();
        let config = BlkConfig { serial: serial.to_owned(), ..BlkConfig::default() };
        let disk = Blk::new(config, Some(block.clone()))?;
        Ok((block, Arc::new(disk)))
    }

    /// The ELF kernel with every kind of device: data arrives on both sides, interrupts are messages.
    fn devices(&self) -> Result<()> {
        let (mut config, printed) = self.config("vmlinux", "devices");
        let (raw, raw_disk) = self.disk("raw.img", "disk-raw")?;
        let (qcow2, qcow2_disk) = self.disk("disk.qcow2", "disk-qcow2")?;
        let (ours, theirs) = UnixStream::pair()?;
        let port = NamedPort { name: "org.diskwright.test".to_owned(), stream: theirs, hang_up: false };
        config.devices =
            vec![raw_disk, qcow2_disk, Arc::new(Console::new(None, vec![port])?), Arc::new(Rng::default())];
        let vm = Vm::new(config)?;
        vm.run();
        ours.set_read_timeout(Some(PATIENCE))?;
        (&ours).write_all(b"from the host\n")?;
        let mut answer = String::new();
        BufReader::new(&ours).read_line(&mut answer).context("the guest does not answer on its port")?;
        ensure!(answer == "guest heard from the host\n", "the guest's port says {answer:?}");
        Self::finish(&vm, &printed, &Exit::PowerOff)?;
        for (name, block) in [("raw", &raw), ("qcow2", &qcow2)] {
            printed.expect(&format!("read.disk-{name}"), &vmm::pattern_text(name))?;
            printed.expect(&format!("size.disk-{name}"), &(vmm::DISK_SIZE / 512).to_string())?;
            let mut written = [0; 32];
            block.read_at(&mut written, vmm::WRITTEN_AT)?;
            let expected = format!("{:<31}\n", format!("written to disk-{name}"));
            ensure!(
                written == expected.as_bytes(),
                "disk {name} has {:?}",
                String::from_utf8_lossy(&written)
            );
            block.flush()?;
        }
        printed.expect("random", "32")?;
        printed.expect("cpus", "1")?;
        printed.expect("complaints", "0").with_context(|| printed.text())?;
        let messages: u32 = printed.value("messages")?.parse()?;
        ensure!(messages >= 4, "only {messages} interrupts are messages that came: {}", printed.text());
        Ok(())
    }

    /// A bzImage that has to unpack itself, with two processors; and a plain reboot.
    fn direct(&self) -> Result<()> {
        // The boot protocol's pointer to the payload is only for loaders: moved by a byte it hides the
        // compression from us, and nothing from the kernel.
        let mut image = std::fs::read(self.directory.join("bzImage"))?;
        if let Some(low) = image.get_mut(0x248) {
            *low = low.wrapping_add(1);
        }
        std::fs::write(self.directory.join("hidden"), &image)?;
        let (mut config, printed) = self.config("hidden", "processors-reboot");
        config.vcpus = 2;
        let vm = Vm::new(config)?;
        vm.run();
        Self::finish(&vm, &printed, &Exit::Reset)?;
        printed.expect("cpus", "2")?;
        printed.expect("cores", "2")?;
        printed.expect("complaints", "0").with_context(|| printed.text())
    }

    /// The kernel out of the bzImage by PVH, with memory on both sides of the PCI window; it panics, and only
    /// the panic port tells, because `panic=0` lets it stand still then.
    fn panic(&self) -> Result<()> {
        let (mut config, printed) = self.config("bzImage", "panic");
        config.memory_mib = 3072 + 256;
        config.cmdline.push_str(" panic=0");
        let vm = Vm::new(config)?;
        vm.run();
        Self::finish(&vm, &printed, &Exit::Panic(Some("sysrq triggered crash".to_owned())))?;
        let mib: u64 = printed.value("memory")?.parse::<u64>()? / 1024;
        ensure!((3072..3072 + 256).contains(&mib), "the guest has {mib} MiB");
        Ok(())
    }

    /// A running guest is stopped, and nothing of it stays.
    fn stop(&self) -> Result<()> {
        let threads = || std::fs::read_dir("/proc/self/task").map(Iterator::count);
        let before = threads()?;
        let (mut config, printed) = self.config("vmlinux", "wait");
        config.vcpus = 2;
        config.devices = vec![Arc::new(Rng::default())];
        let vm = Vm::new(config)?;
        vm.run();
        let begin = Instant::now();
        while printed.value("waiting").is_err() {
            ensure!(begin.elapsed() < PATIENCE, "the guest does not come up: {}", printed.text());
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(threads()? > before, "there should be threads now");
        vm.stop();
        ensure!(vm.wait() == Exit::Stopped, "ended with {:?}", vm.wait());
        drop(vm);
        let after = threads()?;
        ensure!(after == before, "{after} threads, there were {before}");
        // A machine that was never run goes as quietly.
        drop(Vm::new(self.config("vmlinux", "wait").0)?);
        ensure!(threads()? == before, "a machine that was never run left threads");
        Ok(())
    }

    /// The command, with two processors and a disk.
    fn command(&self) -> Result<()> {
        let program = self.directory.join("vmm-mini");
        let probe = Command::new(&program).arg("probe").output()?;
        ensure!(probe.status.success(), "probe says {}", String::from_utf8_lossy(&probe.stderr));
        let run = Command::new(&program)
            .arg("run")
            .arg("--kernel")
            .arg(self.directory.join("vmlinux"))
            .arg("--initrd")
            .arg(self.directory.join("initrd"))
            .args([
                "--append",
                &format!("{CMDLINE} check=command"),
                "--memory",
                "256",
                "--cpus",
                "2",
                "--disk",
            ])
            .arg(format!("{},serial=disk-raw,ro", self.directory.join("raw.img").display()))
            .output()?;
        let text = String::from_utf8_lossy(&run.stdout).replace('\r', "");
        ensure!(
            run.status.code() == Some(0),
            "{:?}: {text}{}",
            run.status,
            String::from_utf8_lossy(&run.stderr)
        );
        for line in ["cpus=2", "read-only.disk-raw=1"] {
            ensure!(text.lines().any(|printed| printed == line), "it does not print {line}: {text}");
        }
        Ok(())
    }

    /// The command's account of a kernel that has no root, panics, and resets the machine.
    fn no_root(&self) -> Result<()> {
        let run = Command::new(self.directory.join("vmm-mini"))
            .arg("run")
            .arg("--kernel")
            .arg(self.directory.join("vmlinux"))
            .args(["--append", CMDLINE, "--memory", "128", "--no-rng"])
            .output()?;
        let complaint = String::from_utf8_lossy(&run.stderr);
        ensure!(run.status.code() == Some(11), "{:?}: {complaint}", run.status);
        ensure!(complaint.contains("Unable to mount root"), "it only says {complaint}");
        Ok(())
    }
}

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1).map(PathBuf::from).filter(|path| path.is_dir()) else {
        eprintln!("Usage: vmm_checks DIRECTORY");
        return ExitCode::from(2);
    };
    let checks = Checks { directory };
    let all: [(&str, &dyn Fn() -> Result<()>); 7] = [
        ("probe", &|| Ok(vmm_mini::kvm::probe()?)),
        ("devices", &|| checks.devices()),
        ("direct", &|| checks.direct()),
        ("panic", &|| checks.panic()),
        ("stop", &|| checks.stop()),
        ("command", &|| checks.command()),
        ("no root", &|| checks.no_root()),
    ];
    let mut failed = false;
    for (name, check) in all {
        let begin = Instant::now();
        let result = check();
        let seconds = begin.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("{name}: ok ({seconds:.1} s)"),
            Err(error) => {
                failed = true;
                println!("{name}: FAILED after {seconds:.1} s: {error:#}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
