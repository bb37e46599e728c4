//! Options of the handshake: what is sent, and what the answers have to look like.

use super::error::{Error, Refusal, Result};
use super::export::{Context, ExportInfo};
use crate::stream::Stream;
use crate::wire::{
    BlockSizes, Flags, MAX_STRING, OPTION_REPLY_HEADER, OptionHeader, OptionReply, be16, be32, be64, info,
    opt, rep,
};

/// No answer has a reason to be longer: names and descriptions are at most a page each.
const MAX_REPLY: u32 = 64 * 1024;
/// All answers to one option together, in bytes and in number.
const MAX_REPLIES: u32 = 1 << 16;
const MAX_REPLIES_BYTES: u64 = 16 << 20;

/// One of the exports that a server lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is, for people; often nothing.
    pub description: String,
}

/// Sends an option.
pub(super) fn send(stream: &Stream, option: u32, data: &[u8]) -> Result<()> {
    let length =
        u32::try_from(data.len()).map_err(|_| Error::Invalid("The option is too long".to_owned()))?;
    let mut message = Vec::with_capacity(16 + data.len());
    OptionHeader { option, length }.encode(&mut message);
    message.extend_from_slice(data);
    stream.write_all(&message).map_err(|source| Error::io("send option request", source))
}

/// Reads all answers to an option, calling `each` with those before the last one, which is an ACK.
pub(super) fn replies(
    stream: &Stream,
    option: u32,
    mut each: impl FnMut(u32, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut bytes = 0u64;
    for _ in 0..MAX_REPLIES {
        let (reply, data) = reply(stream, option)?;
        if reply.is_error() {
            let message = String::from_utf8_lossy(&data).into_owned();
            return Err(Error::Refused(Refusal { option, kind: reply.kind, message }));
        }
        if reply.kind == rep::ACK {
            return match data.is_empty() {
                true => Ok(()),
                false => Err(Error::protocol("an ACK with data")),
            };
        }
        bytes += u64::from(reply.length);
        if bytes > MAX_REPLIES_BYTES {
            break;
        }
        each(reply.kind, &data)?;
    }
    Err(Error::protocol("answers without end to one option"))
}

fn reply(stream: &Stream, option: u32) -> Result<(OptionReply, Vec<u8>)> {
    let failed = |source| Error::io("read option reply", source);
    let mut header = [0; OPTION_REPLY_HEADER];
    stream.read_exact(&mut header).map_err(failed)?;
    let reply = OptionReply::decode(&header)
        .ok_or_else(|| Error::protocol(format!("unexpected option reply magic 0x{:x}", be64(&header, 0))))?;
    if reply.option != option {
        return Err(Error::protocol(format!("an answer to option {} instead of {option}", reply.option)));
    }
    if reply.length > MAX_REPLY {
        return Err(Error::protocol(format!("an option reply of {} bytes", reply.length)));
    }
    let mut data = vec![0; reply.length as usize];
    stream.read_exact(&mut data).map_err(failed)?;
    Ok((reply, data))
}

/// A string as options carry it: its length in front.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) -> Result<()> {
    let length = u32::try_from(text.len()).ok().filter(|&length| length <= MAX_STRING as u32);
    let length = length.ok_or_else(|| {
        Error::Invalid(format!("A name of {} bytes is too long: {MAX_STRING} are allowed", text.len()))
    })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The data of INFO and GO.
pub(super) fn info_request(export: &str) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    push_string(&mut data, export)?;
    data.extend_from_slice(&3u16.to_be_bytes());
    for kind in [info::NAME, info::DESCRIPTION, info::BLOCK_SIZE] {
        data.extend_from_slice(&kind.to_be_bytes());
    }
    Ok(data)
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub(super) fn context_request(export: &str, queries: &[String]) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    push_string(&mut data, export)?;
    data.extend_from_slice(&u32::try_from(queries.len()).unwrap_or(u32::MAX).to_be_bytes());
    for query in queries {
        push_string(&mut data, query)?;
    }
    Ok(data)
}

/// Answers to INFO and GO, gathered.
#[derive(Default)]
pub(super) struct InfoReplies {
    export: ExportInfo,
    has_size: bool,
}

impl InfoReplies {
    pub(super) fn take(&mut self, kind: u32, data: &[u8]) -> Result<()> {
        if kind != rep::INFO {
            return Err(unexpected(kind));
        }
        if data.len() < 2 {
            return Err(Error::protocol("an information without a type"));
        }
        let rest = data.get(2..).unwrap_or_default();
        let broken = |what: &str| Error::protocol(format!("a wrong {what}"));
        match (be16(data, 0), rest.len()) {
            (info::EXPORT, 10) => {
                self.export.size = be64(rest, 0);
                self.export.flags = Flags(be16(rest, 8));
                self.has_size = true;
            }
            (info::EXPORT, _) => return Err(broken("size of an export")),
            (info::NAME, _) => self.export.name = Some(text(rest)?),
            (info::DESCRIPTION, _) => self.export.description = Some(text(rest)?),
            (info::BLOCK_SIZE, 12) => {
                let sizes =
                    BlockSizes { minimum: be32(rest, 0), preferred: be32(rest, 4), maximum: be32(rest, 8) };
                if !sizes.is_valid() {
                    return Err(Error::protocol(format!(
                        "block sizes that make no sense: minimum {}, preferred {}, maximum {}",
                        sizes.minimum, sizes.preferred, sizes.maximum
                    )));
                }
                self.export.block = Some(sizes);
            }
            (info::BLOCK_SIZE, _) => return Err(broken("set of block sizes")),
            // Servers may know more than we do.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<ExportInfo> {
        if !self.has_size {
            return Err(Error::protocol("an export without a size"));
        }
        checked(self.export)
    }
}

/// An export whose size can be counted with.
pub(super) fn checked(export: ExportInfo) -> Result<ExportInfo> {
    if i64::try_from(export.size).is_err() {
        return Err(Error::protocol(format!("an export of {} bytes", export.size)));
    }
    if !export.flags.has(Flags::HAS_FLAGS) && export.flags != Flags::default() {
        return Err(Error::protocol(format!("invalid flags 0x{:x} of an export", export.flags.0)));
    }
    Ok(export)
}

pub(super) fn listed(kind: u32, data: &[u8]) -> Result<Listed> {
    if kind != rep::SERVER {
        return Err(unexpected(kind));
    }
    let length = be32(data, 0) as usize;
    let rest = data.get(4..).ok_or_else(|| Error::protocol("an export without a name"))?;
    let (name, description) =
        rest.split_at_checked(length).ok_or_else(|| Error::protocol("a name longer than its message"))?;
    Ok(Listed { name: text(name)?, description: text(description)? })
}

pub(super) fn context(kind: u32, data: &[u8]) -> Result<Context> {
    if kind != rep::META_CONTEXT {
        return Err(unexpected(kind));
    }
    let name = data.get(4..).ok_or_else(|| Error::protocol("a metadata context without a number"))?;
    Ok(Context { id: be32(data, 0), name: text(name)? })
}

fn unexpected(kind: u32) -> Error {
    Error::protocol(format!("an option reply of type {kind}, which answers another question"))
}

fn text(bytes: &[u8]) -> Result<String> {
    if bytes.len() > MAX_STRING {
        return Err(Error::protocol(format!("a string of {} bytes", bytes.len())));
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Which refusals mean no more than "go on without".
pub(super) fn is_declined(refusal: &Refusal) -> bool {
    // A server that knows fixed newstyle answers what it does not know; how it says no is up to it.
    refusal.option != opt::GO && refusal.kind != crate::wire::rep_err::TLS_REQD
}
