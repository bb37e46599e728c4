//! A file of a file system as a device: an image that lies in another image.

use std::ops::Range;

use crate::block::{Block, Extent, Limits, check_range, read_only};
use crate::error::{Error, Result};
use crate::fs::system::{FileSystem, FsError, Kind, Node};

/// Symbolic links that are followed on the way, at most.
const MAX_LINKS: usize = 40;

/// A regular file. It is only read.
pub struct Member {
    fs: Box<dyn FileSystem>,
    node: Node,
    size: u64,
    name: String,
}

impl Member {
    /// Opens a file by its absolute path.
    ///
    /// # Errors
    /// When there is none, or it is no regular file.
    pub fn open(fs: Box<dyn FileSystem>, path: &str) -> Result<Self> {
        if !path.starts_with('/') {
            return Err(Error::Invalid("the file parameter must refer to an absolute path".to_owned()));
        }
        let name = format!("{}:{path}", fs.name());
        let failed = |error: FsError| convert(error, &name, "open");
        let missing = || Error::NotFound(format!("There is no file '{path}' in '{}'", fs.name()));
        let mut links = 0;
        // Directories from the top to where we are; what is still to be walked, the next one last.
        let mut way = vec![fs.root()];
        let mut rest: Vec<Vec<u8>> = components(path.as_bytes());
        while let Some(part) = rest.pop() {
            let here = way.last().copied().unwrap_or_else(|| fs.root());
            match part.as_slice() {
                b"." => continue,
                b".." => {
                    if way.len() > 1 {
                        way.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let node = fs.lookup(here, &part).map_err(failed)?.ok_or_else(missing)?;
            if fs.attributes(node).map_err(failed)?.kind != Kind::Symlink {
                way.push(node);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::NotFound(format!("'{path}' in '{}' goes round in circles", fs.name())));
            }
            let target = fs.read_link(node).map_err(failed)?;
            if target.first() == Some(&b'/') {
                way.truncate(1);
            }
            rest.extend(components(&target));
        }
        let node = way.last().copied().unwrap_or_else(|| fs.root());
        let attributes = fs.attributes(node).map_err(failed)?;
        if attributes.kind != Kind::File {
            return Err(Error::unsupported(name, "only a regular file can be a device"));
        }
        Ok(Member { size: attributes.size, fs, node, name })
    }
}

/// The parts of a path, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').rev().filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}

fn convert(error: FsError, name: &str, action: &'static str) -> Error {
    match error {
        FsError::Errno(errno) => Error::io(action, name, errno.into()),
        FsError::Unsupported(what) => Error::unsupported(name, what),
        FsError::Image(error) => error,
    }
}

impl Block for Member {
    read_only!();

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = buf.get_mut(done..) {
            let at = offset.saturating_add(done as u64);
            let count =
                self.fs.read(self.node, at, rest).map_err(|error| convert(error, &self.name, "read"))?;
            if count == 0 {
                return Err(Error::corrupt_at(&self.name, at, "the file ends before its size"));
            }
            done += count;
        }
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        let found = self.fs.data_after(self.node, range.start);
        Ok(match found.map_err(|error| convert(error, &self.name, "examine"))? {
            None => Extent::zero(length),
            Some((start, _)) if start > range.start => Extent::zero(start.min(range.end) - range.start),
            Some((_, end)) => {
                let end = end.clamp(range.start.saturating_add(1).min(range.end), range.end);
                Extent { offset: None, ..Extent::data(end - range.start, 0) }
            }
        })
    }

    fn limits(&self) -> Limits {
        Limits { zero_init: true, ..Limits::default() }
    }

    fn name(&self) -> &str {
        &self.name
    }
}
