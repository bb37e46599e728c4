//! Augeas: a program that keeps the guest's configuration files as a tree, and talks in lines.
//!
//! One `augtool` runs per open tree. Each command is followed by a question whose answer nobody can guess, so
//! what comes before that answer, and nothing else, is the answer to the command: values with line breaks
//! or with the look of other answers are told apart.
//!
//! The program runs in the tools' root and finds the guest's files below the place where they are mounted
//! there. It keeps none of them open between commands, so they can be unmounted at any time.

use crate::run;
use crate::sys;
use crate::task::Task;
use crate::worker::Worker;
use guestd_api::{Failure, GuestString};
use rustix::process::Pid;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// The most that one answer may have.
const MAX_ANSWER: usize = 64 << 20;

/// Flags of `aug_init`.
pub(crate) mod flags {
    pub(crate) const BACKUP: i32 = 1;
    pub(crate) const NEW_FILE: i32 = 2;
    pub(crate) const TYPE_CHECK: i32 = 4;
    pub(crate) const NO_STANDARD_LENSES: i32 = 8;
    pub(crate) const SAVE_NOTHING: i32 = 16;
    pub(crate) const NO_LOAD: i32 = 32;
    pub(crate) const NO_AUTOLOAD: i32 = 64;
    pub(crate) const SPAN: i32 = 128;
}

/// A running augtool.
pub(crate) struct Augeas {
    child: Child,
    stdin: ChildStdin,
    answers: File,
    /// A path that does not exist and that no file can know of.
    question: String,
    pid: i32,
}

impl Drop for Augeas {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        run::started().remove(&self.pid);
    }
}

impl Augeas {
    /// Starts the program for files below a directory, as the tools see it.
    pub(crate) fn start(worker: &Worker, root: &Path, flags: i32) -> Result<Self, Failure> {
        if worker.agent.tools.find("augtool")?.is_none() {
            let why = "The appliance has no program 'augtool' (package augeas-tools)";
            return Err(Failure::new(why).with_errno(libc::ENOENT));
        }
        let failed = |e: io::Error| Failure::io("Could not start augtool", &e);
        let tools = worker.agent.tools.open_root()?;
        let (answers, output) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let errors = output.try_clone().map_err(failed)?;

        let mut command = Command::new("augtool");
        command.args(["-f", "/proc/self/fd/0", "-r"]).arg(root);
        let options = [
            (flags::BACKUP, "--backup"),
            (flags::NEW_FILE, "--new"),
            (flags::TYPE_CHECK, "--typecheck"),
            (flags::NO_STANDARD_LENSES, "--nostdinc"),
            (flags::NO_LOAD, "--noload"),
            (flags::NO_AUTOLOAD, "--noautoload"),
            (flags::SPAN, "--span"),
        ];
        command.args(options.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, option)| option));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("TERM", "dumb");
        // Its output would come in blocks and not when there is an answer. This is what `stdbuf -oL` does.
        command.env("LD_PRELOAD", "/usr/libexec/coreutils/libstdbuf.so").env("_STDBUF_O", "L");
        // A file that is not there: no keys have other meanings than they are born with.
        command.env("INPUTRC", "/proc/none").env("HOME", "/proc/none");
        command.process_group(0).stdin(Stdio::piped()).stdout(output).stderr(errors);
        sys::set_root(&mut command, tools);

        let mut nonce = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut nonce))
            .map_err(|e| Failure::io("/dev/urandom", &e))?;
        let question = format!("/augeas/{:032x}", u128::from_ne_bytes(nonce));
        let (mut child, pid) = {
            let mut started = run::started();
            let child = command.spawn().map_err(failed)?;
            let pid = i32::try_from(child.id()).unwrap_or_default();
            started.insert(pid);
            (child, pid)
        };
        // The command holds the writing end of the pipe.
        drop(command);
        let Some(stdin) = child.stdin.take() else {
            return Err(Failure::new("Could not start augtool: no pipe to it"));
        };
        let mut augeas = Augeas { child, stdin, answers: answers.into(), question, pid };
        augeas.ask(&worker.task, "", &[])?;
        if flags & flags::SAVE_NOTHING != 0 {
            augeas.ask(&worker.task, "set", &[b"/augeas/save", b"noop"])?;
        }
        Ok(augeas)
    }

    /// Gives a command with arguments and returns what it printed.
    fn ask(&mut self, task: &Task, command: &str, arguments: &[&[u8]]) -> Result<Vec<u8>, Failure> {
        let mut line = command.as_bytes().to_vec();
        for argument in arguments {
            line.push(b' ');
            quote(argument, &mut line)?;
        }
        let mut keys = as_keys(&line);
        keys.extend_from_slice(format!("\nget {}\n", self.question).as_bytes());
        let group = Pid::from_raw(self.pid);
        if let Some(group) = group {
            task.child_started(group);
        }
        let answer = self.exchange(&keys);
        if let Some(group) = group {
            task.child_ended(group);
        }
        task.check()?;
        answer.map_err(|e| Failure::io("augtool", &e))
    }

    fn exchange(&mut self, keys: &[u8]) -> io::Result<Vec<u8>> {
        self.stdin.write_all(keys)?;
        let end = format!("{} (o)\n", self.question);
        let mut answer = Vec::new();
        let mut buffer = [0; 8192];
        while !answer.ends_with(end.as_bytes()) {
            match self.answers.read(&mut buffer) {
                Ok(0) => {
                    return Err(ended(&answer));
                }
                Ok(count) => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if answer.len() > MAX_ANSWER {
                let _ = self.child.kill();
                return Err(io::Error::other("the answer is too long"));
            }
        }
        answer.truncate(answer.len().saturating_sub(end.len()));
        Ok(answer)
    }

    /// Gives a command; complaints become a failure.
    pub(crate) fn command(
        &mut self,
        task: &Task,
        command: &str,
        arguments: &[&[u8]],
    ) -> Result<Vec<u8>, Failure> {
        let answer = self.ask(task, command, arguments)?;
        match complaint(&answer) {
            Some(text) => Err(Failure::new(text)),
            None => Ok(answer),
        }
    }

    /// How many nodes an expression matches; `None` if it is no set of nodes.
    pub(crate) fn count(&mut self, task: &Task, expression: &[u8]) -> Result<Option<i32>, Failure> {
        let answer = self.ask(task, "count", &[expression])?;
        if let Some(text) = complaint(&answer) {
            return if text.contains("type error") { Ok(None) } else { Err(Failure::new(text)) };
        }
        let word = String::from_utf8_lossy(&answer).split_whitespace().next().map(str::to_owned);
        Ok(Some(word.and_then(|word| word.parse().ok()).unwrap_or(0)))
    }

    /// What `get` and `label` say of a node.
    pub(crate) fn ask_node(&mut self, task: &Task, command: &str, path: &[u8]) -> Result<Node, Failure> {
        let answer = self.command(task, command, &[path])?;
        let rest = answer.strip_prefix(path).unwrap_or_default();
        match rest.strip_suffix(b"\n").unwrap_or(rest) {
            b" (o)" => Ok(Node::Missing),
            b" (none)" => Ok(Node::NoValue),
            rest => match rest.strip_prefix(b" = ") {
                Some(value) => Ok(Node::Value(value.into())),
                None => Err(Failure::new(format!("augtool answered '{}'", answer.escape_ascii()))),
            },
        }
    }

    /// The paths of all nodes that an expression matches.
    pub(crate) fn matches(&mut self, task: &Task, expression: &[u8]) -> Result<Vec<GuestString>, Failure> {
        let answer = self.command(task, "match", &[expression])?;
        if answer == b"  (no matches)\n" {
            return Ok(Vec::new());
        }
        let Some(count) = self.count(task, expression)? else { return Ok(Vec::new()) };
        let count = usize::try_from(count).unwrap_or_default();
        // Each match has at least one line. So if all lines look like matches and are as many as there are
        // matches, no value has a line break.
        let paths: Option<Vec<_>> = split_lines(&answer).into_iter().map(matched_path).collect();
        if let Some(paths) = paths.filter(|paths| paths.len() == count) {
            return Ok(paths);
        }
        self.command(task, "defvar", &[b"diskwright_match", expression])?;
        let mut paths = Vec::new();
        for number in 1..=count {
            let one = format!("$diskwright_match[{number}]");
            let answer = self.command(task, "match", &[one.as_bytes()])?;
            paths.extend(matched_path(&answer));
        }
        self.command(task, "defvar", &[b"diskwright_match", b"''"])?;
        Ok(paths)
    }
}

/// What the program said last.
fn ended(answer: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(answer);
    io::Error::other(format!("the program has ended, call 'aug-init' to start it again. {}", said.trim()))
}

/// A node as it was asked for.
pub(crate) enum Node {
    Missing,
    NoValue,
    Value(GuestString),
}

/// An argument between quotes.
fn quote(argument: &[u8], into: &mut Vec<u8>) -> Result<(), Failure> {
    into.push(b'\'');
    for byte in argument {
        match byte {
            0 => return Err(Failure::new("Augeas cannot take a NUL byte").with_errno(libc::EINVAL)),
            b'\'' | b'\\' => into.extend([b'\\', *byte]),
            b'\n' => into.extend(*b"\\n"),
            b'\t' => into.extend(*b"\\t"),
            _ => into.push(*byte),
        }
    }
    into.push(b'\'');
    Ok(())
}

/// A line as somebody would type it: before bytes that are more than a character comes the key that takes the
/// next one literally.
fn as_keys(line: &[u8]) -> Vec<u8> {
    let mut keys = Vec::with_capacity(line.len());
    for byte in line {
        if !matches!(byte, b' '..=b'~') {
            keys.push(0x16);
        }
        keys.push(*byte);
    }
    keys
}

/// The text of an error in an answer, its parts joined as the library's users know it.
fn complaint(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.trim_start_matches('\u{7}').lines();
    let message = lines.next()?.strip_prefix("error: ")?;
    let rest = lines.map(|line| line.strip_prefix("error: ").unwrap_or(line));
    if message == "Failed to execute command" {
        // Said by the program and not by its library, which would say so of a path.
        return Some(match rest.collect::<Vec<_>>().join(": ") {
            said if said.starts_with("unmatched") => format!("Invalid path expression: {said}"),
            said if said.starts_with("saving failed") => {
                "not all changes could be saved, 'aug-match /augeas//error' shows why".to_owned()
            }
            said => said,
        });
    }
    Some(std::iter::once(message).chain(rest).collect::<Vec<_>>().join(": "))
}

/// The lines of an answer.
fn split_lines(answer: &[u8]) -> Vec<&[u8]> {
    answer.strip_suffix(b"\n").unwrap_or(answer).split(|byte| *byte == b'\n').collect()
}

/// The path at the start of `path = value`. Blanks in a path are escaped, so it ends at the first that is not.
fn matched_path(line: &[u8]) -> Option<GuestString> {
    let mut escaped = false;
    let end = line.iter().position(|byte| {
        let ends = !escaped && *byte == b' ';
        escaped = !escaped && *byte == b'\\';
        ends
    })?;
    let (path, rest) = line.split_at_checked(end)?;
    (path.starts_with(b"/") && rest.starts_with(b" = ")).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_end_where_their_value_starts() {
        assert_eq!(matched_path(b"/files/a\\ b\\=c = (none)"), Some(r"/files/a\ b\=c".into()));
        assert_eq!(matched_path(b"/files/a = b = c"), Some("/files/a".into()));
        assert_eq!((matched_path(b"x = y"), matched_path(b"/a")), (None, None));
    }

    #[test]
    fn errors_are_told_in_one_line() {
        let answer = b"error: Invalid path expression\nerror: type error\n/x|=|\n";
        assert_eq!(complaint(answer), Some("Invalid path expression: type error: /x|=|".into()));
        assert_eq!(complaint(b"/x = error: y\n"), None);
    }
}
