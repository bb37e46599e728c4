//! What an action returns, as data that a shell can print without knowing the action.
//!
//! On the wire every result is a [`Value`]. A return kind (module [`ret`]) says which one an action has,
//! which Rust type its callers see, and converts both ways; a value of another kind is a broken protocol.

use crate::structs::{Field, Struct, StructSpec};
use crate::{GuestString, server::Worker};
use serde::{Deserialize, Serialize};

/// A result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing but success.
    Void,
    /// A number; 32-bit results travel as 64-bit ones.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// Text.
    String(GuestString),
    /// Text or nothing.
    OptString(Option<GuestString>),
    /// Texts in order.
    StringList(Vec<GuestString>),
    /// Keys with values, in order.
    Hash(Vec<(GuestString, GuestString)>),
    /// Bytes that are not text.
    Buffer(GuestString),
    /// The fields of one struct, in the order of its declaration.
    Struct(Vec<Field>),
    /// Several of the same struct.
    StructList(Vec<Vec<Field>>),
}

/// A return kind as data.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Ret {
    /// Prints nothing.
    Void,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Int64,
    /// `true` or `false`.
    Bool,
    /// Text and a newline.
    String,
    /// Text, or nothing.
    OptString,
    /// The name of a device.
    Device,
    /// A mountable.
    Mountable,
    /// One text per line.
    StringList,
    /// One device per line.
    DeviceList,
    /// One mountable per line.
    MountableList,
    /// `key: value` lines.
    Hash,
    /// `key: value` lines, the values are devices.
    DeviceHash,
    /// `key: value` lines, the keys are mountables.
    MountableHash,
    /// Raw bytes without a newline.
    Buffer,
    /// `field: value` lines.
    Struct(&'static StructSpec),
    /// `[0] = {`, fields indented by two, `}`.
    StructList(&'static StructSpec),
}

/// How a number is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntStyle {
    /// `493`
    #[default]
    Decimal,
    /// `0755`
    Octal,
    /// `0x83`
    Hexadecimal,
}

/// What every return kind knows.
pub trait RetKind {
    /// The kind as data.
    const RET: Ret;
    /// What callers get and implementations give.
    type Type;
    /// Packs it, translating device names into those the user knows.
    fn pack<W: Worker + ?Sized>(worker: &W, result: Self::Type) -> Value;
    /// Unpacks it; `None` if the value is of another kind.
    fn unpack(value: Value) -> Option<Self::Type>;
}

/// The return kinds, under the names that declarations use.
pub mod ret {
    use super::*;
    use std::marker::PhantomData;

    macro_rules! ret_kinds {
        ($($(#[$doc:meta])+ $kind:ident: $ty:ty, |$worker:ident, $result:ident| $pack:expr, $value:pat => $unpack:expr;)+) => {$(
            $(#[$doc])+
            #[derive(Debug)]
            pub enum $kind {}

            impl RetKind for $kind {
                const RET: Ret = Ret::$kind;
                type Type = $ty;
                fn pack<W: Worker + ?Sized>($worker: &W, $result: $ty) -> Value {
                    $pack
                }
                fn unpack(value: Value) -> Option<$ty> {
                    match value {
                        $value => $unpack,
                        _ => None,
                    }
                }
            }
        )+};
    }

    ret_kinds! {
        /// See [`Ret::Void`].
        Void: (), |_w, _done| Value::Void, Value::Void => Some(());
        /// See [`Ret::Int`].
        Int: i32, |_w, number| Value::Int(i64::from(number)), Value::Int(number) => i32::try_from(number).ok();
        /// See [`Ret::Int64`].
        Int64: i64, |_w, number| Value::Int(number), Value::Int(number) => Some(number);
        /// See [`Ret::Bool`].
        Bool: bool, |_w, yes| Value::Bool(yes), Value::Bool(yes) => Some(yes);
        /// See [`Ret::String`].
        String: GuestString, |_w, text| Value::String(text), Value::String(text) => Some(text);
        /// See [`Ret::OptString`].
        OptString: Option<GuestString>, |_w, text| Value::OptString(text), Value::OptString(text) => Some(text);
        /// See [`Ret::Device`].
        Device: GuestString, |w, name| Value::String(w.shown_device(name)), Value::String(text) => Some(text);
        /// See [`Ret::Mountable`].
        Mountable: GuestString, |w, name| Value::String(w.shown_mountable(name)), Value::String(text) => Some(text);
        /// See [`Ret::StringList`].
        StringList: Vec<GuestString>, |_w, texts| Value::StringList(texts), Value::StringList(texts) => Some(texts);
        /// See [`Ret::DeviceList`].
        DeviceList: Vec<GuestString>, |w, names| Value::StringList(names.into_iter().map(|n| w.shown_device(n)).collect()),
            Value::StringList(texts) => Some(texts);
        /// See [`Ret::MountableList`].
        MountableList: Vec<GuestString>, |w, names| Value::StringList(names.into_iter().map(|n| w.shown_mountable(n)).collect()),
            Value::StringList(texts) => Some(texts);
        /// See [`Ret::Hash`].
        Hash: Vec<(GuestString, GuestString)>, |_w, pairs| Value::Hash(pairs), Value::Hash(pairs) => Some(pairs);
        /// See [`Ret::DeviceHash`].
        DeviceHash: Vec<(GuestString, GuestString)>,
            |w, pairs| Value::Hash(pairs.into_iter().map(|(k, v)| (k, w.shown_device(v))).collect()),
            Value::Hash(pairs) => Some(pairs);
        /// See [`Ret::MountableHash`].
        MountableHash: Vec<(GuestString, GuestString)>,
            |w, pairs| Value::Hash(pairs.into_iter().map(|(k, v)| (w.shown_mountable(k), v)).collect()),
            Value::Hash(pairs) => Some(pairs);
        /// See [`Ret::Buffer`].
        Buffer: Vec<u8>, |_w, bytes| Value::Buffer(bytes.into()), Value::Buffer(bytes) => Some(bytes.into_bytes());
    }

    /// See [`Ret::Struct`].
    #[derive(Debug)]
    pub struct Struct<T>(PhantomData<T>);

    impl<T: super::Struct + 'static> RetKind for Struct<T> {
        const RET: Ret = Ret::Struct(&T::SPEC);
        type Type = T;
        fn pack<W: Worker + ?Sized>(_: &W, result: T) -> Value {
            Value::Struct(result.into_fields())
        }
        fn unpack(value: Value) -> Option<T> {
            match value {
                Value::Struct(fields) => T::from_fields(fields),
                _ => None,
            }
        }
    }

    /// See [`Ret::StructList`].
    #[derive(Debug)]
    pub struct StructList<T>(PhantomData<T>);

    impl<T: super::Struct + 'static> RetKind for StructList<T> {
        const RET: Ret = Ret::StructList(&T::SPEC);
        type Type = Vec<T>;
        fn pack<W: Worker + ?Sized>(_: &W, result: Vec<T>) -> Value {
            Value::StructList(result.into_iter().map(super::Struct::into_fields).collect())
        }
        fn unpack(value: Value) -> Option<Vec<T>> {
            match value {
                Value::StructList(list) => list.into_iter().map(T::from_fields).collect(),
                _ => None,
            }
        }
    }
}
