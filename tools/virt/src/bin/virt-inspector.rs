//! `virt-inspector`: tells which operating systems guests have, and what is installed in them.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches};
use guest_cli::{GuestArguments, GuestOptions, Usage, luks};
use virt_tools::inspector::{self, Report, Wanted, json, xml};
use virt_tools::many::{self, Source};
use virt_tools::{command_line, flag, xpath};

const NAME: &str = "virt-inspector";
/// Larger documents are not read.
const MAX_DOCUMENT: u64 = 1 << 30;

fn main() -> ExitCode {
    let images = Arg::new("images")
        .value_name("FILE|NAME")
        .num_args(0..)
        .help("Disks of one guest; with --json, images that are a guest each");
    let command = virt_tools::command(NAME, "Tell which operating systems guests have")
        .arg(flag("no-applications", "Do not list what is installed"))
        .arg(flag("no-icon", "Do not show the picture"))
        .arg(flag("json", "Write JSON: a list of guests, as many as there are images"))
        .arg(many::threads_argument())
        .arg(
            Arg::new("xpath")
                .long("xpath")
                .value_name("QUERY")
                .help("Answer a question about the XML on standard input"),
        )
        .arg(images);
    match command_line::matches(command) {
        Ok(matches) => run(&matches).unwrap_or_else(|error| guest_cli::report(NAME, &error)),
        Err(code) => code,
    }
}

fn run(matches: &ArgMatches) -> Result<ExitCode> {
    if let Some(query) = matches.get_one::<String>("xpath") {
        return ask(query).map(|()| ExitCode::SUCCESS);
    }
    let options = GuestArguments::read(matches);
    let words: Vec<String> = matches.get_many("images").into_iter().flatten().cloned().collect();
    let wanted =
        Wanted { applications: !matches.get_flag("no-applications"), icon: !matches.get_flag("no-icon") };
    let is_json = matches.get_flag("json");
    if options.disks.is_empty() && words.is_empty() {
        return Err(Usage::of(NAME, "error: you must specify at least one -a or -d option.").into());
    }
    if !is_json {
        if !options.disks.is_empty() && !words.is_empty() {
            return Err(Usage::of(NAME, "extra words on the command line").into());
        }
        let disks: Vec<_> =
            options.disks.iter().cloned().chain(words.iter().map(|word| options.word(word))).collect();
        let reports = look(&options, &Source::of_disks(&disks), wanted)?;
        cli::print(&xml::document(&reports))?;
        return Ok(ExitCode::SUCCESS);
    }
    let sources = many::sources(&options, &words);
    let threads = many::threads(matches, NAME)?;
    // Guests that cannot be looked at are a part of the answer.
    let look = |source: &Source| Ok(look(&options, source, wanted));
    let mut code = ExitCode::SUCCESS;
    let mut before = "[\n";
    many::each(NAME, &sources, threads, look, |source, reports| {
        let value = match reports {
            Ok(reports) => json::guest(&source.name, &reports),
            Err(error) => {
                let value = json::failure(&source.name, &cli::error::chain(&error));
                code = guest_cli::report(NAME, &error.context(source.name.clone()));
                value
            }
        };
        let done = cli::print(&format!("{before}{value:#}"));
        before = ",\n";
        done
    })?;
    cli::print("\n]\n")?;
    Ok(code)
}

fn look(options: &GuestOptions, source: &Source, wanted: Wanted) -> Result<Vec<Report>> {
    let guest = options.open(&source.disks, NAME)?;
    luks::open_all(&guest, &options.keys)?;
    let reports = inspector::reports(&guest, wanted, NAME)?;
    guest.shut_down()?;
    Ok(reports)
}

fn ask(query: &str) -> Result<()> {
    let mut document = String::new();
    let mut limited = std::io::stdin().lock().take(MAX_DOCUMENT);
    limited.read_to_string(&mut document).context("Could not read the XML from standard input")?;
    cli::print(&xpath::query(&document, query)?)
}
