//! Every call and its result, written to a file or given to a script, in nbdkit's form.
//!
//! Two lines for each: one when it comes, one when it is done, with the same number. Times are those of UTC.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use super::blocks::lock;
use crate::block::{Block, Extent};
use crate::error::{Error, Result};

/// Where lines go; several devices may share one.
pub struct Log {
    file: Option<Mutex<File>>,
    script: Option<String>,
    connections: AtomicU64,
}

impl Log {
    /// Opens the file, which is emptied unless lines are to be `append`ed; `script` is run by the shell for each line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: Option<&Path>, append: bool, script: Option<String>) -> Result<Self> {
        let open = |path: &Path| {
            let mut options = File::options();
            options.create(true).append(append).write(true).truncate(!append);
            let file = options.open(path);
            file.map(Mutex::new).map_err(|source| Error::io("open", path.display().to_string(), source))
        };
        Ok(Log { file: file.map(open).transpose()?, script, connections: AtomicU64::new(0) })
    }

    /// Writes one line. What cannot be written is lost: the device goes on.
    fn line(&self, connection: u64, kind: &str, action: &str, fields: &[(&str, String)]) {
        if let Some(file) = &self.file {
            let mut line = timestamp(SystemTime::now());
            let _ =
                write!(line, " connection={connection} {}{action}", if kind == "LEAVE" { "..." } else { "" });
            for (name, value) in fields {
                let _ = write!(line, " {name}={value}");
            }
            line.push_str(if kind == "ENTER" { " ...\n" } else { "\n" });
            let _ = lock(file).write_all(line.as_bytes());
        }
        if let Some(script) = &self.script {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(script).stdin(Stdio::null());
            shell.env("act", action).env("connection", connection.to_string()).env("type", kind);
            for (name, value) in fields {
                shell.env(name, value.trim_matches('"'));
            }
            let _ = shell.status();
        }
    }
}

/// `2020-08-06 02:07:23.080415`.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    // Days are counted in eras of 400 years that begin in March, so that leap days come last.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{of_month:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// The name of what a client would be told.
fn error_name(error: &Error) -> String {
    let number = match error.errno() {
        Errno::ROFS => Errno::PERM,
        number => number,
    };
    let names = super::inject::ERRORS.iter().find(|(_, errno)| *errno == number);
    names.map_or_else(|| number.raw_os_error().to_string(), |(name, _)| (*name).to_owned())
}

/// One device as the log knows it.
struct Logged {
    log: Arc<Log>,
    connection: u64,
    calls: AtomicU64,
}

fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "Read",
        Kind::Write => "Write",
        Kind::Trim => "Trim",
        Kind::Zero => "Zero",
        Kind::Extents => "Extents",
        Kind::Cache => "Cache",
        Kind::Flush => "Flush",
    }
}

/// What a call is about. Forced unit access and fast zeroes are the server's business: they come as calls of their own.
fn parameters(call: &Call) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if call.kind != Kind::Flush {
        fields.push(("offset", format!("{:#x}", call.offset)));
        fields.push(("count", format!("{:#x}", call.count)));
    }
    match call.kind {
        Kind::Write | Kind::Trim => fields.push(("fua", "0".to_owned())),
        Kind::Zero => {
            fields.push(("trim", u8::from(call.may_unmap).to_string()));
            fields.push(("fua", "0".to_owned()));
            fields.push(("fast", "0".to_owned()));
        }
        Kind::Extents => fields.push(("req_one", "1".to_owned())),
        _ => {}
    }
    fields
}

fn extent_text(offset: u64, extent: &Extent) -> String {
    let kind = match (extent.data, extent.zero) {
        (false, true) => "hole,zero",
        (false, false) => "hole",
        (true, true) => "zero",
        (true, false) => "",
    };
    format!("({offset:#x} {:#x} \"{kind}\")", extent.length)
}

impl Around for Logged {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let id = ("id", (self.calls.fetch_add(1, Ordering::Relaxed) + 1).to_string());
        let mut fields = vec![id.clone()];
        fields.extend(parameters(&call));
        self.log.line(self.connection, "ENTER", action(call.kind), &fields);
        let result = run(below);
        let mut fields = vec![id];
        match &result {
            Ok(outcome) => {
                let extent = outcome.extent().map(|extent| extent_text(call.offset, &extent));
                fields.extend(extent.map(|text| ("extents", text)));
                fields.push(("return", "0".to_owned()));
            }
            Err(error) => {
                fields.push(("return", "-1".to_owned()));
                fields.push(("error", error_name(error)));
            }
        }
        self.log.line(self.connection, "LEAVE", action(call.kind), &fields);
        result
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let transactions = self.calls.load(Ordering::Relaxed).to_string();
        self.log.line(self.connection, "PRINT", "Disconnect", &[("transactions", transactions)]);
    }
}

/// Shows `below`, and writes down what is done with it.
pub fn log(below: Arc<dyn Block>, log: Arc<Log>) -> Arc<dyn Block> {
    let connection = log.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let limits = below.limits();
    let write = !below.is_read_only();
    let on = |on: bool, value: &str| if on { value.to_owned() } else { "0".to_owned() };
    let fields = [
        ("export", "\"\"".to_owned()),
        ("tls", "0".to_owned()),
        ("size", format!("{:#x}", below.size())),
        ("minsize", format!("{:#x}", limits.alignment)),
        ("prefsize", format!("{:#x}", limits.preferred)),
        ("maxsize", "0xffffffff".to_owned()),
        ("write", on(write, "1")),
        ("flush", "1".to_owned()),
        ("rotational", "0".to_owned()),
        ("trim", on(write, "1")),
        ("zero", on(write, "2")),
        ("fua", on(write, "1")),
        ("extents", "1".to_owned()),
        ("cache", "2".to_owned()),
        ("fast_zero", "0".to_owned()),
    ];
    log.line(connection, "PRINT", "Connect", &fields);
    Arc::new(Wrapped::new(below, Logged { log, connection, calls: AtomicU64::new(0) }))
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
