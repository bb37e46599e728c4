//! Colours for people: what terminals show, and nothing where the output goes elsewhere.

use std::io::IsTerminal;

use cli::getopt::{Name, Opt, opt};

/// The options with which colours are asked for or refused.
pub(crate) const OPTIONS: [Opt; 8] = [
    opt('\0', "color", "", "use colours"),
    opt('\0', "colour", "", ""),
    opt('\0', "colors", "", ""),
    opt('\0', "colours", "", ""),
    opt('\0', "no-color", "", "use no colours; otherwise terminals get them"),
    opt('\0', "no-colour", "", ""),
    opt('\0', "no-colors", "", ""),
    opt('\0', "no-colours", "", ""),
];

/// Whether there are colours, and how they are written.
#[derive(Clone, Copy)]
pub(crate) struct Colours(pub(crate) bool);

impl Colours {
    /// What terminals deserve.
    pub(crate) fn of_output() -> Self {
        Colours(std::io::stdout().is_terminal())
    }

    /// Takes an option, if it is one of [`OPTIONS`].
    pub(crate) fn option(&mut self, name: Name) -> bool {
        let Name::Long(name) = name else { return false };
        match name {
            "color" | "colour" | "colors" | "colours" => self.0 = true,
            "no-color" | "no-colour" | "no-colors" | "no-colours" => self.0 = false,
            _ => return false,
        }
        true
    }

    fn code(self, code: &'static str) -> &'static str {
        if self.0 { code } else { "" }
    }

    pub(crate) fn grey(self) -> &'static str {
        self.code("\x1b[22;90m")
    }

    pub(crate) fn red(self) -> &'static str {
        self.code("\x1b[22;31m")
    }

    pub(crate) fn green(self) -> &'static str {
        self.code("\x1b[22;32m")
    }

    pub(crate) fn bold_black(self) -> &'static str {
        self.code("\x1b[1;30m")
    }

    pub(crate) fn bold_red(self) -> &'static str {
        self.code("\x1b[1;31m")
    }

    pub(crate) fn bold_blue(self) -> &'static str {
        self.code("\x1b[1;34m")
    }

    pub(crate) fn bold_magenta(self) -> &'static str {
        self.code("\x1b[1;35m")
    }

    pub(crate) fn bold_white_on_black(self) -> &'static str {
        self.code("\x1b[1;37m\x1b[40m")
    }

    pub(crate) fn on_white(self) -> &'static str {
        self.code("\x1b[47m")
    }

    /// As it was before.
    pub(crate) fn restore(self) -> &'static str {
        self.code("\x1b[0m")
    }
}
