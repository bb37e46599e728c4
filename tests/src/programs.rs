//! The programs of this workspace, as users run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program of this workspace: it lies where `make build` puts it, beside the tests of the same profile.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test.ancestors().nth(2).expect("tests lie in PROFILE/deps").to_owned();
    let path = profile.join(name);
    assert!(path.is_file(), "'{}' is not built: run 'make build'", path.display());
    path
}

/// Runs a program of this workspace to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    run_in(Path::new("."), name, arguments)
}

/// The same in a directory.
///
/// # Panics
/// When it cannot be started.
pub fn run_in(directory: &Path, name: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program(name)).args(arguments).current_dir(directory).output();
    output.unwrap_or_else(|e| panic!("{name} does not start: {e}"))
}

/// Standard output of a program that must succeed.
///
/// # Panics
/// When it does not; with what it said.
pub fn output_of(name: &str, arguments: &[&str]) -> String {
    checked(name, arguments, run(name, arguments))
}

/// Standard output of a program of the system that must succeed.
///
/// # Panics
/// When it is not installed or fails.
pub fn peer(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{name} is needed by this test (make deps): {e}"));
    checked(name, arguments, output)
}

fn checked(name: &str, arguments: &[&str], output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap_or_else(|_| panic!("{name} printed something that is not text"))
}
