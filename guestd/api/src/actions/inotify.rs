//! Watching files of the guest.

use crate::table::actions;

actions! {
    group "inotify";

    /// Start watching.
    ///
    /// Watches of before are forgotten. `maxevents` is how many events are kept between two reads, 0 leaves it
    /// to the kernel. What is to be watched is added by `inotify-add-watch`.
    ///
    ///     inotify-init 0
    fn inotify_init(maxevents: Int) -> Void { feature: Some("inotify") };

    /// Watch a file, or a directory and what is in it.
    ///
    /// `mask` is the sum of the kernel's numbers of events, 0xfff for all. Directories below are not watched.
    /// Returns the watch's number.
    ///
    ///     inotify-add-watch /etc 0xfff
    fn inotify_add_watch(path: Pathname, mask: Int) -> Int64 { feature: Some("inotify") };

    /// Stop watching one file.
    ///
    ///     inotify-rm-watch 1
    fn inotify_rm_watch(wd: Int) -> Void { feature: Some("inotify") };

    /// List what happened since the last time.
    ///
    /// Call it until the list is empty to have seen all.
    ///
    ///     inotify-read
    fn inotify_read() -> StructList<InotifyEvent> { feature: Some("inotify") };

    /// List the names of files that something happened to since the last time.
    ///
    /// Sorted, each once.
    ///
    ///     inotify-files
    fn inotify_files() -> StringList { feature: Some("inotify") };

    /// Stop watching.
    ///
    ///     inotify-close
    fn inotify_close() -> Void { feature: Some("inotify") };
}
