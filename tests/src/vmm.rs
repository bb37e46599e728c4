//! What the tests of `vmm-mini` put into its guests and expect of them; shared by the program that runs the
//! guests and the test that prepares them.

use anyhow::Result;

use crate::nested::{Kernel, PRELUDE, Tree};

/// Command line of every guest: little output, since every byte leaves the guest, and no slow self-tests.
/// No `reboot=`: a kernel finds its way without.
pub const CMDLINE: &str = "console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check tsc=reliable random.trust_cpu=1 \
                           mitigations=off nokaslr audit=0 nowatchdog cryptomgr.notests 8250.nr_uarts=1 \
                           ipv6.disable=1 rdinit=/init";

/// Bytes of each test disk.
pub const DISK_SIZE: u64 = 16 << 20;
/// Where a guest writes 32 bytes.
pub const WRITTEN_AT: u64 = 5 << 20;

/// The first line of the disk called `name`.
#[must_use]
pub fn pattern_text(name: &str) -> String {
    format!("this is disk {name}")
}

/// Does what `check=` on the kernel command line says, prints `name=value` lines, and ends the machine.
const INIT: &str = r#"
check=$(sed 's/.*check=\([^ ]*\).*/\1/' /proc/cmdline)
echo "cpus=$(nproc)"
disks() {
  for d in /sys/block/vd*; do
    [ -e $d ] || continue
    n=$(cat $d/serial); v=/dev/${d##*/}
    echo "size.$n=$(cat $d/size)"
    echo "read-only.$n=$(cat $d/ro)"
    echo "read.$n=$(head -n 1 $v)"
    [ $(cat $d/ro) = 1 ] || printf '%-31s\n' "written to $n" | dd of=$v bs=32 seek=163840 conv=notrunc 2>/dev/null
  done
  sync
}
# What a kernel says that finds fault with its machine.
complaints() {
  dmesg | grep -iE 'bug:|firmware bug|bios bug|acpi.*(error|warning|exception|invalid)|unable to|call trace|not responding|timed out|can.t reserve' >/tmp/complaints
  cat /tmp/complaints; echo "complaints=$(wc -l </tmp/complaints)"
}
case $check in
devices)
  disks
  for f in /sys/class/virtio-ports/*/name; do
    case $(cat $f) in org.diskwright.test) p=/dev/$(basename ${f%/name});; esac
  done
  exec 3<>$p; read line <&3; echo "guest heard $line" >&3; exec 3>&-
  echo "random=$(head -c 32 /dev/hwrng | wc -c)"
  echo "messages=$(awk '/MSI/ && $2 > 0' /proc/interrupts | wc -l)"
  complaints
  poweroff -f;;
processors-reboot)
  echo "cores=$(grep 'core id' /proc/cpuinfo | sort -u | wc -l)"
  complaints
  reboot -f;;
panic)
  echo "memory=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)"
  echo c >/proc/sysrq-trigger;;
wait)
  echo "waiting=1"; sleep 1000;;
command)
  disks; poweroff -f;;
esac
echo "the check '$check' fell through"; poweroff -f
"#;

/// The initramfs of the guests.
///
/// # Errors
/// When busybox or a module is missing.
pub fn initrd(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    tree.busybox()?;
    let modules = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "pvpanic_mmio"];
    tree.modules(kernel, &modules)?;
    tree.bytes("/init", format!("{PRELUDE}{INIT}").as_bytes(), 0o755);
    Ok(tree.finish())
}
