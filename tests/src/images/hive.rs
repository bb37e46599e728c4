//! Registry hives of Windows, filled by libhivex's tools from the recipes in `testdata/guests`.

use std::path::Path;

use crate::programs::peer;

#[path = "../../../guestd/tests/support/hive.rs"]
mod empty;

/// What inspection is asked about such a system.
pub const WINDOWS_QUESTIONS: [&str; 17] = [
    "type",
    "distro",
    "product-name",
    "product-variant",
    "major-version",
    "minor-version",
    "arch",
    "hostname",
    "osinfo",
    "build-id",
    "mountpoints",
    "drive-mappings",
    "windows-systemroot",
    "windows-software-hive",
    "windows-system-hive",
    "windows-current-control-set",
    "windows-group-policy",
];

/// Makes the hives `SYSTEM-software` and `SYSTEM-system` of one of the systems in `testdata/guests`.
///
/// # Panics
/// When the tools are missing or refuse.
pub fn hives(directory: &Path, system: &str) {
    for hive in ["software", "system"] {
        let path = directory.join(format!("{system}-{hive}"));
        std::fs::write(&path, empty::empty_hive()).expect("a hive can be written");
        let recipe = format!("{}/../testdata/guests/{system}-{hive}.reg", env!("CARGO_MANIFEST_DIR"));
        let prefix = format!("HKEY_LOCAL_MACHINE\\{}", hive.to_uppercase());
        let path = path.to_str().expect("names of tests are text");
        peer("hivexregedit", &["--merge", "--prefix", &prefix, path, &recipe]);
    }
}
