//! Commands that the shell carries out itself.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use guest_cli::DriveSpec;
use guestd_api::actions::archive::{TarInOptions, TarOutOptions};
use guestd_api::actions::files::{IsDirOptions, IsFileOptions};
use guestd_api::actions::search::GlobExpandOptions;
use guestd_api::prelude::*;
use guestd_api::{ArgKind, CommandSpec};
use libimage::units::parse_size;

use crate::session::Session;
use crate::shell::{Shell, Usage};

/// Whether to go on.
pub(crate) enum Flow {
    Go,
    Quit,
}

type Run = fn(&mut Shell, &mut Session, &[GuestString], &mut dyn Write) -> Result<Flow>;

/// A command of the shell.
pub(crate) struct Local {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    arguments: &'static str,
    summary: &'static str,
    pub(crate) run: Run,
}

/// All of them.
pub(crate) static COMMANDS: &[Local] = &[
    Local {
        name: "add-drive",
        aliases: &["add"],
        arguments: "filename [readonly:true|false] [format:raw|qcow2]",
        summary: "Add a disk image",
        run: add_drive,
    },
    Local {
        name: "add-drive-ro",
        aliases: &["add-ro"],
        arguments: "filename",
        summary: "Add a disk image that is never written",
        run: add_drive_ro,
    },
    Local {
        name: "alloc",
        aliases: &["allocate"],
        arguments: "filename size",
        summary: "Make a raw image with all its space allocated, and add it",
        run: alloc,
    },
    Local {
        name: "copy-in",
        aliases: &[],
        arguments: "local [local ...] /remotedir",
        summary: "Copy files and directories of the host into a directory of the guest",
        run: copy_in,
    },
    Local {
        name: "copy-out",
        aliases: &[],
        arguments: "remote [remote ...] localdir",
        summary: "Copy files and directories of the guest into a directory of the host",
        run: copy_out,
    },
    Local { name: "echo", aliases: &[], arguments: "[text ...]", summary: "Print words", run: echo },
    Local {
        name: "edit",
        aliases: &["vi", "emacs"],
        arguments: "filename",
        summary: "Edit a file of the guest with $EDITOR",
        run: edit,
    },
    Local {
        name: "glob",
        aliases: &[],
        arguments: "command [argument ...]",
        summary: "Run a command for every path that wildcards in its arguments match",
        run: glob,
    },
    Local {
        name: "help",
        aliases: &[],
        arguments: "[command]",
        summary: "List all commands, or explain one",
        run: show_help,
    },
    Local {
        name: "lcd",
        aliases: &[],
        arguments: "directory",
        summary: "Change the directory on the host",
        run: lcd,
    },
    Local {
        name: "more",
        aliases: &["less"],
        arguments: "filename",
        summary: "Page through a file of the guest with $PAGER",
        run: more,
    },
    Local {
        name: "quit",
        aliases: &["exit", "q"],
        arguments: "",
        summary: "Leave; everything is written out first",
        run: quit,
    },
    Local {
        name: "run",
        aliases: &["launch"],
        arguments: "",
        summary: "Make the disks that were added available",
        run: launch,
    },
    Local {
        name: "shutdown",
        aliases: &["kill-subprocess"],
        arguments: "",
        summary: "End the guest; everything is on its disks then",
        run: shutdown,
    },
    Local {
        name: "sparse",
        aliases: &[],
        arguments: "filename size",
        summary: "Make a raw image without allocating its space, and add it",
        run: sparse,
    },
    Local {
        name: "time",
        aliases: &[],
        arguments: "command [argument ...]",
        summary: "Run a command and tell how long it took",
        run: time,
    },
];

/// Finds a command of the shell; hyphens and underscores are the same.
pub(crate) fn find(name: &str) -> Option<&'static Local> {
    let name = name.replace('_', "-").to_ascii_lowercase();
    COMMANDS.iter().find(|c| c.name == name || c.aliases.contains(&name.as_str()))
}

/// The names of everything that can be typed, for completion and suggestions.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let local = COMMANDS
        .iter()
        .flat_map(|c| std::iter::once(c.name).chain(c.aliases.iter().copied()))
        .map(str::to_owned);
    let actions = guestd_api::commands()
        .flat_map(|c| std::iter::once(c.name).chain(c.aliases.iter().copied()))
        .map(|name| name.replace('_', "-"));
    local.chain(actions)
}

/// The command whose name is most like `name`, if one is very much so.
pub(crate) fn nearest(name: &str) -> Option<String> {
    let name = name.replace('_', "-").to_ascii_lowercase();
    let limit = 1 + name.len() / 5;
    names()
        .map(|known| (distance(&name, &known), known))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Letters to insert, delete or change to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// How an action is written.
pub(crate) fn usage(command: &CommandSpec) -> String {
    let mut text = command.shown_name();
    for argument in command.args.iter().filter(|a| a.kind != ArgKind::Key) {
        text.push_str(&format!(" {}", argument.name));
    }
    for option in command.optargs {
        text.push_str(&format!(" [{}:..]", option.name));
    }
    text
}

/// The page about a command, or the list of all.
pub(crate) fn help(name: Option<&str>) -> Result<String> {
    let Some(name) = name else { return Ok(list()) };
    if let Some(local) = find(name) {
        return Ok(page(
            local.name,
            local.summary,
            &format!("{} {}", local.name, local.arguments),
            local.aliases,
            "",
        ));
    }
    let Some(command) = guestd_api::find(name) else {
        let hint = nearest(name).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
        bail!("{name}: there is no such command{hint}");
    };
    let mut text = command.help();
    if let Some(feature) = command.feature {
        text.push_str(&format!("\n\nNeeds the feature '{feature}': see 'feature-available'."));
    }
    if let Some(other) = command.deprecated_by {
        text.push_str(&format!("\n\nKept for old scripts: use '{}' instead.", other.replace('_', "-")));
    }
    Ok(page(
        &command.shown_name(),
        command.summary().trim_end_matches('.'),
        &usage(command),
        command.aliases,
        &text,
    ))
}

fn page(name: &str, summary: &str, usage: &str, aliases: &[&str], text: &str) -> String {
    let mut page = format!(
        "NAME\n    {name} - {}{}\n\nSYNOPSIS\n    {}\n",
        summary[..1].to_lowercase(),
        &summary[1..],
        usage.trim()
    );
    if !text.is_empty() {
        page.push_str("\nDESCRIPTION\n");
        for line in text.lines() {
            page.push_str(if line.is_empty() { "" } else { "    " });
            page.push_str(line);
            page.push('\n');
        }
    }
    if !aliases.is_empty() {
        page.push_str(&format!("\nALSO CALLED\n    {}\n", aliases.join(", ").replace('_', "-")));
    }
    page
}

fn list() -> String {
    let mut rows: Vec<(String, &str)> = COMMANDS.iter().map(|c| (c.name.to_owned(), c.summary)).collect();
    rows.extend(guestd_api::commands().map(|c| (c.shown_name(), c.summary())));
    rows.sort();
    let mut text = String::from("Command              Description\n");
    for (name, summary) in rows {
        text.push_str(&format!("{name:<20} {}\n", summary.trim_end_matches('.')));
    }
    text.push_str("\n'help COMMAND' explains one of them.\n");
    text
}

fn wrong(name: &str) -> anyhow::Error {
    let arguments = find(name).map(|c| c.arguments).unwrap_or_default();
    Usage(format!("error: incorrect number of arguments\nusage: {name} {arguments}\ntype 'help {name}' for help on {name}")).into()
}

fn text(word: &GuestString) -> Result<&str> {
    word.to_str().ok_or_else(|| anyhow!("{word}: it is not UTF-8"))
}

fn add_drive(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let Some((file, options)) = words.split_first() else { return Err(wrong("add-drive")) };
    let (mut read_only, mut format) = (false, None);
    for option in options {
        match text(option)?.split_once(':') {
            Some(("readonly", value)) => read_only = matches!(value, "true" | "t" | "1" | "yes" | "y" | "on"),
            Some(("format", value)) => format = Some(value),
            // They choose how a disk is attached, which is the same for all here.
            Some(("iface" | "name" | "label" | "cachemode" | "discard" | "copyonread", _)) => {}
            _ => bail!("add-drive: unknown optional argument \"{option}\""),
        }
    }
    let spec = DriveSpec { file: text(file)?.to_owned(), format: format.map(str::to_owned) };
    session.add_drive(&spec, read_only)?;
    Ok(Flow::Go)
}

fn add_drive_ro(
    _: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    _: &mut dyn Write,
) -> Result<Flow> {
    let [file] = words else { return Err(wrong("add-drive-ro")) };
    session.add_drive(&DriveSpec { file: text(file)?.to_owned(), format: None }, true)?;
    Ok(Flow::Go)
}

fn make_image(session: &mut Session, name: &str, words: &[GuestString], allocate: bool) -> Result<Flow> {
    let [file, size] = words else { return Err(wrong(name)) };
    let (file, size) = (text(file)?, parse_size(text(size)?)?);
    let mode = if allocate { libimage::Preallocation::Falloc } else { libimage::Preallocation::Off };
    let new = libimage::storage::Replacement::new(file)?;
    libimage::format::raw::Raw::create(&*new.storage(), size, mode)?;
    new.commit()?;
    session.add_drive(&DriveSpec { file: file.to_owned(), format: Some("raw".to_owned()) }, false)?;
    Ok(Flow::Go)
}

fn alloc(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    make_image(session, "alloc", words, true)
}

fn sparse(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    make_image(session, "sparse", words, false)
}

fn echo(_: &mut Shell, _: &mut Session, words: &[GuestString], out: &mut dyn Write) -> Result<Flow> {
    let words: Vec<&[u8]> = words.iter().map(GuestString::as_bytes).collect();
    out.write_all(&words.join(&b' '))?;
    out.write_all(b"\n")?;
    Ok(Flow::Go)
}

fn launch(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    if !words.is_empty() {
        return Err(wrong("run"));
    }
    session.launch()?;
    Ok(Flow::Go)
}

fn shutdown(_: &mut Shell, session: &mut Session, _: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    session.shut_down()?;
    Ok(Flow::Go)
}

fn quit(_: &mut Shell, _: &mut Session, _: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    Ok(Flow::Quit)
}

fn lcd(_: &mut Shell, _: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let [directory] = words else { return Err(wrong("lcd")) };
    std::env::set_current_dir(directory.as_os_str()).with_context(|| directory.to_string())?;
    Ok(Flow::Go)
}

fn time(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    if words.is_empty() {
        return Err(wrong("time"));
    }
    let started = Instant::now();
    let flow = shell.execute(session, words, out)?;
    writeln!(out, "elapsed time: {:.2} seconds", started.elapsed().as_secs_f64())?;
    Ok(flow)
}

fn show_help(_: &mut Shell, _: &mut Session, words: &[GuestString], out: &mut dyn Write) -> Result<Flow> {
    let name = words.first().map(text).transpose()?;
    out.write_all(help(name)?.as_bytes())?;
    Ok(Flow::Go)
}

/// Every combination of what the arguments match; an argument that matches nothing stays as it is.
fn glob(
    shell: &mut Shell,
    session: &mut Session,
    words: &[GuestString],
    out: &mut dyn Write,
) -> Result<Flow> {
    let Some((command, arguments)) = words.split_first() else { return Err(wrong("glob")) };
    let mut lines = vec![vec![command.clone()]];
    for argument in arguments {
        let is_pattern = argument.as_bytes().iter().any(|b| b"*?[".contains(b));
        let matches = match (is_pattern, argument.as_bytes()) {
            (true, bytes) if bytes.starts_with(b"/dev/") => device_matches(session, text(argument)?)?,
            (true, bytes) if bytes.starts_with(b"/") => {
                session.guest()?.glob_expand(argument.clone(), GlobExpandOptions::default())?
            }
            _ => Vec::new(),
        };
        let matches = if matches.is_empty() { vec![argument.clone()] } else { matches };
        lines = lines
            .iter()
            .flat_map(|line| matches.iter().map(move |m| [&line[..], std::slice::from_ref(m)].concat()))
            .collect();
    }
    for line in lines {
        if let Flow::Quit = shell.execute(session, &line, out)? {
            return Ok(Flow::Quit);
        }
    }
    Ok(Flow::Go)
}

/// Devices whose name matches; only `*` and `?` make sense in device names.
fn device_matches(session: &Session, pattern: &str) -> Result<Vec<GuestString>> {
    let guest = session.guest()?;
    let mut devices = guest.list_devices()?;
    devices.extend(guest.list_partitions()?);
    Ok(devices.into_iter().filter(|d| matches(pattern.as_bytes(), d.as_bytes())).collect())
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        Some((b'?', rest)) => !text.is_empty() && matches(rest, &text[1..]),
        Some((letter, rest)) => text.first() == Some(letter) && matches(rest, &text[1..]),
    }
}

/// Streams a tar archive of the host's files into the guest.
fn copy_in(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let Some((remote, locals)) = words.split_last().filter(|(_, l)| !l.is_empty()) else {
        return Err(wrong("copy-in"));
    };
    let guest = session.guest()?;
    for local in locals {
        let path = Path::new(local.as_os_str());
        let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("{}: cannot be copied", path.display())
        };
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(parent)
            .args(["-cf", "-", "--"])
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("tar")?;
        let done = match tar.stdout.take() {
            Some(mut archive) => guest.tar_in(&mut archive, remote.clone(), TarInOptions::default()),
            None => Ok(()),
        };
        let status = tar.wait()?;
        done?;
        if !status.success() {
            bail!("copy-in: tar failed on '{}': {status}", path.display());
        }
    }
    Ok(Flow::Go)
}

/// Streams a tar archive of the guest's files to the host.
fn copy_out(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let Some((local, remotes)) = words.split_last().filter(|(_, r)| !r.is_empty()) else {
        return Err(wrong("copy-out"));
    };
    let directory = PathBuf::from(local.as_os_str());
    if !directory.is_dir() {
        bail!("copy-out: target '{}' is not a directory", directory.display());
    }
    let guest = session.guest()?;
    for remote in remotes {
        let path = remote.as_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let slash = path
            .iter()
            .rposition(|&b| b == b'/')
            .or_else(|| (path.is_empty() && remote == "/").then_some(0))
            .ok_or_else(|| anyhow!("copy-out: '{remote}' is not an absolute path"))?;
        let name = GuestString::from(path.get(slash + 1..).unwrap_or_default());
        if guest.is_file(remote.clone(), IsFileOptions::default().followsymlinks(true))? {
            let target = directory.join(Path::new(name.as_os_str()));
            let mut file = fs::File::create(&target).with_context(|| target.display().to_string())?;
            guest.download(remote.clone(), &mut file)?;
            continue;
        }
        let below = GuestString::from(if path.is_empty() { &b"/"[..] } else { path });
        if !guest.is_dir(below.clone(), IsDirOptions::default().followsymlinks(true))? {
            bail!("copy-out: '{remote}': there is no file or directory of this name");
        }
        let target = directory.join(Path::new(name.as_os_str()));
        fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(&target)
            .args(["-xf", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("tar")?;
        let done = match tar.stdin.take() {
            Some(mut archive) => guest.tar_out(below, &mut archive, TarOutOptions::default()),
            None => Ok(()),
        };
        let status = tar.wait()?;
        done?;
        if !status.success() {
            bail!("copy-out: tar failed: {status}");
        }
    }
    Ok(Flow::Go)
}

/// Downloads a file, lets the user edit it, and puts it back if it changed, with its attributes.
fn edit(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let [path] = words else { return Err(wrong("edit")) };
    let guest = session.guest()?;
    // Of a link, what it leads to: the link stays.
    let path = guest.realpath(path.clone())?;
    let before = guest.read_file(path.clone())?;
    let editor = std::env::var("EDITOR").unwrap_or_else(|_| "vi".to_owned());
    let copy = private_file(&before)?;
    let status =
        Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(copy.path()).status()?;
    if !status.success() {
        bail!("edit: '{editor}' failed: {status}");
    }
    let after = fs::read(copy.path())?;
    if after == before {
        return Ok(Flow::Go);
    }
    // A new file takes the old one's place in one step, so that a guest never finds half of it. It begins
    // as a copy, because that has the owner, the mode and all other attributes.
    let new = GuestString::from([path.as_bytes(), b".guestfish-edit"].concat());
    if guest.exists(new.clone())? {
        bail!("edit: '{new}' is in the way, perhaps left by an edit that was cut short");
    }
    let replace = || {
        guest.cp_a(path.clone(), new.clone())?;
        guest.upload(&mut &after[..], new.clone())?;
        guest.mv(new.clone(), path.clone())
    };
    let done = replace();
    if done.is_err() {
        // The first error is the one to be told.
        let _ = guest.rm_f(new.clone());
    }
    done?;
    Ok(Flow::Go)
}

fn more(_: &mut Shell, session: &mut Session, words: &[GuestString], _: &mut dyn Write) -> Result<Flow> {
    let [path] = words else { return Err(wrong("more")) };
    let bytes = session.guest()?.read_file(path.clone())?;
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "more".to_owned());
    let mut child = Command::new("sh").arg("-c").arg(&pager).stdin(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // Leaving the pager early is not an error.
        let _ = pipe.write_all(&bytes);
    }
    child.wait()?;
    Ok(Flow::Go)
}

fn private_file(contents: &[u8]) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("guestfish-").tempfile()?;
    file.write_all(contents)?;
    file.flush()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_commands_find_their_neighbours() {
        assert_eq!(nearest("mout").as_deref(), Some("mount"));
        assert_eq!(nearest("list-filesystem").as_deref(), Some("list-filesystems"));
        assert_eq!(nearest("xyzzy"), None);
    }

    #[test]
    fn device_patterns() {
        assert!(matches(b"/dev/sd?*", b"/dev/sda1") && matches(b"/dev/sda*", b"/dev/sda"));
        assert!(!matches(b"/dev/sda?", b"/dev/sda") && !matches(b"/dev/sdb*", b"/dev/sda1"));
    }
}
