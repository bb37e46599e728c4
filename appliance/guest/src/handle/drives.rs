//! The actions that add disks, and those that begin and end a guest.

use std::fs::File;
use std::path::Path;

use guestd_api::actions::launch::{AddDomainOptions, AddDriveOptions, AddDriveScratchOptions, Server};
use guestd_api::{Error, Failure, GuestString};

use super::{Host, domain, opt_text, text};
use crate::drive::{Added, Source};

type Done<T = ()> = Result<T, Failure>;

/// Longest label of a disk.
const MAX_LABEL: usize = 20;
/// What is said where disks come or go while the guest runs.
const NO_HOTPLUG: &str = "hotplugging support was removed in libguestfs 1.48";
/// Protocols that scripts may name, with whether they need a server.
const REMOTE: [(&str, bool); 11] = [
    ("ftp", true),
    ("ftps", true),
    ("gluster", true),
    ("http", true),
    ("https", true),
    ("iscsi", true),
    ("nbd", true),
    ("rbd", false),
    ("sheepdog", false),
    ("ssh", true),
    ("tftp", true),
];

/// Letters that the names of formats and buses may have.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphabetic())
}

fn checked_word(what: &str, word: Option<&GuestString>) -> Done<Option<String>> {
    let Some(word) = word.map(text).transpose()? else { return Ok(None) };
    if is_word(&word) {
        return Ok(Some(word));
    }
    Err(Failure::new(format!("{what} parameter is empty or contains disallowed characters")))
}

fn checked_label(label: Option<&GuestString>) -> Done<Option<String>> {
    let Some(label) = label.map(text).transpose()? else { return Ok(None) };
    if is_label(&label) {
        return Ok(Some(label));
    }
    Err(Failure::new("label parameter is empty, too long, or contains disallowed characters"))
}

fn checked_block_size(size: Option<i32>) -> Done<Option<u32>> {
    match size {
        None => Ok(None),
        Some(512) => Ok(Some(512)),
        Some(4096) => Ok(Some(4096)),
        Some(_) => Err(Failure::new("blocksize parameter is invalid")),
    }
}

/// Only files of this host are served.
fn check_protocol(opts: &AddDriveOptions) -> Done {
    let protocol = opt_text(opts.protocol.as_ref())?.unwrap_or_else(|| "file".to_owned());
    let servers = opts.server.as_ref().map_or(0, Vec::len);
    if protocol == "file" {
        let other = [
            ("server", servers > 0),
            ("username", opts.username.is_some()),
            ("secret", opts.secret.is_some()),
        ];
        return match other.iter().find(|(_, given)| *given) {
            Some(("server", _)) => Err(Failure::new("you cannot specify a server with file-backed disks")),
            Some((what, _)) => {
                Err(Failure::new(format!("you cannot specify a {what} with file-backed disks")))
            }
            None => Ok(()),
        };
    }
    match REMOTE.iter().find(|(name, _)| *name == protocol) {
        None => Err(Failure::new(format!("unknown protocol ‘{protocol}’"))),
        Some((_, true)) if servers != 1 => {
            Err(Failure::new(format!("{protocol}: you must specify exactly one server")))
        }
        Some(_) => Err(Failure::new(format!(
            "{protocol}: disks on other machines cannot be used here yet: copy the image to a local file"
        ))),
    }
}

/// What the file system says about a disk that is to be opened later.
fn check_access(name: &str) -> Done {
    // Also of what is read-only for its owner only the reading is tried: the rest is the launch's affair.
    let found = std::fs::metadata(name).map_err(|error| Failure::io(name, &error))?;
    if found.is_dir() {
        return Err(Failure::new(format!("{name}: Is a directory")));
    }
    if found.is_file() {
        File::open(Path::new(name)).map_err(|error| Failure::io(name, &error))?;
    }
    Ok(())
}

impl Host<'_> {
    fn add(&self, added: Added) -> Done {
        if self.guest.is_launched() {
            return Err(Failure::new(NO_HOTPLUG));
        }
        self.guest.added.borrow_mut().push(added);
        Ok(())
    }

    fn add_with(&self, filename: &GuestString, opts: &AddDriveOptions) -> Done {
        let read_only = opts.readonly.unwrap_or(false);
        let added = Added {
            source: Source::default(),
            read_only,
            format: checked_word("format", opts.format.as_ref())?,
            iface: checked_word("iface", opts.iface.as_ref())?,
            name: opts.name.as_ref().map(text).transpose()?,
            label: checked_label(opts.label.as_ref())?,
            cache: opts.cachemode.as_ref().map(text).transpose()?,
            discard: opts.discard.as_ref().map(text).transpose()?,
            copy_on_read: opts.copyonread.unwrap_or(false),
            block_size: checked_block_size(opts.blocksize)?,
        };
        match added.cache.as_deref() {
            None | Some("writeback" | "unsafe") => {}
            Some(_) => {
                return Err(Failure::new("cachemode parameter must be ‘writeback’ (default) or ‘unsafe’"));
            }
        }
        match added.discard.as_deref() {
            Some("enable") if read_only => {
                return Err(Failure::new("discard support cannot be enabled on read-only drives"));
            }
            None | Some("disable" | "enable" | "besteffort") => {}
            Some(_) => {
                return Err(Failure::new("discard parameter must be ‘disable’, ‘enable’ or ‘besteffort’"));
            }
        }
        check_protocol(opts)?;
        let source = Added::source(text(filename)?);
        if let Source::File(name) = &source {
            check_access(name)?;
        }
        self.add(Added { source, ..added })
    }
}

impl Server for Host<'_> {
    fn add_drive(&self, filename: GuestString, opts: AddDriveOptions) -> Done {
        self.add_with(&filename, &opts)
    }

    fn add_drive_ro(&self, filename: GuestString) -> Done {
        self.add_with(&filename, &AddDriveOptions::default().readonly(true))
    }

    fn add_cdrom(&self, filename: GuestString) -> Done {
        self.add_drive_ro(filename)
    }

    fn add_drive_with_if(&self, filename: GuestString, iface: GuestString) -> Done {
        self.add_with(&filename, &AddDriveOptions::default().iface(iface))
    }

    fn add_drive_ro_with_if(&self, filename: GuestString, iface: GuestString) -> Done {
        self.add_with(&filename, &AddDriveOptions::default().readonly(true).iface(iface))
    }

    fn add_drive_scratch(&self, size: i64, opts: AddDriveScratchOptions) -> Done {
        let bytes = u64::try_from(size).ok().filter(|size| *size > 0);
        let bytes = bytes.ok_or_else(|| Failure::new(format!("invalid size: {size}")))?;
        self.add(Added {
            source: Source::Scratch(bytes),
            format: Some("raw".to_owned()),
            name: opts.name.as_ref().map(text).transpose()?,
            label: checked_label(opts.label.as_ref())?,
            block_size: checked_block_size(opts.blocksize)?,
            ..Added::default()
        })
    }

    fn add_domain(&self, dom: GuestString, opts: AddDomainOptions) -> Done<i32> {
        let disks = domain::disks(&text(&dom)?, opts.allowuuid.unwrap_or(false))?;
        let read_only = opts.readonly.unwrap_or(false);
        let wish = opt_text(opts.readonlydisk.as_ref())?.unwrap_or_else(|| "write".to_owned());
        let mut add = Vec::new();
        for disk in disks {
            let read_only = match (wish.as_str(), disk.read_only) {
                ("error" | "read" | "write" | "ignore", false) => read_only,
                ("ignore", true) => continue,
                ("error", true) if !read_only => {
                    let why = format!("the domain has a disk that is marked read-only: {}", disk.path);
                    return Err(Failure::new(why));
                }
                ("error" | "read", true) => true,
                ("write", true) => read_only,
                _ => return Err(Failure::new("unknown readonlydisk parameter")),
            };
            let mut drive = AddDriveOptions::default().readonly(read_only);
            drive.format = disk.format.map(GuestString::from);
            drive.iface = opts.iface.clone();
            drive.cachemode = opts.cachemode.clone();
            drive.discard = opts.discard.clone();
            drive.copyonread = opts.copyonread;
            drive.blocksize = disk.block_size;
            add.push((GuestString::from(disk.path), drive));
        }
        // All of them or none.
        let before = self.guest.added.borrow().len();
        for (path, drive) in &add {
            if let Err(failure) = self.add_with(path, drive) {
                self.guest.added.borrow_mut().truncate(before);
                return Err(failure);
            }
        }
        Ok(add.len().try_into().unwrap_or(i32::MAX))
    }

    fn remove_drive(&self, _: GuestString) -> Done {
        Err(Failure::new(NO_HOTPLUG))
    }

    fn debug_drives(&self) -> Done<Vec<GuestString>> {
        Ok(self.guest.added.borrow().iter().map(|drive| drive.line().into()).collect())
    }

    fn config(&self, hvparam: GuestString, hvvalue: Option<GuestString>) -> Done {
        self.only_before_launch("config")?;
        let words = (text(&hvparam)?, opt_text(hvvalue.as_ref())?);
        self.guest.config.borrow_mut().hypervisor_words.push(words);
        Ok(())
    }

    fn launch(&self) -> Done {
        self.only_before_launch("launch")?;
        self.guest.begin()
    }

    fn wait_ready(&self) -> Done {
        if self.guest.is_launched() { Ok(()) } else { Err(Failure::new("qemu has not been launched yet")) }
    }

    fn is_config(&self) -> Done<bool> {
        Ok(!self.guest.is_launched())
    }

    fn is_launching(&self) -> Done<bool> {
        Ok(false)
    }

    fn is_ready(&self) -> Done<bool> {
        Ok(self.guest.is_launched())
    }

    fn is_busy(&self) -> Done<bool> {
        Ok(false)
    }

    fn shutdown(&self) -> Done {
        self.guest.end().map_err(|error| match error {
            Error::Action { failure, .. } => failure,
            other => Failure::new(other.to_string()),
        })
    }

    fn kill_subprocess(&self) -> Done {
        self.shutdown()
    }
}
