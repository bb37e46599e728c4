//! Directories as archives, byte for byte as the agent in the appliance packs them.

use std::collections::HashMap;

use guestd_api::actions::archive;
use guestd_api::actions::archive::TarOutOptions;
use guestd_api::forms::tar::{BLOCK, Entry, GROUP, Names, PASSWD, RECORD, padding, put_header};
use guestd_api::{Context, Failure, GuestString, Value};
use libimage::fs::system::{Attributes, Kind, Node};

use super::reading::PIECE;
use super::streams::Sink;
use super::vfs::{Named, Place, Vfs, join};
use super::{MAX_DEPTH, Refusal, Served, aside};

/// Answers a call of this group.
pub(super) fn answer(vfs: &Vfs, call: &archive::Call, context: &mut Context<'_>) -> Served<Value> {
    use archive::Call;
    match call {
        Call::tar_out { directory, opts, .. } => {
            let plain = TarOutOptions { numericowner: opts.numericowner, ..TarOutOptions::default() };
            if *opts != plain {
                return aside("that is for the program tar to do");
            }
            pack(vfs, directory, opts.numericowner.unwrap_or(false), context)
        }
        Call::base64_out { .. } => super::streams::base64(vfs, call, context),
        _ => aside("a program of the appliance does it"),
    }
}

/// A directory whose entries are being packed.
struct Level {
    /// Its name in the archive, with a slash at the end.
    name: Vec<u8>,
    /// Its path in the whole tree.
    path: Vec<u8>,
    left: std::vec::IntoIter<Named>,
}

/// A packing under way.
struct Packer<'v, 'c, 'a> {
    vfs: &'v Vfs,
    names: Names,
    sink: Sink<'c, 'a>,
    buffer: Vec<u8>,
    written: u64,
    /// Files with several names, and the first of them that was packed.
    links: HashMap<(usize, Node), Vec<u8>>,
}

fn pack(vfs: &Vfs, directory: &GuestString, numeric: bool, context: &mut Context<'_>) -> Served<Value> {
    let top = vfs.existing(directory).map_err(|refusal| refusal.about("stat"))?;
    if top.kind() != Some(Kind::Directory) {
        return Err(Failure::new(format!("{directory}: not a directory")).into());
    }
    let names = if numeric { Names::new(b"", b"") } else { Names::new(PASSWD.as_bytes(), GROUP.as_bytes()) };
    let sink = Sink::new(context, 0)?;
    let buffer = Vec::with_capacity(2 * PIECE);
    let mut packer = Packer { vfs, names, sink, buffer, written: 0, links: HashMap::new() };
    let mut levels = Vec::new();
    packer.directory(top.place()?, b"./".to_vec(), top.path.clone(), &mut levels)?;
    while let Some(level) = levels.last_mut() {
        let Some(named) = level.left.next() else {
            levels.pop();
            continue;
        };
        let mut name = [&level.name[..], &named.name].concat();
        if named.kind == Kind::Directory {
            name.push(b'/');
            let path = join(&level.path, &named.name);
            packer.directory(named.place, name, path, &mut levels)?;
        } else {
            packer.one(named.place, name)?;
        }
    }
    packer.zeroes(2 * BLOCK as u64);
    let end = packer.written.next_multiple_of(RECORD);
    packer.zeroes(end - packer.written);
    packer.send()?;
    Ok(Value::Void)
}

impl Packer<'_, '_, '_> {
    fn directory(
        &mut self,
        place: Place,
        name: Vec<u8>,
        path: Vec<u8>,
        levels: &mut Vec<Level>,
    ) -> Served<()> {
        if levels.len() > MAX_DEPTH {
            return Err(self.sink.refused(Refusal::StepAside("the tree is too deep".to_owned())));
        }
        let what = self.ask(|vfs| vfs.attributes(place, &path))?;
        self.header(&what, &name, b'5', 0, b"")?;
        let left = self.ask(|vfs| vfs.list(place, &path, &path))?.into_iter();
        levels.push(Level { name, path, left });
        Ok(())
    }

    /// Packs what is no directory.
    fn one(&mut self, place: Place, name: Vec<u8>) -> Served<()> {
        let what = self.ask(|vfs| vfs.attributes(place, &name))?;
        let file = self.vfs.identity(place);
        if what.links > 1
            && let Some(first) = self.links.get(&file).cloned()
        {
            return self.header(&what, &name, b'1', 0, &first);
        }
        match what.kind {
            Kind::File => self.file(place, &what, &name)?,
            Kind::Symlink => {
                let target = self.ask(|vfs| vfs.ask(place, &name, |fs, node| fs.read_link(node)))?;
                self.header(&what, &name, b'2', 0, &target)?;
            }
            Kind::CharDevice => self.header(&what, &name, b'3', 0, b"")?,
            Kind::BlockDevice => self.header(&what, &name, b'4', 0, b"")?,
            Kind::Fifo => self.header(&what, &name, b'6', 0, b"")?,
            // Sockets belong to who listens to them.
            Kind::Socket | Kind::Directory => return Ok(()),
        }
        if what.links > 1 {
            self.links.insert(file, name);
        }
        Ok(())
    }

    fn file(&mut self, place: Place, what: &Attributes, name: &[u8]) -> Served<()> {
        self.header(what, name, b'0', what.size, b"")?;
        let mut offset = 0;
        while offset < what.size {
            if self.buffer.len() >= PIECE {
                self.send()?;
            }
            let at = self.buffer.len();
            let room = (2 * PIECE).saturating_sub(at);
            self.buffer.resize(at + usize::try_from(what.size - offset).unwrap_or(room).min(room), 0);
            let part = self.buffer.get_mut(at..).unwrap_or_default();
            let read = self.vfs.ask(place, name, |fs, node| fs.read(node, offset, part));
            let count = read.map_err(|refusal| self.sink.refused(refusal))?;
            self.buffer.truncate(at + count);
            if count == 0 {
                return Err(Failure::new(format!("{}: the file is cut", GuestString::from(name))).into());
            }
            offset += count as u64;
            self.written += count as u64;
        }
        self.zeroes(padding(what.size) as u64);
        Ok(())
    }

    fn header(&mut self, what: &Attributes, name: &[u8], kind: u8, size: u64, link: &[u8]) -> Served<()> {
        let entry = Entry {
            name,
            link,
            kind,
            mode: what.permissions,
            user: what.user,
            group: what.group,
            size,
            modified: what.modified.seconds,
            device: matches!(kind, b'3' | b'4').then_some(what.device),
        };
        let before = self.buffer.len();
        put_header(&mut self.buffer, &entry, &self.names);
        self.written += (self.buffer.len() - before) as u64;
        if self.buffer.len() >= PIECE { self.send() } else { Ok(()) }
    }

    fn zeroes(&mut self, count: u64) {
        self.buffer.resize(self.buffer.len() + count as usize, 0);
        self.written += count;
    }

    fn send(&mut self) -> Served<()> {
        self.sink.put(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn ask<T>(&self, question: impl FnOnce(&Vfs) -> Served<T>) -> Served<T> {
        question(self.vfs).map_err(|refusal| self.sink.refused(refusal))
    }
}
