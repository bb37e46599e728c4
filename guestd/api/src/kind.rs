//! The kinds of arguments an action can have.
//!
//! A kind is a type without values. It says how an argument travels ([`Kind::Wire`]), how it is read from
//! words, and what becomes of it in the guest before an implementation sees it ([`Resolve`]): a path was
//! checked to be absolute, a device was found.

use crate::server::Worker;
use crate::words::{ArgError, Words, boolean, integer, integer32, list};
use crate::{Failure, GuestString};

/// A kind as data, for tables, help and completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgKind {
    /// An absolute path in the guest.
    Pathname,
    /// A block device of the guest, `/dev/sda1`.
    Device,
    /// A device, or `btrfsvol:DEVICE/SUBVOLUME`.
    Mountable,
    /// A device or a path.
    DevOrPath,
    /// A mountable or a path.
    MountableOrPath,
    /// Text.
    String,
    /// Text that may be missing (the empty string, or `-` on a command line, is passed as is).
    OptString,
    /// A GUID.
    Guid,
    /// A passphrase: asked for, never on a command line.
    Key,
    /// Bytes.
    BufferIn,
    /// A list of texts.
    StringList,
    /// A list of devices.
    DeviceList,
    /// A list of names without slashes.
    FilenameList,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Int64,
    /// True or false.
    Bool,
    /// A file of the host that is read: a stream to the guest.
    FileIn,
    /// A file of the host that is written: a stream from the guest.
    FileOut,
}

/// One argument in the table.
#[derive(Clone, Copy, Debug)]
pub struct ArgSpec {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: ArgKind,
}

/// What every kind knows.
pub trait Kind {
    /// The kind as data.
    const KIND: ArgKind;
    /// How it travels.
    type Wire;
    /// Takes it from a command line.
    fn take(words: &mut Words<'_>, name: &str) -> Result<Self::Wire, ArgError>;
}

/// A kind that can be an option, which is one word after its colon.
pub trait OptionKind: Kind {
    /// Reads the word.
    fn read(name: &str, word: &GuestString) -> Result<Self::Wire, ArgError>;
}

/// What a kind becomes for the one who carries the action out.
pub trait Resolve<W: Worker + ?Sized>: Kind {
    /// What the implementation gets.
    type Arg;
    /// Checks and converts.
    fn resolve(worker: &W, name: &'static str, wire: Self::Wire) -> Result<Self::Arg, Failure>;
}

/// Declares kinds that are one word: their wire type, how the word is read, what it resolves to.
macro_rules! word_kinds {
    ($($(#[$doc:meta])+ $kind:ident: $wire:ty, |$name:ident, $word:ident| $read:expr,
        |$worker:ident, $arg:ident, $value:ident| $resolve:expr => $out:ty;)+) => {$(
        $(#[$doc])+
        #[derive(Debug)]
        pub enum $kind {}

        impl Kind for $kind {
            const KIND: ArgKind = ArgKind::$kind;
            type Wire = $wire;
            fn take(words: &mut Words<'_>, name: &str) -> Result<Self::Wire, ArgError> {
                <Self as OptionKind>::read(name, words.word()?)
            }
        }

        impl OptionKind for $kind {
            fn read($name: &str, $word: &GuestString) -> Result<Self::Wire, ArgError> {
                $read
            }
        }

        impl<W: Worker + ?Sized> Resolve<W> for $kind {
            type Arg = $out;
            fn resolve($worker: &W, $arg: &'static str, $value: $wire) -> Result<$out, Failure> {
                $resolve
            }
        }
    )+};
}

word_kinds! {
    /// See [`ArgKind::Pathname`].
    Pathname: GuestString, |_name, word| Ok(word.clone()), |worker, name, path| worker.path(name, path) => W::Path;
    /// See [`ArgKind::Device`].
    Device: GuestString, |_name, word| Ok(word.clone()), |worker, name, device| worker.device(name, device) => W::Device;
    /// See [`ArgKind::Mountable`].
    Mountable: GuestString, |_name, word| Ok(word.clone()), |worker, name, text| worker.mountable(name, text) => W::Mountable;
    /// See [`ArgKind::DevOrPath`].
    DevOrPath: GuestString, |_name, word| Ok(word.clone()),
        |worker, name, text| worker.device_or_path(name, text) => W::DevOrPath;
    /// See [`ArgKind::MountableOrPath`].
    MountableOrPath: GuestString, |_name, word| Ok(word.clone()),
        |worker, name, text| worker.mountable_or_path(name, text) => W::MountableOrPath;
    /// See [`ArgKind::String`].
    String: GuestString, |_name, word| Ok(word.clone()), |_worker, _name, text| Ok(text) => GuestString;
    /// See [`ArgKind::OptString`].
    OptString: Option<GuestString>, |_name, word| Ok(Some(word.clone())),
        |_worker, _name, text| Ok(text) => Option<GuestString>;
    /// See [`ArgKind::Guid`].
    Guid: GuestString, |_name, word| Ok(word.clone()), |_worker, name, text| guid(name, text) => GuestString;
    /// See [`ArgKind::BufferIn`].
    BufferIn: GuestString, |_name, word| Ok(word.clone()), |_worker, _name, bytes| Ok(bytes) => GuestString;
    /// See [`ArgKind::StringList`].
    StringList: Vec<GuestString>, |name, word| list(name, word), |_worker, _name, texts| Ok(texts) => Vec<GuestString>;
    /// See [`ArgKind::DeviceList`].
    DeviceList: Vec<GuestString>, |name, word| list(name, word),
        |worker, name, devices| devices.into_iter().map(|device| worker.device(name, device)).collect() => Vec<W::Device>;
    /// See [`ArgKind::FilenameList`].
    FilenameList: Vec<GuestString>, |name, word| list(name, word), |_worker, name, names| filenames(name, names) => Vec<GuestString>;
    /// See [`ArgKind::Int`].
    Int: i32, |name, word| integer32(name, word), |_worker, _name, number| Ok(number) => i32;
    /// See [`ArgKind::Int64`].
    Int64: i64, |name, word| integer(name, word), |_worker, _name, number| Ok(number) => i64;
    /// See [`ArgKind::Bool`].
    Bool: bool, |_name, word| boolean(word), |_worker, _name, yes| Ok(yes) => bool;
}

/// See [`ArgKind::Key`].
#[derive(Debug)]
pub enum Key {}

impl Kind for Key {
    const KIND: ArgKind = ArgKind::Key;
    type Wire = GuestString;
    fn take(words: &mut Words<'_>, name: &str) -> Result<GuestString, ArgError> {
        words.key(name)
    }
}

impl<W: Worker + ?Sized> Resolve<W> for Key {
    type Arg = GuestString;
    fn resolve(_: &W, _: &'static str, key: GuestString) -> Result<GuestString, Failure> {
        Ok(key)
    }
}

/// See [`ArgKind::FileIn`].
#[derive(Debug)]
pub enum FileIn {}

impl Kind for FileIn {
    const KIND: ArgKind = ArgKind::FileIn;
    type Wire = ();
    fn take(words: &mut Words<'_>, _: &str) -> Result<(), ArgError> {
        words.input = Some(words.word()?.clone());
        Ok(())
    }
}

impl<W: Worker + ?Sized> Resolve<W> for FileIn {
    type Arg = W::Input;
    fn resolve(worker: &W, _: &'static str, (): ()) -> Result<W::Input, Failure> {
        Ok(worker.input())
    }
}

/// See [`ArgKind::FileOut`].
#[derive(Debug)]
pub enum FileOut {}

impl Kind for FileOut {
    const KIND: ArgKind = ArgKind::FileOut;
    type Wire = ();
    fn take(words: &mut Words<'_>, _: &str) -> Result<(), ArgError> {
        words.output = Some(words.word()?.clone());
        Ok(())
    }
}

impl<W: Worker + ?Sized> Resolve<W> for FileOut {
    type Arg = W::Output;
    fn resolve(worker: &W, _: &'static str, (): ()) -> Result<W::Output, Failure> {
        Ok(worker.output())
    }
}

/// A GUID is 32 hexadecimal digits in groups of 8-4-4-4-12, braces allowed around it.
fn guid(name: &str, text: GuestString) -> Result<GuestString, Failure> {
    let bytes = text.as_bytes();
    let inner = bytes.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(bytes);
    let fits = inner.len() == 36
        && inner.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if fits {
        Ok(inner.into())
    } else {
        Err(Failure::new(format!("{name}: '{text}': parameter is not a valid GUID")))
    }
}

/// A name in a list of names stands for an entry of one directory.
fn filenames(name: &str, names: Vec<GuestString>) -> Result<Vec<GuestString>, Failure> {
    match names.iter().find(|entry| entry.as_bytes().contains(&b'/')) {
        Some(entry) => Err(Failure::new(format!("{name}: '{entry}': this is a list of names without '/'"))),
        None => Ok(names),
    }
}

/// What a typed method takes for a kind.
macro_rules! client_type {
    (Int) => { i32 };
    (Int64) => { i64 };
    (Bool) => { bool };
    (OptString) => { Option<&str> };
    (StringList) => { &[impl AsRef<[u8]>] };
    (DeviceList) => { &[impl AsRef<[u8]>] };
    (FilenameList) => { &[impl AsRef<[u8]>] };
    (FileIn) => { impl ::std::io::Read };
    (FileOut) => { impl ::std::io::Write };
    ($text:ident) => { impl AsRef<[u8]> };
}

/// From what a typed method takes to what travels; a stream goes into the context.
macro_rules! to_wire {
    (Int, $arg:expr, $cx:expr) => {
        $arg
    };
    (Int64, $arg:expr, $cx:expr) => {
        $arg
    };
    (Bool, $arg:expr, $cx:expr) => {
        $arg
    };
    (OptString, $arg:expr, $cx:expr) => {
        $arg.map($crate::GuestString::from)
    };
    (StringList, $arg:expr, $cx:expr) => {
        $crate::kind::owned($arg)
    };
    (DeviceList, $arg:expr, $cx:expr) => {
        $crate::kind::owned($arg)
    };
    (FilenameList, $arg:expr, $cx:expr) => {
        $crate::kind::owned($arg)
    };
    (FileIn, $arg:expr, $cx:expr) => {
        $cx.input = Some(&mut $arg)
    };
    (FileOut, $arg:expr, $cx:expr) => {
        $cx.output = Some(&mut $arg)
    };
    ($text:ident, $arg:expr, $cx:expr) => {
        $crate::GuestString::from($arg.as_ref())
    };
}

pub(crate) use {client_type, to_wire};

/// A list of borrowed texts, owned.
pub(crate) fn owned(texts: &[impl AsRef<[u8]>]) -> Vec<GuestString> {
    texts.iter().map(|text| GuestString::from(text.as_ref())).collect()
}
