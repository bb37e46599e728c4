//! What the user has written down for all tools: `libguestfs-tools.conf`.

use std::path::PathBuf;

/// Whether disks are opened for reading only unless said otherwise.
pub(crate) fn read_only() -> bool {
    let texts = places().into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let settings: Vec<bool> = texts.filter_map(|text| setting(&text)).collect();
    // The first place is the user's own.
    settings.first().copied().unwrap_or(false)
}

fn places() -> Vec<PathBuf> {
    const NAME: &str = "libguestfs/libguestfs-tools.conf";
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = variable("HOME").map(PathBuf::from);
    let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".config")));
    let shared = variable("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    let mut places: Vec<PathBuf> = own.map(|dir| dir.join(NAME)).into_iter().collect();
    places.extend(home.map(|home| home.join(".libguestfs-tools.rc")));
    places.extend(std::env::split_paths(&shared).map(|dir| dir.join(NAME)));
    places.push("/etc/libguestfs-tools.conf".into());
    places
}

/// `read_only = true;`, the last one counts.
fn setting(text: &str) -> Option<bool> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "read_only").then(|| value.trim().trim_end_matches(';').trim() == "true")
    });
    values.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_counts() {
        assert_eq!(setting("# read_only = true;\nread_only = false;\nread_only=true;\n"), Some(true));
        assert_eq!(setting("other = true;\n"), None);
    }
}
