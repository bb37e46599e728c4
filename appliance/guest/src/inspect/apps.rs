//! The applications that are installed: what the databases of package managers say.

use guestd_api::prelude::*;
use guestd_api::structs::Application2;
use guestd_api::{Error, Failure, Result};

use super::{System, is_file};

/// Larger databases are not read.
const MAX_DATABASE: i64 = 512 << 20;

/// The applications of a system that is mounted, in the order of their database.
///
/// # Errors
/// When its database is in a form that cannot be read.
pub fn applications(guest: &dyn Actions, system: &System) -> Result<Vec<Application2>> {
    match system.package_format() {
        Some("deb") => Ok(dpkg(&database(guest, "/var/lib/dpkg/status")?)),
        Some("apk") => {
            let newer = is_file(guest, "/usr/lib/apk/db/installed")?;
            let path = if newer { "/usr/lib/apk/db/installed" } else { "/lib/apk/db/installed" };
            Ok(apk(&database(guest, path)?))
        }
        Some("pacman") => pacman(guest),
        Some(other @ "rpm") => Err(Error::Action {
            action: "inspect_list_applications2",
            failure: Failure::new(format!(
                "the database of {other} packages is not read here yet: use 'command \"rpm -qa\"'"
            )),
        }),
        _ => Ok(Vec::new()),
    }
}

/// The text of a database; a guest without one has nothing installed.
fn database(guest: &dyn Actions, path: &str) -> Result<String> {
    if !is_file(guest, path)? || guest.filesize(path)? > MAX_DATABASE {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    guest.download(path, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn application() -> Application2 {
    let none = GuestString::default;
    Application2 {
        app2_name: none(),
        app2_display_name: none(),
        app2_epoch: 0,
        app2_version: none(),
        app2_release: none(),
        app2_arch: none(),
        app2_install_path: none(),
        app2_trans_path: none(),
        app2_publisher: none(),
        app2_url: none(),
        app2_source_package: none(),
        app2_summary: none(),
        app2_description: none(),
        app2_spare1: none(),
        app2_spare2: none(),
        app2_spare3: none(),
        app2_spare4: none(),
    }
}

/// `EPOCH:VERSION-RELEASE`, of which only the version must be there.
fn set_version(app: &mut Application2, text: &str) {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, text),
    };
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    app.app2_epoch = epoch;
    app.app2_version = version.into();
    app.app2_release = release.into();
}

/// Stanzas of `Field: value` lines, separated by empty lines; a value goes on in lines that begin with a blank.
fn dpkg(text: &str) -> Vec<Application2> {
    let mut apps = Vec::new();
    for stanza in text.split("\n\n") {
        let mut app = application();
        let mut installed = false;
        let mut field = "";
        let mut description = String::new();
        for line in stanza.lines() {
            if let Some(more) = line.strip_prefix(' ') {
                if field == "Description" {
                    if !description.is_empty() {
                        description.push('\n');
                    }
                    // A dot stands for an empty line.
                    description.push_str(if more == "." { "" } else { more });
                }
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            field = name;
            match name {
                "Package" => app.app2_name = value.into(),
                "Status" => installed = value.split_whitespace().any(|word| word == "installed"),
                "Version" => set_version(&mut app, value),
                "Architecture" => app.app2_arch = value.into(),
                "Homepage" => app.app2_url = value.into(),
                "Source" => app.app2_source_package = value.split(' ').next().unwrap_or_default().into(),
                "Description" => app.app2_summary = value.into(),
                _ => {}
            }
        }
        app.app2_description = description.into();
        if installed && !app.app2_name.as_bytes().is_empty() {
            apps.push(app);
        }
    }
    apps
}

/// Stanzas of `X:value` lines.
fn apk(text: &str) -> Vec<Application2> {
    let mut apps = Vec::new();
    for stanza in text.split("\n\n") {
        let mut app = application();
        for (name, value) in stanza.lines().filter_map(|line| line.split_once(':')) {
            match name {
                "P" => app.app2_name = value.into(),
                "V" => set_version(&mut app, value),
                "A" => app.app2_arch = value.into(),
                "T" => app.app2_summary = value.into(),
                "U" => app.app2_url = value.into(),
                "o" => app.app2_source_package = value.into(),
                "m" => app.app2_publisher = value.into(),
                _ => {}
            }
        }
        if !app.app2_name.as_bytes().is_empty() {
            apps.push(app);
        }
    }
    apps
}

/// One directory a package, with a file of `%NAME%` headings and values below them.
fn pacman(guest: &dyn Actions) -> Result<Vec<Application2>> {
    const DATABASE: &str = "/var/lib/pacman/local";
    let mut apps = Vec::new();
    let names = match guest.ls(DATABASE) {
        Ok(names) => names,
        Err(Error::Action { .. }) => return Ok(apps),
        Err(other) => return Err(other),
    };
    for name in names {
        let path = format!("{DATABASE}/{name}/desc");
        if is_file(guest, &path)? {
            apps.extend(pacman_package(&super::read_text(guest, &path)?));
        }
    }
    Ok(apps)
}

fn pacman_package(text: &str) -> Option<Application2> {
    let value = |heading: &str| {
        let mut lines = text.lines().skip_while(|line| *line != heading).skip(1);
        GuestString::from(lines.next().unwrap_or_default())
    };
    let mut app = application();
    app.app2_name = value("%NAME%");
    set_version(&mut app, value("%VERSION%").to_str()?);
    app.app2_arch = value("%ARCH%");
    app.app2_url = value("%URL%");
    app.app2_source_package = value("%BASE%");
    app.app2_publisher = value("%PACKAGER%");
    app.app2_summary = value("%DESC%");
    (!app.app2_name.as_bytes().is_empty()).then_some(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_read() {
        let status = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:5.2-3+b1\n\
                      Source: bash (5.2-3)\nDescription: GNU Bourne Again SHell\n Bash is\n .\n a shell\nHomepage: http://x\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: last\nStatus: install ok installed\nVersion: 7";
        let apps = dpkg(status);
        assert_eq!(apps.len(), 2);
        let bash = &apps[0];
        assert_eq!(
            (bash.app2_epoch, bash.app2_version.to_string(), bash.app2_release.to_string()),
            (1, "5.2".into(), "3+b1".into())
        );
        assert_eq!(
            (bash.app2_source_package.to_string(), bash.app2_url.to_string()),
            ("bash".into(), "http://x".into())
        );
        assert_eq!(bash.app2_description.to_string(), "Bash is\n\na shell");
        assert_eq!(apps[1].app2_name.to_string(), "last");
        let apps = apk("P:musl\nV:1.2.4-r2\nA:x86_64\nT:the libc\n\nP:busybox\nV:1.36\n\n");
        assert_eq!(apps.len(), 2);
        assert_eq!(
            (apps[0].app2_version.to_string(), apps[0].app2_release.to_string()),
            ("1.2.4".into(), "r2".into())
        );
        let app = pacman_package("%NAME%\nzlib\n\n%VERSION%\n1:1.3-1\n\n%ARCH%\nx86_64\n");
        assert_eq!(app.map(|app| (app.app2_name.to_string(), app.app2_epoch)), Some(("zlib".into(), 1)));
        assert_eq!(pacman_package("%VERSION%\n1\n"), None);
    }
}
