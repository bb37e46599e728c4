//! What is in an export, told by its first bytes: the answer of `file`.

use std::io::Write;
use std::process::{Command, Stdio};

use nbd_protocol::client::Connection;

/// What is shown to `file`.
const BYTES: u64 = 8192;

/// What `file` says, if it is installed and the beginning of the export can be read.
pub(super) fn of(connection: &Connection) -> Option<String> {
    let info = connection.info();
    let length = BYTES.max(u64::from(info.alignment())).min(info.size);
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    connection.read_at(&mut bytes, 0).ok()?;
    let mut file = Command::new("file")
        .args(["-b", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    if let Some(mut input) = file.stdin.take() {
        // It need not read everything to know.
        let _ = input.write_all(&bytes);
    }
    let output = file.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
