//! A look behind the scenes, for whoever works on the appliance.

mod probes;

use crate::task::Input;
use crate::worker::Worker;
use guestd_api::actions::debug::{InternalMountLocalOptions, Server};
use guestd_api::{Failure, GuestString};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// The most lines and letters that a test message may have.
const MAX_SPEW: usize = 1 << 20;

type Command = fn(&Worker, &[GuestString]) -> Result<GuestString, Failure>;

/// The commands by name.
const COMMANDS: &[(&str, Command)] = &[
    ("help", |_, _| Ok(help())),
    ("bmap", Worker::read_mapped),
    ("bmap_device", Worker::map_device),
    ("bmap_file", Worker::map_file),
    ("core_pattern", Worker::core_pattern),
    ("device_speed", Worker::device_speed),
    ("env", |worker, _| Ok(worker.environment())),
    ("error", |_, words| Err(Failure::new("a".repeat(count("error", "length of error message", words)?)))),
    ("fds", |_, _| descriptors()),
    ("ldd", Worker::libraries),
    ("ls", |worker, words| worker.list("-a", words)),
    ("ll", |worker, words| worker.list("-la", words)),
    ("print", |_, words| {
        // The console is the log of the machine.
        let text: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let _ = writeln!(io::stderr(), "{}", text.join(" "));
        Ok("ok".into())
    }),
    ("progress", Worker::show_progress),
    ("qtrace", Worker::mark_trace),
    // What the host makes of an agent that dies can be seen so.
    ("segv", |_, _| std::process::abort()),
    ("setenv", Worker::set_variable),
    ("sh", Worker::own_shell),
    ("spew", |_, words| {
        let lines = count("spew", "number of lines <n>", words)?;
        for line in 0..lines {
            let _ = writeln!(io::stderr(), "line {line}");
        }
        Ok("ok".into())
    }),
];

fn help() -> GuestString {
    let names: Vec<_> = COMMANDS.iter().map(|(name, _)| *name).collect();
    format!("Commands supported: {}", names.join(" ")).into()
}

/// What the agent has open.
fn descriptors() -> Result<GuestString, Failure> {
    let entries = std::fs::read_dir("/proc/self/fd").map_err(|e| Failure::io("/proc/self/fd", &e))?;
    let mut open: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, std::fs::read_link(entry.path()).ok()?))
        })
        .collect();
    open.sort_unstable();
    let lines = open.iter().map(|(number, place)| format!("{number:2} {}\n", place.display()));
    Ok(lines.collect::<String>().into())
}

/// The one number that a command takes.
fn count(command: &str, what: &str, words: &[GuestString]) -> Result<usize, Failure> {
    let number = match words {
        [word] => word.to_str().and_then(|word| word.parse().ok()).filter(|number| *number <= MAX_SPEW),
        _ => None,
    };
    number.ok_or_else(|| Failure::new(format!("{command}: expecting one arg: {what}")))
}

/// So many arguments as a command takes.
fn exactly<const N: usize>(words: &[GuestString]) -> Option<&[GuestString; N]> {
    words.try_into().ok()
}

impl Worker {
    /// The agent's own variables, and those that `setenv` has set.
    fn environment(&self) -> GuestString {
        let mut text = Vec::new();
        for (name, value) in std::env::vars_os().chain(self.agent.session.environment().clone()) {
            text.extend_from_slice(name.as_encoded_bytes());
            text.push(b'=');
            text.extend_from_slice(value.as_encoded_bytes());
            text.push(b'\n');
        }
        text.into()
    }

    /// Lists a directory of the appliance.
    fn list(&self, options: &str, words: &[GuestString]) -> Result<GuestString, Failure> {
        let [directory] = words else { return Err(Failure::new("ls: expecting a directory")) };
        Ok(self.tool("ls")?.arg(options).arg("--").arg(directory.as_os_str()).run()?.into())
    }

    /// Runs a command of the appliance itself.
    fn own_shell(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        if words.is_empty() {
            return Err(Failure::new("sh: expecting a command to run"));
        }
        let mut line = OsString::new();
        for word in words {
            line.push(word.as_os_str());
            line.push(" ");
        }
        let text = self.tool("sh")?.arg("-c").arg(line).run()?;
        Ok(self.agent.disks.shown_text(text.strip_suffix(b"\n").unwrap_or(&text)).into())
    }

    /// Reports progress for some seconds.
    fn show_progress(&self, words: &[GuestString]) -> Result<GuestString, Failure> {
        let seconds = count("progress", "seconds", words)?;
        let total = (seconds as u64).saturating_mul(10);
        for tenth in 1..=total {
            self.task.check()?;
            std::thread::sleep(std::time::Duration::from_millis(100));
            self.task.progress(tenth, total);
        }
        Ok("ok".into())
    }

    /// The place in the appliance's /tmp that a name stands for.
    fn place_in_tmp(&self, name: &GuestString) -> Result<PathBuf, Failure> {
        let refuse = || {
            Failure::new(format!("{name}: only /tmp of the appliance can be written"))
                .with_errno(libc::EACCES)
        };
        let path = Path::new(name.as_os_str());
        let path = path.strip_prefix("/tmp").unwrap_or(path);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.as_os_str().is_empty() || name.as_bytes().contains(&0) {
            return Err(refuse());
        }
        Ok(self.agent.tools.root()?.join("tmp").join(path))
    }
}

impl Server for Worker {
    fn debug(&self, subcmd: GuestString, extraargs: Vec<GuestString>) -> Result<GuestString, Failure> {
        match COMMANDS.iter().find(|(name, _)| subcmd == **name) {
            Some((_, run)) => run(self, &extraargs),
            None => Err(Failure::new("use 'debug help 0' to list the supported commands")),
        }
    }

    fn debug_upload(&self, mut filename: Input, tmpname: GuestString, mode: i32) -> Result<(), Failure> {
        let mode = u32::try_from(mode)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| Failure::new(format!("{mode}: not a mode of a file")))?;
        let place = self.place_in_tmp(&tmpname)?;
        let failed = |e: io::Error| Failure::io(&tmpname, &e);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY).open(place).map_err(failed)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match filename.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => file.write_all(buffer.get(..length).unwrap_or_default()).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn internal_exit(&self) -> Result<(), Failure> {
        if std::process::id() == 1 {
            // A kernel without its first process panics; the host shall see an end and not a crash.
            crate::init::switch_off();
        }
        std::process::exit(0)
    }

    fn internal_mount_local(&self, opts: InternalMountLocalOptions) -> Result<(), Failure> {
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        let shown = crate::fuse::Shown {
            uid: number(opts.uid),
            gid: number(opts.gid),
            umask: number(opts.umask).unwrap_or(0),
            seconds: number(opts.seconds).map(u64::from),
        };
        crate::fuse::start(&self.agent, shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(count("x", "y", &["12".into()]).ok(), Some(12));
        for words in [&[][..], &["x".into()], &["99999999".into()], &["1".into(), "2".into()]] {
            assert!(count("x", "y", words).is_err());
        }
    }
}
