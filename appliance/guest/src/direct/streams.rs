//! Whole files as streams: to the host, into checksums, beside each other.

use std::io::Write;

use guestd_api::actions::{archive, checksum, transfer};
use guestd_api::{Context, Failure, GuestString, Progress, Value};
use libimage::fs::system::Kind;
use rustix::io::Errno;

use super::devices::Devices;
use super::reading::{PIECE, open, pieces};
use super::sums::Sum;
use super::vfs::{Found, Place, Vfs, errno, join};
use super::{MAX_DEPTH, Refusal, Served, aside, check, text};

/// As many names in a directory as find takes in the order in which they come.
const MOST_NAMES: usize = 10_000;

/// Answers a call of the group of transfers.
pub(super) fn answer(
    vfs: &Vfs,
    devices: &Devices,
    call: &transfer::Call,
    context: &mut Context<'_>,
) -> Served<Value> {
    use transfer::Call;
    match call {
        Call::download { remotefilename, .. } if is_device(remotefilename) => {
            let size = devices.find(remotefilename)?.block()?.size();
            copy_device(devices, remotefilename, 0, size, context)
        }
        Call::download_offset { remotefilename, offset, size, .. } if is_device(remotefilename) => {
            let (offset, size) = range(*offset, *size)?;
            copy_device(devices, remotefilename, offset, size, context)
        }
        Call::download { remotefilename, .. } => {
            let found = plain(vfs, remotefilename)?;
            let size = found.size()?;
            copy(&found, 0, size, context)
        }
        Call::download_offset { remotefilename, offset, size, .. } => {
            let (offset, size) = range(*offset, *size)?;
            copy(&plain(vfs, remotefilename)?, offset, size, context)
        }
        Call::checksum { csumtype, path } => {
            let found = open(vfs, path)?;
            let mut sum = Sum::by_name(csumtype)?;
            pieces(&found, context, |piece| {
                sum.add(piece);
                Ok(())
            })?;
            Ok(text(sum.finish()))
        }
        Call::checksum_device { csumtype, device } => {
            let block = devices.find(device)?.block()?;
            let mut sum = Sum::by_name(csumtype)?;
            let mut buffer = vec![0; PIECE];
            let mut offset = 0;
            while offset < block.size() {
                check(context)?;
                let count = (block.size() - offset).min(PIECE as u64) as usize;
                let part = buffer.get_mut(..count).unwrap_or_default();
                block.read_at(part, offset).or_else(|e| aside(e.to_string()))?;
                sum.add(part);
                offset += count as u64;
            }
            Ok(text(sum.finish()))
        }
        _ => aside("it writes"),
    }
}

/// Answers a call of the group of checksums.
pub(super) fn checksums(vfs: &Vfs, call: &checksum::Call, context: &mut Context<'_>) -> Served<Value> {
    use checksum::Call;
    match call {
        Call::equal { file1, file2 } => {
            let (first, second) = (open(vfs, file1)?, open(vfs, file2)?);
            equal(&first, &second, context)
        }
        Call::checksums_out { csumtype, directory, .. } => sums_below(vfs, csumtype, directory, context),
    }
}

/// Characters that the programs for sums do not write as they are.
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\n' | b'\r')
}

fn is_device(name: &GuestString) -> bool {
    name.as_bytes().starts_with(b"/dev/")
}

fn range(offset: i64, size: i64) -> Served<(u64, u64)> {
    let offset = u64::try_from(offset).map_err(|_| Failure::new("offset is negative"))?;
    let size = u64::try_from(size).map_err(|_| Failure::new("size is negative"))?;
    Ok((offset, size))
}

/// A file that can be downloaded.
fn plain<'a>(vfs: &'a Vfs, path: &GuestString) -> Served<Found<'a>> {
    open(vfs, path)
}

/// Writes to the host. Once something is written nobody else can answer.
pub(super) struct Sink<'c, 'a> {
    context: &'c mut Context<'a>,
    written: u64,
    total: u64,
}

impl<'c, 'a> Sink<'c, 'a> {
    /// For about `total` bytes.
    pub(super) fn new(context: &'c mut Context<'a>, total: u64) -> Served<Self> {
        if context.output.is_none() {
            return aside("there is nowhere to write to");
        }
        Ok(Sink { context, written: 0, total })
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Served<()> {
        check(self.context)?;
        if let Some(output) = self.context.output.as_mut() {
            output.write_all(bytes).map_err(Refusal::Output)?;
        }
        self.written = self.written.saturating_add(bytes.len() as u64);
        if let Some(tell) = self.context.progress {
            tell(Progress { position: self.written, total: self.total });
        }
        Ok(())
    }

    /// A refusal to read on, after what was written.
    pub(super) fn refused(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::StepAside(why) if self.written > 0 => {
                let hint = "an appliance may be able to read it (--direct=never)";
                Failure::new(format!("{why}: {hint}")).with_errno(Errno::IO.raw_os_error()).into()
            }
            other => other,
        }
    }
}

fn copy(found: &Found<'_>, mut offset: u64, size: u64, context: &mut Context<'_>) -> Served<Value> {
    let mut sink = Sink::new(context, size)?;
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(PIECE).clamp(1, PIECE)];
    let mut left = size;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(PIECE).min(buffer.len());
        let part = buffer.get_mut(..room).unwrap_or_default();
        let count = found.read(offset, part).map_err(|refusal| sink.refused(refusal))?;
        if count == 0 {
            break;
        }
        sink.put(part.get(..count).unwrap_or_default())?;
        offset = offset.saturating_add(count as u64);
        left = left.saturating_sub(count as u64);
    }
    short(found.asked(), size - left, size)
}

fn copy_device(
    devices: &Devices,
    name: &GuestString,
    offset: u64,
    size: u64,
    context: &mut Context<'_>,
) -> Served<Value> {
    let block = devices.find(name)?.block()?;
    let mut sink = Sink::new(context, size)?;
    let mut buffer = vec![0; PIECE];
    let end = offset.saturating_add(size).min(block.size());
    let mut at = offset;
    while at < end {
        let part = buffer.get_mut(..(end - at).min(PIECE as u64) as usize).unwrap_or_default();
        let read = block.read_at(part, at).or_else(|e| aside(e.to_string()));
        read.map_err(|refusal| sink.refused(refusal))?;
        sink.put(part)?;
        at += part.len() as u64;
    }
    short(name.as_bytes(), end.saturating_sub(offset), size)
}

fn short(name: &[u8], done: u64, size: u64) -> Served<Value> {
    if done < size {
        let name = GuestString::from(name);
        return Err(Failure::new(format!("{name}: short read, {done} of {size} bytes")).into());
    }
    Ok(Value::Void)
}

fn equal(first: &Found<'_>, second: &Found<'_>, context: &Context<'_>) -> Served<Value> {
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    let mut same = first.size()? == second.size()?;
    if same {
        pieces(first, context, |piece| {
            let mut have = 0;
            while same && have < piece.len() {
                let part = buffer.get_mut(have..piece.len()).unwrap_or_default();
                match second.read(offset + have as u64, part)? {
                    0 => break,
                    more => have += more,
                }
            }
            same &= buffer.get(..have) == Some(piece);
            offset += piece.len() as u64;
            Ok(())
        })?;
    }
    Ok(Value::Bool(same))
}

/// The checksums of all files below a directory, in the order in which `find` comes by them.
fn sums_below(
    vfs: &Vfs,
    csumtype: &GuestString,
    directory: &GuestString,
    context: &mut Context<'_>,
) -> Served<Value> {
    Sum::by_name(csumtype)?;
    let start = vfs.existing(directory)?;
    if start.kind() != Some(Kind::Directory) {
        return Err(Failure::new(format!("{directory}: not a directory")).into());
    }
    let mut files: Vec<(Place, Vec<u8>)> = Vec::new();
    let mut ahead = vec![(start.place()?, start.path.clone(), b".".to_vec(), Kind::Directory, 0)];
    while let Some((place, path, name, kind, depth)) = ahead.pop() {
        check(context)?;
        match kind {
            Kind::File => files.push((place, name)),
            Kind::Directory if depth > MAX_DEPTH => return aside("the tree is too deep"),
            Kind::Directory => {
                let all = vfs.list(place, &path, directory.as_bytes())?;
                if all.len() >= MOST_NAMES {
                    return aside("find sorts large directories");
                }
                for named in all.into_iter().rev() {
                    if csumtype == "crc" && named.name.iter().any(|byte| is_escaped(*byte)) {
                        return aside("there is a name that cksum writes in a way of its own");
                    }
                    let (path, name) = (join(&path, &named.name), join(&name, &named.name));
                    ahead.push((named.place, path, name, named.kind, depth + 1));
                }
            }
            _ => {}
        }
    }
    let mut sink = Sink::new(context, 0)?;
    let mut buffer = vec![0; PIECE];
    for (place, name) in files {
        let mut sum = Sum::by_name(csumtype)?;
        let mut offset = 0;
        loop {
            let read = vfs.ask(place, &name, |fs, node| fs.read(node, offset, &mut buffer));
            let count = read.map_err(|refusal| sink.refused(refusal))?;
            if count == 0 {
                break;
            }
            sum.add(buffer.get(..count).unwrap_or_default());
            offset += count as u64;
        }
        let mut line = Vec::new();
        // A mark before the sum says that there are escapes behind it.
        if name.iter().any(|byte| is_escaped(*byte)) {
            line.push(b'\\');
        }
        line.extend(sum.finish().into_bytes());
        line.extend(if csumtype == "crc" { format!(" {offset} ") } else { "  ".to_owned() }.into_bytes());
        for byte in name {
            match byte {
                b'\\' => line.extend(b"\\\\"),
                b'\n' => line.extend(b"\\n"),
                b'\r' => line.extend(b"\\r"),
                other => line.push(other),
            }
        }
        line.push(b'\n');
        sink.put(&line)?;
    }
    Ok(Value::Void)
}

/// A file as base64 text, in lines as the program of that name writes them.
pub(super) fn base64(vfs: &Vfs, call: &archive::Call, context: &mut Context<'_>) -> Served<Value> {
    /// Bytes of a line of 76 characters.
    const LINE: usize = 57;
    let archive::Call::base64_out { filename, .. } = call else { return aside("it is another call") };
    let found = vfs.existing(filename).map_err(|refusal| refusal.about("stat"))?;
    if found.kind() != Some(Kind::File) {
        return match found.kind() {
            Some(Kind::Directory) => Err(errno(filename.as_bytes(), Errno::ISDIR).about("stat")),
            _ => aside("it is not a regular file"),
        };
    }
    let size = found.size()?;
    let mut sink = Sink::new(context, size)?;
    let mut buffer = vec![0; LINE * 16_384];
    let mut offset = 0;
    while offset < size {
        let mut have = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(have..) {
            match found.read(offset + have as u64, rest).map_err(|refusal| sink.refused(refusal))? {
                0 => break,
                more => have += more,
            }
        }
        if have == 0 {
            break;
        }
        let mut out = Vec::with_capacity(have / 3 * 4 + have / LINE + 8);
        for line in buffer.get(..have).unwrap_or_default().chunks(LINE) {
            encode(line, &mut out);
            out.push(b'\n');
        }
        sink.put(&out)?;
        offset += have as u64;
    }
    Ok(Value::Void)
}

fn encode(bytes: &[u8], into: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'=');
            into.push(if at > group.len() { b'=' } else { digit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        let text = |bytes: &[u8]| {
            let mut out = Vec::new();
            encode(bytes, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        // RFC 4648, section 10.
        let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in known {
            assert_eq!(text(plain.as_bytes()), encoded);
        }
    }
}
