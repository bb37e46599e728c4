//! What `--object` makes: secrets, and objects that only the network and virtual machines need.
//!
//! Secrets never appear in a message or in debug output.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;

use serde_json::Value;

use super::authorization::{self, Authorization, Rules};
use super::json;
use super::keyval::split_commas;
use crate::crypto::{self, CipherAlg, base64};
use crate::error::{Error, Result, plain};

/// The longest secret file that is read, in bytes: passphrases are short.
const MAX_SECRET: u64 = 16 << 20;
/// The length of a secret that other secrets are encrypted with, in bytes.
const MASTER_KEY: usize = 32;
/// The length of the initialisation vector of an encrypted secret, in bytes.
const IV: usize = 16;

/// A kind of object, and the properties that it knows.
struct Kind {
    name: &'static str,
    properties: &'static [(&'static str, &'static str)],
}

const KINDS: [Kind; 10] = [
    Kind { name: "authz-list", properties: &[("policy", "QAuthZListPolicy"), ("rules", "list")] },
    Kind { name: "authz-list-file", properties: &[("filename", "string"), ("refresh", "bool")] },
    Kind { name: "authz-simple", properties: &[("identity", "string")] },
    Kind {
        name: "main-loop",
        properties: &[("aio-max-batch", "int"), ("thread-pool-max", "int"), ("thread-pool-min", "int")],
    },
    Kind { name: "pr-manager-helper", properties: &[("path", "string")] },
    Kind {
        name: "secret",
        properties: &[
            ("data", "string"),
            ("file", "string"),
            ("format", "QCryptoSecretFormat"),
            ("iv", "string"),
            ("keyid", "string"),
        ],
    },
    Kind { name: "throttle-group", properties: &[("limits", "ThrottleLimits")] },
    Kind {
        name: "tls-creds-anon",
        properties: &[
            ("dir", "string"),
            ("endpoint", "QCryptoTLSCredsEndpoint"),
            ("priority", "string"),
            ("verify-peer", "bool"),
        ],
    },
    Kind {
        name: "tls-creds-psk",
        properties: &[
            ("dir", "string"),
            ("endpoint", "QCryptoTLSCredsEndpoint"),
            ("priority", "string"),
            ("username", "string"),
            ("verify-peer", "bool"),
        ],
    },
    Kind {
        name: "tls-creds-x509",
        properties: &[
            ("dir", "string"),
            ("endpoint", "QCryptoTLSCredsEndpoint"),
            ("passwordid", "string"),
            ("priority", "string"),
            ("sanity-check", "bool"),
            ("verify-peer", "bool"),
        ],
    },
];

/// Kinds of objects that only machines have.
const OF_MACHINES: [&str; 6] =
    ["authz-pam", "can-bus", "cryptodev-backend", "iothread", "memory-backend-ram", "rng-random"];

/// The answer to `--object help` and `--object TYPE,help`; nothing if help was not asked for.
pub fn object_help(text: &str) -> Option<String> {
    let parts = split_commas(text);
    if !parts.iter().any(|part| part == "help" || part == "?") || text.starts_with('{') {
        return None;
    }
    let Some(kind) = parts.first().and_then(|first| KINDS.iter().find(|kind| kind.name == first)) else {
        let names: String = KINDS.iter().map(|kind| format!("  {}\n", kind.name)).collect();
        return Some(format!("List of user creatable objects:\n{names}"));
    };
    let properties = kind.properties.iter().map(|(name, what)| format!("  {name}=<{what}>\n"));
    Some(format!("{} options:\n{}", kind.name, properties.collect::<String>()))
}

/// All objects of a command line, by their ids.
#[derive(Debug, Default)]
pub struct Objects {
    objects: BTreeMap<String, Object>,
}

enum Object {
    Secret(Vec<u8>),
    Tls(TlsCredentials),
    Authorization(Authorization),
    Other,
}

/// What one end of an encrypted connection proves itself with, as it was described; nothing has been read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsCredentials {
    /// `anon`, `psk` or `x509`.
    pub kind: &'static str,
    properties: Vec<(String, String)>,
}

impl TlsCredentials {
    /// A property of the object, if it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// They are those of a server.
    pub fn is_server(&self) -> bool {
        self.get("endpoint") == Some("server")
    }

    /// The other end has to prove itself too.
    pub fn verifies_peer(&self) -> bool {
        !matches!(self.get("verify-peer"), Some("off" | "no" | "false" | "n"))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Object::Secret(_) => "Secret",
            Object::Tls(_) => "TlsCredentials",
            Object::Authorization(_) => "Authorization",
            Object::Other => "Other",
        })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Object::Secret(bytes) = self {
            zeroize::Zeroize::zeroize(bytes);
        }
    }
}

impl Objects {
    /// Makes the object that the argument of one `--object` describes: `TYPE,id=ID,...`, or JSON.
    ///
    /// # Errors
    /// When it is not understood, or what it refers to is not there.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let mut properties =
            if text.starts_with('{') { json_properties(text)? } else { key_value_properties(text)? };
        let mut take = |name: &str| {
            let index = properties.iter().position(|(key, _)| key == name).ok_or_else(|| missing(name))?;
            properties.remove(index).1.ok_or_else(|| no_text(name))
        };
        let kind = take("qom-type")?;
        let Some(kind) = KINDS.iter().find(|known| known.name == kind) else {
            return Err(Error::Invalid(match OF_MACHINES.contains(&kind.as_str()) {
                true => format!("invalid object type: {kind}"),
                false => format!("Parameter 'qom-type' does not accept value '{kind}'"),
            }));
        };
        let id = take("id")?;
        if let Some((key, _)) = properties.iter().find(|(key, _)| {
            kind.properties.iter().all(|(name, _)| name != key)
                && !(kind.name == "authz-list" && authorization::is_key(key))
        }) {
            return Err(Error::Invalid(match key.split_once('.') {
                Some((group, _)) => format!("Parameters '{group}.*' are unexpected"),
                None => format!("Parameter '{key}' is unexpected"),
            }));
        }
        let properties = properties
            .into_iter()
            .map(|(key, value)| value.map(|value| (key.clone(), value)).ok_or_else(|| no_text(&key)))
            .collect::<Result<Vec<_>>>()?;
        if !is_identifier(&id) {
            return Err(Error::Invalid(
                "Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter.".to_owned(),
            ));
        }
        check_values(kind, &properties)?;
        let object = match kind.name {
            "secret" => Object::Secret(self.secret_of(&id, &properties)?),
            "tls-creds-anon" => Object::Tls(TlsCredentials { kind: "anon", properties }),
            "tls-creds-psk" => Object::Tls(TlsCredentials { kind: "psk", properties }),
            "tls-creds-x509" => Object::Tls(TlsCredentials { kind: "x509", properties }),
            "authz-list" => Object::Authorization(Authorization::List(Rules::from_properties(&properties)?)),
            "authz-list-file" => Object::Authorization(Authorization::File(only("filename", &properties)?)),
            "authz-simple" => Object::Authorization(Authorization::Simple(only("identity", &properties)?)),
            _ => Object::Other,
        };
        if self.objects.contains_key(&id) {
            let what = format!("attempt to add duplicate property '{id}' to object (type 'container')");
            return Err(Error::Invalid(what));
        }
        self.objects.insert(id, object);
        Ok(())
    }

    /// The bytes of the secret called `id`.
    ///
    /// # Errors
    /// When there is none, or the object of that name is something else.
    pub fn secret(&self, id: &str) -> Result<&[u8]> {
        match self.objects.get(id) {
            Some(Object::Secret(bytes)) => Ok(bytes),
            Some(_) => Err(Error::Invalid(format!("Object with id '{id}' is not a secret"))),
            None => Err(Error::Invalid(format!("No secret with id '{id}'"))),
        }
    }

    /// The secret called `id` as the text of a passphrase.
    ///
    /// # Errors
    /// As [`Objects::secret`], and when it is not UTF-8.
    pub fn passphrase(&self, id: &str) -> Result<&str> {
        std::str::from_utf8(self.secret(id)?)
            .map_err(|_| Error::Invalid(format!("Data from secret {id} is not valid UTF-8")))
    }

    /// The TLS credentials called `id`.
    ///
    /// # Errors
    /// When there are none, or the object of that name is something else.
    pub fn tls(&self, id: &str) -> Result<&TlsCredentials> {
        match self.objects.get(id) {
            Some(Object::Tls(credentials)) => Ok(credentials),
            Some(_) => Err(Error::Invalid(format!("Object with id '{id}' is not TLS credentials"))),
            None => Err(Error::Invalid(format!("No TLS credentials with id '{id}'"))),
        }
    }

    /// Who may do something by the object called `id`.
    ///
    /// # Errors
    /// When there is none, or the object of that name is something else.
    pub fn authorization(&self, id: &str) -> Result<&Authorization> {
        match self.objects.get(id) {
            Some(Object::Authorization(authorization)) => Ok(authorization),
            Some(_) => Err(Error::Invalid(format!("Object '{id}' is not a QAuthZ subclass"))),
            None => Err(Error::Invalid(format!("Cannot find QAuthZ object ID {id}"))),
        }
    }

    fn secret_of(&self, id: &str, properties: &[(String, String)]) -> Result<Vec<u8>> {
        let get = |name: &str| properties.iter().rev().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
        let is_base64 = match get("format") {
            None | Some("raw") => false,
            Some("base64") => true,
            Some(other) => {
                let what = format!("Parameter 'format' does not accept value '{other}'");
                return Err(Error::Invalid(what));
            }
        };
        let bytes = match (get("data"), get("file")) {
            (Some(_), Some(_)) => {
                return Err(Error::Invalid("'file' and 'data' are mutually exclusive".to_owned()));
            }
            (None, None) => {
                return Err(Error::Invalid("Either 'file' or 'data' must be provided".to_owned()));
            }
            (Some(data), None) => data.as_bytes().to_vec(),
            (None, Some(file)) => read_secret(file)?,
        };
        let Some(master) = get("keyid") else {
            return if is_base64 { base64(&bytes) } else { Ok(bytes) };
        };
        if master == id {
            return Err(Error::Invalid(format!("Secret with id '{id}' has no data")));
        }
        let key: &[u8; MASTER_KEY] = self
            .secret(master)?
            .try_into()
            .map_err(|_| Error::Invalid(format!("Key should be {MASTER_KEY} bytes in length")))?;
        let iv = get("iv").ok_or_else(|| Error::Invalid("IV is required to decrypt secret".to_owned()))?;
        let iv = base64(iv.as_bytes())?;
        let iv: &[u8; IV] = iv
            .as_slice()
            .try_into()
            .map_err(|_| Error::Invalid(format!("IV should be {IV} bytes in length not {}", iv.len())))?;
        let bytes = if is_base64 { base64(&bytes)? } else { bytes };
        decrypt(key, iv, &bytes)
    }
}

/// The property that an object is made for.
fn only(name: &str, properties: &[(String, String)]) -> Result<String> {
    let value = properties.iter().rev().find(|(key, _)| key == name);
    value.map(|(_, value)| value.clone()).ok_or_else(|| missing(name))
}

/// Refuses values that are none of their type.
fn check_values(kind: &Kind, properties: &[(String, String)]) -> Result<()> {
    for (key, value) in properties {
        let what = match kind.properties.iter().find(|(name, _)| name == key).map(|(_, what)| *what) {
            Some("list") => format!("Invalid parameter type for '{key}', expected: array"),
            Some("int") if value.parse::<i64>().is_err() => format!("Parameter '{key}' expects integer"),
            Some("QAuthZListPolicy") if !["allow", "deny"].contains(&value.as_str()) => {
                format!("Parameter '{key}' does not accept value '{value}'")
            }
            Some("QCryptoTLSCredsEndpoint") if !["client", "server"].contains(&value.as_str()) => {
                format!("Parameter '{key}' does not accept value '{value}'")
            }
            Some("bool") if key.contains('-') && !is_switch(value) => {
                format!("Parameter '{key}' expects 'on' or 'off'")
            }
            _ => continue,
        };
        return Err(Error::Invalid(what));
    }
    Ok(())
}

/// Decrypts a secret with AES-256-CBC and removes its padding.
fn decrypt(key: &[u8; MASTER_KEY], iv: &[u8; IV], bytes: &[u8]) -> Result<Vec<u8>> {
    if !bytes.len().is_multiple_of(IV) {
        let what = format!("Length {} must be a multiple of block size {IV}", bytes.len());
        return Err(Error::Invalid(what));
    }
    let mut plain = bytes.to_vec();
    crypto::decrypt_cbc(CipherAlg::Aes256, key, iv, &mut plain)?;
    // The last byte says how many there are too many, itself included.
    let padding = usize::from(plain.last().copied().unwrap_or(0));
    if padding > IV || padding > plain.len() {
        return Err(Error::Invalid(
            "Incorrect number of padding bytes (".to_owned()
                + &padding.to_string()
                + ") found on decrypted data",
        ));
    }
    plain.truncate(plain.len() - padding);
    Ok(plain)
}

fn missing(name: &str) -> Error {
    Error::Invalid(format!("Parameter '{name}' is missing"))
}

fn is_switch(value: &str) -> bool {
    ["on", "yes", "true", "y", "off", "no", "false", "n"].contains(&value)
}

fn is_identifier(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

fn no_text(name: &str) -> Error {
    Error::Invalid(format!("Invalid parameter type for '{name}', expected: string"))
}

/// The properties in JSON; nothing where one is no text.
fn json_properties(text: &str) -> Result<Vec<(String, Option<String>)>> {
    let Value::Object(object) = json::parse(text).map_err(Error::Invalid)? else {
        return Err(Error::Invalid("Invalid JSON object given".to_owned()));
    };
    let mut properties = Vec::new();
    for (key, value) in &object {
        let list = value.as_array().filter(|list| list.iter().all(Value::is_object));
        let Some(list) = list else {
            properties.push((key.clone(), value.as_str().map(str::to_owned)));
            continue;
        };
        let members = list.iter().enumerate().flat_map(|(number, one)| {
            let members = one.as_object().into_iter().flatten();
            members.map(move |(name, value)| {
                (format!("{key}.{number}.{name}"), value.as_str().map(str::to_owned))
            })
        });
        properties.extend(members);
    }
    Ok(properties)
}

/// Properties as `key=value`; the first word alone is the type.
fn key_value_properties(text: &str) -> Result<Vec<(String, Option<String>)>> {
    let mut list: Vec<(String, Option<String>)> = Vec::new();
    if text.is_empty() {
        return Ok(list);
    }
    let mut parts = split_commas(text);
    if parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    for (index, part) in parts.into_iter().enumerate() {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            // A comma in the type's name is a comma that ends it.
            None if index == 0 && part.starts_with(|c: char| c != ',') && !part.contains(',') => {
                ("qom-type".to_owned(), part)
            }
            None if part.is_empty() || index == 0 => {
                return Err(Error::Invalid("Invalid parameter ''".to_owned()));
            }
            None => return Err(Error::Invalid(format!("Expected '=' after parameter '{part}'"))),
        };
        if !key.split('.').all(is_key) && !authorization::is_key(&key) {
            let shown = if key.contains(',') { "" } else { &key };
            return Err(Error::Invalid(format!("Invalid parameter '{shown}'")));
        }
        list.retain(|(known, _)| *known != key);
        list.push((key, Some(value)));
    }
    Ok(list)
}

fn is_key(key: &str) -> bool {
    is_identifier(key)
}

fn read_secret(path: &str) -> Result<Vec<u8>> {
    let failed = |why: String| Error::Invalid(format!("Unable to read {path}: {why}"));
    let file = File::open(path)
        .map_err(|error| failed(format!("Failed to open file “{path}”: {}", plain(&error))))?;
    let mut bytes = Vec::new();
    file.take(MAX_SECRET)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(format!("Error reading file “{path}”: {}", plain(&error))))?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    fn error(list: &[&str]) -> String {
        let mut objects = Objects::default();
        list.iter().find_map(|text| objects.add(text).err()).unwrap().to_string()
    }

    #[test]
    fn secrets_in_all_forms() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, b"from file\n").unwrap();
        let mut objects = Objects::default();
        objects.add("secret,id=a,data=x=y,,z").unwrap();
        objects.add("secret,id=b,data=YWJjZA==,format=base64").unwrap();
        objects.add(&format!("secret,id=c,file={}", path.display())).unwrap();
        objects.add(r#"{"qom-type":"secret","id":"d","data":"j"}"#).unwrap();
        objects.add("throttle-group,id=t").unwrap();
        for (id, expected) in [("a", "x=y,z"), ("b", "abcd"), ("c", "from file\n"), ("d", "j")] {
            assert_eq!(objects.passphrase(id).unwrap(), expected);
        }
        assert_eq!(objects.secret("t").unwrap_err().to_string(), "Object with id 't' is not a secret");
        assert!(!format!("{objects:?}").contains("abcd"));
    }

    #[test]
    fn secrets_that_another_one_protects() {
        let mut objects = Objects::default();
        objects.add("secret,id=m,data=an eight times four bytes secret").unwrap();
        // Made by openssl enc -aes-256-cbc.
        let data = "data=OYySo/bqUmS69RXxpQUlSg==,format=base64,iv=c2l4dGVlbiBieXRlIGl2Lg==";
        objects.add(&format!("secret,id=s,keyid=m,{data}")).unwrap();
        assert_eq!(objects.passphrase("s").unwrap(), "my passphrase");
        objects.add("secret,id=n,data=an eight times four bytes SECRET").unwrap();
        let wrong = objects.add(&format!("secret,id=t,keyid=n,{data}")).unwrap_err().to_string();
        assert!(wrong.starts_with("Incorrect number of padding bytes ("), "{wrong}");
        assert!(
            objects.add("secret,id=u,keyid=m,data=YWJj,format=base64,iv=c2l4dGVlbiBieXRlIGl2Lg==").is_err()
        );
    }

    #[test]
    fn mistakes_in_qemus_words() {
        // Each taken from what qemu-img says.
        for (text, expected) in [
            ("secret", "Parameter 'id' is missing"),
            ("id=x", "Parameter 'qom-type' is missing"),
            ("iothread,id=x", "invalid object type: iothread"),
            ("authz-simple,id=x", "Parameter 'identity' is missing"),
            ("authz-list,id=x,policy=y", "Parameter 'policy' does not accept value 'y'"),
            ("authz-list,id=x,rules=y", "Invalid parameter type for 'rules', expected: array"),
            ("authz-list,id=x,rules.0.match=y", "Parameter 'rules.0.policy' is missing"),
            ("main-loop,id=x,aio-max-batch=y", "Parameter 'aio-max-batch' expects integer"),
            ("", "Parameter 'qom-type' is missing"),
            ("foo,id=x", "Parameter 'qom-type' does not accept value 'foo'"),
            ("secret,id=x", "Either 'file' or 'data' must be provided"),
            ("secret,id=x,data=a,file=b", "'file' and 'data' are mutually exclusive"),
            ("secret,id=x,data=a,format=b", "Parameter 'format' does not accept value 'b'"),
            ("secret,id=x,data=a,foo=b", "Parameter 'foo' is unexpected"),
            ("secret,id=x,data.x=b", "Parameters 'data.*' are unexpected"),
            ("secret,id=x,data", "Expected '=' after parameter 'data'"),
            ("secret,,id=x", "Invalid parameter ''"),
            ("secret,id=x,1data=x", "Invalid parameter '1data'"),
            ("secret,id=x,data=a,keyid=m", "No secret with id 'm'"),
            ("secret,id=x,data=####,format=base64", "Base64 data contains invalid characters"),
            ("{", "JSON parse error, premature EOI"),
            (r#"{"qom-type":"secret","id":1}"#, "Invalid parameter type for 'id', expected: string"),
        ] {
            assert_eq!(error(&[text]), expected, "{text}");
        }
        assert_eq!(
            error(&["secret,id=x,data=a", "secret,id=x,data=a"]),
            "attempt to add duplicate property 'x' to object (type 'container')"
        );
        assert_eq!(
            error(&["secret,id=m,data=a", "secret,id=x,data=a,keyid=m"]),
            "Key should be 32 bytes in length"
        );
    }
}
