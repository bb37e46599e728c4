//! Actions as lines: what was called, and what it answered.

use guestd_api::{Call, Result, Value};

/// Longer answers are cut, in characters.
const MAX_ANSWER: usize = 1000;

/// An action with its arguments; keys are not shown.
pub(crate) fn called(call: &Call) -> String {
    match call {
        Call::Luks(_) => call.name().to_owned(),
        // The name of the group stands before it.
        other => {
            let text = format!("{other:?}");
            let inner = text.split_once('(').map_or(text.as_str(), |(_, inner)| inner);
            inner.strip_suffix(')').unwrap_or(inner).to_owned()
        }
    }
}

/// What it answered.
pub(crate) fn answered(call: &Call, answer: &Result<Value>) -> String {
    let shown = match answer {
        Ok(Value::Void) => "0".to_owned(),
        Ok(value) => format!("{value:?}"),
        Err(_) => "-1 (error)".to_owned(),
    };
    let cut = shown.chars().take(MAX_ANSWER).collect::<String>();
    let rest = if cut.len() < shown.len() { "..." } else { "" };
    format!("{} = {cut}{rest}", call.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use guestd_api::actions::mount;

    #[test]
    fn calls_are_lines() {
        let call =
            Call::Mount(mount::Call::mount_ro { mountable: "/dev/sda1".into(), mountpoint: "/".into() });
        assert_eq!(called(&call), "mount_ro { mountable: \"/dev/sda1\", mountpoint: \"/\" }");
        assert_eq!(answered(&call, &Ok(Value::Void)), "mount_ro = 0");
        let long = answered(&call, &Ok(Value::String("x".repeat(2000).into())));
        assert!(long.ends_with("...") && long.len() < 1100);
    }
}
