//! Encryption options of new images: which method, which ciphers, and whose secret.

use anyhow::{Result, anyhow, bail};
use libimage::crypto::Secret;
use libimage::format::luks::{self, Amend, SlotState};
use libimage::format::qcow2::Encryption;

use crate::arguments;
use crate::options::Options;

/// The options of LUKS, without the prefix that they have for qcow2.
const LUKS: [&str; 6] = ["cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg", "iter-time"];

/// The ciphers, and the id of the secret, that the options with `prefix` name.
fn luks(options: &Options, prefix: &str) -> Result<luks::CreateOptions> {
    let mut parsed = luks::CreateOptions::default();
    for name in LUKS {
        if let Some(value) = options.get(&format!("{prefix}{name}")) {
            // A number may be written in other bases, too.
            let number = match name {
                "iter-time" => Some(crate::options::number(name, value)?.to_string()),
                _ => None,
            };
            parsed.set(name, number.as_deref().unwrap_or(value))?;
        }
    }
    Ok(parsed)
}

/// The passphrase that `key-secret` names.
fn passphrase(options: &Options, prefix: &str) -> Result<Secret> {
    let name = format!("{prefix}key-secret");
    let id = options.get(&name).ok_or_else(|| anyhow!("Parameter '{name}' is required for cipher"))?;
    Ok(arguments::objects().passphrase(id)?.as_bytes().to_vec().into())
}

/// What a new LUKS volume is encrypted with.
///
/// # Errors
/// For values that make no sense, and a secret that is not there.
pub(crate) fn of_luks(options: &Options) -> Result<(luks::CreateOptions, Secret)> {
    let parsed = luks(options, "")?;
    if options.get("detached-header").is_some() {
        bail!("Parameter 'detached-header' is unexpected");
    }
    Ok((parsed, passphrase(options, "")?))
}

/// Bytes of the LUKS header of a new qcow2 image; 0 where it has none.
///
/// # Errors
/// For LUKS, as [`of_qcow2`].
pub(crate) fn header_of_qcow2(options: &Options) -> Result<u64> {
    if options.get("encrypt.format") != Some("luks") {
        return Ok(0);
    }
    let parsed = luks(options, "encrypt.")?;
    passphrase(options, "encrypt.")?;
    Ok(parsed.header_bytes())
}

/// What a new qcow2 image is encrypted with, if it is.
///
/// # Errors
/// The same, and for options of which one excludes the other.
pub(crate) fn of_qcow2(options: &Options) -> Result<Option<Encryption>> {
    let legacy = options.is_on("encryption")?;
    let format = match options.get("encrypt.format") {
        Some(_) if legacy => {
            bail!("'encrypt.format' and its alias 'encryption' can't be used at the same time")
        }
        None if legacy => "aes",
        Some(format) => format,
        None if options.names().any(|name| name.starts_with("encrypt.")) => {
            bail!("Parameter 'encrypt.format' is missing")
        }
        None => return Ok(None),
    };
    match format {
        "luks" => {
            let parsed = luks(options, "encrypt.")?;
            Ok(Some(Encryption::Luks { options: parsed, password: passphrase(options, "encrypt.")? }))
        }
        "aes" => {
            let other = |name: &&str| name.strip_prefix("encrypt.").is_some_and(|name| LUKS.contains(&name));
            if let Some(name) = options.names().find(other) {
                bail!("Parameter '{name}' is unexpected");
            }
            Ok(Some(Encryption::Aes { password: passphrase(options, "encrypt.")? }))
        }
        other => bail!("Parameter 'format' does not accept value '{other}'"),
    }
}

/// How the key slots of an existing image are to change.
///
/// # Errors
/// For values that make no sense, and secrets that are not there.
pub(crate) fn change_of_keys(options: &Options, prefix: &str, force: bool) -> Result<Amend> {
    let get = |name: &str| options.get(&format!("{prefix}{name}"));
    let state = get("state").ok_or_else(|| anyhow!("Parameter 'state' is missing"))?;
    let state = SlotState::by_name(state)?;
    let secret = |name: &str, wanted: bool| -> Result<Option<Secret>> {
        match get(name) {
            None => Ok(None),
            // That it is there at all is the mistake.
            Some(_) if !wanted => Ok(Some(Secret::default())),
            Some(id) => Ok(Some(arguments::objects().passphrase(id)?.as_bytes().to_vec().into())),
        }
    };
    let mut change = Amend::new(state);
    change.new_secret = secret("new-secret", state == SlotState::Active)?;
    change.old_secret = secret("old-secret", state == SlotState::Inactive && change.new_secret.is_none())?;
    // Slots are counted with 32 bits, which names of slots wrap around in.
    let slot = get("keyslot").map(|value| crate::options::number("keyslot", value)).transpose()?;
    let narrow = |slot: u64| slot as u32;
    change.keyslot = slot.map(narrow).map(|slot| match state {
        SlotState::Active => slot.into(),
        SlotState::Inactive => slot.cast_signed().into(),
    });
    if let Some(time) = get("iter-time") {
        change.set_iter_time(&crate::options::number("iter-time", time)?.to_string())?;
    }
    change.force = force;
    Ok(change)
}
