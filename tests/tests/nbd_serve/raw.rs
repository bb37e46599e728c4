//! A client that says whatever it is told to, and writes down what it hears.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::server::Server;

pub(crate) const EXPORT_NAME: u32 = 1;
pub(crate) const ABORT: u32 = 2;
pub(crate) const LIST: u32 = 3;
pub(crate) const STARTTLS: u32 = 5;
pub(crate) const INFO: u32 = 6;
pub(crate) const GO: u32 = 7;
pub(crate) const STRUCTURED: u32 = 8;
pub(crate) const LIST_META: u32 = 9;
pub(crate) const SET_META: u32 = 10;
pub(crate) const EXTENDED: u32 = 11;

/// What is known about a request: command, flags, offset, length.
pub(crate) type Ask = (u16, u16, u64, u64);

/// A connection, and all that was heard on it.
pub(crate) struct Raw {
    pub(crate) stream: UnixStream,
    pub(crate) heard: Vec<String>,
    extended: bool,
}

impl Raw {
    /// Connects and answers the greeting with `flags`.
    pub(crate) fn new(server: &Server, flags: u32) -> Self {
        let mut raw = Raw { stream: server.connect(), heard: Vec::new(), extended: false };
        let greeting = raw.read(18).unwrap();
        raw.heard.push(format!("{greeting:02x?}"));
        raw.stream.write_all(&flags.to_be_bytes()).unwrap();
        raw
    }

    pub(crate) fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Notes whether the server hangs up now.
    pub(crate) fn expect_end(&mut self) {
        let mut byte = [0];
        let end = match self.stream.read(&mut byte) {
            Ok(0) => "end".to_owned(),
            Ok(_) => "more".to_owned(),
            // What was sent was not all read.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "end".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        };
        self.heard.push(end);
    }

    /// Sends an option and waits for nothing. `length` is what its header says.
    pub(crate) fn send_option(&mut self, option: u32, data: &[u8], length: u32) -> io::Result<()> {
        let mut bytes = b"IHAVEOPT".to_vec();
        bytes.extend(option.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        self.stream.write_all(&bytes)
    }

    /// Sends an option and notes all answers. The words of refusals are everybody's own.
    pub(crate) fn option(&mut self, option: u32, data: &[u8]) -> io::Result<()> {
        self.send_option(option, data, data.len() as u32)?;
        loop {
            let header = self.read(20)?;
            let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
            let (kind, length) = (number(12), number(16));
            let data = self.read(length as usize)?;
            let is_error = kind >> 31 != 0;
            let shown = if is_error { String::new() } else { data.escape_ascii().to_string() };
            self.heard.push(format!("option {} kind {kind:#x} {shown}", number(8)));
            if kind == 1 || is_error {
                self.extended |= kind == 1 && option == EXTENDED;
                return Ok(());
            }
        }
    }

    /// Sends the header of a request, and `payload` behind it.
    pub(crate) fn send(&mut self, ask: Ask, payload: &[u8], cookie: u64) -> io::Result<()> {
        let (command, flags, offset, length) = ask;
        let mut bytes = Vec::new();
        let magic: u32 = if self.extended { 0x21e4_1c71 } else { 0x2560_9513 };
        bytes.extend(magic.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        if self.extended {
            bytes.extend(length.to_be_bytes());
        } else {
            bytes.extend((length as u32).to_be_bytes());
        }
        bytes.extend(payload);
        self.stream.write_all(&bytes)
    }

    /// Sends a request and notes the whole answer: how data was cut into chunks does not matter.
    pub(crate) fn request(&mut self, ask: Ask, payload: &[u8]) -> io::Result<()> {
        self.send(ask, payload, 7)?;
        let (mut parts, mut data, mut last) = (Vec::new(), BTreeMap::new(), false);
        while !last {
            let magic = u32::from_be_bytes(self.read(4)?.try_into().unwrap());
            if magic == 0x6744_6698 {
                let rest = self.read(12)?;
                let error = u32::from_be_bytes(rest[..4].try_into().unwrap());
                let bytes = if error == 0 && ask.0 == 0 { self.read(ask.3 as usize)? } else { Vec::new() };
                self.heard.push(format!("{ask:x?} error {error} bytes {} {:x}", bytes.len(), hash(&bytes)));
                return Ok(());
            }
            let (size, wide) = match magic {
                0x668e_33ef => (16, false),
                0x6e8a_278c => (28, true),
                other => {
                    self.heard.push(format!("magic {other:x}"));
                    return Ok(());
                }
            };
            let header = self.read(size)?;
            let length = match wide {
                true => u64::from_be_bytes(header[20..28].try_into().unwrap()),
                false => u64::from(u32::from_be_bytes(header[12..16].try_into().unwrap())),
            };
            last = header[1] & 1 != 0;
            let kind = u16::from_be_bytes([header[2], header[3]]);
            let payload = self.read(length as usize)?;
            let offset = || u64::from_be_bytes(payload[..8].try_into().unwrap());
            match kind {
                1 => drop(data.insert(offset(), payload[8..].to_vec())),
                2 => {
                    let count = u32::from_be_bytes(payload[8..12].try_into().unwrap());
                    data.insert(offset(), vec![0; count as usize]);
                }
                kind if kind & 0x8000 != 0 => parts.push(format!("error {:02x?}", &payload[..4])),
                kind => parts.push(format!("{kind} {payload:02x?}")),
            }
        }
        parts.sort();
        let bytes: Vec<u8> = data.into_values().flatten().collect();
        self.heard.push(format!("{ask:x?} {parts:?} bytes {} {:x}", bytes.len(), hash(&bytes)));
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The data of INFO and GO.
pub(crate) fn named(name: &[u8], infos: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name);
    data.extend((infos.len() as u16).to_be_bytes());
    data.extend(infos.iter().flat_map(|info| info.to_be_bytes()));
    data
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub(crate) fn queries(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend((queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend((query.len() as u32).to_be_bytes());
        data.extend(query.as_bytes());
    }
    data
}
