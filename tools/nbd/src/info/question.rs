//! Questions with yes or no for an answer, which is the exit code.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use nbd_protocol::wire::Flags;

use super::details::Details;
use crate::origin::{Origin, is_extended};

/// The exit code that says no.
const NO: u8 = 2;

/// Answers the question `about`.
pub(super) fn answer(origin: &Origin, about: &str, negated: bool) -> Result<ExitCode> {
    // Some features only count together with contexts.
    let contexts: &[&str] = if is_extended() { &[super::map::ALLOCATION] } else { &[] };
    let connection = origin.connect(contexts)?;
    let details = Details::of_connection(&connection.it);
    let has = |flag| details.flags.has(flag);
    // Words are put together in several ways, but with blanks only for some.
    let word = about.to_ascii_lowercase();
    let word = match word.starts_with("structured") {
        true => word.replace(' ', ""),
        false => word,
    };
    let word = word.replace(['-', '_'], "");
    let answer = match word.as_str() {
        "connect" | "read" => Some(true),
        "tls" => Some(details.negotiated.encrypted),
        "structured" | "structuredreply" | "structuredreplies" => Some(details.negotiated.structured),
        "extended" | "extendedheader" | "extendedheaders" => Some(details.negotiated.extended),
        "blockstatuspayload" => Some(details.can_filter_status()),
        "readonly" => Some(has(Flags::READ_ONLY)),
        "write" => Some(!has(Flags::READ_ONLY)),
        "rotational" => Some(has(Flags::ROTATIONAL)),
        "cache" => Some(has(Flags::CACHE)),
        "df" => Some(details.can_df()),
        "fastzero" => Some(details.can_fast_zero()),
        "flush" => Some(has(Flags::FLUSH)),
        "fua" => Some(has(Flags::FUA)),
        "multiconn" => Some(has(Flags::MULTI_CONN)),
        "trim" => Some(has(Flags::TRIM)),
        "zero" => Some(has(Flags::WRITE_ZEROES)),
        _ => None,
    };
    let answer = answer.ok_or_else(|| anyhow!("unknown --can or --is option: {about}"))?;
    Ok(if answer == negated { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}
