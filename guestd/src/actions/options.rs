//! The command line of a program, made of the options of an action.
//!
//! Numbers are checked before anything runs; what was not given adds nothing.

use guestd_api::{Failure, GuestString};
use std::ffi::OsString;

/// Words for a program, in order.
#[derive(Debug, Default)]
pub(super) struct Options(Vec<OsString>);

impl Options {
    /// Words as they are.
    pub(super) fn add(&mut self, words: impl IntoIterator<Item = impl Into<OsString>>) {
        self.0.extend(words.into_iter().map(Into::into));
    }

    /// A switch, if the option was given and is true.
    pub(super) fn switch(&mut self, given: Option<bool>, switch: &str) {
        if given == Some(true) {
            self.add([switch]);
        }
    }

    /// One form or another, if the option was given.
    pub(super) fn either(&mut self, given: Option<bool>, option: &str, yes: &str, no: &str) {
        if let Some(yes_or_no) = given {
            self.add([option, if yes_or_no { yes } else { no }]);
        }
    }

    /// An option with a text.
    pub(super) fn text(&mut self, given: Option<&GuestString>, option: &str) {
        if let Some(text) = given {
            self.add([OsString::from(option), text.as_os_str().to_owned()]);
        }
    }

    /// An option with a number that must not be negative, written after `prefix` in one word.
    pub(super) fn number(
        &mut self,
        name: &str,
        given: Option<i64>,
        option: &str,
        prefix: &str,
    ) -> Result<(), Failure> {
        if let Some(number) = given {
            if number < 0 {
                return Err(Failure::new(format!("{name} must be >= 0")));
            }
            self.add([option.to_owned(), format!("{prefix}{number}")]);
        }
        Ok(())
    }
}

impl IntoIterator for Options {
    type Item = OsString;
    type IntoIter = std::vec::IntoIter<OsString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_written() {
        let mut options = Options::default();
        options.number("size", Some(3), "-E", "stride=").unwrap();
        options.number("other", None, "-x", "").unwrap();
        options.switch(Some(false), "-F");
        options.switch(Some(true), "-S");
        options.either(Some(false), "-O", "quota", "^quota");
        options.text(Some(&"a b".into()), "-L");
        let words: Vec<_> = options.into_iter().collect();
        assert_eq!(words, ["-E", "stride=3", "-S", "-O", "^quota", "-L", "a b"]);
        let refused = Options::default().number("size", Some(-1), "-s", "").unwrap_err();
        assert_eq!(refused.to_string(), "size must be >= 0");
    }
}
