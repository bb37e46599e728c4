//! Block status: what metadata contexts say of a range.

use std::ops::Range;

use super::answer::Failure;
use super::session::Session;
use super::{Export, Mode, Span};
use crate::wire::{Errno, Request, be32, be64, chunk, cmd};

/// Extents of one context in one answer: what lies behind them is asked for next.
const MAX_EXTENTS: usize = 16 * 1024;

/// What a client asks the status of: all its contexts, or those that its payload names.
pub(super) struct Asked {
    length: u64,
    contexts: Vec<usize>,
}

impl Asked {
    /// What `request` asks for, with the `payload` that came with it.
    pub(super) fn read(session: &Session, request: &Request, payload: &[u8]) -> Result<Self, Failure> {
        if request.flags & cmd::PAYLOAD_LEN == 0 {
            return Ok(Asked { length: request.length, contexts: session.contexts.clone() });
        }
        let invalid = |text: &str| Err(Failure::new(Errno::EINVAL, text));
        let ids = payload.get(8..).unwrap_or_default();
        if ids.is_empty() || ids.len() % 4 != 0 {
            return invalid("the payload does not name contexts");
        }
        let mut contexts = Vec::new();
        for id in ids.chunks_exact(4).map(|id| be32(id, 0) as usize) {
            if !session.contexts.contains(&id) || contexts.contains(&id) {
                return invalid("the payload names a context that was not agreed upon, or one twice");
            }
            contexts.push(id);
        }
        Ok(Asked { length: be64(payload, 0), contexts })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends the whole answer to `out`.
    pub(super) fn answer(
        &self,
        session: &Session,
        request: &Request,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let range = request.offset..request.offset + self.length;
        let extended = session.mode == Mode::Extended;
        for (index, &context) in self.contexts.iter().enumerate() {
            let one = request.flags & cmd::REQ_ONE != 0;
            let spans = spans(&*session.export, context, range.clone(), one)?;
            let flags = if index + 1 == self.contexts.len() { chunk::DONE } else { 0 };
            let (kind, head, each) =
                if extended { (chunk::BLOCK_STATUS_EXT, 8, 16) } else { (chunk::BLOCK_STATUS, 4, 8) };
            session.chunk(request, flags, kind, head + each * spans.len() as u64, out);
            out.extend_from_slice(&u32::try_from(context).unwrap_or(0).to_be_bytes());
            if extended {
                out.extend_from_slice(&u32::try_from(spans.len()).unwrap_or(0).to_be_bytes());
            }
            for span in spans {
                if extended {
                    out.extend_from_slice(&span.length.to_be_bytes());
                    out.extend_from_slice(&span.flags.to_be_bytes());
                } else {
                    // Requests with 32 bits ask for no more than that.
                    out.extend_from_slice(&u32::try_from(span.length).unwrap_or(0).to_be_bytes());
                    out.extend_from_slice(&u32::try_from(span.flags).unwrap_or(u32::MAX).to_be_bytes());
                }
            }
        }
        Ok(())
    }
}

/// What `context` says of `range`, equal neighbours put together.
fn spans(export: &dyn Export, context: usize, range: Range<u64>, one: bool) -> Result<Vec<Span>, Failure> {
    let mut spans: Vec<Span> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let span = export.status(context, at..range.end).map_err(|error| Failure::of_io(&error))?;
        let length = span.length.clamp(1, range.end - at);
        let full = spans.len() == if one { 1 } else { MAX_EXTENTS };
        match spans.last_mut() {
            Some(last) if last.flags == span.flags => last.length += length,
            _ if full => break,
            _ => spans.push(Span { length, ..span }),
        }
        at += length;
    }
    Ok(spans)
}
