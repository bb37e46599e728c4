//! Manual pages, made of what a program's command line says about itself.

use clap::{Arg, Command};

/// The page of a program in the language of troff. What stands behind the options of its help becomes the notes.
pub fn page(command: &Command) -> String {
    let name = command.get_name();
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let about = text(command.get_about());
    let mut out = format!(
        ".TH {} 1 \"\" \"Diskwright {}\" \"Diskwright\"\n.SH NAME\n{} \\- {}\n",
        escaped(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(&about),
    );
    out += &format!(".SH SYNOPSIS\n.B {} \\fR[\\fIOPTIONS\\fR]", escaped(name));
    for positional in command.get_positionals() {
        let value = positional.get_value_names().and_then(|names| names.first());
        let value = value.map_or_else(|| positional.get_id().as_str().to_uppercase(), ToString::to_string);
        out += &format!(" [\\fI{}\\fR ...]", escaped(&value));
    }
    out += "\n";
    let long = command.get_long_about().map(ToString::to_string);
    out += &format!(".SH DESCRIPTION\n{}\n", paragraphs(&long.unwrap_or(about)));
    out += ".SH OPTIONS\n";
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let Some(help) = help.map(ToString::to_string).filter(|help| !help.is_empty()) else { continue };
        out += &format!(".TP\n.B {}\n{}\n", escaped(&names(argument)), paragraphs(&help));
    }
    let notes = text(command.get_after_long_help().or_else(|| command.get_after_help()));
    if !notes.is_empty() {
        out += &format!(".SH NOTES\n{}\n", paragraphs(&notes));
    }
    out
}

/// `-f, --format FORMAT`
fn names(argument: &Arg) -> String {
    let short = argument.get_short().map(|letter| format!("-{letter}"));
    let long = argument.get_long_and_visible_aliases().unwrap_or_default();
    let words: Vec<String> =
        short.into_iter().chain(long.into_iter().map(|name| format!("--{name}"))).collect();
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().and_then(|names| names.first()).filter(|_| takes_value);
    match (words.is_empty(), value) {
        (true, value) => value.map_or_else(|| argument.get_id().to_string(), ToString::to_string),
        (false, Some(value)) if argument.is_require_equals_set() => format!("{}[={value}]", words.join(", ")),
        (false, Some(value)) => format!("{} {value}", words.join(", ")),
        (false, None) => words.join(", "),
    }
}

fn paragraphs(text: &str) -> String {
    let parts = text.split("\n\n").map(|part| part.lines().map(escaped).collect::<Vec<_>>().join("\n"));
    parts.collect::<Vec<_>>().join("\n.PP\n")
}

/// Text that troff prints as it is: hyphens that can be copied, no line that begins like a request.
pub fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_words_are_in_it() {
        let command = Command::new("virt-x")
            .about("Do x")
            .arg(Arg::new("add").short('a').long("add").value_name("FILE").help(".Add"))
            .arg(
                Arg::new("format")
                    .long("format")
                    .require_equals(true)
                    .num_args(0..=1)
                    .value_name("F")
                    .help("It"),
            )
            .arg(Arg::new("files").value_name("FILE").num_args(0..).help("Files"))
            .after_help("One\n\nTwo");
        let page = page(&command);
        for part in [
            ".TH VIRT\\-X 1",
            "virt\\-x \\- Do x\n",
            ".B virt\\-x \\fR[\\fIOPTIONS\\fR] [\\fIFILE\\fR ...]\n",
            ".TP\n.B \\-a, \\-\\-add FILE\n\\&.Add\n",
            ".B \\-\\-format[=F]\nIt\n",
            ".B FILE\nFiles\n",
            ".SH NOTES\nOne\n.PP\nTwo\n",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }
}
