//! Who uses an image that cannot be locked: what the system can tell.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Sentences that help whoever meets somebody else's lock, told by the words of the message; nothing for other
/// errors.
pub(crate) fn help(message: &str) -> Option<String> {
    let (_, file) = message.split_once("Is another process using the image [")?;
    let (file, _) = file.rsplit_once("]?")?;
    let holders = holders(Path::new(file));
    let who = match holders.len() {
        0 => "The system does not tell who uses it; it may be on another machine, or in another container"
            .to_owned(),
        _ => format!("It is used by {}", holders.join(", ")),
    };
    Some(format!("{who}. Looking at it all the same: -U, where the command has it"))
}

/// Processes that hold locks on the file, those that may be seen.
fn holders(file: &Path) -> Vec<String> {
    let Ok(wanted) = fs::metadata(file) else { return Vec::new() };
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    pids.filter(|pid| *pid != own && holds(*pid, &wanted))
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
            format!("process {pid} ({name})")
        })
        .collect()
}

/// The process has a lock on the file through one of its descriptors.
fn holds(pid: u32, wanted: &fs::Metadata) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.into_iter().any(|entry| {
        let same =
            fs::metadata(entry.path()).is_ok_and(|m| (m.dev(), m.ino()) == (wanted.dev(), wanted.ino()));
        let info = || {
            fs::read_to_string(
                Path::new("/proc").join(pid.to_string()).join("fdinfo").join(entry.file_name()),
            )
        };
        same && info().is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
    })
}
