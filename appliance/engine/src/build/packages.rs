//! Fetches and unpacks distribution packages through the distribution's own tools, as any user.
//!
//! Nothing is installed. Downloads are kept in one directory under their versioned names, so a package
//! is fetched once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libimage::job::{Progress, Silent};

use super::error::{Error, Result, run};

/// One package at the version that the system's sources offer.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The file it is stored under: name, version and architecture.
    pub file: String,
    /// Size of the download in bytes.
    pub size: u64,
    /// The hash that the (signed) index gives for the file.
    pub hash: String,
}

/// The `apt` command line, with a directory of downloads.
#[derive(Debug)]
pub struct Apt {
    downloads: PathBuf,
}

impl Apt {
    /// Uses `downloads` as the place for package files; it is created if need be.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn new(downloads: PathBuf) -> Result<Self> {
        fs::create_dir_all(&downloads).map_err(|e| Error::io("create", &downloads, e))?;
        Ok(Apt { downloads })
    }

    /// The versioned package that a meta-package such as `linux-image-cloud-amd64` stands for.
    ///
    /// # Errors
    /// When the system's package lists do not know it.
    pub fn real_package(&self, meta: &str) -> Result<String> {
        let fields = self.show(&[meta.to_owned()])?;
        let depends = fields.get(meta).map(|f| f.depends.clone()).unwrap_or_default();
        depends.into_iter().find(|name| name.starts_with("linux-image-")).ok_or_else(|| Error::Package {
            package: meta.to_owned(),
            what: "the package lists do not say which kernel it stands for; run 'apt-get update'".to_owned(),
        })
    }

    /// `roots` and all that they depend on, without `left_out` and what only those need. A name in
    /// `left_out` that ends in `*` stands for all names beginning so.
    ///
    /// # Errors
    /// When a root is not in the package lists.
    pub fn closure(&self, roots: &[&str], left_out: &[&str]) -> Result<Vec<String>> {
        let is_left_out = |name: &str| {
            left_out.iter().any(|l| match l.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => *l == name,
            })
        };
        let mut found = BTreeSet::new();
        let mut next: Vec<String> = roots.iter().map(|r| (*r).to_owned()).collect();
        let mut first = true;
        while !next.is_empty() {
            let known = self.show(&next)?;
            for name in &next {
                // Virtual packages have no entry of their own. What really lacks shows up as a
                // missing library when the root image is checked.
                if first && !known.contains_key(name) {
                    return Err(Error::Package {
                        package: name.clone(),
                        what: "it is not in the package lists; run 'apt-get update'".to_owned(),
                    });
                }
            }
            first = false;
            found.extend(known.keys().cloned());
            let depends: BTreeSet<String> = known.into_values().flat_map(|f| f.depends).collect();
            next = depends.into_iter().filter(|d| !found.contains(d) && !is_left_out(d)).collect();
        }
        Ok(found.into_iter().collect())
    }

    /// Asks which file, of what size and hash, each package is.
    ///
    /// # Errors
    /// When one of them is not to be had.
    pub fn locate(&self, names: &[String]) -> Result<Vec<Package>> {
        let output = run(Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", "--print-uris"])
            .args(names)
            // Files that lie in the current directory already would not be listed.
            .current_dir("/"))?;
        let text = String::from_utf8_lossy(&output);
        let packages: Vec<Package> = text.lines().filter_map(parse_uri_line).collect();
        match names.iter().find(|n| !packages.iter().any(|p| p.name == **n)) {
            None => Ok(packages),
            Some(name) => Err(Error::Package {
                package: name.clone(),
                what: "the package sources do not offer it".to_owned(),
            }),
        }
    }

    /// Downloads those packages that are not here yet.
    ///
    /// # Errors
    /// When a download fails.
    pub fn fetch(&self, packages: &[Package], progress: &dyn Progress) -> Result<()> {
        let missing: Vec<&Package> =
            packages.iter().filter(|p| !self.path(p).metadata().is_ok_and(|m| m.len() == p.size)).collect();
        progress.step("Downloading packages", missing.iter().map(|p| p.size).sum());
        // In batches, so that the progress moves and a cancelled build keeps what it has.
        for batch in missing.chunks(8) {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let names = batch.iter().map(|p| p.name.as_str());
            run(Command::new("apt-get")
                .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
                .args(names)
                .current_dir(&self.downloads))?;
            for package in batch {
                if !self.path(package).exists() {
                    return Err(Error::Package {
                        package: package.name.clone(),
                        what: format!("the download did not bring {}; run 'apt-get update'", package.file),
                    });
                }
            }
            progress.advance(batch.iter().map(|p| p.size).sum());
        }
        Ok(())
    }

    /// Where a downloaded package lies.
    pub fn path(&self, package: &Package) -> PathBuf {
        self.downloads.join(&package.file)
    }

    /// Unpacks a downloaded package into an existing directory, through the directory's own symbolic
    /// links (`bin -> usr/bin`).
    ///
    /// # Errors
    /// When the package is damaged or the disk is full.
    pub fn unpack(&self, package: &Package, into: &Path) -> Result<()> {
        let file = self.path(package);
        let mut dpkg = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::io("run", Path::new("dpkg-deb"), e))?;
        let Some(archive) = dpkg.stdout.take() else {
            return Err(Error::Missing("dpkg-deb gave no output".to_owned()));
        };
        let output = Command::new("tar")
            .args(["-x", "--keep-directory-symlink", "--no-same-owner", "--no-same-permissions", "-C"])
            .arg(into)
            .stdin(archive)
            .output()
            .map_err(|e| Error::io("run", Path::new("tar"), e))?;
        let whole = dpkg.wait().map_err(|e| Error::io("wait for", Path::new("dpkg-deb"), e))?;
        if whole.success() && output.status.success() {
            return Ok(());
        }
        Err(Error::Package {
            package: package.name.clone(),
            what: format!(
                "'{}' cannot be unpacked: {}",
                file.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        })
    }

    /// A package fetched and unpacked below `kept`, where it stays for the next time. Several processes may
    /// ask for the same at once.
    ///
    /// # Errors
    /// When it is not to be had, or cannot be unpacked.
    pub fn unpacked(&self, name: &str, kept: &Path) -> Result<PathBuf> {
        let packages = self.locate(&[name.to_owned()])?;
        let Some(package) = packages.first() else {
            return Err(Error::Package {
                package: name.to_owned(),
                what: "the package sources do not offer it".to_owned(),
            });
        };
        let place = kept.join(package.file.trim_end_matches(".deb"));
        if place.is_dir() {
            return Ok(place);
        }
        self.fetch(&packages, &Silent)?;
        // Beside its place, and then moved there whole.
        let making = place.with_extension(format!("making-{}", std::process::id()));
        fs::create_dir_all(&making).map_err(|e| Error::io("create", &making, e))?;
        let moved = self
            .unpack(package, &making)
            .and_then(|()| fs::rename(&making, &place).map_err(|e| Error::io("create", &place, e)));
        if moved.is_err() {
            // Not needed: another process was faster, or nobody succeeds.
            let _ = fs::remove_dir_all(&making);
        }
        if place.is_dir() { Ok(place) } else { moved.map(|()| place) }
    }

    /// The index entries of those `names` that are real packages.
    fn show(&self, names: &[String]) -> Result<BTreeMap<String, Fields>> {
        let output = Command::new("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(names)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Error::io("run", Path::new("apt-cache"), e))?;
        Ok(parse_index(&String::from_utf8_lossy(&output.stdout)))
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Fields {
    depends: Vec<String>,
}

/// Reads the stanzas that `apt-cache show` prints.
fn parse_index(text: &str) -> BTreeMap<String, Fields> {
    let mut entries = BTreeMap::new();
    for stanza in text.split("\n\n") {
        let mut name = None;
        let mut depends = Vec::new();
        for line in stanza.lines() {
            match line.split_once(": ") {
                Some(("Package", value)) => name = Some(value.trim().to_owned()),
                Some(("Depends" | "Pre-Depends", value)) => {
                    depends.extend(value.split(',').filter_map(first_choice))
                }
                _ => {}
            }
        }
        if let Some(name) = name {
            entries.insert(name, Fields { depends });
        }
    }
    entries
}

/// `foo (>= 1) | bar` names foo.
fn first_choice(dependency: &str) -> Option<String> {
    let name = dependency.split('|').next()?.trim();
    let name = name.split([' ', '(', ':']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Reads a line `'URI' FILE SIZE HASH` of `apt-get --print-uris`.
fn parse_uri_line(line: &str) -> Option<Package> {
    let mut words = line.strip_prefix('\'')?.split_whitespace().skip(1);
    let file = words.next()?.to_owned();
    let size = words.next()?.parse().ok()?;
    let hash = words.next().unwrap_or_default().to_owned();
    let name = file.split('_').next()?.to_owned();
    if file.contains('/') {
        return None;
    }
    Some(Package { name, file, size, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_entries_and_uris_are_read() {
        let text = "Package: a\nPre-Depends: libc6 (>= 2.34), x:any\nDepends: b | c, d\n\nPackage: b\n";
        let entries = parse_index(text);
        assert_eq!(entries["a"].depends, ["libc6", "x", "b", "d"]);
        assert!(entries["b"].depends.is_empty());
        let package = parse_uri_line("'http://h/p/e_1%2b1_amd64.deb' e_1+1_amd64.deb 571920 SHA256:ab");
        assert_eq!(package.map(|p| (p.name, p.size)), Some(("e".to_owned(), 571_920)));
        assert!(parse_uri_line("Reading package lists...").is_none());
    }
}
