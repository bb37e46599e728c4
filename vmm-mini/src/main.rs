//! `vmm-mini`: runs a virtual machine from the command line.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use libimage::format::Format;
use libimage::open::{Image, OpenOptions};
use vmm_mini::virtio::blk::{Blk, BlkConfig};
use vmm_mini::virtio::rng::Rng;
use vmm_mini::{Config, Exit, Vm};

/// Runs small virtual machines with KVM.
#[derive(Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status of `run`:
   0  the guest powered off, or the machine was stopped by a signal
   1  the machine could not be built or run
   2  the command line is wrong
  10  the guest reset the machine
  11  the guest's kernel panicked
  12  the guest's processor gave up (triple fault)
Exit status of `probe`: 0 if KVM can run guests here, else 1.";

#[derive(Subcommand)]
enum Command {
    /// Boot a kernel; its first serial port is standard input and output
    Run(Run),
    /// Say whether KVM can really run guests on this host
    Probe,
}

#[derive(clap::Args)]
struct Run {
    /// Kernel: an ELF vmlinux or a bzImage
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Kernel command line
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0 panic=-1")]
    append: String,
    /// Guest memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u64,
    /// Processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u8,
    /// A disk: FILE[,format=FORMAT][,serial=TEXT][,ro]; a comma in the name is doubled. May be repeated
    #[arg(long, value_name = "DISK")]
    disk: Vec<DiskSpec>,
    /// Leave the entropy device out
    #[arg(long)]
    no_rng: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DiskSpec {
    file: String,
    format: Option<String>,
    serial: String,
    read_only: bool,
}

impl std::str::FromStr for DiskSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        // A doubled comma stands for itself, so it is hidden while the text is taken apart.
        let hidden = text.replace(",,", "\0");
        let mut parts = hidden.split(',').map(|part| part.replace('\0', ","));
        let file = parts.next().unwrap_or_default();
        if file.is_empty() {
            return Err("The name of the disk's file is missing".to_owned());
        }
        let mut spec = DiskSpec { file, format: None, serial: String::new(), read_only: false };
        for part in parts {
            match part.split_once('=') {
                Some(("format", value)) => spec.format = Some(value.to_owned()),
                Some(("serial", value)) => spec.serial = value.to_owned(),
                None if part == "ro" => spec.read_only = true,
                _ => return Err(format!("Unknown disk option '{part}'; there are format=, serial= and ro")),
            }
        }
        Ok(spec)
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Probe => probe(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("vmm-mini: {error:#}");
        ExitCode::FAILURE
    })
}

fn probe() -> Result<ExitCode> {
    vmm_mini::kvm::probe()?;
    println!("KVM can run guests on this host");
    Ok(ExitCode::SUCCESS)
}

fn open_disk(spec: &DiskSpec) -> Result<(Arc<dyn libimage::Block>, Blk)> {
    let format = spec.format.as_deref().map(Format::by_name).transpose()?;
    let options = OpenOptions { format, read_only: spec.read_only, ..OpenOptions::default() };
    let block = Image::open(&spec.file, options)?.block();
    let config = BlkConfig { serial: spec.serial.clone(), read_only: spec.read_only, ..BlkConfig::default() };
    let disk =
        Blk::new(config, Some(block.clone())).with_context(|| format!("Cannot use disk '{}'", spec.file))?;
    Ok((block, disk))
}

fn run(arguments: Run) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("Cannot handle signals")?;
    }
    // A host that only seems to have KVM says so at once, and not after seconds of a guest that crawls.
    vmm_mini::kvm::probe()?;
    let mut config = Config::new(arguments.kernel);
    config.initrd = arguments.initrd;
    config.cmdline = arguments.append;
    config.memory_mib = arguments.memory;
    config.vcpus = arguments.cpus;
    config.serial = Some(Box::new(io::stdout()));
    let mut disks = Vec::new();
    for spec in &arguments.disk {
        let (block, disk) = open_disk(spec)?;
        disks.push((spec, block));
        config.devices.push(Arc::new(disk));
    }
    if !arguments.no_rng {
        config.devices.push(Arc::new(Rng::default()));
    }
    let vm = Arc::new(Vm::new(config)?);
    feed_serial(&vm);
    vm.run();
    let exit = loop {
        if let Some(exit) = vm.wait_timeout(Duration::from_millis(100)) {
            break exit;
        }
        if stop.load(Ordering::Relaxed) {
            vm.stop();
        }
    };
    vm.stop();
    for (spec, block) in disks.iter().filter(|(spec, _)| !spec.read_only) {
        block.flush().with_context(|| format!("Cannot make the last writes to '{}' durable", spec.file))?;
    }
    report(exit)
}

fn report(exit: Exit) -> Result<ExitCode> {
    Ok(match exit {
        Exit::PowerOff | Exit::Stopped => ExitCode::SUCCESS,
        Exit::Reset => ExitCode::from(10),
        Exit::Panic(reason) => {
            eprintln!(
                "vmm-mini: The guest's kernel panicked: {}",
                reason.as_deref().unwrap_or("no reason given")
            );
            ExitCode::from(11)
        }
        Exit::TripleFault => {
            eprintln!("vmm-mini: The guest's processor gave up (triple fault)");
            ExitCode::from(12)
        }
        Exit::Failed(what) => bail!("KVM could not go on: {what}"),
        other => bail!("The machine ended in an unknown way: {other:?}"),
    })
}

/// Types standard input into the serial port. The thread ends with the input, or with the process.
fn feed_serial(vm: &Arc<Vm>) {
    let vm = Arc::downgrade(vm);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
            let mut input = buffer.get(..count).unwrap_or_default();
            while !input.is_empty() {
                let Some(vm) = vm.upgrade() else { return };
                let taken = vm.serial_input(input);
                input = input.get(taken..).unwrap_or_default();
                if taken == 0 {
                    // The guest has not read its FIFO yet.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_described_by_name_and_options() {
        let spec = |text: &str| text.parse::<DiskSpec>();
        let plain = DiskSpec { file: "a".into(), format: None, serial: String::new(), read_only: false };
        assert_eq!(spec("a"), Ok(plain.clone()));
        assert_eq!(
            spec("a,,b,format=qcow2,ro,serial=x"),
            Ok(DiskSpec {
                file: "a,b".into(),
                format: Some("qcow2".into()),
                serial: "x".into(),
                read_only: true
            })
        );
        assert!(spec("").is_err());
        assert!(spec("a,rw").is_err());
        assert!(spec("a,size=3").is_err());
    }
}
