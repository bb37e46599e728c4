//! Who may do something: QEMU's objects `authz-simple`, `authz-list` and `authz-list-file`.

use std::fs;

use serde_json::Value;

use super::json;
use crate::error::{Error, Result, plain};

/// The longest file with rules, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Decides by the name of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// This one, and nobody else.
    Simple(String),
    /// By rules.
    List(Rules),
    /// By the rules in a file, which is read each time.
    File(String),
}

/// The first rule that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Whom no rule is about is let in.
    otherwise: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    name: String,
    allows: bool,
    /// `*` and `?` in the name stand for others.
    is_pattern: bool,
}

impl Authorization {
    /// The one that is called `name` may do it.
    ///
    /// # Errors
    /// When a file of rules cannot be read, or makes no sense.
    pub fn allows(&self, name: &str) -> Result<bool> {
        match self {
            Authorization::Simple(only) => Ok(only == name),
            Authorization::List(rules) => Ok(rules.allow(name)),
            Authorization::File(path) => Ok(read(path)?.allow(name)),
        }
    }
}

impl Rules {
    /// Takes in a property of an object: `policy`, or `rules.N.match`, `rules.N.policy`, `rules.N.format`, in order.
    pub(super) fn from_properties(properties: &[(String, String)]) -> Result<Self> {
        let get = |key: &str| properties.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let mut rules =
            Rules { otherwise: get("policy").map_or(Ok(false), |v| policy("policy", v))?, rules: Vec::new() };
        let count = properties.iter().filter(|(key, _)| key.starts_with("rules.")).count();
        for number in 0..count {
            let key = |what: &str| format!("rules.{number}.{what}");
            let [name, how, format] = ["match", "policy", "format"].map(|what| get(&key(what)));
            if name.is_none() && how.is_none() && format.is_none() {
                // Each has at least two properties.
                break;
            }
            rules.rules.push(rule(name, how, format, |what| key(what))?);
        }
        Ok(rules)
    }

    fn allow(&self, name: &str) -> bool {
        let first = self.rules.iter().find(|rule| match rule.is_pattern {
            true => matches(rule.name.as_bytes(), name.as_bytes()),
            false => rule.name == name,
        });
        first.map_or(self.otherwise, |rule| rule.allows)
    }
}

/// `key` is the name of a property of rules.
pub(super) fn is_key(key: &str) -> bool {
    let mut parts = key.split('.');
    parts.next() == Some("rules")
        && parts.next().is_some_and(|number| number.parse::<u32>().is_ok())
        && parts.next().is_some_and(|what| ["match", "policy", "format"].contains(&what))
        && parts.next().is_none()
}

fn rule(
    name: Option<&str>,
    how: Option<&str>,
    format: Option<&str>,
    key: impl Fn(&str) -> String,
) -> Result<Rule> {
    let missing = |what: &str| Error::Invalid(format!("Parameter '{}' is missing", key(what)));
    Ok(Rule {
        name: name.ok_or_else(|| missing("match"))?.to_owned(),
        allows: policy(&key("policy"), how.ok_or_else(|| missing("policy"))?)?,
        is_pattern: match format {
            None | Some("exact") => false,
            Some("glob") => true,
            Some(other) => return Err(wrong_value(&key("format"), other)),
        },
    })
}

fn policy(key: &str, value: &str) -> Result<bool> {
    match value {
        "allow" => Ok(true),
        "deny" => Ok(false),
        other => Err(wrong_value(key, other)),
    }
}

fn wrong_value(key: &str, value: &str) -> Error {
    Error::Invalid(format!("Parameter '{key}' does not accept value '{value}'"))
}

/// The rules in a file of JSON: `{"policy": "deny", "rules": [{"match": "...", "policy": "allow", "format": "exact"}]}`.
fn read(path: &str) -> Result<Rules> {
    let failed = |why: String| Error::Invalid(format!("Unable to read '{path}': {why}"));
    let length = fs::metadata(path).map_err(|error| failed(plain(&error)))?.len();
    if length > MAX_FILE {
        return Err(failed(format!("it has more than {MAX_FILE} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(plain(&error)))?;
    let value = json::parse(&text).map_err(failed)?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut rules = Rules {
        otherwise: text(&value, "policy").map_or(Ok(false), |value| policy("policy", &value))?,
        rules: Vec::new(),
    };
    for (number, one) in value.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let [name, how, format] = ["match", "policy", "format"].map(|key| text(one, key));
        let key = |what: &str| format!("rules[{number}].{what}");
        rules.rules.push(rule(name.as_deref(), how.as_deref(), format.as_deref(), key)?);
    }
    Ok(rules)
}

/// `*` stands for any bytes, `?` for one; the last star that was met is tried again further on.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::spec::Objects;

    #[test]
    fn patterns() {
        for (pattern, name, same) in [
            ("*", "", true),
            ("a*c", "abcabc", true),
            ("a*c", "abcabd", false),
            ("CN=*,O=x?", "CN=a,b,O=xy", true),
            ("?", "", false),
            ("a**", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), same, "{pattern} {name}");
        }
    }

    #[test]
    fn objects_decide() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules");
        let text =
            r#"{"policy": "allow", "rules": [{"match": "CN=a*", "policy": "deny", "format": "glob"}]}"#;
        fs::write(&path, text).unwrap();
        let mut objects = Objects::default();
        objects.add("authz-simple,id=simple,identity=CN=a,,O=b").unwrap();
        let rules = "rules.0.match=CN=*,rules.0.policy=allow,rules.0.format=glob,rules.1.match=x,rules.1.policy=allow";
        objects.add(&format!("authz-list,id=list,policy=deny,{rules}")).unwrap();
        let json = r#"{"qom-type":"authz-list","id":"json","rules":[{"match":"x","policy":"allow"}]}"#;
        objects.add(json).unwrap();
        objects.add(&format!("authz-list-file,id=file,filename={}", path.display())).unwrap();
        objects.add("authz-list-file,id=none,filename=/no").unwrap();
        let allows = |id: &str, name: &str| objects.authorization(id).unwrap().allows(name);
        for (id, name, expected) in [
            ("simple", "CN=a,O=b", true),
            ("simple", "CN=a", false),
            ("list", "CN=a", true),
            ("list", "x", true),
            ("list", "y", false),
            ("json", "x", true),
            ("json", "xx", false),
            ("file", "CN=b", true),
            ("file", "CN=ab", false),
        ] {
            assert_eq!(allows(id, name).unwrap(), expected, "{id} {name}");
        }
        assert!(allows("none", "x").is_err());
        assert!(objects.authorization("nothing").is_err());
        assert!(objects.add("authz-list,id=l,rules.0.match=x").is_err());
        assert!(objects.add("authz-list,id=l,rules.0.foo=x").is_err());
        assert!(objects.add("authz-simple,id=l,rules.0.match=x").is_err());
    }
}
