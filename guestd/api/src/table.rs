//! The table of actions and the macro that declares them.
//!
//! `actions!` takes the declarations of one group and makes, in the group's own module: `Call` (the messages),
//! `Server` (one required method per action), `Methods` (the typed client), the options of actions that have
//! some, `COMMANDS` (the table) and a fingerprint. `groups!` joins the groups. A declaration reads
//!
//! ```text
//! /// One line that says what it does.
//! ///
//! /// The long help, with an example.
//! fn umount(pathordevice: DevOrPath) opt UmountOptions { force: Bool, lazyunmount: Bool } -> Void
//!     { aliases: &["unmount"] };
//! ```
//!
//! The braces at the end set fields of [`CommandSpec`]. Enum variants carry the action's own name.

use crate::words::{ArgError, AskKey, Words};
use crate::{ArgSpec, Call, GuestString, IntStyle, Ret};

/// One action in the table.
#[derive(Debug)]
pub struct CommandSpec {
    /// Its name with underscores; on a command line hyphens do as well, in any case.
    pub name: &'static str,
    /// The group it belongs to.
    pub group: &'static str,
    /// Required arguments in order.
    pub args: &'static [ArgSpec],
    /// Options, given as `name:value`.
    pub optargs: &'static [ArgSpec],
    /// What it returns.
    pub ret: Ret,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// The optional feature it needs, as asked for with `feature_available`.
    pub feature: Option<&'static str>,
    /// How a number that it returns is printed.
    pub style: IntStyle,
    /// It reports progress.
    pub progress: bool,
    /// What to use instead, if it is only kept for old scripts.
    pub deprecated_by: Option<&'static str>,
    /// The lines of its documentation: the summary, an empty one, the help.
    pub docs: &'static [&'static str],
    pub(crate) parse: fn(&mut Words<'_>) -> Result<Call, ArgError>,
}

/// A call made of words, and the host files its streams stand for (still as typed: `-` and such are the
/// shell's affair).
#[derive(Debug)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// The word for its FileIn argument.
    pub input: Option<GuestString>,
    /// The word for its FileOut argument.
    pub output: Option<GuestString>,
}

impl CommandSpec {
    /// What a declaration that sets nothing has.
    pub(crate) const fn base(parse: fn(&mut Words<'_>) -> Result<Call, ArgError>) -> Self {
        CommandSpec {
            name: "",
            group: "",
            args: &[],
            optargs: &[],
            ret: Ret::Void,
            aliases: &[],
            feature: None,
            style: IntStyle::Decimal,
            progress: false,
            deprecated_by: None,
            docs: &[],
            parse,
        }
    }

    /// The one line that says what it does.
    pub fn summary(&self) -> &'static str {
        self.docs.first().map_or("", |line| line.trim())
    }

    /// The long help.
    pub fn help(&self) -> String {
        let lines = self.docs.iter().skip(1).map(|line| line.strip_prefix(' ').unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
    }

    /// The name with hyphens, as people type it.
    pub fn shown_name(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Makes a call of words. A Key is not among the words, it is asked for.
    pub fn parse<'a>(
        &self,
        words: &'a [GuestString],
        ask_key: &'a mut AskKey<'a>,
    ) -> Result<Request, ArgError> {
        let mut words = Words::new(words, ask_key);
        let call = (self.parse)(&mut words)?;
        Ok(Request { call, input: words.input.take(), output: words.output.take() })
    }
}

/// A hash of a declaration, so that two ends that were built from different tables notice.
pub(crate) const fn fnv(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// A name without the `r#` that makes a word of the language a name.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Start value of [`fnv`].
pub(crate) const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// Declares one group; see the module's documentation.
macro_rules! actions {
    (group $group:literal; $(
        $(#[doc = $doc:literal])+
        fn $name:ident($($arg:ident: $kind:ident),* $(,)?)
            $(opt $opts:ident { $($oarg:ident: $okind:ident),+ $(,)? })?
            -> $ret:ident $(<$st:ident>)? $({ $($key:ident: $val:expr),+ $(,)? })?;
    )+) => {
        /// The actions of this group with their arguments, as they travel.
        #[allow(missing_docs, non_camel_case_types, reason = "variants and fields are the actions and arguments declared above")]
        #[allow(clippy::large_enum_variant, reason = "a call is made once and sent; it is never kept in numbers")]
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub enum Call {$(
            $name { $($arg: <$crate::kind::$kind as $crate::kind::Kind>::Wire,)* $(opts: $opts,)? },
        )+}

        impl Call {
            /// The action's name.
            pub fn name(&self) -> &'static str {
                match self { $(Call::$name { .. } => stringify!($name),)+ }
            }
        }

        $($(
            #[doc = concat!("Options of `", stringify!($name), "`; what is not set is left to the action.")]
            #[allow(missing_docs, reason = "explained with the action")]
            #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
            pub struct $opts { $(pub $oarg: Option<<$crate::kind::$okind as $crate::kind::Kind>::Wire>,)+ }

            #[allow(missing_docs, reason = "explained with the action")]
            impl $opts {$(
                #[must_use]
                pub fn $oarg(mut self, value: $crate::kind::client_type!($okind)) -> Self {
                    self.$oarg = Some($crate::kind::to_wire!($okind, value, ()));
                    self
                }
            )+}
        )?)+

        /// Who carries the actions of this group out: one method each.
        #[allow(missing_docs, clippy::too_many_arguments, reason = "documented on the client's side, where it is read")]
        pub trait Server: $crate::Worker {$(
            fn $name(&self, $($arg: <$crate::kind::$kind as $crate::kind::Resolve<Self>>::Arg,)* $(opts: $opts,)?)
                -> Result<<$crate::ret::$ret $(<$crate::structs::$st>)? as $crate::RetKind>::Type, $crate::Failure>;
        )+}

        /// Resolves the arguments and runs the action.
        pub fn dispatch<W: Server>(worker: &W, call: Call) -> Result<$crate::Value, $crate::Failure> {
            match call {$(
                Call::$name { $($arg,)* $(opts: opts @ $opts { .. },)? } => {
                    $(let $arg = <$crate::kind::$kind as $crate::kind::Resolve<W>>::resolve(worker, stringify!($arg), $arg)?;)*
                    let result = worker.$name($($arg,)* $(<$opts>::from(opts),)?)?;
                    Ok(<$crate::ret::$ret $(<$crate::structs::$st>)? as $crate::RetKind>::pack(worker, result))
                }
            )+}
        }

        /// The actions of this group as methods, on everything that implements [`crate::Actions`].
        #[allow(unused_mut, clippy::too_many_arguments, reason = "one shape serves all declarations")]
        pub trait Methods: $crate::Actions {$(
            $(#[doc = $doc])+
            fn $name(&self, $(mut $arg: $crate::kind::client_type!($kind),)* $(opts: $opts,)?)
                -> $crate::Result<<$crate::ret::$ret $(<$crate::structs::$st>)? as $crate::RetKind>::Type> {
                let mut context = $crate::Context::default();
                let call = Call::$name { $($arg: $crate::kind::to_wire!($kind, $arg, context),)* $(opts: <$opts>::from(opts),)? };
                let value = self.call(&call.into(), &mut context)?;
                $crate::client::unpack::<$crate::ret::$ret $(<$crate::structs::$st>)?>(stringify!($name), value)
            }
        )+}

        impl<T: $crate::Actions + ?Sized> Methods for T {}

        /// The actions of this group as a table.
        pub static COMMANDS: &[$crate::CommandSpec] = &[$(
            $crate::CommandSpec {
                name: stringify!($name),
                group: $group,
                args: &[$($crate::ArgSpec {
                    name: stringify!($arg),
                    kind: <$crate::kind::$kind as $crate::kind::Kind>::KIND,
                },)*],
                $(optargs: &[$($crate::ArgSpec {
                    name: $crate::table::plain(stringify!($oarg)),
                    kind: <$crate::kind::$okind as $crate::kind::Kind>::KIND,
                },)+],)?
                ret: <$crate::ret::$ret $(<$crate::structs::$st>)? as $crate::RetKind>::RET,
                docs: &[$($doc,)+],
                $($($key: $val,)+)?
                ..$crate::CommandSpec::base(|words| {
                    $(let $arg = <$crate::kind::$kind as $crate::kind::Kind>::take(words, stringify!($arg))?;)*
                    $(
                        let mut opts = $opts::default();
                        while let Some((name, word)) = words.option()? {
                            match name.as_str() {
                                $(known if known == $crate::table::plain(stringify!($oarg)) => {
                                    let value = <$crate::kind::$okind as $crate::kind::OptionKind>::read(&name, &word)?;
                                    if opts.$oarg.replace(value).is_some() {
                                        return Err($crate::words::ArgError::Twice(name));
                                    }
                                })+
                                _ => return Err($crate::words::ArgError::UnknownOption(name.into())),
                            }
                        }
                    )?
                    words.finish()?;
                    Ok(Call::$name { $($arg,)* $(opts: <$opts>::from(opts),)? }.into())
                })
            },
        )+];

        /// Changes when a declaration of this group does.
        pub(crate) const fn fingerprint(hash: u64) -> u64 {
            $crate::table::fnv(hash, concat!($(
                stringify!($name), $(stringify!($arg), stringify!($kind),)* $($(stringify!($oarg), stringify!($okind),)+)?
                stringify!($ret), $(stringify!($st),)? ";",
            )+))
        }
    };
}

/// Joins the groups: the module of each and the name of its variant in [`Call`]. Behind the semicolon are the
/// groups that the caller's side answers itself, because they are about the machine and not in it; the agent
/// only refuses them.
macro_rules! groups {
    ($($variant:ident: $module:ident),+ $(,)?; $($host:ident: $host_module:ident),+ $(,)?) => {
        /// Any action with its arguments.
        #[allow(missing_docs, reason = "one variant per group")]
        #[allow(clippy::large_enum_variant, reason = "a call is made once and sent; it is never kept in numbers")]
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub enum Call { $($variant($module::Call),)+ $($host($host_module::Call),)+ }

        $(impl From<$module::Call> for Call {
            fn from(call: $module::Call) -> Self {
                Call::$variant(call)
            }
        })+

        $(impl From<$host_module::Call> for Call {
            fn from(call: $host_module::Call) -> Self {
                Call::$host(call)
            }
        })+

        impl Call {
            /// The action's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Call::$variant(call) => call.name(),)+
                    $(Call::$host(call) => call.name(),)+
                }
            }
        }

        /// Who carries every action of the guest out.
        pub trait Server: $($module::Server +)+ {}

        impl<T: $($module::Server +)+> Server for T {}

        /// Resolves the arguments of a call and runs its action.
        pub fn dispatch<W: Server>(worker: &W, call: Call) -> Result<crate::Value, crate::Failure> {
            match call {
                $(Call::$variant(call) => $module::dispatch(worker, call),)+
                $(Call::$host(_) => Err(crate::Failure::new("the agent does not know the machine it runs in")),)+
            }
        }

        /// The tables of the groups.
        pub static GROUPS: &[&[crate::CommandSpec]] = &[$($module::COMMANDS,)+ $($host_module::COMMANDS,)+];

        /// Differs between two tables of actions; both ends compare it when they meet.
        pub const FINGERPRINT: u64 = {
            let hash = crate::table::FNV;
            $(let hash = $module::fingerprint(hash);)+
            $(let hash = $host_module::fingerprint(hash);)+
            hash
        };

        /// The typed methods of all groups; import everything from here.
        pub mod methods {
            $(pub use super::$module::Methods as _;)+
            $(pub use super::$host_module::Methods as _;)+
        }
    };
}

pub(crate) use {actions, groups};

/// Finds an action by its name or alias; hyphens and underscores are the same, case does not matter.
pub fn find(name: &str) -> Option<&'static CommandSpec> {
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(known, typed)| {
                known.eq_ignore_ascii_case(&typed)
                    || (matches!(known, b'_' | b'-') && matches!(typed, b'-' | b'_'))
            })
    };
    commands().find(|command| command.name == name).or_else(|| {
        commands().find(|command| same(command.name) || command.aliases.iter().any(|alias| same(alias)))
    })
}

/// All actions, group by group.
pub fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    crate::actions::GROUPS.iter().copied().flatten()
}
