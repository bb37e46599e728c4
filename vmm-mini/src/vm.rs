//! A virtual machine: built from a [`Config`], run, stopped, and gone without a trace when it is dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::boot::{self, acpi, layout};
use crate::bus::{Bus, BusDevice};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::kvm::cpuid::{self, Place};
use crate::kvm::interrupts::Interrupts;
use crate::kvm::machine::Machine;
use crate::kvm::vcpu::{self, Buses, Context};
use crate::kvm::{kick, registers};
use crate::legacy::console::{Recorder, Tail};
use crate::legacy::i8042::I8042;
use crate::legacy::power::{PanicPort, ResetRegister, SleepRegisters};
use crate::legacy::serial::SerialPort;
use crate::lifecycle::{Exit, Lifecycle};
use crate::memory;
use crate::virtio::transport::pci::platform::Platform;
use crate::virtio::transport::pci::root::{AddressPort, DataPort, MemoryWindow, PciRoot};

/// A machine. Dropping it stops the guest, ends every thread and resets the devices.
pub struct Vm {
    lifecycle: Arc<Lifecycle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    serial: Arc<SerialPort>,
    tail: Tail,
    pci: Arc<PciRoot>,
    // After everything that uses it: fields are dropped in order.
    _machine: Machine,
}

impl Vm {
    /// Builds the machine and loads the kernel; nothing runs yet.
    ///
    /// # Errors
    /// When KVM, the configuration or a file does not allow it; the error says what to do.
    pub fn new(config: Config) -> Result<Vm> {
        let bytes = config.check(usize::from(acpi::MAX_PROCESSORS))?;
        let memory = memory::allocate(bytes)?;
        let machine = Machine::new(memory.clone())?;
        config.check(machine.max_vcpus())?;
        kick::install_handler()?;

        let rsdp = boot::place_firmware(&memory, config.vcpus)?;
        let request = boot::Request {
            kernel: &config.kernel,
            initrd: config.initrd.as_deref(),
            cmdline: &config.cmdline,
            rsdp: Some(rsdp),
            memory_bytes: bytes,
        };
        let entry = boot::load(&memory, &request)?;

        let lifecycle = Arc::new(Lifecycle::default());
        let platform: Arc<dyn Platform> = Arc::new(Interrupts::new(machine.vm().clone()));
        let pci =
            PciRoot::new(&config.devices, &memory, &platform).map_err(Error::system("plug a device in"))?;
        let pci = Arc::new(pci);
        let tail = Tail::default();
        let irq = EventFd::new(EFD_NONBLOCK).map_err(Error::system("create an event"))?;
        machine.vm().register_irqfd(&irq, layout::SERIAL_IRQ).map_err(Error::kvm("wire the serial port"))?;
        let serial = Arc::new(SerialPort::new(irq, Recorder::new(tail.clone(), config.serial)));
        let buses = Arc::new(buses(&lifecycle, &pci, &serial)?);

        let mut vcpus = Vec::new();
        for id in 0..config.vcpus {
            let fd = machine.create_vcpu(id)?;
            let place = Place { id, count: config.vcpus, tsc_deadline: machine.tsc_deadline() };
            let table = cpuid::table(machine.supported_cpuid(), place)?;
            fd.set_cpuid2(&table).map_err(Error::kvm("set processor features"))?;
            registers::firmware_state(&fd, id == 0)?;
            if id == 0 {
                registers::enter(&fd, &memory, entry)?;
            }
            vcpus.push((id, fd));
        }
        let vm = Vm { lifecycle, threads: Mutex::default(), serial, tail, pci, _machine: machine };
        for (id, fd) in vcpus {
            let context =
                Context { lifecycle: vm.lifecycle.clone(), buses: buses.clone(), memory: memory.clone() };
            let thread = vcpu::spawn(id, fd, context)?;
            vm.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(vm)
    }

    /// Starts the guest; it runs in threads of its own.
    pub fn run(&self) {
        self.lifecycle.release();
    }

    /// Ends the guest at once, as if its power were cut, and waits until its processors and devices have
    /// stopped. A guest that has ended by itself stays ended as it did; its devices are stopped too.
    pub fn stop(&self) {
        self.lifecycle.finish(Exit::Stopped);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A vCPU thread that panicked has nothing more to say; the machine is over either way.
            let _ = thread.join();
        }
        self.pci.unplug();
    }

    /// Waits until the guest has ended.
    #[must_use]
    pub fn wait(&self) -> Exit {
        loop {
            if let Some(exit) = self.ended(None) {
                return exit;
            }
        }
    }

    /// Waits until the guest has ended, but not longer than `timeout`.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Exit> {
        self.ended(Instant::now().checked_add(timeout))
    }

    fn ended(&self, deadline: Option<Instant>) -> Option<Exit> {
        let exit = self.lifecycle.wait(deadline)?;
        // A kernel that panics resets the machine or faults, as it was told; what it printed says more.
        Some(match exit {
            Exit::Reset | Exit::TripleFault | Exit::Panic(None) => match self.tail.panic_reason() {
                Some(reason) => Exit::Panic(Some(reason)),
                None => exit,
            },
            other => other,
        })
    }

    /// Types into the serial port; returns how many bytes it took, less than all when its FIFO is full.
    pub fn serial_input(&self, input: &[u8]) -> usize {
        self.serial.type_in(input)
    }

    /// The end of what the guest printed on the serial port, for error messages.
    #[must_use]
    pub fn console_tail(&self) -> String {
        self.tail.text()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.stop();
    }
}

fn buses(lifecycle: &Arc<Lifecycle>, pci: &Arc<PciRoot>, serial: &Arc<SerialPort>) -> Result<Buses> {
    let mut ports = Bus::default();
    let devices: [(u16, u16, Arc<dyn BusDevice>); 7] = [
        (layout::SERIAL_PORT, 8, serial.clone()),
        (layout::I8042_PORT, 5, Arc::new(I8042(lifecycle.clone()))),
        (layout::PVPANIC_PORT, 1, Arc::new(PanicPort(lifecycle.clone()))),
        (layout::SLEEP_PORT, 2, Arc::new(SleepRegisters(lifecycle.clone()))),
        (layout::PCI_ADDRESS_PORT, 1, Arc::new(AddressPort(pci.clone()))),
        (layout::RESET_PORT, 1, Arc::new(ResetRegister(lifecycle.clone()))),
        (layout::PCI_DATA_PORT, 4, Arc::new(DataPort(pci.clone()))),
    ];
    let clash = || Error::Config("two devices claim the same address".to_owned());
    for (port, length, device) in devices {
        let start = u64::from(port);
        if !ports.add(start..start + u64::from(length), device) {
            return Err(clash());
        }
    }
    let mut mmio = Bus::default();
    if !mmio.add(layout::PCI_WINDOW, Arc::new(MemoryWindow(pci.clone()))) {
        return Err(clash());
    }
    Ok(Buses { ports, mmio })
}
