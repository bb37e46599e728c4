//! Commands that the shell carries out itself, each with its page of help.

mod basic;
mod copy;
mod edit;
mod environment;
mod events;
mod glob;
mod images;
mod near;
mod view;

use std::io::Write;

use anyhow::{Result, anyhow};
use guestd_api::GuestString;

use crate::session::Session;
use crate::shell::{Shell, Usage};

pub(crate) use near::nearest;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Go,
    Quit,
}

type Run = fn(&mut Shell, &mut Session, &[GuestString], &mut dyn Write) -> Result<Flow>;

/// A command of the shell.
pub(crate) struct Local {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) arguments: &'static str,
    /// What it does, in a line without a full stop.
    pub(crate) summary: &'static str,
    /// More, with an example.
    pub(crate) help: &'static str,
    pub(crate) run: Run,
}

const fn local(
    name: &'static str,
    aliases: &'static [&'static str],
    arguments: &'static str,
    summary: &'static str,
    help: &'static str,
    run: Run,
) -> Local {
    Local { name, aliases, arguments, summary, help, run }
}

/// All of them.
pub(crate) static COMMANDS: &[Local] = &[
    local(
        "alloc",
        &["allocate"],
        "filename size",
        "Make a raw image with all its space allocated, and add it",
        "Sizes can have suffixes.\n\n    alloc disk.img 1G",
        images::alloc,
    ),
    local(
        "copy-in",
        &[],
        "local [local ...] /remotedir",
        "Copy files and directories of the host into a directory of the guest",
        "Directories are copied with everything in them.\n\n    copy-in notes.txt photos /home",
        copy::copy_in,
    ),
    local(
        "copy-out",
        &[],
        "remote [remote ...] localdir",
        "Copy files and directories of the guest into a directory of the host",
        "The directory must be there.\n\n    copy-out /etc /home .",
        copy::copy_out,
    ),
    local(
        "delete-event",
        &[],
        "name",
        "Forget the commands that 'event' added under a name",
        "    delete-event messages",
        events::delete,
    ),
    local(
        "display",
        &[],
        "filename",
        "Show a picture of the guest",
        "The program is $GUESTFISH_DISPLAY_IMAGE, or display.\n\n    display /boot/splash.png",
        view::display,
    ),
    local(
        "echo",
        &[],
        "[text ...]",
        "Print words",
        "Wildcards become names if 'glob' stands in front.\n\n    echo hello\n    glob echo /etc/*.conf",
        basic::echo,
    ),
    local(
        "edit",
        &["vi", "emacs"],
        "filename",
        "Edit a file of the guest",
        "The editor is $EDITOR, or vi; under the names vi and emacs it is that. The file keeps its owner, mode and \
         other attributes, and nothing is written if it did not change.\n\n    edit /etc/fstab",
        edit::edit,
    ),
    local(
        "event",
        &[],
        "name eventset command",
        "Run a command of the host whenever something happens",
        "The events are close, subprocess_quit, launch_done, progress, appliance, library, trace, enter, \
         libvirt_auth and warning: one, several with commas, or * for all. The command finds which one it was in \
         $EVENT, and what belongs to it in $1, $2 ...\n\n    event \"\" enter \"echo $1\"",
        events::add,
    ),
    local(
        "glob",
        &[],
        "command [argument ...]",
        "Run a command for every path that wildcards in its arguments match",
        "The wildcards are * ? and [...], in paths and names of devices.\n\n    glob rm-f /tmp/*.log",
        glob::glob,
    ),
    local("help", &[], "[command]", "List all commands, or explain one", "    help mount", basic::help),
    local(
        "hexedit",
        &[],
        "filename|device [[start] max]",
        "Edit the bytes of a file or a device of the guest",
        "The editor is $HEXEDITOR, or hexedit. Of large files and devices a part must be chosen: its length, or \
         where it begins and its length.\n\n    hexedit /dev/sda 1M\n    hexedit /dev/sda1 1024 1024",
        edit::hexedit,
    ),
    local("lcd", &[], "directory", "Change the directory on the host", "    lcd /tmp", environment::lcd),
    local("list-events", &[], "", "List the commands that 'event' added", "    list-events", events::list),
    local("man", &["manual"], "", "Open the manual", "    man", view::manual),
    local(
        "more",
        &["less"],
        "filename",
        "Page through a file of the guest",
        "The program is $PAGER, or more; under the name less it is that.\n\n    more /etc/services",
        view::more,
    ),
    local(
        "not",
        &[],
        "command [argument ...]",
        "Run a command that must fail",
        "Its failure is told and the script goes on; its success is an error.\n\n    not mount /dev/sda1 /",
        basic::not,
    ),
    local("quit", &["exit", "q"], "", "Leave; everything is written out first", "    quit", basic::quit),
    local(
        "reopen",
        &[],
        "",
        "Begin again without disks",
        "The guest is shut down first, and everything is written out.\n\n    reopen",
        basic::reopen,
    ),
    local(
        "setenv",
        &[],
        "VAR value",
        "Set a variable of the environment, for commands of the host",
        "    setenv EDITOR nano",
        environment::set,
    ),
    local(
        "sparse",
        &[],
        "filename size",
        "Make a raw image without allocating its space, and add it",
        "Sizes can have suffixes.\n\n    sparse disk.img 10G",
        images::sparse,
    ),
    local(
        "supported",
        &[],
        "",
        "List the features of the appliance and whether they are there",
        "    supported",
        basic::supported,
    ),
    local(
        "time",
        &[],
        "command [argument ...]",
        "Run a command and tell how long it took",
        "    time fstrim /",
        basic::time,
    ),
    local(
        "unsetenv",
        &[],
        "VAR",
        "Remove a variable of the environment",
        "    unsetenv EDITOR",
        environment::unset,
    ),
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

/// The complaint about words that do not fit a command.
fn wrong(name: &str) -> anyhow::Error {
    let Some(command) = find(name) else { return Usage(format!("{name}: wrong arguments")).into() };
    let summary = command.summary;
    let first: String = summary.chars().take(1).flat_map(char::to_lowercase).collect();
    let rest: String = summary.chars().skip(1).collect();
    let usage = format!("{name} {}", command.arguments);
    Usage(format!("use '{}' to {first}{rest}", usage.trim())).into()
}

fn text(word: &GuestString) -> Result<&str> {
    word.to_str().ok_or_else(|| anyhow!("{word}: it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_an_example_of_itself() {
        for command in COMMANDS {
            let mut lines = command.help.lines().filter_map(|line| line.strip_prefix("    "));
            assert!(lines.any(|line| line.starts_with(command.name)), "{}", command.name);
            assert!(!command.summary.ends_with('.') && guestd_api::find(command.name).is_none());
        }
        assert_eq!(find("EXIT").map(|c| c.name), Some("quit"));
        assert_eq!(find("copy_in").map(|c| c.name), Some("copy-in"));
    }
}
