//! Finds the programs of this workspace, built as the tests themselves are built.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

/// The program of package and name `name`, brought up to date if it is not.
///
/// # Errors
/// When it cannot be built.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    // Test programs lie in `deps`, beside the directory that holds them is where programs go.
    let own = std::env::current_exe().context("Cannot find the test program's own path")?;
    let directory = own.parent().and_then(|deps| deps.parent()).context("The test program lies nowhere")?;
    let path = directory.join(name);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !built.iter().any(|known| known == name) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        ensure!(cargo.status().context("Cannot run cargo")?.success(), "Cannot build '{name}'");
        built.push(name.to_owned());
    }
    Ok(path)
}
