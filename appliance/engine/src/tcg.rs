//! The `tcg` back-end: QEMU's system emulator, without KVM.
//!
//! It runs anywhere QEMU does and any kernel at all, ten times slower than the others. Disks are ours over
//! vhost-user; the port and the network device are QEMU's own, with sockets of ours behind them.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use vmm_mini::virtio::device::VirtioDevice;
use vmm_mini::virtio::net::MTU;
use vmm_mini::virtio::transport::vhost_user::Server;

use crate::backend::{Backend, GUEST_MAC, LaunchError, LaunchSpec, Machine};
use crate::devices::Disks;
use crate::log::KernelLog;
use crate::ports::Ports;
use crate::process::{Process, at_end, inherited, open};
use crate::sandbox::{Child, Program};

/// Without a BIOS's devices there is less to look for.
const MACHINE: &str = "q35,smm=off,hpet=off,usb=off,sata=off,smbus=off,vmport=off,memory-backend=ram";
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// What times or probes hardware that is not there costs time, and so does code that runs once: every piece
/// of it is translated first. A fifth level of page tables, for more memory than there ever is here, makes each of
/// their walks longer; and to patch the kernel for a single processor takes longer than it saves.
const CMDLINE: &str = "console=ttyS0 panic=-1 quiet loglevel=1 mitigations=off nokaslr random.trust_cpu=1 \
                       no_timer_check no5lvl noreplace-smp tsc=reliable 8250.nr_uarts=1 cryptomgr.notests \
                       ipv6.disable=1 rdinit=/init";
/// What the kernel does not set up. First what nobody asks for here: tracing, signatures that no module has, a
/// self-test, the keyboard, the clock as a device (the time is read from it all the same), encrypted keys, statistics of
/// the allocator. Then what BPF programs might call, TCP's usual congestion control among it (Reno stays): whoever of
/// those is first reads the kernel's type information.
const LEFT_OUT: [&str; 14] = [
    "init_kprobe_trace",
    "init_blk_tracer",
    "load_system_certificate_list",
    "crypto_kdf108_init",
    "i8042_init",
    "cmos_init",
    "init_encrypted",
    "slab_sysfs_init",
    "bpf_rstat_kfunc_init",
    "bpf_key_sig_kfuncs_init",
    "kfunc_init",
    "bpf_prog_test_run_init",
    "bpf_tcp_ca_kfunc_init",
    "cubictcp_register",
];
/// What a single processor can do without: its own timer, which takes a tenth of a second to understand, and
/// ACPI, whose interpreter takes a tenth of the whole start. Without ACPI only a restart ends the machine.
const ONE_CPU: &str = " nolapic_timer acpi=off reboot=t diskwright.end=restart";
/// What QEMU itself needs beside the guest's memory.
const OWN_MEMORY: u64 = 64 << 20;

/// QEMU with one kernel.
#[derive(Debug, Clone)]
pub struct Tcg {
    qemu: PathBuf,
    kernel: PathBuf,
}

impl Tcg {
    /// Uses `qemu`, a `qemu-system-x86_64`, and `kernel`: an ELF vmlinux with a PVH note, which boots
    /// soonest, or a bzImage.
    pub fn new(qemu: impl Into<PathBuf>, kernel: impl Into<PathBuf>) -> Self {
        Tcg { qemu: qemu.into(), kernel: kernel.into() }
    }
}

impl Backend for Tcg {
    fn name(&self) -> &'static str {
        "tcg"
    }

    fn launch(&self, spec: LaunchSpec) -> Result<Box<dyn Machine>, LaunchError> {
        let file = open("QEMU", &self.qemu)?;
        let kernel = open("the kernel", &self.kernel)?;
        let initrd = open("the initial root file system", &spec.initrd)?;
        let disks = Disks::new(spec.disks, spec.spare_slots)?;
        let port = |source| LaunchError::Device { what: "the agent's port".into(), source };
        let (ports, theirs) = Ports::new().map_err(port)?;

        let memory = format!("memory-backend-memfd,id=ram,size={}M,share=on", spec.memory_mib);
        let mut arguments = Arguments::default();
        arguments.option("-M", MACHINE);
        arguments.option("-object", memory);
        arguments.option("-m", spec.memory_mib.to_string());
        arguments.option("-smp", spec.cpus.max(1).to_string());
        // Processors that run at the same time make some QEMUs abort when the memory map changes under them
        // (`iotlb_to_section`): several take turns.
        let threads = if spec.cpus > 1 { "single" } else { "multi" };
        arguments.option("-accel", format!("tcg,thread={threads},tb-size=256"));
        arguments.option("-cpu", "max");
        for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            arguments.0.push(flag.into());
        }
        arguments.option("-display", "none");
        arguments.option("-serial", "stdio");
        arguments.option("-sandbox", SANDBOX);
        arguments.option("-kernel", inherited(&kernel));
        arguments.option("-initrd", inherited(&initrd));
        let extra: String = spec.cmdline.iter().map(|word| format!(" {word}")).collect();
        let fewer = if spec.cpus <= 1 { ONE_CPU } else { "" };
        arguments
            .option("-append", format!("{CMDLINE} initcall_blacklist={}{fewer}{extra}", LEFT_OUT.join(",")));

        let mut keep = vec![kernel, initrd];
        let mut servers = Vec::new();
        for (number, device) in disks.devices.iter().enumerate() {
            let what = || format!("virtio device {number}");
            let failed = |source| LaunchError::Device { what: what(), source };
            let (ours, theirs) = UnixStream::pair().map_err(failed)?;
            arguments.socket(&format!("disk{number}"), &theirs);
            let options = format!("vhost-user-blk-pci,chardev=disk{number},num-queues=1,disable-legacy=on");
            arguments.option("-device", options);
            keep.push(OwnedFd::from(theirs));
            let device = Arc::clone(device) as Arc<dyn VirtioDevice>;
            servers.push(Server::serve(format!("vhost-{number}"), ours, device).map_err(failed)?);
        }
        arguments.option("-device", "virtio-serial-pci,disable-legacy=on");
        for (number, (name, stream)) in theirs.into_iter().enumerate() {
            arguments.socket(&format!("port{number}"), &stream);
            arguments.option("-device", format!("virtserialport,chardev=port{number},name={name}"));
            keep.push(OwnedFd::from(stream));
        }
        if let Some(stream) = spec.network {
            arguments.option("-netdev", format!("socket,id=net,fd={}", stream.as_raw_fd()));
            let mac = GUEST_MAC.map(|byte| format!("{byte:02x}")).join(":");
            // Without a ROM to boot from.
            let device =
                format!("virtio-net-pci,netdev=net,mac={mac},host_mtu={MTU},romfile=,disable-legacy=on");
            arguments.option("-device", device);
            keep.push(OwnedFd::from(stream));
        }

        let failed = |source| LaunchError::Process { program: "QEMU", source };
        let (log, output) = io::pipe().map_err(failed)?;
        let (log, reader) = KernelLog::collect(log, spec.console).map_err(failed)?;
        // Guest memory is a memfd, which needs no room in any file system.
        let program = Program {
            file,
            name: "qemu-system-x86_64".into(),
            keep,
            output: output.into(),
            memory: OWN_MEMORY,
            one_processor: false,
        };
        let at_end = at_end(servers, reader, log.clone());
        let child = Child::spawn(program, move |_| arguments.0.clone(), at_end).map_err(failed)?;
        Ok(Box::new(Process { child, ports, disks, log }))
    }
}

/// A command line in the making.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([name.into(), value.into()]);
    }

    /// A socket that QEMU inherits under its number.
    fn socket(&mut self, id: &str, stream: &UnixStream) {
        self.option("-chardev", format!("socket,id={id},fd={}", stream.as_raw_fd()));
    }
}
