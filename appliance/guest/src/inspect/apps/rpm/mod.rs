//! The database of RPM: one header a package, in one of three kinds of file.
//!
//! Whatever the file, its records are the same headers. Records that are damaged are left out; a file that is damaged
//! as a whole is an error.

mod bdb;
mod header;
mod ndb;
mod sqlite;

use guestd_api::Result;
use guestd_api::prelude::*;
use guestd_api::structs::Application2;

use super::{application, database, unreadable};
use header::Header;

/// Where distributions keep it: most, the newer ones, those with an immutable `/usr`.
const PLACES: [&str; 3] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"];

/// Why a database cannot be read.
type Broken = &'static str;

pub(super) fn list(guest: &dyn Actions) -> Result<Vec<Application2>> {
    for place in PLACES {
        let file = |name: &str| database(guest, &[&format!("{place}/{name}")]);
        let (name, records) = if let Some(bytes) = file("rpmdb.sqlite")? {
            let log = file("rpmdb.sqlite-wal")?.unwrap_or_default();
            ("rpmdb.sqlite", sqlite::records(&bytes, &log))
        } else if let Some(bytes) = file("Packages.db")? {
            ("Packages.db", ndb::records(&bytes).map(|all| all.into_iter().map(<[u8]>::to_vec).collect()))
        } else if let Some(bytes) = file("Packages")? {
            ("Packages", bdb::records(&bytes))
        } else {
            continue;
        };
        let records = records
            .map_err(|why| unreadable(format!("{place}/{name} cannot be read as an RPM database: {why}")))?;
        return Ok(records.iter().filter_map(|record| package(record)).collect());
    }
    Ok(Vec::new())
}

/// What a header says about its package.
fn package(record: &[u8]) -> Option<Application2> {
    let header = Header::parse(record)?;
    let text = |tag| GuestString::from(header.text(tag).unwrap_or_default());
    let app = Application2 {
        app2_name: text(header::NAME),
        app2_epoch: header.number(header::EPOCH).and_then(|epoch| epoch.try_into().ok()).unwrap_or(0),
        app2_version: text(header::VERSION),
        app2_release: text(header::RELEASE),
        app2_arch: text(header::ARCH),
        app2_url: text(header::URL),
        app2_summary: text(header::SUMMARY),
        app2_description: text(header::DESCRIPTION),
        ..application()
    };
    (!app.app2_name.is_empty() && !app.app2_version.is_empty()).then_some(app)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
