//! guestfish, as a script drives it: commands on standard input, answers taken apart by command.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::programs::program;

/// guestfish with these arguments, not yet started.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("guestfish"));
    command.args(arguments);
    command
}

/// Lets a program find `home` as its user's home directory, and the appliance where it is all the same.
///
/// # Panics
/// When there is no place for appliances.
pub fn at_home<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    let cache = appliance_engine::build::cache_dir().expect("appliances have a place");
    command.env("HOME", home).env("DISKWRIGHT_CACHE", cache)
}

/// What a run printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
}

impl Ran {
    /// Standard output as text.
    ///
    /// # Panics
    /// When it is not text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("the output is text")
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { out: output.stdout, err, code: output.status.code() }
    }
}

/// Runs a command to its end with `input` on its standard input.
///
/// # Panics
/// When it cannot be started.
pub fn feed(command: &mut Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("its input is a pipe");
    let input = input.to_vec();
    // In a thread of its own: output must be read while input is written.
    let writer = std::thread::spawn(move || match pipe.write_all(&input) {
        // A program that has ended does not read on.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("its input fails: {error}"),
        _ => {}
    });
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the input was written");
    output.into()
}

/// Runs a script.
pub fn script(arguments: &[&str], script: &str) -> Ran {
    feed(&mut command(arguments), script.as_bytes())
}

/// Runs a script that must succeed, without a word on standard error; returns what it printed.
///
/// # Panics
/// When it fails or complains.
pub fn output_of(arguments: &[&str], lines: &str) -> String {
    let ran = script(arguments, lines);
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{arguments:?} {lines}: {ran:?}");
    ran.text().to_owned()
}

/// What one command of many printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

/// Runs commands one after the other, whether they fail or not, and returns what each one said.
///
/// # Panics
/// When guestfish does not get through all of them.
pub fn each(arguments: &[&str], before: &str, commands: &[String], scratch: &Path) -> Vec<Answer> {
    const MARK: &str = "=-=-=";
    let (out, err) = (scratch.join("out"), scratch.join("err"));
    let create = |path| std::fs::File::create(path).expect("scratch files can be made");
    let mut lines = format!("{before}\n");
    for command in commands {
        // The second is no command, which is told on standard error.
        lines.push_str(&format!("echo {MARK}\n-{MARK}\n-{command}\n"));
    }
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(create(&out))
        .stderr(create(&err))
        .spawn()
        .expect("guestfish starts");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("guestfish reads its script");
    let status = child.wait().expect("guestfish ends");
    let read = |path| std::fs::read(path).expect("scratch files can be read");
    let (out, err) = (read(&out), read(&err));
    assert!(status.success(), "{arguments:?}: {status}: {}", String::from_utf8_lossy(&err));
    let (out, err) = (pieces(&out, MARK), pieces(&err, &format!("{MARK}: unknown command")));
    assert_eq!((out.len(), err.len()), (commands.len() + 1, commands.len() + 1), "{arguments:?}");
    assert!(err[0].is_empty(), "{before}: {}", String::from_utf8_lossy(&err[0]));
    let answers = out.into_iter().zip(err).skip(1);
    answers.map(|(out, err)| Answer { out, err: String::from_utf8_lossy(&err).into_owned() }).collect()
}

fn pieces(text: &[u8], mark: &str) -> Vec<Vec<u8>> {
    let mark = format!("{mark}\n").into_bytes();
    let mut pieces = vec![Vec::new()];
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(&mark[..]) {
            pieces.push(Vec::new());
            rest = after;
            continue;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(first);
        }
        rest = after;
    }
    pieces
}
