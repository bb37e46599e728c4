//! `img man`: the manual page, made of what the commands know of themselves.

use std::process::ExitCode;

use anyhow::Result;
use cli::man::escaped;

use crate::arguments::{Command, HELP, Usage, Words};
use cli::getopt::Opt;

pub(crate) const COMMAND: Command = Command {
    name: "man",
    about: "Print the manual page: img man | man -l -",
    operands: "",
    options: &[HELP],
    run,
};

/// What the commands do not say of themselves.
const FRONT: &str = r#".SH NAME
img \- create, convert, check, compare and repair disk images
.SH SYNOPSIS
.B img
[\fIOPTIONS\fR] \fICOMMAND\fR [\fICOMMAND OPTIONS\fR] [\fIOPERANDS\fR]
.SH DESCRIPTION
.B img
works on disk images in the formats raw, qcow2 and LUKS. Its commands, options, outputs and exit codes are those of
qemu-img, and it answers by that name when it is run through a link called
.BR qemu-img .
.PP
An image is named by a file name, by
.BI nbd:// HOST / EXPORT
and the like for the export of a server, in which new images can be made as well, by
.BI json:{ ... }
with the options of its nodes, or with
.B \-\-image\-opts
by a list such as
.BR driver=qcow2,file.filename=disk.qcow2 .
Sizes are in bytes, or have a suffix k, M, G, T, P or E for powers of 1024.
.PP
New images appear whole or not at all: they are written without a name and get it when they are complete and on
disk. Commands that change an image keep it usable at every moment; after a crash clusters may be leaked, which
.B img check \-r leaks
gives back.
.PP
SIGUSR1 makes convert, compare, commit, rebase and amend tell how far they are. An interrupt ends a command cleanly, a
second one at once.
.SH COMMANDS
"#;

const BACK: &str = r#".SH OPTIONS OF EVERY COMMAND
.TP
.B \-\-object \fITYPE\fB,id=\fIID\fR,...
An object that options refer to. For passphrases:
.BI secret,id= ID ,file= FILE
or
.BI secret,id= ID ,data= TEXT\fR.
.TP
.B \-\-untrusted
The images are from strangers: no name in them is followed, no more than 1 GiB of memory is used, and looking at them
takes no more than a minute of processor time.
.SH EXIT STATUS
0 on success and 1 on errors, but for
.TP
.B check
2: errors were found and not repaired; 3: only leaked clusters were found; 63: the format has no check
.TP
.B compare
1: the images differ; 2: one of them cannot be opened; 3: its allocation cannot be told; 4: it cannot be read
.TP
.B audit
2: the image must not be taken in
.SH EXAMPLES
.nf
img create \-f qcow2 disk.qcow2 10G
img create \-f qcow2 \-b base.qcow2 \-F qcow2 top.qcow2
img convert \-p \-c \-O qcow2 \-o compression_type=zstd disk.raw disk.qcow2
img convert \-O qcow2 disk.raw \- | ssh host 'cat > disk.qcow2'
img audit upload.qcow2 && img convert \-\-untrusted \-f qcow2 \-O raw upload.qcow2 disk.raw
img diff monday.qcow2 tuesday.qcow2 tuesday.delta
img check \-r all disk.qcow2 && img check \-\-undo disk.qcow2.undo disk.qcow2
img create \-f luks \-\-object secret,id=s,file=passphrase \-o key\-secret=s disk.luks 10G
.fi
.SH SEE ALSO
.BR guestfish (1),
.BR virt\-cat (1),
.BR virt\-filesystems (1)
"#;

fn run(words: Words) -> Result<ExitCode> {
    let operands = words.read(|_, _| Ok(()))?;
    if !operands.is_empty() {
        return Err(Usage::error("man", "Expecting nothing more"));
    }
    cli::print(&page(crate::COMMANDS))?;
    Ok(ExitCode::SUCCESS)
}

/// The page in the language of troff.
fn page(commands: &[Command]) -> String {
    let mut out =
        format!(".TH IMG 1 \"\" \"Diskwright {}\" \"Diskwright\"\n{FRONT}", env!("CARGO_PKG_VERSION"));
    for command in commands {
        out += &format!(".SS \"{}\"\n", escaped(command.name));
        out += &format!(
            ".B img {} \\fR[\\fIOPTIONS\\fR] \\fI{}\\fR\n.PP\n",
            escaped(command.name),
            escaped(command.operands)
        );
        out += &format!("{}.\n", escaped(command.about));
        for (names, help) in command.all_options().skip(1).filter_map(Opt::help) {
            out += &format!(".TP\n.B {}\n{}\n", escaped(&names), escaped(help));
        }
    }
    out + BACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_it() {
        let page = page(crate::COMMANDS);
        for command in crate::COMMANDS {
            assert!(page.contains(&format!(".SS \"{}\"", command.name)));
            for (names, _) in command.all_options().skip(1).filter_map(Opt::help) {
                assert!(page.contains(&escaped(&names)), "{names}");
            }
        }
    }
}
