//! Prints results by their kind, one rule for each, as scripts expect them.

use std::io::{self, Write};

use guestd_api::{CommandSpec, Field, FieldKind, IntStyle, Ret, StructSpec, Value};

/// Prints the result of a command.
pub(crate) fn value(out: &mut dyn Write, command: &CommandSpec, value: &Value) -> io::Result<()> {
    match value {
        Value::Void => Ok(()),
        Value::Int(number) => match command.style {
            IntStyle::Decimal => writeln!(out, "{number}"),
            IntStyle::Octal => writeln!(out, "0{number:o}"),
            IntStyle::Hexadecimal => writeln!(out, "{number:#x}"),
        },
        Value::Bool(yes) => writeln!(out, "{yes}"),
        Value::String(text) | Value::OptString(Some(text)) => line(out, text.as_bytes()),
        Value::OptString(None) => line(out, b"(null)"),
        Value::StringList(list) => list.iter().try_for_each(|text| line(out, text.as_bytes())),
        Value::Hash(pairs) => pairs.iter().try_for_each(|(key, text)| {
            out.write_all(key.as_bytes())?;
            out.write_all(b": ")?;
            line(out, text.as_bytes())
        }),
        Value::Buffer(bytes) => out.write_all(bytes.as_bytes()),
        Value::Struct(values) => fields(out, spec(command), values, ""),
        Value::StructList(list) => list.iter().enumerate().try_for_each(|(index, values)| {
            writeln!(out, "[{index}] = {{")?;
            fields(out, spec(command), values, "  ")?;
            writeln!(out, "}}")
        }),
    }
}

fn line(out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.write_all(b"\n")
}

fn spec(command: &CommandSpec) -> Option<&'static StructSpec> {
    match command.ret {
        Ret::Struct(spec) | Ret::StructList(spec) => Some(spec),
        _ => None,
    }
}

fn fields(out: &mut dyn Write, spec: Option<&StructSpec>, values: &[Field], indent: &str) -> io::Result<()> {
    for (field, value) in spec.iter().flat_map(|s| s.fields).zip(values) {
        write!(out, "{indent}{}: ", field.name)?;
        match value {
            Field::Int(number) => writeln!(out, "{number}")?,
            Field::Uint(number) => writeln!(out, "{number}")?,
            Field::Char(byte) => line(out, &[*byte])?,
            Field::Percent(Some(percent)) => writeln!(out, "{percent:.1} %")?,
            Field::Percent(None) => writeln!(out)?,
            Field::Text(text) if field.kind == FieldKind::Buffer => {
                line(out, text.as_bytes().escape_ascii().to_string().as_bytes())?;
            }
            Field::Text(text) => line(out, text.as_bytes())?,
        }
    }
    Ok(())
}
