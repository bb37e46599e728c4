//! `img` beside `qemu-img`, and `nbd` beside `nbdinfo` and `nbddump`: the same command lines in twin directories, and everything compared.
//!
//! A table of cases is text. `== name` begins a case; `! command` prepares both directories with the real
//! programs, and `!! command` prepares them for every case that begins below it (until the next such line; a
//! bare `!!` ends it); every other line is run by the shell in both, once with the real programs and once with ours
//! under the same names, and must give the same exit status, output, messages and images. A line
//! `~ WHAT: reason` after a command says that WHAT (status, stdout, stderr, images) differs on purpose; it is
//! an error if it does not differ after all, so the list of differences stays true. `~? WHAT: reason` is for
//! what differs only on some systems.

mod images;
mod table;
mod text;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context, Result, ensure};

use crate::programs::program;
use images::Images;
use table::{Case, Step};

/// How many cases run at the same time.
const WORKERS: usize = 4;

/// Runs all cases of a table.
///
/// # Errors
/// With a report of everything that differs.
pub fn compare(table: &str) -> Result<()> {
    let cases = table::parse(table)?;
    ensure!(!cases.is_empty(), "The table has no cases");
    let peers = Peers::new()?;
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = peers.run(case).unwrap_or_else(|e| format!("{e:#}\n"));
                    if !found.is_empty() {
                        let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        report.push(format!("== {}\n{found}", case.name));
                    }
                }
            });
        }
    });
    let report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(report.is_empty(), "{} of {} cases differ\n{}", report.len(), cases.len(), report.join("\n"));
    Ok(())
}

/// Our programs, in a directory where they have the names of the real ones.
struct Peers {
    directory: tempfile::TempDir,
    ours: PathBuf,
    /// What was prepared once, by the command that did it: many cases begin alike.
    prepared: Mutex<HashMap<String, Arc<OnceLock<PathBuf>>>>,
}

impl Peers {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let ours = directory.path().to_owned();
        let img = program("img");
        std::os::unix::fs::symlink(&img, ours.join("qemu-img"))?;
        // Whoever needs it finds out that it is not built.
        for name in ["nbdinfo", "nbddump"] {
            std::os::unix::fs::symlink(img.with_file_name("nbd"), ours.join(name))?;
        }
        Ok(Peers { directory, ours, prepared: Mutex::default() })
    }

    /// Lets `command` prepare the two empty directories: once, and from then on its result is copied.
    fn prepare(&self, command: &str, directories: [&Path; 2]) -> Result<()> {
        let slot = {
            let mut prepared = self.prepared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(prepared.entry(command.to_owned()).or_default())
        };
        if slot.get().is_none() {
            // Two cases may do the same work at the same time: the first one to finish is kept.
            let directory = tempfile::Builder::new().tempdir_in(self.directory.path())?.keep();
            checked(&directory, command)?;
            let _ = slot.set(directory);
        }
        let from = slot.get().context("What was prepared is gone")?;
        let from = from.join(".");
        for directory in directories {
            let status = Command::new("cp").arg("-a").arg(&from).arg(directory).status()?;
            ensure!(status.success(), "Cannot copy {} to {}", from.display(), directory.display());
        }
        Ok(())
    }

    /// Everything that differs in one case; nothing if all is as it should be.
    fn run(&self, case: &Case) -> Result<String> {
        let root = tempfile::tempdir()?;
        let (real, ours) = (root.path().join("real"), root.path().join("ours"));
        std::fs::create_dir(&real)?;
        std::fs::create_dir(&ours)?;
        let mut report = String::new();
        let mut seen = (Images::look(&real)?, Images::look(&ours)?);
        for (index, step) in case.steps.iter().enumerate() {
            if step.prepare {
                // Where absolute paths are written down nothing can be copied.
                if index == 0 && !step.command.contains("$PWD") {
                    self.prepare(&step.command, [&real, &ours])?;
                } else {
                    checked(&real, &step.command)?;
                    checked(&ours, &step.command)?;
                }
                seen = (Images::look(&real)?, Images::look(&ours)?);
                continue;
            }
            let expected = shell(&real, &step.command, None)?;
            let found = shell(&ours, &step.command, Some(&self.ours))?;
            let mut differences = output_differences(&real, &expected, &ours, &found);
            let now = (Images::look(&real)?, Images::look(&ours)?);
            if let Some(text) = images::difference(&seen, &now)? {
                differences.push(("images", text));
            }
            seen = now;
            judge(step, differences, &mut report);
        }
        Ok(report)
    }
}

/// Runs a command of the real programs that must succeed.
fn checked(directory: &Path, command: &str) -> Result<()> {
    let output = shell(directory, command, None)?;
    ensure!(output.status.success(), "{command} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn shell(directory: &Path, command: &str, first_in_path: Option<&Path>) -> Result<Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = first_in_path.map_or(path.clone(), |first| format!("{}:{path}", first.display()));
    // Nothing here takes long; who hangs should not keep everybody waiting.
    let mut shell = Command::new("timeout");
    shell
        .args(["-s", "KILL", "120", "bash", "-c", command])
        .current_dir(directory)
        .env("PATH", path)
        .env("TZ", "UTC");
    // An inherited pipe would keep whoever reads it waiting.
    shell.stdin(std::process::Stdio::null());
    shell.output().with_context(|| format!("Cannot run {command}"))
}

fn output_differences(
    real: &Path,
    expected: &Output,
    ours: &Path,
    found: &Output,
) -> Vec<(&'static str, String)> {
    let mut list = Vec::new();
    let mut add = |what, expected: String, found: String| {
        if expected != found {
            let (expected, found) = text::differing_lines(&expected, &found);
            list.push((what, format!("    expected: {expected}\n    found:    {found}\n")));
        }
    };
    let both = |bytes: &[u8], directory| text::normal(bytes, directory);
    add("status", format!("{:?}", expected.status.code()), format!("{:?}", found.status.code()));
    add("stdout", both(&expected.stdout, real), both(&found.stdout, ours));
    add("stderr", both(&expected.stderr, real), both(&found.stderr, ours));
    list
}

/// Sets what differs against what may differ.
fn judge(step: &Step, differences: Vec<(&'static str, String)>, report: &mut String) {
    let unknown: Vec<_> = differences.iter().filter(|(what, _)| !step.allows(what)).collect();
    let missing = step.must_differ().filter(|what| differences.iter().all(|(found, _)| found != what));
    let missing: Vec<_> = missing.collect();
    if unknown.is_empty() && missing.is_empty() {
        return;
    }
    // Writing into a string cannot fail.
    let _ = writeln!(report, "  $ {}", step.command);
    for (what, text) in unknown {
        let _ = write!(report, "  {what}:\n{text}");
    }
    for what in missing {
        let _ = writeln!(report, "  {what} does not differ any more: remove the line that allows it");
    }
}
