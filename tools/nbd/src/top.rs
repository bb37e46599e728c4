//! `nbd top`: a live view of who reads and writes what on the servers of this machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Read};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use cli::getopt::{Name, opt};
use libimage::units::human;
use serde_json::Value;

use crate::arguments::{Command, HELP, Usage, VERSION, Words, string};
use crate::serve::windows;

pub(crate) const COMMAND: Command = Command {
    name: "top",
    peer: "",
    about: "Show who reads and writes what, on all servers of this user",
    operands: "",
    options: &[
        HELP,
        VERSION,
        opt('i', "interval", "SECONDS", "time between two looks (default 1)"),
        opt('n', "count", "N", "end after N looks"),
        opt('\0', "json", "", "look once, and print all that servers tell"),
    ],
    operands_last: false,
    run,
};

/// Longer answers are none of ours.
const MAX_REPORT: u64 = 16 * 1024 * 1024;

fn run(words: Words) -> Result<ExitCode> {
    let (mut interval, mut count, mut json) = (Duration::from_secs(1), None, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('i') => {
                let text = string(value)?;
                let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
                let seconds =
                    seconds.ok_or_else(|| anyhow!("Invalid interval '{text}': 0.1 to 3600 seconds"))?;
                interval = Duration::from_secs_f64(seconds);
            }
            Name::Letter('n') => {
                let text = string(value)?;
                count = Some(text.parse::<u64>().map_err(|_| anyhow!("Invalid count '{text}'"))?);
            }
            _ => json = true,
        }
        Ok(())
    })?;
    if !operands.is_empty() {
        return Err(Usage::error(&COMMAND, "Expecting nothing but options"));
    }
    if json {
        let reports = Value::Array(reports());
        cli::print(&format!("{}\n", serde_json::to_string_pretty(&reports)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let clears = std::io::stdout().is_terminal();
    let mut before = Look::take();
    let mut looks = 0;
    while count.is_none_or(|count| looks < count) {
        std::thread::sleep(interval);
        let now = Look::take();
        let table = now.table(&before);
        let clear = if clears { "\x1b[H\x1b[2J" } else { "" };
        cli::print(&format!("{clear}{table}"))?;
        before = now;
        looks += 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// What each server that can be reached tells.
fn reports() -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(windows()) else { return Vec::new() };
    let mut found: Vec<Value> = entries
        .flatten()
        .filter_map(|entry| {
            let stream = UnixStream::connect(entry.path()).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            let mut text = String::new();
            stream.take(MAX_REPORT).read_to_string(&mut text).ok()?;
            serde_json::from_str(&text).ok()
        })
        .collect();
    found.sort_by_key(|report| report.get("pid").and_then(Value::as_u64));
    found
}

/// Numbers that only grow, of one client.
#[derive(Clone, Default)]
struct Numbers {
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
    others: u64,
    failed: u64,
}

struct Client {
    from: String,
    export: String,
    numbers: Numbers,
}

/// What all servers tell at one time.
struct Look {
    at: Instant,
    servers: Vec<(u64, String)>,
    clients: BTreeMap<(u64, u64), Client>,
}

impl Look {
    fn take() -> Self {
        let mut look = Look { at: Instant::now(), servers: Vec::new(), clients: BTreeMap::new() };
        for report in reports() {
            let text = |value: &Value, key: &str| {
                value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
            let pid = number(&report, "pid");
            look.servers.push((pid, text(&report, "image")));
            for client in report.get("clients").and_then(Value::as_array).into_iter().flatten() {
                let numbers = Numbers {
                    reads: number(client, "reads"),
                    read_bytes: number(client, "read-bytes"),
                    writes: number(client, "writes"),
                    written_bytes: number(client, "written-bytes"),
                    others: number(client, "others"),
                    failed: number(client, "failed"),
                };
                let entry = Client { from: text(client, "from"), export: text(client, "export"), numbers };
                look.clients.insert((pid, number(client, "id")), entry);
            }
        }
        look
    }

    /// What happened since `before`.
    fn table(&self, before: &Look) -> String {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let bytes = |now: u64, then: u64| format!("{}/s", human(rate(now, then) as u64));
        let mut out = format!(
            "{:>7} {:24} {:16} {:>12} {:>9} {:>12} {:>9} {:>7} {:>6}\n",
            "SERVER", "CLIENT", "EXPORT", "READ", "READS/S", "WRITTEN", "WRITES/S", "OTHER/S", "FAILED"
        );
        for (pid, image) in &self.servers {
            let mut anybody = false;
            for ((server, id), client) in self.clients.range((*pid, 0)..=(*pid, u64::MAX)) {
                anybody = true;
                let now = &client.numbers;
                let then = before
                    .clients
                    .get(&(*server, *id))
                    .map(|client| client.numbers.clone())
                    .unwrap_or_default();
                let _ = writeln!(
                    out,
                    "{server:>7} {:24.24} {:16.16} {:>12} {:>9.0} {:>12} {:>9.0} {:>7.0} {:>6}",
                    client.from,
                    client.export,
                    bytes(now.read_bytes, then.read_bytes),
                    rate(now.reads, then.reads),
                    bytes(now.written_bytes, then.written_bytes),
                    rate(now.writes, then.writes),
                    rate(now.others, then.others),
                    now.failed,
                );
            }
            if !anybody {
                let _ = writeln!(out, "{pid:>7} {:24} {image}", "(no clients)");
            }
        }
        if self.servers.is_empty() {
            out += "No server of this user is running.\n";
        }
        out
    }
}
