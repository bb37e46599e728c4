//! The journal that systemd keeps.

use crate::table::actions;

actions! {
    group "journal";

    /// Open the journal in a directory.
    ///
    /// Usually a directory below /var/log/journal. All files of it are read as one journal, oldest entry
    /// first. A journal that is open is closed.
    ///
    ///     journal-open /var/log/journal/0123456789abcdef0123456789abcdef
    fn journal_open(directory: Pathname) -> Void { feature: Some("journal") };

    /// Close the journal.
    ///
    ///     journal-close
    fn journal_close() -> Void { feature: Some("journal") };

    /// Go to the next entry.
    ///
    /// False means that there is none. To be called before the first entry, too.
    ///
    ///     journal-next
    fn journal_next() -> Bool { feature: Some("journal") };

    /// Go several entries forward, or back if `skip` is negative.
    ///
    /// Returns how many it were, fewer at the end or start of the journal.
    ///
    ///     journal-skip 100
    fn journal_skip(skip: Int64) -> Int64 { feature: Some("journal") };

    /// Show the fields of the current entry.
    ///
    /// Values that are longer than `journal-set-data-threshold` says may be cut.
    ///
    ///     journal-get
    fn journal_get() -> StructList<Xattr> { feature: Some("journal") };

    /// Show the time of the current entry in microseconds since 1970.
    ///
    ///     journal-get-realtime-usec
    fn journal_get_realtime_usec() -> Int64 { feature: Some("journal") };

    /// Show how long values may be before they are cut.
    ///
    /// 0 means that they are never cut.
    ///
    ///     journal-get-data-threshold
    fn journal_get_data_threshold() -> Int64 { feature: Some("journal") };

    /// Set how long values may be before they are cut.
    ///
    /// In bytes, 0 for any length.
    ///
    ///     journal-set-data-threshold 0
    fn journal_set_data_threshold(threshold: Int64) -> Void { feature: Some("journal") };
}
