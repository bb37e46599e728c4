//! The unwinder is linked into the programs instead of loaded with them: scripts start them thousands of
//! times, and each shared library that need not be found and mapped is a tenth of the start.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let set =
        |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found.split(',').any(|v| v == value));
    if !set("CARGO_CFG_TARGET_OS", "linux")
        || !set("CARGO_CFG_TARGET_ENV", "gnu")
        || set("CARGO_CFG_TARGET_FEATURE", "crt-static")
        || std::env::var("TARGET") != std::env::var("HOST")
    {
        return;
    }
    // Without the static library the shared one is as good.
    let Ok(output) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else { return };
    let found = std::path::PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if let Some(directory) = found.parent().filter(|_| found.is_absolute()) {
        println!("cargo::rustc-link-search=native={}", directory.display());
        println!("cargo::rustc-link-lib=static:+whole-archive,-bundle=gcc_eh");
    }
}
