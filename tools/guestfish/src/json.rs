//! Results as JSON, one line a command, for scripts that want no parsing of their own.

use guestd_api::{CommandSpec, Field, GuestString, Ret, StructSpec, Value};
use serde_json::{Map, Value as Json, json};

/// The line for a command that worked, or for one that did not.
pub(crate) fn line(command: &CommandSpec, done: Result<&Value, &str>) -> String {
    let line = match done {
        Ok(value) => json!({ "command": command.shown_name(), "result": result(command, value) }),
        Err(error) => json!({ "command": command.shown_name(), "error": error }),
    };
    format!("{line}\n")
}

/// Text as text; bytes that are none as a list of numbers.
fn text(bytes: &GuestString) -> Json {
    match bytes.to_str() {
        Some(text) => Json::from(text),
        None => Json::from(bytes.as_bytes()),
    }
}

fn result(command: &CommandSpec, value: &Value) -> Json {
    let spec = match command.ret {
        Ret::Struct(spec) | Ret::StructList(spec) => Some(spec),
        _ => None,
    };
    match value {
        Value::Void | Value::OptString(None) => Json::Null,
        Value::Int(number) => Json::from(*number),
        Value::Bool(yes) => Json::from(*yes),
        Value::String(word) | Value::OptString(Some(word)) | Value::Buffer(word) => text(word),
        Value::StringList(list) => list.iter().map(text).collect(),
        Value::Hash(pairs) => {
            let members = pairs.iter().map(|(key, value)| (key.to_string_lossy().into_owned(), text(value)));
            Json::Object(members.collect())
        }
        Value::Struct(fields) => members(spec, fields),
        Value::StructList(list) => list.iter().map(|fields| members(spec, fields)).collect(),
    }
}

fn members(spec: Option<&StructSpec>, fields: &[Field]) -> Json {
    let names = spec.iter().flat_map(|spec| spec.fields).map(|field| field.name.to_owned());
    let value = |field: &Field| match field {
        Field::Int(number) => Json::from(*number),
        Field::Uint(number) => Json::from(*number),
        Field::Text(word) => text(word),
        Field::Char(byte) => Json::from(char::from(*byte).to_string()),
        Field::Percent(percent) => Json::from(*percent),
    };
    Json::Object(names.zip(fields.iter().map(value)).collect::<Map<_, _>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_kinds() {
        let find = |name| guestd_api::find(name).unwrap();
        let list = Value::StringList(vec!["a".into(), [0xff, 1].as_slice().into()]);
        assert_eq!(line(find("ls"), Ok(&list)), "{\"command\":\"ls\",\"result\":[\"a\",[255,1]]}\n");
        assert_eq!(line(find("rm"), Err("no")), "{\"command\":\"rm\",\"error\":\"no\"}\n");
        let version =
            Value::Struct(vec![Field::Int(1), Field::Int(2), Field::Int(3), Field::Text("".into())]);
        let shown = line(find("version"), Ok(&version));
        assert!(shown.contains("{\"major\":1,\"minor\":2,\"release\":3,\"extra\":\"\"}"), "{shown}");
    }
}
