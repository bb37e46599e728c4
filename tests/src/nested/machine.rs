//! One run of QEMU: the command line, the guest's output as it comes, its exit status and files.
//!
//! The guest has three ports: what it prints arrives on QEMU's standard output; its exit status, and an
//! archive of the files asked for, in files of the scratch directory.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::Outcome;

const QEMU: &str = "qemu-system-x86_64";
/// Directory of the guest's files in the scratch directory.
pub(super) const OUT: &str = "out";

/// The rest of `/init`: finds the ports, runs the script, reports.
pub(super) const INIT: &str = r#"
n=0
while [ $n -lt 500 ]; do
  for f in /sys/class/virtio-ports/*/name; do
    [ -e "$f" ] || continue
    read x <"$f"; d=${f%/name}; d=/dev/${d##*/}
    case $x in nested.output) O=$d;; nested.status) S=$d;; nested.files) F=$d;; esac
  done
  [ -n "$O" ] && [ -n "$S" ] && [ -n "$F" ] && break
  n=$((n+1)); usleep 10000
done
ip link set lo up
(cd /root; exec /bin/sh /.script </dev/null >$O 2>&1)
status=$?
cd /; set --
for f in $(cat /.fetch); do [ -e "$f" ] && set -- "$@" "$f"; done
[ $# -gt 0 ] && tar -cf $F "$@"
sync
echo "status=$status" >$S
poweroff -f
"#;

pub(super) struct Machine<'a> {
    pub(super) kernel: PathBuf,
    pub(super) initrd: &'a Path,
    pub(super) memory_mib: u32,
    pub(super) cpus: u32,
    pub(super) timeout: Duration,
    pub(super) scratch: TempDir,
}

/// A child that does not outlive its owner.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Either fails only when the child is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(machine: &Machine<'_>) -> Command {
    let path = |name: &str| machine.scratch.path().join(name).display().to_string();
    // A steady tick: the interpreter may forget an interrupt when its processor enters a guest of its own, and one
    // that comes again and again is not missed. Without it, such a machine now and then stood still for ever.
    let append = "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off nokaslr random.trust_cpu=1 no_timer_check \
                  tsc=reliable nohz=off highres=off 8250.nr_uarts=1 kvm_amd.nested=0 rdinit=/init";
    let mut command = Command::new(QEMU);
    command
        .args(["-M", "q35,smm=off,hpet=off,usb=off,sata=off,smbus=off,vmport=off"])
        .args(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"])
        .args(["-smp", &machine.cpus.to_string(), "-m", &machine.memory_mib.to_string()])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-serial", &format!("file:{}", path("console"))])
        .arg("-kernel")
        .arg(&machine.kernel)
        .arg("-initrd")
        .arg(machine.initrd)
        .args(["-append", append, "-device", "virtio-serial-pci,disable-legacy=on"])
        // Not `stdio`: that one counts as disconnected at the end of standard input, and the guest waits.
        .args(["-chardev", "file,id=output,path=/proc/self/fd/1"])
        .args(["-device", "virtserialport,chardev=output,name=nested.output"]);
    for name in ["status", "files"] {
        command
            .args(["-chardev", &format!("file,id={name},path={}", path(name))])
            .args(["-device", &format!("virtserialport,chardev={name},name=nested.{name}")]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(super) fn run(machine: Machine<'_>) -> Result<Outcome> {
    let mut child = Guarded(
        command(&machine)
            .spawn()
            .with_context(|| format!("Cannot run {QEMU}; the package qemu-system-x86 has it"))?,
    );
    let mut stdout = child.0.stdout.take().context("QEMU has no output")?;
    let (sender, chunks) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + machine.timeout;
    let mut output = Vec::new();
    loop {
        match chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => {
                // What a test prints is shown when it fails; that nobody reads it does not matter.
                print!("{}", String::from_utf8_lossy(&chunk));
                let _ = std::io::stdout().flush();
                output.extend(chunk);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("The guest has not finished after {:?}{}", machine.timeout, console(&machine));
            }
        }
    }
    // The reader has sent all it had, or its channel would not be closed.
    let _ = reader.join();
    let ended = child.0.wait().context("Cannot wait for QEMU")?;
    let mut complaint = String::new();
    if let Some(mut stderr) = child.0.stderr.take() {
        stderr.read_to_string(&mut complaint).unwrap_or_default();
    }
    let status = fs::read_to_string(machine.scratch.path().join("status")).unwrap_or_default();
    let status = status.lines().find_map(|line| line.strip_prefix("status=")?.trim().parse().ok());
    let Some(status) = status else {
        bail!("The guest ended without a result (QEMU: {ended} {}){}", complaint.trim(), console(&machine));
    };
    unpack(machine.scratch.path())?;
    Ok(Outcome { status, output: String::from_utf8_lossy(&output).into_owned(), files: machine.scratch })
}

/// The end of what the guest's kernel printed.
fn console(machine: &Machine<'_>) -> String {
    let text = fs::read(machine.scratch.path().join("console")).unwrap_or_default();
    let from = text.len().saturating_sub(3000);
    let tail = String::from_utf8_lossy(text.get(from..).unwrap_or_default()).replace('\r', "");
    format!("; its console ends with:\n{tail}")
}

fn unpack(scratch: &Path) -> Result<()> {
    let archive = scratch.join("files");
    let out = scratch.join(OUT);
    fs::create_dir(&out).context("Cannot make a directory")?;
    if fs::metadata(&archive).is_ok_and(|meta| meta.len() > 0) {
        let status = Command::new("tar").arg("-xmf").arg(&archive).arg("-C").arg(&out).status();
        if !status.context("Cannot run tar")?.success() {
            bail!("The guest's files cannot be unpacked");
        }
    }
    Ok(())
}
