//! Running the guest's own programs.

use crate::table::actions;

actions! {
    group "command";

    /// Run a program of the guest.
    ///
    /// The first element is the program, the rest its arguments; no shell takes part. It runs inside the
    /// guest's mounted file systems, which must hold the program and the libraries it needs for this
    /// processor. Returns what it prints; a status other than 0 is an error with the text of its standard
    /// error output.
    ///
    ///     command "/usr/bin/apt-get clean"
    fn command(arguments: StringList) -> String;

    /// Run a program of the guest and return its output as lines.
    ///
    ///     command-lines "/bin/ls -1 /"
    fn command_lines(arguments: StringList) -> StringList;

    /// Run a command by the guest's shell.
    ///
    /// Like `command` with `/bin/sh -c`, so pipes, wildcards and redirections work.
    ///
    ///     sh "grep -c . /etc/passwd"
    fn sh(command: String) -> String;

    /// Run a command by the guest's shell and return its output as lines.
    ///
    ///     sh-lines "ls /etc/*.conf"
    fn sh_lines(command: String) -> StringList;

    /// Run a program of the guest and send its output to a file.
    ///
    /// Like `command`, for output of any length.
    ///
    ///     command-out "/bin/cat /dev/urandom" file
    fn command_out(arguments: StringList, output: FileOut) -> Void;

    /// Run a command by the guest's shell and send its output to a file.
    ///
    /// Like `sh`, for output of any length.
    ///
    ///     sh-out "dpkg -l | gzip" packages.gz
    fn sh_out(command: String, output: FileOut) -> Void;
}
