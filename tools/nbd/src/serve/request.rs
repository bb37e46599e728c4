//! What a command line of `nbd serve` asks for: whether its options go together, and what they come to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use libimage::spec::Objects;
use nbd_protocol::client::Target;
use nbd_protocol::tls;

use super::listen::{Place, passed};
use super::options::{Reading, is_qemu};
use super::plan::{ExportPlan, Plan};
use super::{COMMAND, config, list};
use crate::arguments::Usage;

/// What a command line asks for.
pub(super) enum Request {
    /// To serve.
    Serve(Box<Plan>, Objects),
    /// To show what another server has.
    List(Target, Option<tls::Client>),
    /// To take a device off.
    Detach(PathBuf),
}

impl Reading {
    /// Checks what belongs together, and takes `files` for what is to be served.
    ///
    /// # Errors
    /// When it does not go together.
    pub(super) fn finish(self, files: Vec<OsString>) -> Result<Request> {
        if self.export.image_opts && self.export.format.is_some() {
            bail!("--image-opts and -f are mutually exclusive");
        }
        self.check_tls()?;
        if self.lists {
            return self.list(&files);
        }
        if self.detaches {
            let [device] = &files[..] else {
                return Err(Usage::error(&COMMAND, "Invalid number of arguments"));
            };
            return Ok(Request::Detach(PathBuf::from(device)));
        }
        let (exports, places) = self.exports(files)?;
        let places = if places.is_empty() { self.places()? } else { places };
        let plan = Plan {
            exports,
            places,
            device: self.device,
            inetd: self.inetd,
            shared: self.shared,
            persistent: self.persistent,
            fork: self.fork,
            pid_file: self.pid_file,
            handshake_seconds: self.handshake_seconds,
            verbose: self.verbose,
            oldstyle: self.oldstyle,
            simple_replies: self.simple_replies,
            run: self.run,
            tls: self.tls,
            ip: self.ip,
        };
        Ok(Request::Serve(Box::new(plan), self.objects))
    }

    fn check_tls(&self) -> Result<()> {
        for (given, name) in
            [(self.hostname.is_some(), "--tls-hostname"), (self.tls.authorization.is_some(), "--tls-authz")]
        {
            if given && self.tls.object.is_none() {
                bail!("{name} is not permitted without --tls-creds");
            }
        }
        if self.hostname.is_some() && !self.lists {
            bail!("TLS hostname is only supported with export list");
        }
        if self.tls.is_on() && self.device.is_some() {
            bail!("TLS is not supported with a host device");
        }
        Ok(())
    }

    fn list(&self, files: &[OsString]) -> Result<Request> {
        let export = &self.export;
        if !files.is_empty() {
            bail!("List mode is incompatible with a file name");
        }
        let of_a_device = export.name.is_some()
            || export.description.is_some()
            || export.offset > 0
            || export.format.is_some()
            || export.snapshot.is_some()
            || export.allocation_depth
            || !export.bitmaps.is_empty()
            || self.device.is_some()
            || self.detaches
            || self.cache_given
            || self.aio_given
            || self.discard_given;
        if of_a_device {
            bail!("List mode is incompatible with per-device settings");
        }
        if self.fork {
            bail!("List mode is incompatible with forking");
        }
        let host = self.bind.as_deref().unwrap_or(if is_qemu() { "0.0.0.0" } else { "localhost" });
        let port = self.port.as_deref().unwrap_or("10809");
        let target = list::target(self.socket.as_deref(), host, port)?;
        let Some(id) = &self.tls.object else { return Ok(Request::List(target, None)) };
        let could_not = |error| anyhow!("Failed to get TLS creds: {error}");
        let credentials = self.objects.tls(id).map_err(could_not)?;
        if credentials.is_server() {
            bail!("Failed to get TLS creds: Expected TLS credentials for a client endpoint");
        }
        let client = credentials.client(self.hostname.as_deref(), &target).map_err(could_not)?;
        Ok(Request::List(target, Some(client)))
    }

    /// What is served, and where, as far as a file says that.
    fn exports(&self, files: Vec<OsString>) -> Result<(Vec<ExportPlan>, Vec<Place>)> {
        let several = files.len() > 1;
        match &self.config {
            Some(_) if !files.is_empty() => bail!("Either files or --config can be served, not both"),
            Some(config) => return config::read(config, &self.export),
            None if files.is_empty() || several && is_qemu() => {
                return Err(Usage::error(&COMMAND, "Invalid number of arguments"));
            }
            None if several && self.export.name.is_some() => {
                bail!("A name is for one export; several have the names of their files")
            }
            None => {}
        }
        let export = |image: OsString| {
            let file = Path::new(&image).file_name().map(|name| name.to_string_lossy().into_owned());
            let name = if several { file } else { self.export.name.clone() };
            ExportPlan { name, image, ..self.export.clone() }
        };
        Ok((files.into_iter().map(export).collect(), Vec::new()))
    }

    fn places(&self) -> Result<Vec<Place>> {
        if let Some(count) = passed()? {
            for (given, what) in [
                (self.port.is_some() || self.bind.is_some(), "a TCP address"),
                (self.socket.is_some(), "a Unix socket path"),
            ] {
                if given {
                    bail!("Cannot use both socket activation and {what}");
                }
            }
            return Ok(vec![Place::Passed(count)]);
        }
        if self.inetd {
            return Ok(Vec::new());
        }
        let port = || self.port.clone().unwrap_or_else(|| "10809".to_owned());
        if self.vsock {
            let number = port();
            let port = number.parse().map_err(|_| anyhow!("Invalid vsock port '{number}'"))?;
            return Ok(vec![Place::Vsock { cid: u32::MAX, port }]);
        }
        let anywhere = self.socket.is_none() && self.port.is_none() && self.bind.is_none();
        if self.run.is_some() && anywhere && !self.vsock {
            return Ok(vec![Place::Private]);
        }
        if let Some(path) = &self.socket {
            return Ok(vec![Place::Unix(std::path::absolute(path)?)]);
        }
        let everywhere = if is_qemu() { "0.0.0.0" } else { "localhost" };
        let host = self.bind.clone().unwrap_or_else(|| everywhere.to_owned());
        Ok(vec![Place::Tcp { host, port: port() }])
    }
}
