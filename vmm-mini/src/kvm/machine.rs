//! One KVM virtual machine: its memory slots, interrupt controllers, timer and limits.

use std::io;
use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use crate::boot::layout;
use crate::error::{Error, Result};
use crate::virtio::device::GuestMemory;

/// A virtual machine as KVM knows it.
pub struct Machine {
    vm: Arc<VmFd>,
    supported: CpuId,
    tsc_deadline: bool,
    max_vcpus: usize,
    // Declared last: the slots point into it, and fields are dropped in order.
    _memory: GuestMemory,
}

impl Machine {
    /// Creates the machine around `memory`, with the interrupt controllers and the timer in the kernel.
    ///
    /// # Errors
    /// When `/dev/kvm` cannot be opened or lacks something.
    pub fn new(memory: GuestMemory) -> Result<Machine> {
        let kvm = Kvm::new().map_err(|error| Error::OpenKvm(io::Error::from_raw_os_error(error.errno())))?;
        for (cap, name) in [
            (Cap::Irqchip, "in-kernel interrupt controllers"),
            (Cap::Irqfd, "irqfd"),
            (Cap::Ioeventfd, "ioeventfd"),
            (Cap::IrqRouting, "interrupt routing"),
            (Cap::ImmediateExit, "immediate exit"),
            (Cap::Pit2, "the interval timer"),
        ] {
            if !kvm.check_extension(cap) {
                return Err(Error::Config(format!("this host's KVM has no {name}")));
            }
        }
        let supported =
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(Error::kvm("list processor features"))?;
        let vm = kvm.create_vm().map_err(Error::kvm("create a virtual machine"))?;
        let identity = layout::KVM_IDENTITY_MAP;
        vm.set_identity_map_address(identity).map_err(Error::kvm("place its identity map"))?;
        let tss = usize::try_from(layout::KVM_TSS).unwrap_or(usize::MAX);
        vm.set_tss_address(tss).map_err(Error::kvm("place its task segment"))?;
        vm.create_irq_chip().map_err(Error::kvm("create interrupt controllers"))?;
        let timer = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
        vm.create_pit2(timer).map_err(Error::kvm("create the interval timer"))?;
        map(&vm, &memory)?;
        Ok(Machine {
            vm: Arc::new(vm),
            supported,
            tsc_deadline: kvm.check_extension(Cap::TscDeadlineTimer),
            max_vcpus: kvm.get_max_vcpus(),
            _memory: memory,
        })
    }

    /// The machine's handle, for interrupts and doorbells.
    #[must_use]
    pub fn vm(&self) -> &Arc<VmFd> {
        &self.vm
    }

    /// Processor features that this host's KVM supports.
    #[must_use]
    pub fn supported_cpuid(&self) -> &CpuId {
        &self.supported
    }

    /// Whether the local APIC timer knows the TSC-deadline mode.
    #[must_use]
    pub fn tsc_deadline(&self) -> bool {
        self.tsc_deadline
    }

    /// Most vCPUs that this host allows.
    #[must_use]
    pub fn max_vcpus(&self) -> usize {
        self.max_vcpus
    }

    /// Creates vCPU `id`, which is also its APIC id.
    ///
    /// # Errors
    /// When KVM refuses.
    pub fn create_vcpu(&self, id: u8) -> Result<VcpuFd> {
        self.vm.create_vcpu(id.into()).map_err(Error::kvm("create a vCPU"))
    }
}

fn map(vm: &VmFd, memory: &GuestMemory) -> Result<()> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let address = region
            .get_host_address(vm_memory::MemoryRegionAddress(0))
            .map_err(|error| Error::Place { what: "RAM", source: io::Error::other(error) })?;
        let area = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: address as u64,
        };
        // SAFETY: the area is a mapping of exactly that length, and `Machine` keeps it alive (a clone of the
        // reference-counted memory) longer than the last use of the VM's own handle; vCPUs are joined first.
        unsafe { vm.set_user_memory_region(area) }.map_err(Error::kvm("map guest memory"))?;
    }
    Ok(())
}
