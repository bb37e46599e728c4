//! Runs commands: from a command line, from a script, one at a time.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use guestd_api::{Actions, ArgError, CommandSpec, Context, GuestString, find};

use crate::local::{self, Flow};
use crate::session::Session;
use crate::{print, streams, words};

/// Runs the commands of a command line, which stand between colons; false when one failed.
pub(crate) fn run_command_line(session: &mut Session, arguments: &[OsString]) -> bool {
    let mut shell = Shell::new(None);
    for command in arguments.split(|word| word == ":") {
        let mut words: Vec<GuestString> = command.iter().map(|w| w.clone().into_vec().into()).collect();
        let mut ignore = false;
        if let Some(first) = words.first_mut()
            && first.as_bytes().len() > 1
            && first.as_bytes().starts_with(b"-")
        {
            *first = first.as_bytes()[1..].into();
            ignore = true;
        }
        let mut out = io::stdout();
        match shell.execute(session, &words, &mut out) {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => return true,
            Err(error) => {
                report(&error, "");
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
    let (reader, name): (Box<dyn BufRead>, String) = match file {
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            (Box::new(BufReader::new(file)), path.display().to_string())
        }
        None => (Box::new(io::stdin().lock()), "*stdin*".to_owned()),
    };
    let mut shell = Shell::new(Some(reader));
    let mut lines = 0;
    while let Some(line) = shell.next_line()? {
        lines += 1;
        let before = shell.extra_lines;
        match shell.run_line(session, &line) {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => return Ok(true),
            Err(error) => {
                report(&error, &format!("{name}:{lines}: "));
                return Ok(false);
            }
        }
        if session.is_interrupted() {
            return Ok(false);
        }
        lines += shell.extra_lines - before;
    }
    Ok(true)
}

/// Prints why a command failed.
pub(crate) fn report(error: &anyhow::Error, place: &str) {
    if cli::error::is_broken_pipe(error) {
        return;
    }
    match error.downcast_ref::<Usage>() {
        Some(usage) => eprintln!("{place}{usage}"),
        None => eprintln!("{place}libguestfs: error: {}", cli::error::chain(error)),
    }
}

/// A command that was not written as it should be.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Reads and runs commands.
pub(crate) struct Shell {
    script: Option<Box<dyn BufRead>>,
    /// Lines of the script that were text for a command, not commands.
    extra_lines: usize,
}

impl Shell {
    pub(crate) fn new(script: Option<Box<dyn BufRead>>) -> Self {
        Shell { script, extra_lines: 0 }
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        let Some(script) = &mut self.script else { return Ok(None) };
        let mut line = Vec::new();
        if script.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8(line).map_err(|_| anyhow!("a line of the script is not UTF-8"))?;
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// Runs one line as typed.
    pub(crate) fn run_line(&mut self, session: &mut Session, line: &str) -> Result<Flow> {
        if let Some(command) = line.trim_start().strip_prefix('!') {
            return host_command(command);
        }
        if let Some(command) = line.trim_start().strip_prefix("<!") {
            return self.run_output_of(session, command);
        }
        let line = words::parse(line).map_err(|e| Usage(format!("guestfish: {e}")))?;
        let done = match &line.pipe {
            None => self.execute(session, &line.words, &mut io::stdout()),
            Some(command) => self.piped(session, &line.words, command),
        };
        match done {
            Err(error) if line.ignore_errors => {
                report(&error, "");
                Ok(Flow::Go)
            }
            other => other,
        }
    }

    /// Runs what a command of the host prints.
    fn run_output_of(&mut self, session: &mut Session, command: &str) -> Result<Flow> {
        let output = Command::new("sh").arg("-c").arg(command).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("'{}' failed: {}", command.trim(), output.status);
        }
        let text = String::from_utf8(output.stdout).map_err(|_| anyhow!("its output is not UTF-8"))?;
        for line in text.lines() {
            if let Flow::Quit = self.run_line(session, line)? {
                return Ok(Flow::Quit);
            }
        }
        Ok(Flow::Go)
    }

    fn piped(&mut self, session: &mut Session, words: &[GuestString], command: &str) -> Result<Flow> {
        let mut child = Command::new("sh").arg("-c").arg(command).stdin(Stdio::piped()).spawn()?;
        let done = match child.stdin.take() {
            Some(mut pipe) => self.execute(session, words, &mut pipe),
            None => Ok(Flow::Go),
        };
        child.wait()?;
        match done {
            // A reader that has seen enough, such as `head`, is content.
            Err(error) if cli::error::is_broken_pipe(&error) => Ok(Flow::Go),
            other => other,
        }
    }

    /// Runs one command; its result goes to `out`.
    pub(crate) fn execute(
        &mut self,
        session: &mut Session,
        words: &[GuestString],
        out: &mut dyn Write,
    ) -> Result<Flow> {
        let Some((name, arguments)) = words.split_first() else { return Ok(Flow::Go) };
        if session.trace {
            let shown: Vec<String> = words.iter().map(ToString::to_string).collect();
            eprintln!("libguestfs: trace: {}", shown.join(" "));
        }
        let name = name.to_str().unwrap_or_default();
        if let Some(command) = local::find(name) {
            return (command.run)(self, session, arguments, out);
        }
        let Some(command) = find(name) else { return Err(unknown(name)) };
        self.action(session, command, arguments, out)?;
        Ok(Flow::Go)
    }

    fn action(
        &mut self,
        session: &Session,
        command: &CommandSpec,
        arguments: &[GuestString],
        out: &mut dyn Write,
    ) -> Result<()> {
        let mut no_key = |name: &str| Err(format!("{name} cannot be asked for here"));
        let request = command.parse(arguments, &mut no_key).map_err(|error| match error {
            ArgError::Count => Usage(count_text(command)).into(),
            other => anyhow!("{}: {other}", command.shown_name()),
        })?;
        let guest = session.guest()?;
        let mut input = match &request.input {
            Some(word) => {
                let here = self.here_document(word)?;
                Some(streams::input(word, here.as_deref())?)
            }
            None => None,
        };
        let mut file = request.output.as_ref().map(streams::output).transpose()?;
        let mut context = Context {
            input: input.as_mut().map(|i| &mut **i as &mut dyn io::Read),
            output: match &mut file {
                Some(Some(file)) => Some(file),
                Some(None) => Some(&mut *out),
                None => None,
            },
            progress: None,
            cancel: None,
        };
        let done = guest.call(&request.call, &mut context);
        // Many short lines are one write.
        let mut out = io::BufWriter::new(out);
        print::value(&mut out, command, &done?)?;
        Ok(out.flush()?)
    }

    /// The text up to the marker that `-<<MARKER` names.
    fn here_document(&mut self, word: &GuestString) -> Result<Option<String>> {
        let Some(marker) = word.to_str().and_then(|w| w.strip_prefix(streams::HERE)).map(str::to_owned)
        else {
            return Ok(None);
        };
        let mut text = String::new();
        while let Some(line) = self.next_line()? {
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

fn host_command(command: &str) -> Result<Flow> {
    let status = Command::new("sh").arg("-c").arg(command).status()?;
    if status.success() { Ok(Flow::Go) } else { bail!("'{}' failed: {status}", command.trim()) }
}

fn count_text(command: &CommandSpec) -> String {
    format!(
        "error: incorrect number of arguments\nusage: {}\ntype 'help {}' for help on {}",
        local::usage(command),
        command.shown_name(),
        command.shown_name()
    )
}

fn unknown(name: &str) -> anyhow::Error {
    let mut text = format!("guestfish: {name}: unknown command");
    if let Some(near) = local::nearest(name) {
        text.push_str(&format!("; did you mean '{near}'?"));
    }
    Usage(text).into()
}
