//! What the registry says can be uninstalled.

use guestd_api::Result;
use guestd_api::prelude::*;
use guestd_api::structs::Application2;

use super::super::System;
use super::super::registry::{Key, in_existing_hive};
use super::application;

/// Programs, and the 32-bit ones of a 64-bit system.
const PLACES: [&[&str]; 2] = [
    &["Microsoft", "Windows", "CurrentVersion", "Uninstall"],
    &["WOW6432node", "Microsoft", "Windows", "CurrentVersion", "Uninstall"],
];

pub(super) fn list(guest: &dyn Actions, system: &System) -> Result<Vec<Application2>> {
    let mut apps = Vec::new();
    let hive = system.windows.as_ref().and_then(|windows| windows.software_hive.as_deref());
    let Some(path) = hive else { return Ok(apps) };
    in_existing_hive(guest, path, |root| {
        for place in PLACES {
            let Some(key) = root.below(place)? else { continue };
            for child in key.children()? {
                apps.extend(one(&child)?);
            }
        }
        Ok(())
    })?;
    Ok(apps)
}

/// Only what has a name to be shown is a program. Its key names it in every language alike.
fn one(key: &Key<'_>) -> Result<Option<Application2>> {
    let Some(shown) = key.text("DisplayName")? else { return Ok(None) };
    let Some(name) = key.name()? else { return Ok(None) };
    let text = |value: &str| -> Result<GuestString> { Ok(key.text(value)?.unwrap_or_default().into()) };
    Ok(Some(Application2 {
        app2_name: name,
        app2_display_name: shown.into(),
        app2_version: text("DisplayVersion")?,
        app2_install_path: text("InstallLocation")?,
        app2_publisher: text("Publisher")?,
        app2_url: text("URLInfoAbout")?,
        app2_description: text("Comments")?,
        ..application()
    }))
}
