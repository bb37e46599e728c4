//! Children of a node: the file that it interprets, and the backing file that supplies what it does not hold.

use super::node::{Flags, Opening};
use super::{BackingReference, Image};
use crate::error::{Error, Result};
use crate::format::qcow2::Qcow2;
use crate::spec::{Dict, Name, Scalar, Spec};

impl Opening<'_> {
    /// Opens the `file` child, if anything is said about it.
    pub(super) fn file_child(
        &mut self,
        name: Option<Name>,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<Option<Image>> {
        let own = options.take_child("file");
        if let Some(Scalar::Text(node)) = options.get("file") {
            if name.is_some() || !own.is_empty() {
                let what =
                    "Cannot reference an existing block device with additional options or a new filename";
                return Err(Error::Invalid(what.to_owned()));
            }
            return Err(no_node(&node.to_string_lossy()));
        }
        if name.is_none() && own.is_empty() {
            return Ok(None);
        }
        self.node(name, own, Flags { protocol: true, ..flags }).map(Some)
    }

    /// Takes "no backing file" out of the options; false if that is what they say.
    pub(super) fn wants_backing(&mut self, options: &mut Dict, flags: &mut Flags) -> bool {
        let is_none = match options.get("backing") {
            Some(Scalar::Null) => true,
            Some(Scalar::Text(text)) if text.is_empty() => {
                (self.context.warn)(r#"Use of "backing": "" is deprecated; use "backing": null instead"#);
                true
            }
            _ => false,
        };
        if is_none {
            options.take("backing");
            flags.no_backing = true;
        }
        !is_none
    }

    /// Refuses to follow a name in a header of which nobody knows who wrote it.
    fn trusts(&self, what: &str, name: &str) -> Result<()> {
        if !self.context.untrusted {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "The image names a {what} ('{name}'), and is not trusted: 'img audit' tells more; who knows that it is safe leaves --untrusted out"
        )))
    }

    /// Opens the backing file that the options or the header name, if any.
    pub(super) fn backing(
        &mut self,
        image: &Image,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<Option<Image>> {
        let reference = match options.get("backing") {
            Some(Scalar::Text(node)) => Some(node.to_string_lossy().into_owned()),
            _ => None,
        };
        let own = options.take_child("backing");
        let header = image.backing_reference()?;
        if header.is_none() && own.is_empty() && reference.is_none() {
            return Ok(None);
        }
        if !image.driver().supports_backing() {
            // A protocol leaves the options to the complaint about what nobody takes.
            return Err(Error::Invalid("Driver doesn't support backing files".to_owned()));
        }
        let opened = match reference {
            Some(node) => Err(no_node(&node)),
            None => self.backing_node(header, own, flags),
        };
        opened.map(Some).map_err(|e| e.context("Could not open backing file"))
    }

    fn backing_node(
        &mut self,
        header: Option<BackingReference>,
        mut own: Dict,
        flags: Flags,
    ) -> Result<Image> {
        let mut name = None;
        if let Some(header) = header {
            if own.get("file.filename").is_none() {
                self.trusts("backing file", &header.name)?;
                let spec = Spec::name(&header.full?)?;
                name = spec.name;
                for (key, value) in spec.options.iter() {
                    own.set_default(key, value.clone());
                }
            }
            if let Some(format) = header.format {
                own.set_default("driver", format.as_str().into());
            }
        }
        let files = self.files.clone();
        let flags = Flags {
            read_only: flags.writable_below != 1,
            writable_below: flags.writable_below.saturating_sub(1),
            check: false,
            protocol: false,
            ..flags
        };
        let opened = self.node(name, own, flags);
        self.files = files;
        opened
    }

    /// Opens the file that holds the data of an image apart from its metadata: that of the options, or that which
    /// the header names. None, if nothing but the image itself is looked at.
    pub(super) fn data_file(
        &mut self,
        image: &Qcow2,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<Option<Image>> {
        if flags.no_io {
            options.take("data-file");
            options.take_child("data-file");
            return Ok(None);
        }
        if !image.lacks_data_file() {
            return self.refuse_data_file(options).map(|()| None);
        }
        if let Some(Scalar::Text(node)) = options.get("data-file") {
            return Err(no_node(&node.to_string_lossy()));
        }
        let mut own = options.take_child("data-file");
        if own.is_empty() {
            // A name in a header is that of a local file, whatever it looks like.
            let name = image
                .data_file_name()?
                .ok_or_else(|| Error::Invalid("'data-file' is required for this image".to_owned()))?;
            self.trusts("data file", &name)?;
            own.set_default("driver", "file".into());
            own.set_default("filename", name.as_str().into());
        }
        let opened = self.node(None, own, Flags { protocol: true, check: false, ..flags })?;
        image.set_data_file(opened.block())?;
        Ok(Some(opened))
    }

    /// Refuses a data file for an image that has none.
    fn refuse_data_file(&mut self, options: &mut Dict) -> Result<()> {
        if let Some(Scalar::Text(node)) = options.get("data-file") {
            return Err(no_node(&node.to_string_lossy()));
        }
        let own = options.take_child("data-file");
        if own.is_empty() {
            return Ok(());
        }
        self.node(None, own, Flags { protocol: true, read_only: true, ..Flags::default() })?;
        let what = "'data-file' can only be set for images with an external data file";
        Err(Error::Invalid(what.to_owned()))
    }
}

impl Image {
    /// How many backing files down the one is that is called `name`: as a header says it, by the name it was opened
    /// by, or as a path from where the image is that names it.
    pub fn find_backing(&self, name: &str) -> Option<u32> {
        let mut image = self;
        for depth in 1.. {
            let below = image.backing()?;
            let header = image.backing_reference().ok().flatten();
            let path = image.full_name(name).ok().and_then(|path| std::fs::canonicalize(path).ok());
            let full = header.as_ref().and_then(|header| header.full.as_ref().ok());
            let same_path = path.is_some() && path == full.and_then(|full| std::fs::canonicalize(full).ok());
            if below.name() == name || header.as_ref().is_some_and(|header| header.name == name) || same_path
            {
                return Some(depth);
            }
            image = below;
        }
        None
    }
}

fn no_node(name: &str) -> Error {
    Error::NotFound(format!("Cannot find device='{name}' nor node-name='{name}'"))
}
