//! The registry of Windows: the hive that is open, and where its file is.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::hivex::{HivexOpenOptions, Server};
use guestd_api::structs::{HivexNode, HivexValue};
use guestd_api::{Failure, GuestString, Worker as _};
use hive::Hive;
use hive::actions::{self, MAX_HIVE, no_file, not_open, not_opened};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

impl Worker {
    fn hive<R>(
        &self,
        action: &str,
        work: impl FnOnce(&mut Hive) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.agent.session.hive.with(&not_open(action), |open| work(&mut open.hive))
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
        let failed =
            |e: std::io::Error| Failure::io([b"hivex failed to open ", filename.as_ref()].concat(), &e);
        let file = self.open(&filename).map_err(no_file)?;
        let limit = (available_memory() / 3).min(MAX_HIVE);
        let too_large = || Err(not_opened(filename.as_ref(), Errno::FBIG));
        if file.metadata().map_err(failed)?.len() > limit {
            return too_large();
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return too_large();
        }
        let hive = Hive::new(bytes, opts.write.unwrap_or(false))
            .map_err(|errno| not_opened(filename.as_ref(), errno))?;
        self.agent.session.hive.open(Open { hive, path: filename });
        Ok(())
    }

    fn hivex_close(&self) -> Result<(), Failure> {
        self.agent.session.hive.close().map(drop).ok_or_else(|| Failure::new(not_open("hivex_close")))
    }

    fn hivex_root(&self) -> Result<i64, Failure> {
        self.hive("hivex_root", |hive| actions::root(hive))
    }

    fn hivex_node_name(&self, nodeh: i64) -> Result<GuestString, Failure> {
        self.hive("hivex_node_name", |hive| actions::node_name(hive, nodeh))
    }

    fn hivex_node_children(&self, nodeh: i64) -> Result<Vec<HivexNode>, Failure> {
        self.hive("hivex_node_children", |hive| actions::node_children(hive, nodeh))
    }

    fn hivex_node_get_child(&self, nodeh: i64, name: GuestString) -> Result<i64, Failure> {
        self.hive("hivex_node_get_child", |hive| actions::node_get_child(hive, nodeh, &name))
    }

    fn hivex_node_parent(&self, nodeh: i64) -> Result<i64, Failure> {
        self.hive("hivex_node_parent", |hive| actions::node_parent(hive, nodeh))
    }

    fn hivex_node_values(&self, nodeh: i64) -> Result<Vec<HivexValue>, Failure> {
        self.hive("hivex_node_values", |hive| actions::node_values(hive, nodeh))
    }

    fn hivex_node_get_value(&self, nodeh: i64, key: GuestString) -> Result<i64, Failure> {
        self.hive("hivex_node_get_value", |hive| actions::node_get_value(hive, nodeh, &key))
    }

    fn hivex_value_key(&self, valueh: i64) -> Result<GuestString, Failure> {
        self.hive("hivex_value_key", |hive| actions::value_key(hive, valueh))
    }

    fn hivex_value_type(&self, valueh: i64) -> Result<i64, Failure> {
        self.hive("hivex_value_type", |hive| actions::value_type(hive, valueh))
    }

    fn hivex_value_value(&self, valueh: i64) -> Result<Vec<u8>, Failure> {
        self.hive("hivex_value_value", |hive| actions::value_value(hive, valueh))
    }

    fn hivex_value_string(&self, valueh: i64) -> Result<GuestString, Failure> {
        self.hive("hivex_value_string", |hive| actions::value_string(hive, valueh))
    }

    fn hivex_value_utf8(&self, valueh: i64) -> Result<GuestString, Failure> {
        self.hive("hivex_value_utf8", |hive| actions::value_string(hive, valueh))
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
        self.hive("hivex_node_add_child", |hive| actions::node_add_child(hive, parent, &name))
    }

    fn hivex_node_delete_child(&self, nodeh: i64) -> Result<(), Failure> {
        self.hive("hivex_node_delete_child", |hive| actions::node_delete_child(hive, nodeh))
    }

    fn hivex_node_set_value(
        &self,
        nodeh: i64,
        key: GuestString,
        t: i64,
        val: GuestString,
    ) -> Result<(), Failure> {
        self.hive("hivex_node_set_value", |hive| {
            actions::node_set_value(hive, nodeh, &key, t, val.as_bytes())
        })
    }
}
