//! The files that a command made or changed: the same names, and images that qemu-img finds alike.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::text;

/// What files there are, and in which state.
pub(super) struct Images {
    directory: PathBuf,
    files: BTreeMap<String, State>,
}

/// Changes whenever a file is written or replaced.
#[derive(PartialEq, Eq)]
struct State {
    inode: u64,
    changed: (i64, i64),
    regular: bool,
}

impl Images {
    /// Looks at a directory and those below it.
    pub(super) fn look(directory: &Path) -> Result<Self> {
        let mut images = Images { directory: directory.to_owned(), files: BTreeMap::new() };
        images.add(directory, "")?;
        Ok(images)
    }

    fn add(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if metadata.is_dir() {
                self.add(&entry.path(), &format!("{name}/"))?;
                continue;
            }
            let changed = (metadata.mtime(), metadata.mtime_nsec());
            self.files.insert(name, State { inode: metadata.ino(), changed, regular: metadata.is_file() });
        }
        Ok(())
    }
}

/// How the files differ that a command made or changed in either directory (`before` and `now` are pairs of
/// the real program's directory and ours).
pub(super) fn difference(before: &(Images, Images), now: &(Images, Images)) -> Result<Option<String>> {
    let names = |images: &Images| images.files.keys().cloned().collect::<Vec<_>>();
    let (real, ours) = (names(&now.0), names(&now.1));
    if real != ours {
        return Ok(Some(format!("    expected files: {real:?}\n    found files:    {ours:?}\n")));
    }
    let changed = |before: &Images, now: &Images, name: &str| before.files.get(name) != now.files.get(name);
    for name in &real {
        let touched = (changed(&before.0, &now.0, name), changed(&before.1, &now.1, name));
        let regular = now.0.files.get(name).is_some_and(|state| state.regular);
        if touched == (false, false) || !regular {
            continue;
        }
        let (a, b) = (now.0.directory.join(name), now.1.directory.join(name));
        if let Some(text) = compare(&a, &b)? {
            return Ok(Some(format!("    file {name}: {text}\n")));
        }
    }
    Ok(None)
}

fn compare(real: &Path, ours: &Path) -> Result<Option<String>> {
    // The same bytes are the same image.
    if std::fs::metadata(real)?.len() < 1 << 20 && std::fs::read(real)? == std::fs::read(ours)? {
        return Ok(None);
    }
    let (expected, found) = (info(real)?, info(ours)?);
    if expected != found {
        let (expected, found) = text::differing_lines(&format!("{expected:#}"), &format!("{found:#}"));
        return Ok(Some(format!("\n    expected: {expected}\n    found: {found}")));
    }
    let Some(format) = expected.get("format").and_then(Value::as_str) else { return Ok(None) };
    // QEMU looks at each of the many pieces of a large image.
    if expected.get("virtual-size").and_then(Value::as_u64).is_some_and(|size| size > 1 << 40) {
        return Ok(None);
    }
    if expected.get("encrypted") == Some(&Value::Bool(true)) {
        return compare_encrypted(&expected, format, real, ours);
    }
    // Backing files that are not there are part of some cases: what can be read must be the same.
    let shown = ["compare", "-U", "-f", format, "-F", format];
    let output = run(Command::new("timeout").args(["20", "qemu-img"]).args(shown).arg(real).arg(ours))?;
    if !output.0 && !output.1.contains("backing file") {
        return Ok(Some(output.1));
    }
    if format == "qcow2" {
        let check = |path| run(Command::new("qemu-img").args(["check", "-U", "-f", "qcow2"]).arg(path));
        let (expected, found) = (check(real)?, check(ours)?);
        if !found.0 && expected.0 {
            return Ok(Some(found.1));
        }
    }
    Ok(None)
}

/// What all passphrases of the tables are.
const PASSPHRASES: [&str; 2] = ["abc", "def"];

/// The same passphrases must show the same data.
fn compare_encrypted(about: &Value, format: &str, real: &Path, ours: &Path) -> Result<Option<String>> {
    let prefix = if format == "luks" { "" } else { "encrypt." };
    for passphrase in PASSPHRASES {
        let object = format!("secret,id=s,data={passphrase}");
        let spec =
            |path: &Path| format!("driver={format},{prefix}key-secret=s,file.filename={}", path.display());
        let command = |name: &str| {
            let mut command = Command::new("timeout");
            command.args(["20", "qemu-img", name, "-U", "--object", &object, "--image-opts"]);
            command
        };
        let opens =
            |path| Ok::<_, anyhow::Error>(run(command("map").arg("--output=json").arg(spec(path)))?.0);
        match (opens(real)?, opens(ours)?) {
            (false, false) => continue,
            (true, true) => {}
            (expected, found) => {
                let text = format!("opened by '{passphrase}': expected {expected}, found {found}");
                return Ok(Some(text));
            }
        }
        let legacy = about.pointer("/format-specific/data/encrypt/format") == Some(&"aes".into());
        let output = run(command("compare").arg(spec(real)).arg(spec(ours)))?;
        if !output.0 {
            return Ok(Some(output.1));
        }
        let check = |path| run(command("check").arg(spec(path)));
        let (expected, found) = (check(real)?, check(ours)?);
        if expected.0 && !found.0 {
            return Ok(Some(found.1));
        }
        if legacy {
            // It opens with any passphrase, and shows noise with all but one.
            break;
        }
    }
    Ok(None)
}

/// What `qemu-img info` says of an image; null if it is none.
fn info(path: &Path) -> Result<Value> {
    let mut command = Command::new("qemu-img");
    command.args(["info", "-U", "--output=json"]).arg(path);
    let output = command.output().context("Cannot run qemu-img")?;
    let directory = path.parent().context("A file lies in a directory")?.display().to_string();
    let text = String::from_utf8_lossy(&output.stdout).replace(&directory, "DIRECTORY");
    let mut value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    text::strip(&mut value);
    // Where in the file things lie is each program's own affair.
    if value.get("format").and_then(Value::as_str) != Some("raw")
        && let Some(object) = value.as_object_mut()
    {
        object.remove("children");
    }
    Ok(value)
}

fn run(command: &mut Command) -> Result<(bool, String)> {
    let output = command.output().context("Cannot run qemu-img")?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}
