//! `nbd fuse-image`: an image of any format as a raw file.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::getopt::{Name, Opt, opt, ours};

use super::Show;
use crate::arguments::{Command, HELP, Usage, VERSION, Words, string};
use crate::source::{CACHE, FORMAT, IMAGE_OPTS, OBJECT, READ_ONLY, Source};
use fuse::options::MountOptions;

/// Threads that answer the kernel.
const THREADS: usize = 8;
/// Whose file it is may use it.
const MODE: u32 = 0o600;

/// `nbd fuse-image`
pub(crate) const COMMAND: Command = Command {
    name: "fuse-image",
    peer: "",
    about: "Show an image as a raw file, for programs that know no other",
    operands: "IMAGE MOUNTPOINT[/FILE]",
    options: OPTIONS,
    operands_last: false,
    run,
};

const OPTIONS: &[Opt] = &[
    FORMAT,
    IMAGE_OPTS,
    OBJECT,
    CACHE,
    READ_ONLY,
    opt('o', "", "OPTIONS", "options of the mount: allow_other, uid=N, gid=N, umask=M, fsname=NAME, ..."),
    opt('P', "pid-file", "FILE", "write the number of the process when the file can be used"),
    opt('\0', "pidfile", "FILE", ""),
    ours("fork", "", "go to the background when the file can be used"),
    HELP,
    VERSION,
];

fn run(words: Words) -> Result<ExitCode> {
    let mut source = Source::default();
    // Nobody else writes to an image that is locked.
    let options = MountOptions { kernel_cache: true, ..MountOptions::default() };
    let mut show = Show { options, mode: MODE, pid_file: None, threads: THREADS, background: false };
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('o') => show.options.add(&string(value)?).map_err(|text| anyhow!(text))?,
            Name::Letter('P') | Name::Long("pidfile") => show.pid_file = Some(value.into()),
            Name::Long("fork") => show.background = true,
            _ => {
                source.option(name, value)?;
            }
        }
        Ok(())
    })?;
    let [image, point] = &operands[..] else {
        return Err(Usage::error(&COMMAND, "Expecting one image file name and one mount point"));
    };
    source.read_only |= show.options.read_only;
    show.options.read_only = source.read_only;
    if show.options.umask != 0 {
        show.mode = 0o666;
    } else if show.options.allow_other {
        show.mode = 0o644;
    }
    show.run(point, || {
        let image = source.open(image)?;
        Ok((image.block(), image))
    })
}
