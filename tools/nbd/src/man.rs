//! `nbd man`: the manual page, made of what the commands know of themselves.

use std::process::ExitCode;

use anyhow::Result;
use cli::getopt::Opt;
use cli::man::escaped;

use crate::arguments::{Command, HELP, Usage, VERSION, Words};

pub(crate) const COMMAND: Command = Command {
    name: "man",
    peer: "",
    about: "Print the manual page: nbd man | man -l -",
    operands: "",
    options: &[HELP, VERSION],
    operands_last: false,
    run,
};

/// What the commands do not say of themselves.
const FRONT: &str = r#".SH NAME
nbd \- serve, copy, inspect and attach network block devices
.SH SYNOPSIS
.B nbd
\fICOMMAND\fR [\fIOPTIONS\fR] ...
.SH DESCRIPTION
.B nbd
speaks the NBD protocol from both ends: it serves disk images of every format and chain, and copies, shows, dumps and
mounts what other servers have. Run through a link called
.BR qemu\-nbd ,
.BR nbdcopy ,
.BR nbdinfo ,
.B nbddump
or
.B nbdfuse
it takes that program's options and prints that program's output.
.PP
A server is named by a URI:
.BI nbd:// HOST : PORT / EXPORT\fR,
.BI nbd+unix:/// EXPORT ?socket= PATH\fR,
.BI nbd+vsock:// CID : PORT / EXPORT\fR,
and with
.B nbds
in front for encrypted connections. The parameters
.BR tls\-certificates ,
.BR tls\-psk\-file ,
.B tls\-verify\-peer
and
.B tls\-hostname
say with what. Where a URI is wanted,
.BI [ " COMMAND ARGUMENTS " ]
starts a server of its own by socket activation.
.SH COMMANDS
"#;

const BACK: &str = r#".SH FILTERS
.B nbd serve \-\-filter list
shows all filters and their parameters. Several lie one over the other; the first is the outermost.
.SH CONFIGURATION
The file for
.B nbd serve \-\-config
is JSON:
.PP
.nf
{
  "listen": ["nbd+unix:///?socket=/run/disks.sock", "nbd://127.0.0.1:10809"],
  "exports": [
    {"name": "root", "image": "root.qcow2", "format": "qcow2", "read\-only": true},
    {"name": "scratch", "image": "big.raw", "format": "raw", "filters": ["cow"]}
  ]
}
.fi
.PP
An export may have also
.BR description ,
.BR snapshot ,
.BR partition ,
.BR offset ,
.BR bitmaps ,
.BR allocation\-depth ,
.BR temporary ,
.BR cache ,
.B discard
and
.BR detect\-zeroes ;
its image is a name, or an object of block options.
.SH ENCRYPTION
Certificates need TLS 1.2 or 1.3, shared keys TLS 1.3. Anonymous encryption is not spoken: it protects from nobody who
can change what is on the way. A directory of certificates has the files ca\-cert.pem, server\-cert.pem,
server\-key.pem, client\-cert.pem, client\-key.pem and perhaps ca\-crl.pem.
.PP
Whose certificates a server accepts an object can say:
.BI \-\-object\ authz\-simple,id= ID ,identity= NAME
for one name,
.B authz\-list
and
.B authz\-list\-file
for rules, and
.BI \-\-tls\-authz= ID
with credentials of
.BR \-\-tls\-creds .
Names are like C=GB,O=Ours,CN=backup; a comma in an object's value is written twice.
.SH EXIT STATUS
0 on success and 1 on errors, but for
.TP
.B info \-\-can, \-\-is, \-\-cannot, \-\-isnt
2: the answer is no
.TP
.B serve \-\-run
that of the command
.SH SIGNALS
SIGTERM, SIGINT and SIGHUP end a server in order: what clients have sent is done and answered, and the image is
flushed. A second one ends it at once.
.SH EXAMPLES
.nf
nbd serve \-k /run/disk.sock \-f qcow2 disk.qcow2
nbd serve \-b 0.0.0.0 \-r \-\-tls\-certificates /etc/pki/nbd disk.qcow2
nbd serve \-\-filter cow \-\-run 'guestfish \-a $uri \-i' disk.qcow2
nbd info \-\-map nbd://host/disk
nbd copy \-p nbd://host/disk disk.raw
nbd copy disk.qcow2 \-\-source\-format=qcow2 nbd+unix:///?socket=/run/disk.sock
nbd fuse\-image disk.qcow2 mnt/disk.raw
nbd attach /dev/nbd0 disk.qcow2
nbd top
.fi
.SH SEE ALSO
.BR img (1),
.BR guestfish (1)
"#;

fn run(words: Words) -> Result<ExitCode> {
    let operands = words.read(|_, _| Ok(()))?;
    if !operands.is_empty() {
        return Err(Usage::error(&COMMAND, "Expecting nothing more"));
    }
    cli::print(&page(crate::COMMANDS))?;
    Ok(ExitCode::SUCCESS)
}

/// The page in the language of troff.
fn page(commands: &[Command]) -> String {
    let mut out =
        format!(".TH NBD 1 \"\" \"Diskwright {}\" \"Diskwright\"\n{FRONT}", env!("CARGO_PKG_VERSION"));
    for command in commands {
        out += &format!(".SS \"{}\"\n", escaped(command.name));
        for operands in command.operands.split('\n') {
            let (name, operands) = (escaped(command.name), escaped(operands));
            out += &format!(".B nbd {name} \\fR[\\fIOPTIONS\\fR] \\fI{operands}\\fR\n.br\n");
        }
        out += &format!(".PP\n{}.", escaped(command.about));
        if !command.peer.is_empty() {
            out += &format!(" Also as \\fB{}\\fR.", escaped(command.peer));
        }
        out += "\n";
        for (names, help) in command.options.iter().skip(2).filter_map(Opt::help) {
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
            assert!(page.contains(&format!(".SS \"{}\"", escaped(command.name))), "{}", command.name);
            for (names, _) in command.options.iter().skip(2).filter_map(Opt::help) {
                assert!(page.contains(&escaped(&names)), "{names}");
            }
        }
    }
}
