//! `appliance`: builds the machine that works on guests, and tells about it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use appliance_engine::build::{self, Appliance};
use appliance_engine::launch;
use clap::{Parser, Subcommand};
use cli::progress::Steps;
use libimage::units::human;

/// Build and examine the appliance: the small machine in which guest file systems are mounted.
#[derive(Parser)]
#[command(name = "appliance", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the appliance from the distribution's packages, unless the cache holds it already
    Build {
        /// Make it anew even if nothing changed
        #[arg(long)]
        force: bool,
    },
    /// Tell which appliance would be used, and what is in it
    Info,
    /// Tell which back-end would run it here, and why
    Probe,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Build { force } => build(force),
        Command::Info => info(),
        Command::Probe => probe(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("appliance: {}", cli::error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn build(force: bool) -> Result<()> {
    let steps = Steps::new();
    let appliance = build::build(force, &steps).context("The appliance cannot be built")?;
    steps.finish();
    print(&appliance);
    Ok(())
}

fn info() -> Result<()> {
    print(&Appliance::installed()?);
    Ok(())
}

/// Asks each back-end; the first that works is the one that is used.
fn probe() -> Result<()> {
    let mut chosen = None;
    for (name, answer) in launch::back_ends() {
        let verdict = match &answer {
            Ok(()) => "usable".to_owned(),
            Err(why) => format!("not usable: {why}"),
        };
        println!("{name}:  {verdict}");
        if answer.is_ok() && chosen.is_none() {
            chosen = Some(name);
        }
    }
    match chosen {
        Some(name) => println!("auto: {name}"),
        None => anyhow::bail!("no back-end works here"),
    }
    Ok(())
}

fn print(appliance: &Appliance) {
    println!("appliance: {} ({})", appliance.directory.display(), human(appliance.size()));
    println!("kernels:   {} (uml), {} (kvm, tcg)", appliance.uml_release, appliance.pc_release);
    let report = &appliance.root_report;
    println!("tools:     {} programs and libraries", report.files);
    if !report.dropped.is_empty() {
        println!("left out:  {}", report.dropped.join(", "));
    }
}
