//! Labels of SELinux.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::selinux::{SelinuxRelabelOptions, Server, SetfilesOptions};
use guestd_api::{Failure, GuestString, Worker as _};

/// Where file systems are mounted that are not the guest's.
const NOT_LABELLED: [&str; 4] = ["/dev", "/proc", "/selinux", "/sys"];

const ATTRIBUTE: &str = "/proc/thread-self/attr/current";

impl Worker {
    fn label(&self, specfile: &GuestString, paths: &[GuestPath], force: Option<bool>) -> Result<(), Failure> {
        let spec = self.outside_regular(&self.path("specfile", specfile.clone())?)?;
        let root = self.agent.tools.guest_path(&self.agent.sysroot, std::path::Path::new("/"));
        let root = root.as_os_str().as_encoded_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let place = |path: &str| {
            let mut place = root.to_vec();
            place.extend_from_slice(path.as_bytes());
            GuestString::from(place)
        };
        let mut program = self.tool("setfiles")?;
        if force.unwrap_or(false) {
            program = program.arg("-F");
        }
        for path in NOT_LABELLED {
            let outer = self.agent.sysroot.join(path.trim_start_matches('/'));
            if outer.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                program = program.arg("-e").arg(place(path).as_os_str());
            }
        }
        // Read-only mounts are left out of the search, and errors of single files do not end it.
        program = program.arg("-m").arg("-r").arg(GuestString::from(root).as_os_str()).arg(spec);
        for path in paths {
            program = program.arg(self.outside(path)?);
        }
        program.finish()?.success()
    }
}

impl Server for Worker {
    fn selinux_relabel(
        &self,
        specfile: GuestString,
        path: GuestPath,
        opts: SelinuxRelabelOptions,
    ) -> Result<(), Failure> {
        self.label(&specfile, &[path], opts.force)
    }

    fn setfiles(
        &self,
        specfile: GuestString,
        paths: Vec<GuestString>,
        opts: SetfilesOptions,
    ) -> Result<(), Failure> {
        let paths: Vec<GuestPath> =
            paths.into_iter().map(|path| self.path("paths", path)).collect::<Result<_, _>>()?;
        self.label(&specfile, &paths, opts.force)
    }

    fn getcon(&self) -> Result<GuestString, Failure> {
        let context = std::fs::read(ATTRIBUTE).map_err(|e| Failure::io("getcon", &e))?;
        Ok(context.strip_suffix(b"\0").unwrap_or(&context).into())
    }

    fn setcon(&self, context: GuestString) -> Result<(), Failure> {
        std::fs::write(ATTRIBUTE, context.as_bytes()).map_err(|e| Failure::io("setcon", &e))
    }
}
