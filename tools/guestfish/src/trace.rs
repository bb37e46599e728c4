//! What `-x` shows: each action with its arguments before it runs, and what it returned.

use std::fmt::Write as _;

use guestd_api::{ArgKind, CommandSpec, GuestString, Ret, Value};

/// The action and its arguments as they were typed.
pub(crate) fn call(command: &CommandSpec, words: &[GuestString]) -> String {
    let mut line = command.name.to_owned();
    let kinds = command.args.iter().filter(|a| a.kind != ArgKind::Key).map(|argument| Some(argument.kind));
    for (word, kind) in words.iter().zip(kinds.chain(std::iter::repeat(None))) {
        let shown = match kind {
            Some(ArgKind::Int | ArgKind::Int64 | ArgKind::Bool) => word.to_string(),
            _ => format!("\"{word}\""),
        };
        // Text always takes more text.
        let _ = write!(line, " {shown}");
    }
    line
}

/// What it returned; failures are told by the kind of what was expected.
pub(crate) fn result(command: &CommandSpec, value: Option<&Value>) -> String {
    let shown = match value {
        None => match command.ret {
            Ret::Void | Ret::Int | Ret::Int64 | Ret::Bool => "-1 (error)".to_owned(),
            _ => "NULL (error)".to_owned(),
        },
        Some(Value::Void) => "0".to_owned(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Bool(yes)) => u8::from(*yes).to_string(),
        Some(Value::String(text) | Value::OptString(Some(text)) | Value::Buffer(text)) => {
            format!("\"{}\"", text.as_bytes().escape_ascii())
        }
        Some(Value::OptString(None)) => "NULL".to_owned(),
        Some(Value::StringList(list)) => quoted(list.iter()),
        Some(Value::Hash(pairs)) => quoted(pairs.iter().flat_map(|(key, value)| [key, value])),
        Some(Value::Struct(_) | Value::StructList(_)) => match command.ret {
            Ret::Struct(spec) => format!("<struct guestfs_{}>", spec.name),
            Ret::StructList(spec) => format!("<struct guestfs_{}_list>", spec.name),
            _ => "<struct>".to_owned(),
        },
    };
    format!("{} = {shown}", command.name)
}

fn quoted<'t>(texts: impl Iterator<Item = &'t GuestString>) -> String {
    let texts: Vec<String> = texts.map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn calls_and_results() {
        let mount = guestd_api::find("mount").unwrap();
        assert_eq!(call(mount, &["/dev/sda1".into(), "/".into()]), "mount \"/dev/sda1\" \"/\"");
        assert_eq!(call(guestd_api::find("set-memsize").unwrap(), &["512".into()]), "set_memsize 512");
        assert_eq!(result(mount, Some(&Value::Void)), "mount = 0");
        assert_eq!(result(mount, None), "mount = -1 (error)");
        let ls = guestd_api::find("ls").unwrap();
        assert_eq!(result(ls, Some(&Value::StringList(vec!["a".into(), "b".into()]))), "ls = [\"a\", \"b\"]");
    }
}
