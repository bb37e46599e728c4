//! The registry of Windows: hives, their nodes and values.

use crate::hive::{self, Handle, Hive, utf16_to_string};
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::hivex::{HivexOpenOptions, Server};
use guestd_api::structs::{HivexNode, HivexValue};
use guestd_api::{Failure, GuestString, Worker as _};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

/// The largest hive that is read; those of Windows stay below 2 GB, in practice below 200 MB.
const MAX_HIVE: u64 = 1 << 30;

/// What an action says that comes too early.
fn not_open(action: &str) -> String {
    format!("do_{action}: you must call 'hivex-open' first to initialize the hivex handle")
}

fn failed(error: Errno) -> Failure {
    Failure::io("failed", &error.into())
}

/// A node or value as a user gives it.
fn handle(number: i64) -> Result<Handle, Failure> {
    Handle::try_from(number).map_err(|_| failed(Errno::INVAL))
}

fn number(handle: Handle) -> Result<i64, Failure> {
    i64::try_from(handle).map_err(|_| failed(Errno::RANGE))
}

/// A name as the registry has it.
fn name(text: &GuestString) -> Result<&str, Failure> {
    text.to_str().ok_or_else(|| failed(Errno::ILSEQ))
}

impl Worker {
    fn hive<R>(&self, action: &str, work: impl FnOnce(&mut Hive) -> hive::Result<R>) -> Result<R, Failure> {
        self.agent.session.hive.with(&not_open(action), |open| work(&mut open.hive).map_err(failed))
    }
}

/// What the kernel could still give, in bytes.
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default().saturating_mul(1024)
}

/// The open hive and where it came from.
pub(crate) struct Open {
    hive: Hive,
    path: GuestPath,
}

impl Server for Worker {
    fn hivex_open(&self, filename: GuestPath, opts: HivexOpenOptions) -> Result<(), Failure> {
        self.agent.session.hive.close();
        let open = |e: std::io::Error| {
            Failure::io(format!("hivex failed to open {}", GuestString::from(filename.as_ref())), &e)
        };
        let file = self.open(&filename).map_err(|failure| {
            let what = format!("hivex failed to open {}", failure.message);
            Failure::new(what).with_errno(failure.errno)
        })?;
        let limit = (available_memory() / 3).min(MAX_HIVE);
        let too_large = || Err(open(std::io::Error::from_raw_os_error(libc::EFBIG)));
        if file.metadata().map_err(open)?.len() > limit {
            return too_large();
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(open)?;
        if bytes.len() as u64 > limit {
            return too_large();
        }
        let hive = Hive::new(bytes, opts.write.unwrap_or(false)).map_err(|e| open(e.into()))?;
        self.agent.session.hive.open(Open { hive, path: filename });
        Ok(())
    }

    fn hivex_close(&self) -> Result<(), Failure> {
        self.agent.session.hive.close().map(drop).ok_or_else(|| Failure::new(not_open("hivex_close")))
    }

    fn hivex_root(&self) -> Result<i64, Failure> {
        number(self.hive("hivex_root", |hive| hive.root())?)
    }

    fn hivex_node_name(&self, nodeh: i64) -> Result<GuestString, Failure> {
        let node = handle(nodeh)?;
        self.hive("hivex_node_name", |hive| hive.node_name(node)).map(GuestString::from)
    }

    fn hivex_node_children(&self, nodeh: i64) -> Result<Vec<HivexNode>, Failure> {
        let node = handle(nodeh)?;
        let children = self.hive("hivex_node_children", |hive| hive.children(node))?;
        children.into_iter().map(|child| Ok(HivexNode { hivex_node_h: number(child)? })).collect()
    }

    fn hivex_node_get_child(&self, nodeh: i64, name: GuestString) -> Result<i64, Failure> {
        let (node, name) = (handle(nodeh)?, self::name(&name)?);
        number(self.hive("hivex_node_get_child", |hive| hive.child(node, name))?.unwrap_or_default())
    }

    fn hivex_node_parent(&self, nodeh: i64) -> Result<i64, Failure> {
        let node = handle(nodeh)?;
        number(self.hive("hivex_node_parent", |hive| hive.node_parent(node))?)
    }

    fn hivex_node_values(&self, nodeh: i64) -> Result<Vec<HivexValue>, Failure> {
        let node = handle(nodeh)?;
        let values = self.hive("hivex_node_values", |hive| hive.values(node))?;
        values.into_iter().map(|value| Ok(HivexValue { hivex_value_h: number(value)? })).collect()
    }

    fn hivex_node_get_value(&self, nodeh: i64, key: GuestString) -> Result<i64, Failure> {
        let (node, key) = (handle(nodeh)?, name(&key)?);
        number(self.hive("hivex_node_get_value", |hive| hive.value(node, key))?.unwrap_or_default())
    }

    fn hivex_value_key(&self, valueh: i64) -> Result<GuestString, Failure> {
        let value = handle(valueh)?;
        self.hive("hivex_value_key", |hive| hive.value_key(value)).map(GuestString::from)
    }

    fn hivex_value_type(&self, valueh: i64) -> Result<i64, Failure> {
        let value = handle(valueh)?;
        self.hive("hivex_value_type", |hive| hive.value_type(value)).map(i64::from)
    }

    fn hivex_value_value(&self, valueh: i64) -> Result<Vec<u8>, Failure> {
        let value = handle(valueh)?;
        self.hive("hivex_value_value", |hive| hive.value_data(value))
    }

    fn hivex_value_string(&self, valueh: i64) -> Result<GuestString, Failure> {
        let value = handle(valueh)?;
        let text = self.hive("hivex_value_string", |hive| utf16_to_string(&hive.value_data(value)?))?;
        Ok(text.split('\0').next().unwrap_or_default().into())
    }

    fn hivex_value_utf8(&self, valueh: i64) -> Result<GuestString, Failure> {
        self.hivex_value_string(valueh)
    }

    fn hivex_commit(&self, filename: Option<GuestString>) -> Result<(), Failure> {
        let other = match filename.filter(|name| !name.is_empty()) {
            Some(name) if !name.as_bytes().starts_with(b"/") => {
                return Err(Failure::new("do_hivex_commit: path must start with a / character"));
            }
            Some(name) => Some(self.path("filename", name)?),
            None => None,
        };
        self.agent.session.hive.with(&not_open("hivex_commit"), |open| {
            let path = other.as_ref().unwrap_or(&open.path).clone();
            let subject = match &other {
                Some(path) => [path.as_ref(), b": commit failed"].concat(),
                None => b"commit failed".to_vec(),
            };
            let failed = |e: std::io::Error| Failure::io(&subject, &e);
            let bytes = open.hive.bytes().map_err(|e| failed(e.into()))?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            let mut file = {
                let _guest = self.guest()?;
                options.open(path.path()).map_err(failed)?
            };
            file.write_all(bytes).map_err(failed)
        })
    }

    fn hivex_node_add_child(&self, parent: i64, name: GuestString) -> Result<i64, Failure> {
        let (parent, name) = (handle(parent)?, self::name(&name)?);
        number(self.hive("hivex_node_add_child", |hive| hive.add_child(parent, name))?)
    }

    fn hivex_node_delete_child(&self, nodeh: i64) -> Result<(), Failure> {
        let node = handle(nodeh)?;
        self.hive("hivex_node_delete_child", |hive| hive.delete_node(node))
    }

    fn hivex_node_set_value(
        &self,
        nodeh: i64,
        key: GuestString,
        t: i64,
        val: GuestString,
    ) -> Result<(), Failure> {
        let (node, key) = (handle(nodeh)?, name(&key)?);
        // Any number is stored in the 32 bits that there are, as Windows has types of its own.
        let kind = (t & 0xffff_ffff).try_into().map_err(|_| failed(Errno::INVAL))?;
        self.hive("hivex_node_set_value", |hive| hive.set_value(node, key, kind, val.as_bytes()))
    }
}
