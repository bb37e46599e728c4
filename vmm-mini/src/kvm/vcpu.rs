//! A vCPU's thread: into the guest, out again, and what the guest wanted.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use kvm_bindings::{KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::kick::{Kick, Kickable};
use crate::bus::Bus;
use crate::error::{Error, Result};
use crate::lifecycle::{Exit, Lifecycle};
use crate::virtio::device::GuestMemory;

/// The two buses of a machine.
pub struct Buses {
    /// Ports.
    pub ports: Bus,
    /// Memory-mapped registers.
    pub mmio: Bus,
}

/// What a vCPU thread needs.
pub struct Context {
    /// Whether to run.
    pub lifecycle: Arc<Lifecycle>,
    /// Where its accesses go.
    pub buses: Arc<Buses>,
    /// Keeps guest memory mapped as long as the thread may enter the guest.
    pub memory: GuestMemory,
}

/// Starts the thread of vCPU `id`; it waits until the machine is released.
///
/// # Errors
/// When the thread cannot be created.
pub fn spawn(id: u8, fd: VcpuFd, context: Context) -> Result<JoinHandle<()>> {
    let kick = Kick::default();
    context.lifecycle.join(kick.clone());
    std::thread::Builder::new()
        .name(format!("vcpu{id}"))
        .spawn(move || {
            let mut vcpu = Kickable::new(fd, kick);
            while context.lifecycle.may_run() {
                if let Some(exit) = visit(&mut vcpu, &context.buses) {
                    context.lifecycle.finish(exit);
                }
            }
            drop(vcpu);
            drop(context.memory);
        })
        .map_err(Error::system("start a vCPU thread"))
}

/// Stays in the guest until somebody kicks, or until the guest ends the machine.
fn visit(vcpu: &mut Kickable, buses: &Buses) -> Option<Exit> {
    let failed = |text: String| Some(Exit::Failed(text));
    let exit = match vcpu.fd().run() {
        Ok(VcpuExit::IoIn(port, data)) => {
            buses.ports.read(port.into(), data);
            return None;
        }
        Ok(VcpuExit::IoOut(port, data)) => {
            buses.ports.write(port.into(), data);
            return None;
        }
        Ok(VcpuExit::MmioRead(address, data)) => {
            buses.mmio.read(address, data);
            return None;
        }
        Ok(VcpuExit::MmioWrite(address, data)) => {
            buses.mmio.write(address, data);
            return None;
        }
        Ok(VcpuExit::Intr | VcpuExit::IrqWindowOpen) => return None,
        Ok(VcpuExit::Shutdown) => return Some(Exit::TripleFault),
        Ok(VcpuExit::SystemEvent(event, _)) => {
            return match event {
                KVM_SYSTEM_EVENT_SHUTDOWN => Some(Exit::PowerOff),
                KVM_SYSTEM_EVENT_RESET => Some(Exit::Reset),
                KVM_SYSTEM_EVENT_CRASH => Some(Exit::Panic(None)),
                other => failed(format!("unknown system event {other}")),
            };
        }
        Ok(VcpuExit::FailEntry(reason, cpu)) => {
            return failed(format!(
                "the processor refused the guest's state (reason {reason:#x}, CPU {cpu})"
            ));
        }
        Ok(VcpuExit::InternalError) => None,
        Ok(other) => Some(format!("unexpected exit {other:?}")),
        Err(error) => {
            let error = io::Error::from_raw_os_error(error.errno());
            if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) {
                vcpu.clear();
                return None;
            }
            Some(format!("running a vCPU failed: {error}"))
        }
    };
    let text = exit.unwrap_or_else(|| internal_error(vcpu));
    failed(format!("{text}{}", place(vcpu)))
}

/// KVM's internal error, with its kind and data: mostly an instruction it cannot emulate.
pub(super) fn internal_error(vcpu: &mut Kickable) -> String {
    const KINDS: [&str; 5] =
        ["", "emulation failed", "simultaneous exceptions", "delivery of an event failed", "unexpected exit"];
    // SAFETY: the exit reason was KVM_EXIT_INTERNAL_ERROR, for which this member of the union is valid.
    let internal = unsafe { vcpu.fd().get_kvm_run().__bindgen_anon_1.internal };
    let kind = usize::try_from(internal.suberror).ok().and_then(|kind| KINDS.get(kind)).unwrap_or(&"");
    let count = usize::try_from(internal.ndata).unwrap_or(0).min(internal.data.len());
    let data = internal.data.get(..count).unwrap_or_default();
    format!("KVM internal error {} {kind} (data {data:x?})", internal.suberror)
}

/// Where the guest was.
fn place(vcpu: &mut Kickable) -> String {
    match (vcpu.fd().get_regs(), vcpu.fd().get_sregs()) {
        (Ok(regs), Ok(sregs)) => format!(
            " at rip {:#x}, rsp {:#x}, cr0 {:#x}, cr2 {:#x}, cr3 {:#x}, cr4 {:#x}, efer {:#x}",
            regs.rip, regs.rsp, sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer
        ),
        _ => String::new(),
    }
}
