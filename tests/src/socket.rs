//! Sockets of servers that tests start.

use std::path::Path;

/// A server listens on the Unix socket `path`. The name alone says less: a socket has it before anybody can connect. Asking
/// the system makes no connection, which some servers end with.
#[must_use]
pub fn listens(path: &Path) -> bool {
    const LISTENING: &str = "00010000";
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Num RefCount Protocol Flags Type St Inode Path
    sockets.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(3);
        fields.next() == Some(LISTENING) && fields.nth(3).is_some_and(|name| Path::new(name) == path)
    })
}
