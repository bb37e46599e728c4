//! `nbd fuse` and `nbd fuse-image`: a disk as a file, for programs that know nothing else.

mod disk;
mod export;
mod image;
mod place;
mod space;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cli::background::{self, Background};
use cli::signals::Ends;
use fuse::mount;
use fuse::options::MountOptions;
use libimage::Block;

use disk::Disk;
use place::Place;

pub(crate) use export::COMMAND;
pub(crate) use image::COMMAND as IMAGE;
pub(crate) use space::errno;

/// How often a wait looks around.
const LOOK: Duration = Duration::from_millis(100);

/// How a disk is shown.
struct Show {
    options: MountOptions,
    /// Permissions of the file.
    mode: u32,
    pid_file: Option<PathBuf>,
    threads: usize,
    /// The program ends in the foreground when the file can be used, and goes on behind it.
    background: bool,
}

impl Show {
    /// Mounts the block that `open` returns, with what is to be kept as long, and serves it until it is taken off; then everything is durable.
    ///
    /// # Errors
    /// When it cannot be mounted, or not everything can be written in the end.
    fn run<K>(self, point: &OsStr, open: impl FnOnce() -> Result<(Arc<dyn Block>, K)>) -> Result<ExitCode> {
        let background = match Background::here().context("Could not go to the background")? {
            None if self.background => return background::start().context("Could not go to the background"),
            background => background,
        };
        let ends = Ends::watch().context("Could not wait for signals")?;
        let place = Place::find(point)?;
        let (block, _kept) = open()?;
        let disk = Mounted::new(block, place, &self)?;
        if let Err(error) = self.announce(background) {
            disk.take_off();
            disk.finish()?;
            return Err(error);
        }
        let mut heard = 0;
        while !disk.shown.is_over(LOOK) {
            let count = ends.count();
            if count > 0 && heard == 0 {
                disk.take_off();
            }
            if count > 1 {
                // Whoever still uses it gets errors from here on.
                break;
            }
            heard = count;
        }
        disk.finish()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Tells everybody who waits that it can be used.
    fn announce(&self, background: Option<Background>) -> Result<()> {
        if let Some(path) = &self.pid_file {
            let text = format!("{}\n", std::process::id());
            std::fs::write(path, text).with_context(|| format!("Could not write '{}'", path.display()))?;
        }
        background.map(Background::ready).transpose().context("Could not go to the background")?;
        Ok(())
    }
}

/// A disk that is mounted.
struct Mounted {
    point: PathBuf,
    shown: Arc<Disk>,
}

impl Mounted {
    fn new(block: Arc<dyn Block>, place: Place, show: &Show) -> Result<Self> {
        let source = block.name().to_owned();
        let kind = place.kind();
        let Place { point, name } = place;
        let name = name.map(OsString::into_vec);
        let options = MountOptions {
            read_only: show.options.read_only || block.is_read_only(),
            fsname: show.options.fsname.clone().or_else(|| plain(&source)),
            subtype: show.options.subtype.clone().or_else(|| Some(cli::program().to_owned())),
            ..show.options.clone()
        };
        let shown = Arc::new(Disk::new(block, name, show.mode, &options));
        let failed = || format!("Could not mount on '{}'", point.display());
        let kernel = mount::mount(&point, kind, &options).map_err(explain).with_context(failed)?;
        if let Err(error) = fuse::session::start(kernel, &shown, show.threads) {
            // Without that it would be there, and fail.
            let _ = mount::unmount(&point, true);
            return Err(error).with_context(failed);
        }
        shown.ready();
        mount::read_ahead(&point);
        Ok(Mounted { point, shown })
    }

    /// Takes it off. Where it is in use it goes out of sight, and it is over when nobody uses it any more.
    fn take_off(&self) {
        if self.shown.is_over(Duration::ZERO) || mount::unmount(&self.point, false).is_ok() {
            return;
        }
        let in_use = format!(
            "'{}' is in use: it is out of sight now, and goes on until nobody uses it; another signal ends it",
            self.point.display()
        );
        match mount::unmount(&self.point, true) {
            Ok(()) => complain(&in_use),
            Err(error) => complain(&format!("Could not unmount '{}': {error}", self.point.display())),
        }
    }

    /// Makes everything durable.
    fn finish(self) -> Result<()> {
        self.shown.flush().map_err(|error| anyhow!(error).context("Not everything may be written"))
    }
}

fn complain(text: &str) {
    eprintln!("{}: {text}", cli::program());
}

/// A name for the list of mounts, if it can stand there.
fn plain(name: &str) -> Option<String> {
    (name.len() <= 255 && !name.contains([',', '\\', '\n', '"'])).then(|| name.to_owned())
}

/// Says what to do about the usual reasons.
fn explain(error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound if !Path::new("/dev/fuse").exists() => {
            "there is no /dev/fuse: the kernel lacks FUSE, or its module is not loaded (modprobe fuse)"
        }
        std::io::ErrorKind::PermissionDenied => "this user may not open /dev/fuse or not mount there",
        _ => return error.into(),
    };
    anyhow!("{error} ({hint})")
}
