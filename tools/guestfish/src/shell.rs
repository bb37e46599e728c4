//! Runs commands: from a command line, from a script, one at a time.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
pub(crate) use guest_cli::Usage;
use guestd_api::prelude::*;
use guestd_api::{ArgError, CommandSpec, Error, GuestString, find};

use crate::local::{self, Flow};
use crate::progress::Bar;
use crate::session::Session;
use crate::{environment, help, json, print, streams, trace, windows, words};

/// Runs the commands of a command line, which stand between colons; false when one failed.
pub(crate) fn run_command_line(session: &mut Session, arguments: &[OsString]) -> bool {
    let mut shell = Shell::new(None);
    for command in arguments.split(|word| word == ":") {
        let mut words: Vec<GuestString> = command.iter().map(|w| w.clone().into_vec().into()).collect();
        if words.is_empty() {
            report(session, &Usage("guestfish: empty command on command line".to_owned()).into());
            return false;
        }
        let mut ignore = false;
        if let Some(first) = words.first_mut()
            && first.as_bytes().len() > 1
            && first.as_bytes().starts_with(b"-")
        {
            *first = first.as_bytes()[1..].into();
            ignore = true;
        }
        match shell.execute(session, &words, ignore, &mut io::stdout()) {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => return true,
            Err(error) => {
                report(session, &error);
                if !ignore {
                    return false;
                }
            }
        }
        if session.is_interrupted() {
            return false;
        }
    }
    true
}

/// Runs a script, or standard input; false when a command failed.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn run_script(session: &mut Session, file: Option<&Path>) -> Result<bool> {
    let reader: Box<dyn BufRead> = match file {
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            Box::new(BufReader::new(file))
        }
        // Nothing is read ahead: keys and uploads go on where the script stands.
        None => Box::new(BufReader::with_capacity(1, streams::Unbuffered)),
    };
    let mut shell = Shell::new(Some(reader));
    while let Some(line) = shell.next_line(session)? {
        let read_so_far = session.line.get() + 1;
        session.line.set(read_so_far);
        let before = shell.extra_lines;
        match shell.run_line(session, &line) {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => return Ok(true),
            Err(error) => {
                report(session, &error);
                return Ok(false);
            }
        }
        if session.is_interrupted() {
            return Ok(false);
        }
        session.line.set(read_so_far + shell.extra_lines - before);
    }
    Ok(true)
}

/// Prints why a command failed.
pub(crate) fn report(session: &Session, error: &anyhow::Error) {
    if cli::error::is_broken_pipe(error) || error.is::<Silent>() {
        return;
    }
    let (red, plain) = if io::IsTerminal::is_terminal(&io::stderr()) && session.script.is_none() {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    match error.downcast_ref::<Usage>() {
        Some(usage) => eprintln!("{red}{usage}{plain}"),
        None => {
            eprintln!("{red}{}libguestfs: error: {}{plain}", session.place(), cli::error::chain(error));
        }
    }
}

/// A command that failed and has said so itself.
#[derive(Debug)]
pub(crate) struct Silent;

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the command failed")
    }
}

impl std::error::Error for Silent {}

/// Reads and runs commands.
pub(crate) struct Shell {
    script: Option<Box<dyn BufRead>>,
    /// Lines of the script that were text for a command, not commands.
    extra_lines: usize,
    /// The text for the command that runs, where somebody else read it.
    here: Option<String>,
    /// Commands so far: who fails at the first may not know what this is.
    count: usize,
    /// The name under which the command that runs was called.
    pub(crate) typed: String,
}

impl Shell {
    pub(crate) fn new(script: Option<Box<dyn BufRead>>) -> Self {
        Shell { script, extra_lines: 0, here: None, count: 0, typed: String::new() }
    }

    /// A shell for one command with the text that follows it.
    pub(crate) fn with_text(here: Option<String>) -> Self {
        // Who sends commands from elsewhere knows what this is.
        Shell { script: None, extra_lines: 0, here, count: 1, typed: String::new() }
    }

    fn next_line(&mut self, session: &Session) -> Result<Option<String>> {
        let Some(script) = &mut self.script else { return Ok(None) };
        let mut line = Vec::new();
        if script.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let number = session.line.get() + 1;
        let line = String::from_utf8(line).map_err(|_| anyhow!("line {number} is not UTF-8"))?;
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// Runs one line as typed.
    pub(crate) fn run_line(&mut self, session: &mut Session, line: &str) -> Result<Flow> {
        let typed = line.trim_start();
        let (ignore, rest) = match typed.strip_prefix('-') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, typed),
        };
        let done = if let Some(command) = rest.strip_prefix('!') {
            host_command(command)
        } else if let Some(command) = rest.strip_prefix("<!") {
            self.run_output_of(session, command)
        } else {
            self.run_words(session, line)
        };
        match done {
            Err(error) if ignore => {
                report(session, &error);
                Ok(Flow::Go)
            }
            other => other,
        }
    }

    fn run_words(&mut self, session: &mut Session, line: &str) -> Result<Flow> {
        let line = words::parse(line).map_err(|e| Usage(format!("guestfish: {e}")))?;
        match &line.pipe {
            None => self.execute(session, &line.words, line.ignore_errors, &mut io::stdout()),
            Some(command) => self.piped(session, &line.words, line.ignore_errors, command),
        }
    }

    /// Runs what a command of the host prints.
    fn run_output_of(&mut self, session: &mut Session, command: &str) -> Result<Flow> {
        let output = environment::shell(command).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)
            .map_err(|_| anyhow!("the output of '{}' is not UTF-8", command.trim()))?;
        for line in text.lines() {
            if let Flow::Quit = self.run_line(session, line)? {
                return Ok(Flow::Quit);
            }
        }
        if !output.status.success() {
            return Err(Usage(format!("'{}' failed: {}", command.trim(), output.status)).into());
        }
        Ok(Flow::Go)
    }

    fn piped(
        &mut self,
        session: &mut Session,
        words: &[GuestString],
        ignore: bool,
        command: &str,
    ) -> Result<Flow> {
        let mut child = environment::shell(command).stdin(Stdio::piped()).spawn()?;
        let done = match child.stdin.take() {
            Some(mut pipe) => self.execute(session, words, ignore, &mut pipe),
            None => Ok(Flow::Go),
        };
        child.wait()?;
        match done {
            // A reader that has seen enough, such as `head`, is content.
            Err(error) if cli::error::is_broken_pipe(&error) => {
                if session.pipe_error {
                    return Err(Usage(format!("guestfish: '{command}' did not read all")).into());
                }
                Ok(Flow::Go)
            }
            other => other,
        }
    }

    /// Runs one command; its result goes to `out`.
    pub(crate) fn execute(
        &mut self,
        session: &mut Session,
        words: &[GuestString],
        ignore: bool,
        out: &mut (impl Write + std::os::fd::AsFd),
    ) -> Result<Flow> {
        if words.is_empty() {
            return Ok(Flow::Go);
        }
        if session.remote.is_none() {
            return self.run(session, words, out);
        }
        let mut text = None;
        for word in words {
            if let Some(found) = self.here_document(session, word)? {
                text = Some(found);
            }
        }
        match &mut session.remote {
            Some(remote) => remote.run(words, text, ignore, out.as_fd()),
            None => Ok(Flow::Go),
        }
    }

    /// Runs one command here.
    pub(crate) fn run(
        &mut self,
        session: &mut Session,
        words: &[GuestString],
        out: &mut dyn Write,
    ) -> Result<Flow> {
        let Some((typed, arguments)) = words.split_first() else { return Ok(Flow::Go) };
        self.count += 1;
        let name = typed.to_str().unwrap_or_default();
        if let Some(command) = local::find(name) {
            self.typed = name.to_ascii_lowercase();
            return (command.run)(self, session, arguments, out);
        }
        let Some(command) = find(name) else { return Err(self.unknown(&typed.to_string_lossy())) };
        self.action(session, command, name, arguments, out)?;
        Ok(Flow::Go)
    }

    fn unknown(&self, name: &str) -> anyhow::Error {
        let mut text = format!("{name}: unknown command");
        if let Some(near) = local::nearest(name) {
            text.push_str(&format!("\nDid you mean '{near}'?"));
        } else if self.count == 1 {
            text.push_str(
                "\nTo open a disk image:  guestfish -a disk.img\nFor all commands:      guestfish -h",
            );
        }
        Usage(text).into()
    }

    fn action(
        &mut self,
        session: &Session,
        command: &'static CommandSpec,
        typed: &str,
        arguments: &[GuestString],
        out: &mut dyn Write,
    ) -> Result<()> {
        let mut ask = |name: &str| session.keys.ask(name).map_err(|error| cli::error::chain(&error));
        let translated = windows::translated(&session.guest, command, arguments)?;
        let arguments = translated.as_deref().unwrap_or(arguments);
        let request =
            command.parse(arguments, &mut ask).map_err(|error| wrong_words(command, typed, error))?;
        let mut input = match &request.input {
            Some(word) => {
                let here = self.here_document(session, word)?;
                Some(streams::input(word, here.as_deref())?)
            }
            None => None,
        };
        let mut file = request.output.as_ref().map(streams::output).transpose()?;
        let tracing = session.guest.get_trace()?;
        tell(session, command, tracing, &trace::call(command, arguments));
        let bar = (session.progress_bars || session.events.has("progress")).then(Bar::new);
        let progress = |report: Progress| {
            let numbers = [report.position, report.total].map(|number| number.to_string());
            session.events.fire("progress", &["0", "0", &numbers[0], &numbers[1]]);
            if let Some(bar) = bar.as_ref().filter(|_| session.progress_bars) {
                bar.show(report);
            }
        };
        let mut context = Context {
            input: input.as_mut().map(|i| &mut **i as &mut dyn io::Read),
            output: match &mut file {
                Some(Some(file)) => Some(file),
                Some(None) => Some(&mut *out),
                None => None,
            },
            progress: bar.is_some().then_some(&progress),
            cancel: None,
        };
        let done = session.guest.call(&request.call, &mut context);
        drop(bar);
        if tracing || session.events.has("trace") {
            trace_line(session, tracing, &trace::result(command, done.as_ref().ok()));
        }
        if command.name == "launch" && done.is_ok() {
            session.events.fire("launch_done", &[]);
        }
        if matches!(done, Err(Error::Disconnected(_))) && !session.lost.replace(true) {
            session.events.fire("subprocess_quit", &[]);
        }
        // Many short lines are one write.
        let mut out = io::BufWriter::new(out);
        if session.json {
            let text = done.as_ref().map_err(ToString::to_string);
            out.write_all(json::line(command, text.as_ref().copied().map_err(String::as_str)).as_bytes())?;
            out.flush()?;
            done?;
            return Ok(());
        }
        print::value(&mut out, command, &done?)?;
        Ok(out.flush()?)
    }

    /// The text up to the marker that `-<<MARKER` names.
    fn here_document(&mut self, session: &Session, word: &GuestString) -> Result<Option<String>> {
        let Some(marker) = word.to_str().and_then(|w| w.strip_prefix(streams::HERE)).map(str::to_owned)
        else {
            return Ok(None);
        };
        if let Some(text) = self.here.take() {
            return Ok(Some(text));
        }
        let mut text = String::new();
        while let Some(line) = self.next_line(session)? {
            self.extra_lines += 1;
            if line == marker {
                return Ok(Some(text));
            }
            text.push_str(&line);
            text.push('\n');
        }
        bail!("unexpected end of file while looking for '{marker}'")
    }
}

/// Tells those who listen that an action begins.
fn tell(session: &Session, command: &CommandSpec, tracing: bool, line: &str) {
    session.events.fire("enter", &[command.name]);
    if tracing || session.events.has("trace") {
        trace_line(session, tracing, line);
    }
}

fn trace_line(session: &Session, tracing: bool, line: &str) {
    if !tracing {
        return;
    }
    let identifier = session.guest.get_identifier().map(|name| name.to_string()).unwrap_or_default();
    let line = if identifier.is_empty() { line.to_owned() } else { format!("{identifier}: {line}") };
    if session.events.has("trace") {
        session.events.fire("trace", &[&line]);
    } else {
        eprintln!("libguestfs: trace: {line}");
    }
}

fn host_command(command: &str) -> Result<Flow> {
    let status = environment::shell(command).status()?;
    if status.success() { Ok(Flow::Go) } else { Err(Silent.into()) }
}

/// Words that make no call.
fn wrong_words(command: &CommandSpec, typed: &str, error: ArgError) -> anyhow::Error {
    let text = match &error {
        ArgError::Count => format!(
            "error: incorrect number of arguments\nusage: {}\ntype 'help {typed}' for more help on {typed}",
            help::usage(command)
        ),
        ArgError::Integer { name, word } => format!("{typed}: {name}: invalid integer parameter '{word}'"),
        ArgError::Bool(_) => format!("guestfish: {error}"),
        other => format!("{typed}: {other}"),
    };
    anyhow::Error::new(error).context(Usage(text))
}
