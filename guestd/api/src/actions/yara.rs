//! Finding files by the rules of YARA.

use crate::table::actions;

actions! {
    group "yara";

    /// Send rules to the guest.
    ///
    /// Source text, or what `yarac` made of it. Source cannot include other files. Rules of before are
    /// forgotten.
    ///
    ///     yara-load rules.yar
    fn yara_load(filename: FileIn) -> Void { feature: Some("libyara") };

    /// List the rules that match a file.
    ///
    ///     yara-scan /tmp/upload
    fn yara_scan(path: Pathname) -> StructList<YaraDetection> { feature: Some("libyara") };

    /// Forget the rules.
    ///
    ///     yara-destroy
    fn yara_destroy() -> Void { feature: Some("libyara") };
}
