//! The pages about commands.

use guestd_api::{ArgKind, CommandSpec};

use crate::local::{self, Local};
use crate::shell::Usage;

/// How an action is written.
pub(crate) fn usage(command: &CommandSpec) -> String {
    let mut text = command.shown_name();
    for argument in command.args.iter().filter(|a| a.kind != ArgKind::Key) {
        text.push_str(&format!(" {}", argument.name));
    }
    for option in command.optargs {
        let value = match option.kind {
            ArgKind::Bool => "true|false",
            ArgKind::Int | ArgKind::Int64 => "N",
            _ => "..",
        };
        text.push_str(&format!(" [{}:{value}]", option.name));
    }
    text
}

/// The page about a command, or the list of all.
pub(crate) fn about(name: Option<&str>) -> anyhow::Result<String> {
    let Some(name) = name else { return Ok(list()) };
    if let Some(local) = local::find(name) {
        return Ok(of_local(local));
    }
    let Some(command) = guestd_api::find(name) else {
        let hint = local::nearest(name).map(|near| format!("\nDid you mean '{near}'?")).unwrap_or_default();
        return Err(Usage(format!("{name}: command not known: use -h to list all commands{hint}")).into());
    };
    let mut text = command.help();
    if let Some(feature) = command.feature {
        text.push_str(&format!("\n\nNeeds the feature '{feature}': see 'feature-available'."));
    }
    if let Some(other) = command.deprecated_by {
        text.push_str(&format!("\n\nKept for old scripts: use '{}' instead.", other.replace('_', "-")));
    }
    let summary = command.summary().trim_end_matches('.');
    Ok(page(&command.shown_name(), summary, &usage(command), command.aliases, &text))
}

fn of_local(local: &Local) -> String {
    let usage = format!("{} {}", local.name, local.arguments);
    page(local.name, local.summary, &usage, local.aliases, local.help)
}

fn page(name: &str, summary: &str, usage: &str, aliases: &[&str], text: &str) -> String {
    let mut letters = summary.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    let mut page =
        format!("NAME\n    {name} - {first}{}\n\nSYNOPSIS\n     {}\n", letters.as_str(), usage.trim());
    if !text.is_empty() {
        page.push_str("\nDESCRIPTION\n");
        for line in text.lines() {
            page.push_str(if line.is_empty() { "" } else { "    " });
            page.push_str(line);
            page.push('\n');
        }
    }
    if !aliases.is_empty() {
        let names: Vec<String> =
            aliases.iter().map(|alias| format!("'{}'", alias.replace('_', "-"))).collect();
        page.push_str(&format!("\n    You can use {} as an alias for this command.\n", names.join(" and ")));
    }
    page.push('\n');
    page
}

fn list() -> String {
    let alias = |name: &str, of: &str| (name.replace('_', "-"), format!("alias for '{of}'"));
    let mut rows: Vec<(String, String)> = Vec::new();
    for command in local::COMMANDS {
        rows.push((command.name.to_owned(), lower(command.summary)));
        rows.extend(command.aliases.iter().map(|name| alias(name, command.name)));
    }
    for command in guestd_api::commands() {
        let name = command.shown_name();
        rows.push((name.clone(), lower(command.summary().trim_end_matches('.'))));
        rows.extend(command.aliases.iter().map(|alias_name| alias(alias_name, &name)));
    }
    rows.sort();
    let mut text = String::from("    Command              Description\n");
    for (name, summary) in rows {
        text.push_str(&format!("{name:<20} {summary}\n"));
    }
    text.push_str("    Use -h <cmd> / help <cmd> to show detailed help for a command.\n");
    text
}

fn lower(summary: &str) -> String {
    let mut letters = summary.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    first + letters.as_str()
}
