//! Databases of text: dpkg's, apk's and pacman's.
//!
//! A package without a name or a version is none, and what makes no sense is skipped.

use guestd_api::GuestString;
use guestd_api::structs::Application2;

use super::application;

/// `EPOCH:VERSION-RELEASE`, of which only the version must be there. Returns whether it is.
fn set_version(app: &mut Application2, text: &str) -> bool {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().ok().filter(|epoch| *epoch >= 0), rest),
        None => (Some(0), text),
    };
    let Some(epoch) = epoch else { return false };
    let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
    app.app2_epoch = epoch;
    app.app2_version = version.into();
    app.app2_release = release.into();
    !version.is_empty()
}

/// Stanzas of `Field: value` lines, separated by empty lines; a value goes on in lines that begin with a blank.
pub(super) fn dpkg(text: &str) -> Vec<Application2> {
    let mut apps = Vec::new();
    for stanza in text.split("\n\n") {
        let mut app = application();
        let (mut installed, mut versioned) = (false, false);
        let mut field = "";
        let mut description: Vec<&str> = Vec::new();
        for line in stanza.lines() {
            if let Some(more) = line.strip_prefix(' ') {
                if field == "Description" {
                    description.push(more);
                }
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            field = name;
            match name {
                "Package" => app.app2_name = value.into(),
                "Status" => installed = value.split_whitespace().any(|word| word == "installed"),
                "Version" => versioned = set_version(&mut app, value),
                "Architecture" => app.app2_arch = value.into(),
                "Homepage" => app.app2_url = value.into(),
                "Source" => app.app2_source_package = value.split(' ').next().unwrap_or_default().into(),
                "Description" => app.app2_summary = value.into(),
                _ => {}
            }
        }
        app.app2_description = description.join("\n").into();
        if installed && versioned && !app.app2_name.is_empty() {
            apps.push(app);
        }
    }
    apps
}

/// Stanzas of `X:value` lines.
pub(super) fn apk(text: &str) -> Vec<Application2> {
    let mut apps = Vec::new();
    for stanza in text.split("\n\n") {
        let mut app = application();
        let mut versioned = false;
        for (name, value) in stanza.lines().filter_map(|line| line.split_once(':')) {
            match name {
                "P" => app.app2_name = value.into(),
                "V" => versioned = set_version(&mut app, value),
                "A" => app.app2_arch = value.into(),
                "T" => app.app2_description = value.into(),
                "U" => app.app2_url = value.into(),
                _ => {}
            }
        }
        // Releases are r0, r1, ...
        if let Some(number) = app.app2_release.to_str().and_then(|release| release.strip_prefix('r')) {
            app.app2_release = number.into();
        }
        if versioned && !app.app2_name.is_empty() {
            apps.push(app);
        }
    }
    apps
}

/// A package of pacman: `%NAME%` headings and values below them.
pub(super) fn pacman(text: &str) -> Option<Application2> {
    let value = |heading: &str| {
        let mut lines = text.lines().skip_while(|line| *line != heading).skip(1);
        GuestString::from(lines.next().unwrap_or_default())
    };
    let mut app = application();
    app.app2_name = value("%NAME%");
    let versioned = set_version(&mut app, value("%VERSION%").to_str()?);
    app.app2_arch = value("%ARCH%");
    app.app2_url = value("%URL%");
    app.app2_description = value("%DESC%");
    let whole = [&app.app2_name, &app.app2_arch, &app.app2_release].iter().all(|text| !text.is_empty());
    (versioned && whole).then_some(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn databases_are_read() {
        let status = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:5.2-3+b1\n\
                      Source: bash (5.2-3)\nDescription: GNU Bourne Again SHell\n Bash is\n .\n a shell\nHomepage: http://x\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: never\nStatus: install ok not-installed\nVersion: 1\n\n\
                      Package: bare\nStatus: install ok installed\n\n\
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
        assert_eq!(bash.app2_description.to_string(), "Bash is\n.\na shell");
        assert_eq!(apps[1].app2_name.to_string(), "last");
        let apps = apk("P:musl\nV:1.2.4-r2\nA:x86_64\nT:the libc\n\nP:busybox\nV:1.36\n\nP:x\nV:y:1\n\n");
        assert_eq!(apps.len(), 2);
        assert_eq!(
            (apps[0].app2_version.to_string(), apps[0].app2_release.to_string()),
            ("1.2.4".into(), "2".into())
        );
        let app = pacman("%NAME%\nzlib\n\n%VERSION%\n1:1.3-1\n\n%ARCH%\nx86_64\n");
        assert_eq!(app.map(|app| (app.app2_name.to_string(), app.app2_epoch)), Some(("zlib".into(), 1)));
        assert_eq!(
            (pacman("%VERSION%\n1-1\n"), pacman("%NAME%\nx\n%VERSION%\n1\n%ARCH%\na\n")),
            (None, None)
        );
    }

    proptest! {
        #[test]
        fn no_database_surprises(text in "(Package:|Status:|installed|Version:|Description:|P:|V:|%NAME%|%VERSION%|%ARCH%|[ \n:r0-9a-zé.-])*") {
            dpkg(&text);
            apk(&text);
            pacman(&text);
        }
    }
}
