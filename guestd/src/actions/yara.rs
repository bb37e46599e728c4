//! Finding files by the rules of YARA.

use crate::task::Input;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::yara::Server;
use guestd_api::structs::YaraDetection;
use guestd_api::{Failure, GuestString};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Where the rules are, for the agent and for its tools.
const DIRECTORY: &str = "diskwright-yara";

const NOT_LOADED: &str = "no yara rules loaded";

impl Worker {
    fn yara_directory(&self) -> Result<(PathBuf, PathBuf), Failure> {
        let outer = self.agent.tools.root()?.join("tmp").join(format!("{DIRECTORY}-{}", std::process::id()));
        match std::fs::create_dir(&outer) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Failure::io(outer.as_os_str().as_encoded_bytes(), &error))
            }
            _ => Ok((outer, PathBuf::from(format!("/tmp/{DIRECTORY}-{}", std::process::id())))),
        }
    }
}

impl Server for Worker {
    fn yara_load(&self, mut filename: Input) -> Result<(), Failure> {
        let (outer, inner) = self.yara_directory()?;
        let failed = |e: io::Error| Failure::io("Could not keep the rules", &e);
        self.agent.session.yara.close();
        let mut file = File::create(outer.join("sent")).map_err(failed)?;
        io::copy(&mut filename, &mut file).map_err(failed)?;
        drop(file);
        let compiled = std::fs::read(outer.join("sent")).map_err(failed)?.starts_with(b"YARA");
        if compiled {
            std::fs::rename(outer.join("sent"), outer.join("rules")).map_err(failed)?;
        } else {
            let yarac = self.tool("yarac")?.arg(inner.join("sent")).arg(inner.join("rules"));
            let done = yarac.finish()?;
            if !done.status.success() {
                let said = done.errors.to_string_lossy();
                let count = said.lines().filter(|line| line.contains("error")).count().max(1);
                return Err(Failure::new(format!("found {count} errors when compiling the rules: {said}")));
            }
        }
        self.agent.session.yara.open(inner.join("rules"));
        Ok(())
    }

    fn yara_scan(&self, path: GuestPath) -> Result<Vec<YaraDetection>, Failure> {
        self.agent.session.yara.with(NOT_LOADED, |rules| {
            // The program itself would go into a directory and wait at a pipe.
            drop(self.open(&path)?);
            let place = self.outside(&path)?;
            let text = self.tool("yara")?.arg("-C").arg(&*rules).arg(&place).run()?;
            let end = [b" ", place.as_os_str().as_encoded_bytes()].concat();
            let rule = |line: &[u8]| line.strip_suffix(end.as_slice()).map(GuestString::from);
            let rules = text.split(|byte| *byte == b'\n').filter_map(rule);
            Ok(rules.map(|yara_rule| YaraDetection { yara_name: path.as_ref().into(), yara_rule }).collect())
        })
    }

    fn yara_destroy(&self) -> Result<(), Failure> {
        self.agent.session.yara.close().map(drop).ok_or_else(|| Failure::new(NOT_LOADED))
    }
}
