//! From an installed appliance to a running one: chooses the back-end, attaches the disks, and waits for
//! the agent's first answer.

use std::env;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guestd_api::{Actions, Call, Context, Value};
use libimage::Block;
use libimage::format::raw::Raw;
use libimage::storage::{FileOptions, FileStorage};
use libimage::volume;

use crate::backend::{Backend, Died, Drive, LaunchError, LaunchSpec, LogSink, Machine};
use crate::build::{self, Appliance};
use crate::kvm::Kvm;
use crate::network::{self, Passt};
use crate::rpc::{Client, exchange_memory};
use crate::tcg::Tcg;
use crate::uml::Uml;

use vmm_mini::kvm::probe::Unusable;

/// Serial number of the disk with the tools.
const ROOT_SERIAL: &str = "dw-root";
/// Disks that can be added while the appliance runs.
const SPARE_SLOTS: usize = 4;
/// How long a dying machine may take to say its last words.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a machine may take to power off by itself.
const SHUTDOWN: Duration = Duration::from_secs(600);

/// Which back-end to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The best that works here.
    #[default]
    Auto,
    /// A virtual machine on KVM.
    Kvm,
    /// User-Mode Linux.
    Uml,
    /// A virtual machine emulated by QEMU.
    Tcg,
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Choice::Auto),
            "kvm" => Ok(Choice::Kvm),
            "uml" => Ok(Choice::Uml),
            "tcg" => Ok(Choice::Tcg),
            _ => Err(Error::Choice(format!("There is no back-end '{text}': it is auto, kvm, uml or tcg"))),
        }
    }
}

impl Choice {
    /// What `$DISKWRIGHT_BACKEND` says, or [`Choice::Auto`].
    ///
    /// # Errors
    /// When it says something else than a back-end's name.
    pub fn from_environment() -> Result<Self, Error> {
        env::var("DISKWRIGHT_BACKEND").map_or(Ok(Choice::Auto), |name| name.parse())
    }
}

/// How the appliance is run.
pub struct Settings {
    /// The back-end.
    pub choice: Choice,
    /// The program of the `tcg` back-end, if not the one that is installed.
    pub hypervisor: Option<PathBuf>,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Processors, where the back-end can have more than one.
    pub cpus: u8,
    /// The guest reaches what this user can reach over the network. Needs passt.
    pub network: bool,
    /// Words for the kernel's command line.
    pub append: Vec<String>,
    /// Where the kernel's messages go.
    pub console: Option<LogSink>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            choice: Choice::Auto,
            hypervisor: None,
            memory_mib: 512,
            cpus: 1,
            network: false,
            append: Vec::new(),
            console: None,
        }
    }
}

/// A disk to boot the appliance with.
pub struct Disk {
    /// Its contents.
    pub block: Arc<dyn Block>,
    /// The guest may not write.
    pub read_only: bool,
    /// Logical block size: 512 or 4096.
    pub block_size: u32,
}

/// Something that the user may want to know about how a guest is served.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// A better way does not work here, and another is used instead.
    Fallback(&'a str),
    /// All is as it should be; for the curious.
    Detail(&'a str),
}

/// Why there is no running appliance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The wish cannot be met.
    #[error("{0}")]
    Choice(String),
    /// The appliance is not there or damaged.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// A disk could not be opened.
    #[error(transparent)]
    Image(#[from] libimage::Error),
    /// The machine could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It was to have a network, and there is none.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// It ended before it answered.
    #[error(transparent)]
    Died(#[from] Died),
    /// It does not answer.
    #[error("The appliance ({backend}) does not answer")]
    Silent {
        /// Which back-end.
        backend: &'static str,
        /// What was tried.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A running appliance. Dropping it cuts its power; [`Running::shut_down`] is the gentle way.
pub struct Running {
    backend: &'static str,
    client: Client,
    mount_port: UnixStream,
    exchange: Arc<dyn Block>,
    machine: Mutex<Box<dyn Machine>>,
    /// After the machine, which uses it.
    _network: Option<Passt>,
}

/// Boots the appliance with `disks`. `notice` is told, in a line, which back-end runs
/// it, and why none better.
///
/// # Errors
/// When no back-end works here, or the machine does not come up. Nothing keeps running then.
pub fn launch(disks: Vec<Disk>, settings: Settings, notice: &dyn Fn(Notice<'_>)) -> Result<Running, Error> {
    let appliance = Appliance::installed()?;
    let backend = choose(settings.choice, settings.hypervisor, &appliance, notice)?;
    if backend.name() == "uml" && settings.cpus > 1 {
        let cpus = settings.cpus;
        notice(Notice::Detail(&format!(
            "User-Mode Linux has one processor: it runs without the {cpus} asked for"
        )));
    }
    let initrd = if backend.name() == "uml" { appliance.uml_initrd() } else { appliance.pc_initrd() };
    let raid6 = disks.iter().any(|disk| may_hold_raid6(&disk.block));
    let named = |(index, disk): (usize, Disk)| Drive {
        read_only: disk.read_only || disk.block.is_read_only(),
        block: disk.block,
        serial: format!("dw-{index}"),
        block_size: disk.block_size,
    };
    let mut drives: Vec<Drive> = disks.into_iter().enumerate().map(named).collect();
    let exchange = exchange_memory();
    drives.push(Drive {
        block: Arc::clone(&exchange),
        serial: guestd_api::exchange::SERIAL.to_owned(),
        read_only: false,
        block_size: 512,
    });
    drives.push(Drive {
        block: root_disk(&appliance)?,
        serial: ROOT_SERIAL.to_owned(),
        read_only: true,
        block_size: 512,
    });
    let network = settings.network.then(Passt::start).transpose()?;
    let (frames, passt) = network.unzip();
    let spec = LaunchSpec {
        initrd,
        cmdline: settings.append,
        memory_mib: settings.memory_mib,
        cpus: settings.cpus,
        disks: drives,
        spare_slots: SPARE_SLOTS,
        network: frames,
        raid6,
        console: settings.console,
    };
    let mut machine = backend.launch(spec)?;
    let silent = |e: io::Error| Error::Silent { backend: backend.name(), source: e.into() };
    let (stream, mount_port) = (machine.rpc().map_err(silent)?, machine.mount_port().map_err(silent)?);
    match Client::with_exchange(stream, Arc::clone(&exchange)) {
        Ok(client) => {
            let machine = Mutex::new(machine);
            let backend = backend.name();
            Ok(Running { backend, client, mount_port, exchange, machine, _network: passt })
        }
        Err(error) => {
            // If it died, how it died says more than that it does not answer.
            machine.wait(LAST_WORDS);
            Err(match Died::of(backend.name(), &*machine) {
                Some(died) => died.into(),
                None => Error::Silent { backend: backend.name(), source: error.into() },
            })
        }
    }
}

/// The root image is shared by all machines: no lock, nobody ever writes to it.
fn root_disk(appliance: &Appliance) -> Result<Arc<dyn Block>, Error> {
    let options = FileOptions { read_only: true, force_share: true, ..FileOptions::default() };
    let storage = FileStorage::open(appliance.root_image(), options)?;
    Ok(Arc::new(Raw::new(Arc::new(storage))))
}

fn choose(
    choice: Choice,
    hypervisor: Option<PathBuf>,
    appliance: &Appliance,
    notice: &dyn Fn(Notice<'_>),
) -> Result<Box<dyn Backend>, Error> {
    let kvm = || Box::new(Kvm::new(appliance.pc_kernel())) as Box<dyn Backend>;
    let uml = || Box::new(Uml::new(appliance.uml_kernel())) as Box<dyn Backend>;
    let qemu = || hypervisor.clone().map_or_else(find_qemu, Ok);
    let tcg = || qemu().map(|qemu| Box::new(Tcg::new(qemu, appliance.pc_kernel())) as Box<dyn Backend>);
    match choice {
        Choice::Kvm => Ok(kvm()),
        Choice::Uml => uml_works().map(|()| uml()).map_err(Error::Choice),
        Choice::Tcg => tcg().map_err(Error::Choice),
        Choice::Auto => {
            let Err(no_kvm) = kvm_works() else {
                notice(Notice::Detail("KVM runs the appliance"));
                return Ok(kvm());
            };
            match uml_works() {
                Ok(()) => {
                    notice(Notice::Fallback(&format!(
                        "KVM is not used: {no_kvm}. User-Mode Linux runs the appliance"
                    )));
                    Ok(uml())
                }
                Err(no_uml) => {
                    let backend = tcg().map_err(|no_tcg| {
                        Error::Choice(format!(
                            "No back-end works here. kvm: {no_kvm}; uml: {no_uml}; tcg: {no_tcg}"
                        ))
                    })?;
                    notice(Notice::Fallback(&format!(
                        "KVM is not used: {no_kvm}; nor User-Mode Linux: {no_uml}. QEMU runs the appliance, slowly"
                    )));
                    Ok(backend)
                }
            }
        }
    }
}

/// Whether this host's KVM runs an ordinary kernel; if not, why. Asked once per boot of the host, because
/// asking takes a moment where the answer is no.
pub fn kvm_works() -> Result<(), String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = build::cache_dir().ok().map(|dir| dir.join(format!("kvm-{}", boot.trim())));
    const USABLE: &str = "usable";
    if let Some(answer) = known.as_ref().and_then(|path| fs::read_to_string(path).ok()) {
        return if answer == USABLE { Ok(()) } else { Err(answer) };
    }
    if !Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".to_owned());
    }
    let answer = vmm_mini::kvm::probe();
    // Missing permissions and a busy host may be different next time.
    let is_lasting = matches!(answer, Ok(()) | Err(Unusable::Guest { .. }));
    let answer = answer.map_err(|why| why.to_string());
    if let Some(path) = known.filter(|_| is_lasting) {
        // Without a place to write it down it is asked again next time.
        let _ = fs::write(path, answer.as_ref().map_or_else(String::as_str, |()| USABLE));
    }
    answer
}

/// Every back-end in order of preference, and whether it works here; if not, why.
pub fn back_ends() -> [(&'static str, Result<(), String>); 3] {
    [("kvm", kvm_works()), ("uml", uml_works()), ("tcg", find_qemu().map(drop))]
}

/// Whether User-Mode Linux can run here; if not, why.
fn uml_works() -> Result<(), String> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim() {
        "3" => Err("this system forbids ptrace (kernel.yama.ptrace_scope is 3)".to_owned()),
        _ => Ok(()),
    }
}

fn find_qemu() -> Result<PathBuf, String> {
    find_program("qemu-system-x86_64")
        .ok_or_else(|| "QEMU is not installed (package qemu-system-x86)".to_owned())
}

/// The program of that name, where programs are looked for.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// Could this disk make the kernel compute RAID-6 parity? It and its partitions are looked at; for what
/// lies deeper (in logical volumes, behind encryption) the agent refuses and names the remedy.
fn may_hold_raid6(disk: &Arc<dyn Block>) -> bool {
    // What cannot be read here will not be read there either.
    let table = volume::partitions(disk).ok().flatten();
    let starts = table.iter().flat_map(|t| &t.partitions).map(|p| p.start);
    starts.chain([0]).any(|at| btrfs_raid56(&**disk, at) || md_raid6(&**disk, at))
}

/// btrfs with profiles RAID5 or RAID6: bit 7 of the incompatible features.
fn btrfs_raid56(disk: &dyn Block, start: u64) -> bool {
    const SUPERBLOCK: u64 = 64 << 10;
    const FEATURES: usize = 0xbc;
    let mut superblock = [0; 0x100];
    let read = disk.read_at(&mut superblock, start.saturating_add(SUPERBLOCK));
    read.is_ok() && &superblock[0x40..0x48] == b"_BHRfS_M" && superblock[FEATURES] & 0x80 != 0
}

/// A member of an md array of level 6, metadata 1.1 or 1.2.
fn md_raid6(disk: &dyn Block, start: u64) -> bool {
    const MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
    [0, 4096].into_iter().any(|offset| {
        let mut superblock = [0; 256];
        let read = disk.read_at(&mut superblock, start.saturating_add(offset));
        read.is_ok() && superblock[..4] == MAGIC && superblock[72..76] == 6u32.to_le_bytes()
    })
}

impl Running {
    /// The back-end's name.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// Puts a disk into a spare slot, or takes it out.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn set_slot(&self, index: usize, block: Option<Arc<dyn Block>>) -> io::Result<()> {
        self.machine().set_slot(index, block)
    }

    /// The process that the machine runs in, when that is not this one.
    pub fn process_id(&self) -> Option<i32> {
        self.machine().process_id()
    }

    /// The port over which the agent serves a mount of the guest, once it was told to.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn mount_port(&self) -> io::Result<UnixStream> {
        self.mount_port.try_clone()
    }

    /// The exchange, whose slots belong to whoever serves mounts on the host ([`guestd_api::exchange`]).
    pub fn exchange(&self) -> Arc<dyn Block> {
        Arc::clone(&self.exchange)
    }

    /// What the guest's kernel has said.
    pub fn kernel_log(&self) -> String {
        self.machine().kernel_log()
    }

    /// Unmounts everything, powers the machine off and waits for that: all data is then in the disks.
    ///
    /// # Errors
    /// When the agent reports that not everything could be written.
    pub fn shut_down(self) -> guestd_api::Result<()> {
        // A mount on the host that nobody has taken off would keep the guest's file systems busy.
        let _ = self.mount_port.shutdown(Shutdown::Both);
        let done = self.client.shutdown(SHUTDOWN);
        self.machine().wait(SHUTDOWN);
        done.map_err(|error| self.explain(error))
    }

    fn machine(&self) -> std::sync::MutexGuard<'_, Box<dyn Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine that died says why the line is dead.
    fn explain(&self, error: guestd_api::Error) -> guestd_api::Error {
        if !matches!(error, guestd_api::Error::Disconnected(_)) {
            return error;
        }
        let machine = self.machine();
        machine.wait(LAST_WORDS);
        match Died::of(self.backend, &**machine) {
            Some(died) => guestd_api::Error::Disconnected(died.to_string()),
            None => error,
        }
    }
}

impl Actions for Running {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> guestd_api::Result<Value> {
        self.client.call(call, context).map_err(|error| self.explain(error))
    }
}
