//! The same image twice: mounted by the kernel over a loop device, and by guestmount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use system_tests::programs;

/// A mounted directory; taken off when this is dropped.
pub(crate) struct Mounted {
    pub(crate) point: PathBuf,
    ours: bool,
    is_on: bool,
}

impl Mounted {
    /// The kernel's own mount of an image.
    pub(crate) fn by_kernel(image: &Path, point: PathBuf, options: &str) -> Mounted {
        fs::create_dir_all(&point).unwrap();
        sh(&format!("mount -o loop,nosuid,nodev,{options} {} {}", image.display(), point.display()));
        Mounted { point, ours: false, is_on: true }
    }

    /// Ours, with more words for guestmount.
    pub(crate) fn by_us(image: &Path, point: PathBuf, words: &[&str]) -> Mounted {
        fs::create_dir_all(&point).unwrap();
        let mut command = Command::new(programs::program("guestmount"));
        command.arg("-a").arg(image).args(["-m", "/dev/sda", "-o", "allow_other"]).args(words).arg(&point);
        run(&mut command);
        Mounted { point, ours: true, is_on: true }
    }

    /// What somebody else has mounted, and takes off.
    pub(crate) fn there(point: PathBuf) -> Mounted {
        Mounted { point, ours: true, is_on: true }
    }

    /// Somebody else has taken it off.
    pub(crate) fn was_taken_off(mut self) {
        self.is_on = false;
    }

    /// Takes it off; with ours everything is in the image then.
    pub(crate) fn take_off(mut self) {
        self.is_on = false;
        if self.ours {
            run(Command::new(programs::program("guestunmount")).arg(&self.point));
        } else {
            sh(&format!("umount {}", self.point.display()));
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_on {
            // A test that failed leaves nothing mounted.
            let _ = Command::new("umount").arg("-l").arg(&self.point).stderr(Stdio::null()).status();
        }
    }
}

/// Runs a program that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a line of the shell that must succeed; what it prints.
pub(crate) fn sh(line: &str) -> String {
    let output = run(Command::new("bash").args(["-ec", line]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A new image of a file system, and a copy of it.
pub(crate) fn images(directory: &Path, mkfs: &str, mib: u64) -> [PathBuf; 2] {
    let [a, b] = ["kernel.img", "ours.img"].map(|name| directory.join(name));
    sh(&format!(
        "truncate -s {mib}M {0}; {mkfs} {0} >/dev/null; cp --sparse=always {0} {1}",
        a.display(),
        b.display()
    ));
    [a, b]
}
