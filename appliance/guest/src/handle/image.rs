//! The actions that make and describe disk images on the host.

use std::path::Path;
use std::sync::Arc;

use guestd_api::actions::host_disk::{DiskCreateOptions, Server};
use guestd_api::{Failure, GuestString};
use libimage::error::describe;
use libimage::format::Format;
use libimage::format::qcow2::{CreateOptions, Qcow2};
use libimage::format::raw::Raw;
use libimage::open::{Context, Image, OpenOptions, resolve};
use libimage::spec::Objects;
use libimage::storage::Replacement;
use libimage::{Block, Preallocation};

use super::{Host, opt_text, text};

type Done<T = ()> = Result<T, Failure>;

/// The options of a new image, as text.
struct Wish {
    backing: Option<String>,
    backing_format: Option<String>,
    preallocation: Option<String>,
    compat: Option<String>,
    cluster_size: Option<i32>,
}

impl Wish {
    fn of(opts: &DiskCreateOptions) -> Done<Self> {
        Ok(Wish {
            backing: opt_text(opts.backingfile.as_ref())?,
            backing_format: opt_text(opts.backingformat.as_ref())?,
            preallocation: opt_text(opts.preallocation.as_ref())?,
            compat: opt_text(opts.compat.as_ref())?,
            cluster_size: opts.clustersize,
        })
    }

    fn invalid<T>(what: &str, value: impl std::fmt::Display) -> Done<T> {
        Err(Failure::new(format!("invalid value for {what} parameter ‘{value}’")))
    }

    fn preallocation(&self, format: Format) -> Done<Preallocation> {
        match (self.preallocation.as_deref(), format) {
            (None | Some("off" | "sparse"), _) => Ok(Preallocation::Off),
            // Of a raw image the space is reserved; zeroes are what it reads as anyway.
            (Some("full"), Format::Raw) => Ok(Preallocation::Falloc),
            (Some("full"), _) => Ok(Preallocation::Full),
            (Some("metadata"), Format::Qcow2) => Ok(Preallocation::Metadata),
            (Some(other), _) => Self::invalid("preallocation", other),
        }
    }

    fn version(&self) -> Done<u32> {
        match self.compat.as_deref() {
            None | Some("1.1") => Ok(3),
            Some("0.10") => Ok(2),
            Some(other) => Self::invalid("compat", other),
        }
    }

    fn cluster_size(&self) -> Done<u64> {
        let Some(size) = self.cluster_size else { return Ok(CreateOptions::default().cluster_size) };
        match u64::try_from(size) {
            Ok(bytes) if (512..=2 << 20).contains(&bytes) && bytes.is_power_of_two() => Ok(bytes),
            _ => Self::invalid("clustersize", size),
        }
    }
}

fn of_image(error: &libimage::Error) -> Failure {
    Failure::new(describe(error))
}

/// What the system says, without the name of the file.
fn why(error: &libimage::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<std::io::Error>() {
            return guestd_api::error_text(io);
        }
        cause = this.source();
    }
    describe(error)
}

/// Looks at an image, also while somebody else uses it.
fn look_at(path: &str) -> Done<Image> {
    let options = OpenOptions {
        force_share: true,
        read_only: true,
        no_backing: true,
        no_data: true,
        ..OpenOptions::default()
    };
    Image::open(path, options).map_err(|error| of_image(&error))
}

/// What a new overlay will cover: the size of its disk, and the format of the image.
fn look_at_backing(image: &str, name: &str, format: Option<&str>) -> Done<(u64, Format)> {
    let format = format.map(Format::by_name).transpose().map_err(|e| of_image(&e))?;
    let options =
        OpenOptions { force_share: true, read_only: true, no_data: true, format, ..OpenOptions::default() };
    let context = Context { objects: &Objects::default(), warn: &|_| (), untrusted: false };
    let found = resolve(Path::new(image), name).and_then(|spec| Image::open_spec(spec, options, &context));
    let found = found.map_err(|error| of_image(&error))?;
    Ok((found.block().size(), found.format()))
}

impl Server for Host<'_> {
    fn disk_create(
        &self,
        filename: GuestString,
        format: GuestString,
        size: i64,
        opts: DiskCreateOptions,
    ) -> Done {
        let (name, wish) = (text(&filename)?, Wish::of(&opts)?);
        let format = match text(&format)?.as_str() {
            "raw" => Format::Raw,
            "qcow2" => Format::Qcow2,
            other => return Err(Failure::new(format!("unsupported format ‘{other}’"))),
        };
        let (bytes, backing_format) = match (&wish.backing, u64::try_from(size).ok()) {
            (Some(_), _) if size != -1 => {
                return Err(Failure::new("if using a backing file, size must be passed as -1"));
            }
            (Some(_), _) if format == Format::Raw => {
                return Err(Failure::new("backingfile parameter cannot be used with raw format"));
            }
            (Some(backing), _) => {
                let (size, format) = look_at_backing(&name, backing, wish.backing_format.as_deref())?;
                (size, Some(format.name().to_owned()))
            }
            (None, Some(bytes)) => (bytes, None),
            (None, None) => return Err(Failure::new(format!("invalid size: {size}"))),
        };
        let preallocation = wish.preallocation(format)?;
        if format == Format::Raw {
            let given = [("compat", wish.compat.is_some()), ("clustersize", wish.cluster_size.is_some())];
            if let Some((what, _)) = given.iter().find(|(_, given)| *given) {
                return Err(Failure::new(format!("{what} parameter cannot be used with raw format")));
            }
        }
        let options = CreateOptions {
            size: bytes,
            version: wish.version()?,
            cluster_size: wish.cluster_size()?,
            preallocation,
            backing_file: wish.backing.clone(),
            backing_format,
            ..CreateOptions::default()
        };
        let made = || -> libimage::Result<()> {
            let replacement = Replacement::new(&name)?;
            match format {
                Format::Raw => Raw::create(&*replacement.storage(), bytes, preallocation)?,
                _ => {
                    let storage = replacement.storage();
                    let image = Qcow2::create(storage, &options)?;
                    image.flush()?;
                }
            }
            replacement.storage().sync()?;
            replacement.commit()
        };
        made().map_err(|error| match format {
            Format::Raw => Failure::new(format!("cannot create raw file: {name}: {}", why(&error))),
            _ => of_image(&error),
        })
    }

    fn disk_format(&self, filename: GuestString) -> Done<GuestString> {
        Ok(look_at(&text(&filename)?)?.format().name().into())
    }

    fn disk_has_backing_file(&self, filename: GuestString) -> Done<bool> {
        let image = look_at(&text(&filename)?)?;
        Ok(image.backing_reference().map_err(|error| of_image(&error))?.is_some())
    }

    fn disk_virtual_size(&self, filename: GuestString) -> Done<i64> {
        let image = look_at(&text(&filename)?)?;
        let block: Arc<dyn Block> = image.block();
        i64::try_from(block.size()).map_err(|_| Failure::new("its disk is larger than any"))
    }
}
