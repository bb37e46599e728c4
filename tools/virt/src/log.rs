//! The log of a guest: systemd's journal in lines, or the text files that syslog writes.

use std::io::Write;

use anyhow::{Result, bail};
use guest::Guest;
use guest::inspect::System;
use guestd_api::actions::files::{IsDirOptions, IsFileOptions};
use guestd_api::prelude::*;
use guestd_api::structs::Xattr;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const JOURNAL: &str = "/var/log/journal";
/// The first of these that is there.
const TEXTS: [&str; 2] = ["/var/log/syslog", "/var/log/messages"];
/// Names of priorities, the worst first.
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const USUAL: &str = "info";

/// Writes the log of a system that is mounted.
///
/// # Errors
/// When it cannot be read, or is in a form that is not understood.
pub fn write(guest: &Guest, system: &System, out: &mut dyn Write) -> Result<()> {
    if let Some(windows) = &system.windows {
        bail!(
            "event logs of Windows (.evtx) are not decoded: copy {}/System32/winevt/Logs out of the guest, and use a viewer for them",
            windows.system_root
        );
    }
    if guest.is_dir(JOURNAL, IsDirOptions::default())? && !guest.ls(JOURNAL)?.is_empty() {
        return journal(guest, out);
    }
    for path in TEXTS {
        if guest.is_file(path, IsFileOptions::default().followsymlinks(true))? {
            guest.download(path, out)?;
            break;
        }
    }
    Ok(())
}

fn journal(guest: &Guest, out: &mut dyn Write) -> Result<()> {
    guest.journal_open(JOURNAL)?;
    let zone = TimeZone::system();
    while guest.journal_next()? {
        let (time, fields) = (guest.journal_get_realtime_usec()?, guest.journal_get()?);
        out.write_all(&line(time, &fields, &zone))?;
    }
    Ok(guest.journal_close()?)
}

/// An entry as a line: when, who, how bad, what.
fn line(microseconds: i64, fields: &[Xattr], zone: &TimeZone) -> Vec<u8> {
    let field = |name: &str| {
        let found = fields.iter().find(|field| field.attrname == name);
        found.map(|field| field.attrval.as_bytes()).filter(|value| !value.is_empty())
    };
    let mut text = match Timestamp::from_microsecond(microseconds) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%b %d %H:%M:%S ").to_string().into_bytes(),
        Err(_) => Vec::new(),
    };
    if let Some(who) = field("SYSLOG_IDENTIFIER").or_else(|| field("_COMM")) {
        text.extend(who);
        if let Some(process) = field("_PID").or_else(|| field("SYSLOG_PID")) {
            text.push(b'[');
            text.extend(process);
            text.push(b']');
        }
        text.push(b' ');
    }
    let number = field("PRIORITY").and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
    let priority = number.and_then(|number| PRIORITIES.get(number)).unwrap_or(&USUAL);
    text.extend(priority.bytes());
    text.push(b':');
    if let Some(message) = field("MESSAGE") {
        text.push(b' ');
        text.extend(message);
    }
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As virt-log wrote entries with these fields.
    #[test]
    fn entries_are_lines() {
        let line_of = |fields: &[(&str, &str)]| {
            let fields: Vec<Xattr> = fields
                .iter()
                .map(|(name, value)| Xattr { attrname: (*name).into(), attrval: (*value).into() })
                .collect();
            String::from_utf8_lossy(&line(1_700_000_000_123_456, &fields, &TimeZone::UTC)).into_owned()
        };
        let all = [
            ("_HOSTNAME", "web1"),
            ("SYSLOG_IDENTIFIER", "sshd"),
            ("SYSLOG_PID", "77"),
            ("_PID", "78"),
            ("_COMM", "x"),
            ("PRIORITY", "6"),
            ("MESSAGE", "Accepted key"),
        ];
        assert_eq!(line_of(&all), "Nov 14 22:13:20 sshd[78] info: Accepted key\n");
        let some = [("_COMM", "cron"), ("_PID", "5"), ("PRIORITY", "4"), ("MESSAGE", "second")];
        assert_eq!(line_of(&some), "Nov 14 22:13:20 cron[5] warning: second\n");
        assert_eq!(line_of(&[("PRIORITY", "6"), ("MESSAGE", "x")]), "Nov 14 22:13:20 info: x\n");
        assert_eq!(line_of(&[("SYSLOG_IDENTIFIER", "nomsg")]), "Nov 14 22:13:20 nomsg info:\n");
    }
}
