//! Configuration files as trees, by Augeas.

use crate::augeas::{Augeas, Node};
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::augeas::{AugTransformOptions, Server};
use guestd_api::structs::IntBool;
use guestd_api::{Failure, GuestString};

impl Worker {
    /// Works with the open tree for an action; failures say what it was asked for.
    fn augeas<R>(
        &self,
        action: &str,
        subject: &[&GuestString],
        work: impl FnOnce(&mut Augeas) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.agent.session.augeas.with(&not_started(action), |augeas| {
            work(augeas).map_err(|failure| {
                let mut parts = vec![action.as_bytes()];
                parts.extend(subject.iter().map(|part| part.as_bytes()));
                parts.push(failure.message.as_bytes());
                Failure::new(parts.join(&b": "[..])).with_errno(failure.errno)
            })
        })
    }

    /// A command that only succeeds or fails.
    fn augeas_command(&self, action: &str, command: &str, arguments: &[&GuestString]) -> Result<(), Failure> {
        let words: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
        self.augeas(action, arguments, |augeas| augeas.command(&self.task, command, &words).map(drop))
    }

    fn augeas_matches(&self, expression: &GuestString) -> Result<Vec<GuestString>, Failure> {
        self.augeas("aug_match", &[expression], |augeas| augeas.matches(&self.task, expression.as_bytes()))
    }
}

/// What an action says that comes too early.
fn not_started(action: &str) -> String {
    format!("do_{action}: you must call 'aug-init' first to initialize Augeas")
}

/// An argument that may be missing is empty on a command line.
fn given(argument: Option<GuestString>) -> Option<GuestString> {
    argument.filter(|argument| !argument.is_empty())
}

impl Server for Worker {
    fn aug_init(&self, root: GuestPath, flags: i32) -> Result<(), Failure> {
        // The one before is closed even if there will be no other.
        self.agent.session.augeas.close();
        let place = self.outside(&root).unwrap_or_else(|_| {
            // No such directory means a tree without files.
            self.agent.tools.guest_path(&self.agent.sysroot, std::path::Path::new("/proc/none"))
        });
        self.agent.session.augeas.open(Augeas::start(self, &place, flags)?);
        Ok(())
    }

    fn aug_close(&self) -> Result<(), Failure> {
        self.agent.session.augeas.close().map(drop).ok_or_else(|| Failure::new(not_started("aug_close")))
    }

    fn aug_defvar(&self, name: GuestString, expr: Option<GuestString>) -> Result<i32, Failure> {
        let expression = given(expr);
        let missing = GuestString::from("(null)");
        self.augeas("aug_defvar", &[&name, expression.as_ref().unwrap_or(&missing)], |augeas| {
            // A name that stands for the empty string is as good as none.
            let value = expression.as_ref().map_or(&b"''"[..], GuestString::as_bytes);
            augeas.command(&self.task, "defvar", &[name.as_bytes(), value])?;
            match &expression {
                Some(expression) => {
                    augeas.count(&self.task, expression.as_bytes()).map(Option::unwrap_or_default)
                }
                None => Ok(0),
            }
        })
    }

    fn aug_defnode(
        &self,
        name: GuestString,
        expr: GuestString,
        val: GuestString,
    ) -> Result<IntBool, Failure> {
        self.augeas("aug_defnode", &[&name, &expr, &val], |augeas| {
            let before = augeas.count(&self.task, expr.as_bytes())?.unwrap_or_default();
            let arguments = [name.as_bytes(), expr.as_bytes(), val.as_bytes()];
            augeas.command(&self.task, "defnode", &arguments)?;
            Ok(IntBool { i: before.max(1), b: i32::from(before == 0) })
        })
    }

    fn aug_get(&self, augpath: GuestString) -> Result<GuestString, Failure> {
        let ask = |augeas: &mut Augeas| augeas.ask_node(&self.task, "get", augpath.as_bytes());
        match self.augeas("aug_get", &[&augpath], ask)? {
            Node::Value(value) => Ok(value),
            Node::Missing => Err(Failure::new("no matching node")),
            Node::NoValue => Err(Failure::new("Augeas returned NULL match")),
        }
    }

    fn aug_set(&self, augpath: GuestString, val: GuestString) -> Result<(), Failure> {
        self.augeas_command("aug_set", "set", &[&augpath, &val])
    }

    fn aug_clear(&self, augpath: GuestString) -> Result<(), Failure> {
        self.augeas_command("aug_clear", "clear", &[&augpath])
    }

    fn aug_setm(
        &self,
        base: GuestString,
        sub: Option<GuestString>,
        val: GuestString,
    ) -> Result<i32, Failure> {
        let sub = given(sub);
        let missing = GuestString::from("(null)");
        self.augeas("aug_setm", &[&base, sub.as_ref().unwrap_or(&missing), &val], |augeas| {
            let below = sub.as_ref().map_or(&b"."[..], GuestString::as_bytes);
            augeas.command(&self.task, "setm", &[base.as_bytes(), below, val.as_bytes()])?;
            let set = match &sub {
                Some(sub) => [base.as_bytes(), b"/", sub.as_bytes()].concat(),
                None => base.as_bytes().to_vec(),
            };
            augeas.count(&self.task, &set).map(Option::unwrap_or_default)
        })
    }

    fn aug_insert(&self, augpath: GuestString, label: GuestString, before: bool) -> Result<(), Failure> {
        let side: &[u8] = if before { b"before" } else { b"after" };
        let subject = GuestString::from(
            [label.as_bytes(), format!(" [before={}]", u8::from(before)).as_bytes()].concat(),
        );
        self.augeas("aug_insert", &[&augpath, &subject], |augeas| {
            augeas.command(&self.task, "insert", &[label.as_bytes(), side, augpath.as_bytes()]).map(drop)
        })
    }

    fn aug_rm(&self, augpath: GuestString) -> Result<i32, Failure> {
        self.augeas("aug_rm", &[&augpath], |augeas| {
            let answer = augeas.command(&self.task, "rm", &[augpath.as_bytes()])?;
            let count = answer.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            std::str::from_utf8(count)
                .ok()
                .and_then(|count| count.parse().ok())
                .ok_or_else(|| Failure::new(format!("augtool answered '{}'", answer.escape_ascii())))
        })
    }

    fn aug_mv(&self, src: GuestString, dest: GuestString) -> Result<(), Failure> {
        self.augeas_command("aug_mv", "mv", &[&src, &dest])
    }

    fn aug_match(&self, augpath: GuestString) -> Result<Vec<GuestString>, Failure> {
        self.augeas_matches(&augpath)
    }

    fn aug_save(&self) -> Result<(), Failure> {
        self.augeas_command("aug_save", "save", &[])
    }

    fn aug_load(&self) -> Result<(), Failure> {
        self.augeas_command("aug_load", "load", &[])
    }

    fn aug_ls(&self, augpath: GuestString) -> Result<Vec<GuestString>, Failure> {
        let path = augpath.as_bytes();
        if path.len() > 1 && matches!(path.last(), Some(b'/' | b']' | b'*')) {
            return Err(Failure::new("don't use aug-ls with a path that ends with / ] *"));
        }
        let below = if path == b"/" { b"/*".to_vec() } else { [path, b"/*"].concat() };
        let mut paths = self.augeas_matches(&below.into())?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn aug_label(&self, augpath: GuestString) -> Result<GuestString, Failure> {
        let ask = |augeas: &mut Augeas| augeas.ask_node(&self.task, "label", augpath.as_bytes());
        match self.augeas("aug_label", &[&augpath], ask)? {
            Node::Value(label) => Ok(label),
            Node::Missing => Err(Failure::new("no matching nodes found")),
            Node::NoValue => Ok(GuestString::new()),
        }
    }

    fn aug_transform(
        &self,
        lens: GuestString,
        file: GuestString,
        opts: AugTransformOptions,
    ) -> Result<(), Failure> {
        let filter: &[u8] = if opts.remove.unwrap_or(false) { b"excl" } else { b"incl" };
        self.augeas("aug_transform", &[&lens, &file, &filter.into()], |augeas| {
            augeas.command(&self.task, "transform", &[lens.as_bytes(), filter, file.as_bytes()]).map(drop)
        })
    }
}
