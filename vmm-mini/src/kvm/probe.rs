//! Whether `/dev/kvm` can really run an ordinary 64-bit guest.
//!
//! Opening the device and asking for capabilities proves nothing: some hosts offer a KVM that runs only
//! guests made for it, or interprets a guest's kernel instruction by instruction. So a small guest does what
//! every kernel does: it switches to long mode, reads processor features and model-specific registers, uses
//! a 16-byte compare-and-exchange and vector registers, counts long enough to tell running from interpreting,
//! and goes to user mode and back. It reports each stage at a port; all of it takes a processor well below a
//! millisecond, and it is cut off after [`TIME_LIMIT`] of processor time.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use kvm_ioctls::VcpuExit;
use vm_memory::{Bytes, GuestAddress};

use super::cpuid::{self, Place};
use super::kick::{self, Kick, Kickable};
use super::machine::Machine;
use super::registers;
use super::vcpu;
use crate::boot::Entry;
use crate::error::Error;
use crate::memory;

/// Processor time that the guest is given. On a busy host more time may pass, up to [`PATIENCE`] times this.
pub const TIME_LIMIT: Duration = Duration::from_millis(100);
/// After so many time limits a guest that does not even get processor time is given up.
const PATIENCE: u32 = 10;

/// Why KVM cannot be used on this host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The machine could not even be built.
    #[error("KVM cannot build a machine")]
    Setup(#[from] Error),
    /// The guest did not get through.
    #[error("KVM cannot run an ordinary 64-bit guest: while the test guest {doing}, {what}")]
    Guest {
        /// What the guest was doing.
        doing: &'static str,
        /// What happened.
        what: String,
    },
    /// The guest was too slow.
    #[error(
        "KVM is too slow to run guests: the test guest {doing} and had not finished after {TIME_LIMIT:?}"
    )]
    Slow {
        /// What the guest was doing.
        doing: &'static str,
    },
}

const MEMORY: u64 = 1 << 20;
const GDT: u64 = 0x800;
const PAGE_TABLES: u64 = 0x1000;
const CODE: u64 = 0x8000;
const PORT: u16 = 0xf4;

/// What the guest does after it has reported a stage, by the stage's number.
const DOING: [&str; 4] = [
    "switched to long mode",
    "used processor features of every kernel",
    "counted",
    "went to user mode and back",
];
/// The stage after which nothing is left to do.
const LAST_STAGE: u8 = 4;

/// The guest, position-dependent at [`CODE`]; begins in 32-bit protected mode without paging.
#[rustfmt::skip]
const GUEST: [u8; 186] = [
    0x0f, 0x20, 0xe0,                               // 8000 mov eax, cr4
    0x0d, 0x20, 0x06, 0x00, 0x00,                   // 8003 or eax, PAE | OSFXSR | OSXMMEXCPT
    0x0f, 0x22, 0xe0,                               // 8008 mov cr4, eax
    0xb8, 0x00, 0x10, 0x00, 0x00,                   // 800b mov eax, PAGE_TABLES
    0x0f, 0x22, 0xd8,                               // 8010 mov cr3, eax
    0xb9, 0x80, 0x00, 0x00, 0xc0,                   // 8013 mov ecx, EFER
    0x0f, 0x32,                                     // 8018 rdmsr
    0x0d, 0x01, 0x01, 0x00, 0x00,                   // 801a or eax, LME | SCE
    0x0f, 0x30,                                     // 801f wrmsr
    0x0f, 0x20, 0xc0,                               // 8021 mov eax, cr0
    0x0d, 0x02, 0x00, 0x00, 0x80,                   // 8024 or eax, PG | MP
    0x0f, 0x22, 0xc0,                               // 8029 mov cr0, eax
    0xea, 0x33, 0x80, 0x00, 0x00, 0x10, 0x00,       // 802c jmp far 0x10:0x8033, into 64-bit code
    0xb0, 0x01, 0xe6, 0xf4,                         // 8033 stage 1
    0x31, 0xc0,                                     // 8037 xor eax, eax
    0x0f, 0xa2,                                     // 8039 cpuid
    0xb9, 0x10, 0x00, 0x00, 0x00,                   // 803b mov ecx, TSC
    0x0f, 0x32,                                     // 8040 rdmsr
    0x0f, 0x01, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00, // 8042 sgdt [0x5000]
    0x48, 0x8d, 0x2c, 0x25, 0x10, 0x50, 0x00, 0x00, // 804a lea rbp, [0x5010]
    0xf0, 0x48, 0x0f, 0xc7, 0x4d, 0x00,             // 8052 lock cmpxchg16b [rbp]
    0x0f, 0x10, 0x45, 0x00,                         // 8058 movups xmm0, [rbp]
    0x66, 0x0f, 0xef, 0xc0,                         // 805c pxor xmm0, xmm0
    0x0f, 0xae, 0x04, 0x25, 0x00, 0x52, 0x00, 0x00, // 8060 fxsave [0x5200]
    0x0f, 0x01, 0xf8,                               // 8068 swapgs
    0xb0, 0x02, 0xe6, 0xf4,                         // 806b stage 2
    0xb9, 0x40, 0x0d, 0x03, 0x00,                   // 806f mov ecx, 200000
    0xff, 0xc9,                                     // 8074 dec ecx
    0x75, 0xfc,                                     // 8076 jnz 8074
    0xb0, 0x03, 0xe6, 0xf4,                         // 8078 stage 3
    0xb9, 0x81, 0x00, 0x00, 0xc0,                   // 807c mov ecx, STAR
    0x31, 0xc0,                                     // 8081 xor eax, eax
    0xba, 0x10, 0x00, 0x1b, 0x00,                   // 8083 mov edx, user 0x1b, kernel 0x10
    0x0f, 0x30,                                     // 8088 wrmsr
    0xb9, 0x82, 0x00, 0x00, 0xc0,                   // 808a mov ecx, LSTAR
    0xb8, 0xb3, 0x80, 0x00, 0x00,                   // 808f mov eax, 80b3
    0x31, 0xd2,                                     // 8094 xor edx, edx
    0x0f, 0x30,                                     // 8096 wrmsr
    0xb9, 0x84, 0x00, 0x00, 0xc0,                   // 8098 mov ecx, SFMASK
    0x31, 0xc0,                                     // 809d xor eax, eax
    0x0f, 0x30,                                     // 809f wrmsr
    0xb9, 0xaf, 0x80, 0x00, 0x00,                   // 80a1 mov ecx, 80af
    0x41, 0xbb, 0x02, 0x00, 0x00, 0x00,             // 80a6 mov r11d, 2
    0x48, 0x0f, 0x07,                               // 80ac sysretq
    0x0f, 0x05,                                     // 80af syscall, in user mode
    0x0f, 0x0b,                                     // 80b1 ud2
    0xb0, 0x04, 0xe6, 0xf4,                         // 80b3 stage 4
    0xf4,                                           // 80b7 hlt
    0xeb, 0xfd,                                     // 80b8 jmp 80b7
];

/// Descriptor table and page tables: 64-bit code at 0x10, and the first two megabytes for kernel and user.
fn tables() -> [(u64, u64); 4] {
    const PRESENT_WRITABLE_USER: u64 = 7;
    const LARGE: u64 = 1 << 7;
    const CODE64: u64 = 0x00af_9b00_0000_ffff;
    [
        (GDT + 0x10, CODE64),
        (PAGE_TABLES, (PAGE_TABLES + 0x1000) | PRESENT_WRITABLE_USER),
        (PAGE_TABLES + 0x1000, (PAGE_TABLES + 0x2000) | PRESENT_WRITABLE_USER),
        (PAGE_TABLES + 0x2000, LARGE | PRESENT_WRITABLE_USER),
    ]
}

/// Runs the test guest.
///
/// # Errors
/// When KVM cannot be used here; the error says why.
pub fn probe() -> Result<(), Unusable> {
    let memory = memory::allocate(MEMORY)?;
    let place = Error::place("the test guest");
    let placed = tables()
        .iter()
        .try_for_each(|(at, entry)| memory.write_obj(*entry, GuestAddress(*at)))
        .and_then(|()| memory.write_slice(&GUEST, GuestAddress(CODE)));
    placed.map_err(place)?;
    let machine = Machine::new(memory.clone())?;
    let vcpu = machine.create_vcpu(0)?;
    let topology = Place { id: 0, count: 1, tsc_deadline: machine.tsc_deadline() };
    let features = cpuid::table(machine.supported_cpuid(), topology)?;
    vcpu.set_cpuid2(&features).map_err(Error::kvm("set processor features"))?;
    registers::enter(&vcpu, &memory, Entry::Pvh { address: CODE })?;
    registers::set_descriptor_table(&vcpu, GDT)?;
    kick::install_handler()?;
    let kick = Kick::default();
    let mut vcpu = Kickable::new(vcpu, kick.clone());
    // The watchdog ends when this side of the channel does.
    let (done, watchdog) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while watchdog.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                kick.kick();
            }
        });
        let verdict = run(&mut vcpu);
        drop(done);
        verdict
    })
}

/// What an internal error of KVM means here: nothing that the guest does needs emulation on a processor that
/// runs it.
fn interpreted(vcpu: &mut Kickable) -> String {
    let error = vcpu::internal_error(vcpu);
    format!("KVM tried to interpret its instructions instead of running them ({error})")
}

/// Processor time of this thread, the guest's included.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

fn run(vcpu: &mut Kickable) -> Result<(), Unusable> {
    let begin = processor_time();
    let mut kicks = 0;
    let mut stage = 0;
    loop {
        let doing = DOING.get(usize::from(stage)).copied().unwrap_or_default();
        match vcpu.fd().run() {
            Ok(VcpuExit::IoOut(PORT, &[next])) if next == stage + 1 => stage = next,
            Ok(VcpuExit::IoOut(..)) => {
                return Err(Unusable::Guest { doing, what: "it went astray".to_owned() });
            }
            Ok(VcpuExit::Shutdown) => {
                return Err(Unusable::Guest { doing, what: "its processor faulted".to_owned() });
            }
            Ok(VcpuExit::InternalError) => {
                return Err(Unusable::Guest { doing, what: interpreted(vcpu) });
            }
            Ok(VcpuExit::Intr) => {}
            Ok(other) => return Err(Unusable::Guest { doing, what: format!("KVM reported {other:?}") }),
            Err(error) if error.errno() == libc::EINTR => {
                vcpu.clear();
                kicks += 1;
                // A little less than the limit, because the clock began before the guest did.
                if kicks >= PATIENCE || processor_time().saturating_sub(begin) >= TIME_LIMIT * 9 / 10 {
                    return Err(Unusable::Slow { doing });
                }
            }
            Err(error) => {
                let error = std::io::Error::from_raw_os_error(error.errno());
                return Err(Unusable::Guest { doing, what: format!("KVM failed: {error}") });
            }
        }
        if stage == LAST_STAGE {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_in_time_whatever_the_host_is() {
        let begin = std::time::Instant::now();
        let verdict = probe();
        // Generous against a loaded machine: what must not happen is a probe that hangs.
        assert!(begin.elapsed() < TIME_LIMIT * 50, "{verdict:?}");
        if !std::path::Path::new("/dev/kvm").exists() {
            assert!(matches!(verdict, Err(Unusable::Setup(Error::OpenKvm(_)))), "{verdict:?}");
        }
    }
}
