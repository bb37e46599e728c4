//! Making a new image.
//!
//! The layout is QEMU's: header, refcount table, refcount block, L1 table, each in clusters of its own,
//! and the file ends right behind the L1 entries.

use std::sync::Arc;

use super::crypt::Encryption;
use super::extension::Extensions;
use super::header::{CompressionType, CryptMethod, Header, autoclear, compatible, incompatible};
use super::image::{OpenOptions, Qcow2};
use super::refcount;
use super::storage::{table_bytes, write_all};
use super::units::Geometry;
use crate::block::{Block, Preallocation};
use crate::error::{Error, Result};

/// Bytes of a cluster that is large enough for subclusters of a sector each.
const MIN_EXTENDED_CLUSTER: u64 = 16384;

/// What a new image should be like.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Bytes of the disk; rounded up to whole sectors of 512.
    pub size: u64,
    /// 3 (`compat=1.1`), or 2 (`compat=0.10`) for very old readers.
    pub version: u32,
    /// Bytes: a power of two from 512 to 2 MiB.
    pub cluster_size: u64,
    /// 1, 2, 4, 8, 16, 32 or 64.
    pub refcount_bits: u32,
    /// Allow users of the image to postpone updates of reference counts.
    pub lazy_refcounts: bool,
    /// How compressed clusters will be packed.
    pub compression: CompressionType,
    /// What is allocated at once.
    pub preallocation: Preallocation,
    /// The backing file's name, kept as it is.
    pub backing_file: Option<String>,
    /// Its format.
    pub backing_format: Option<String>,
    /// Divide clusters into 32 subclusters each (clusters of 16 KiB at least).
    pub extended_l2: bool,
    /// Keep guest data in a file of this name, which [`Qcow2::create_with_data`] is given.
    pub data_file: Option<String>,
    /// Keep that file a raw image of the disk.
    pub data_file_raw: bool,
    /// Encrypt guest data.
    pub encryption: Option<Encryption>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        CreateOptions {
            size: 0,
            version: 3,
            cluster_size: 65536,
            refcount_bits: 16,
            lazy_refcounts: false,
            compression: CompressionType::Zlib,
            preallocation: Preallocation::Off,
            backing_file: None,
            backing_format: None,
            extended_l2: false,
            data_file: None,
            data_file_raw: false,
            encryption: None,
        }
    }
}

impl CreateOptions {
    /// Checks that the options go together; returns what they mean.
    pub(super) fn geometry(&self) -> Result<Geometry> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        let needs_v3 = |what: &str| {
            let level = "compatibility level 1.1 and above (use version=v3 or greater)";
            Err(Error::Invalid(format!("{what} {level}")))
        };
        let v2 = self.version < 3;
        if self.extended_l2 && v2 {
            return needs_v3("Extended L2 entries are only supported with");
        }
        if !self.cluster_size.is_power_of_two() || !(512..=2 << 20).contains(&self.cluster_size) {
            return invalid("Cluster size must be a power of two between 512 and 2048k");
        }
        if self.extended_l2 && self.cluster_size < MIN_EXTENDED_CLUSTER {
            return Err(Error::Invalid(format!(
                "Extended L2 entries are only supported with cluster sizes of at least {MIN_EXTENDED_CLUSTER} bytes"
            )));
        }
        if self.version != 2 && self.version != 3 {
            return Err(Error::Invalid(format!(
                "Parameter 'version' does not accept value '{}'",
                self.version
            )));
        }
        let backing = self.backing_file.is_some();
        if backing && self.preallocation != Preallocation::Off && !self.extended_l2 {
            return invalid(
                "Backing file and preallocation can only be used at the same time if extended_l2 is on",
            );
        }
        if !backing && self.backing_format.is_some() {
            return invalid("Backing format cannot be used without backing file");
        }
        if v2 && self.lazy_refcounts {
            return needs_v3("Lazy refcounts only supported with");
        }
        if !self.refcount_bits.is_power_of_two() || self.refcount_bits > 64 {
            return invalid("Refcount width must be a power of two and may not exceed 64 bits");
        }
        if v2 && self.refcount_bits != 16 {
            let what = "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)";
            return invalid(what);
        }
        if self.data_file_raw && self.data_file.is_none() {
            return invalid("data-file-raw requires data-file");
        }
        if self.data_file_raw && backing {
            return invalid("Backing file and data-file-raw cannot be used at the same time");
        }
        if self.data_file.is_some() && v2 {
            return needs_v3("External data files are only supported with");
        }
        if v2 && self.compression != CompressionType::Zlib {
            return needs_v3("Non-zlib compression type is only supported with");
        }
        Ok(Geometry {
            version: self.version,
            cluster_bits: self.cluster_size.trailing_zeros(),
            refcount_order: self.refcount_bits.trailing_zeros(),
            extended: self.extended_l2,
            data_file: self.data_file.is_some(),
        })
    }

    /// Refuses options that [`Qcow2::create`] would refuse, without touching any file.
    ///
    /// # Errors
    /// The same.
    pub fn validate(&self) -> Result<()> {
        let geometry = self.geometry()?;
        let size = self.size.checked_next_multiple_of(512).unwrap_or(u64::MAX);
        super::resize::check_size(geometry, size)?;
        self.header(geometry).encode("the new image").map(drop)
    }

    /// A header of these options for tests of what hangs from it.
    #[cfg(test)]
    pub(super) fn empty_header(&self) -> Header {
        self.header(self.geometry().unwrap_or(Geometry {
            version: 3,
            cluster_bits: 16,
            refcount_order: 4,
            extended: false,
            data_file: false,
        }))
    }

    pub(super) fn header(&self, geometry: Geometry) -> Header {
        let mut extensions = Extensions::default();
        if geometry.version >= 3 && geometry.cluster_size() > 4096 {
            extensions.add_feature_names();
        }
        extensions.set_backing_format(self.backing_format.as_deref());
        extensions.set_data_file(self.data_file.as_deref());
        let features = [
            (self.compression != CompressionType::Zlib, incompatible::COMPRESSION),
            (self.extended_l2, incompatible::EXTENDED_L2),
            (self.data_file.is_some(), incompatible::DATA_FILE),
        ];
        Header {
            geometry,
            size: 0,
            l1_size: 0,
            l1_offset: 0,
            refcount_table_offset: geometry.cluster_size(),
            refcount_table_clusters: 1,
            snapshot_count: 0,
            snapshots_offset: 0,
            incompatible: features.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum(),
            compatible: if self.lazy_refcounts { compatible::LAZY_REFCOUNTS } else { 0 },
            autoclear: if self.data_file_raw { autoclear::RAW_DATA_FILE } else { 0 },
            compression: self.compression,
            crypt: CryptMethod::None,
            extensions,
            backing_name: self.backing_file.clone().filter(|name| !name.is_empty()),
            unknown: Vec::new(),
        }
    }
}

impl Qcow2 {
    /// Makes `file` a new image and opens it. What the file held is gone.
    ///
    /// # Errors
    /// With QEMU's words for options that do not go together; then nothing was written. And when the file
    /// cannot be written: it is no image then.
    pub fn create(file: Arc<dyn Block>, options: &CreateOptions) -> Result<Self> {
        Self::create_with_data(file, None, options)
    }

    /// The same for an image that keeps its data in `data`, the file that the options name. What that file
    /// held is gone too.
    ///
    /// # Errors
    /// As for [`Qcow2::create`]; and when only one of the name and the file is given.
    pub fn create_with_data(
        file: Arc<dyn Block>,
        data: Option<Arc<dyn Block>>,
        options: &CreateOptions,
    ) -> Result<Self> {
        options.validate()?;
        if data.is_some() != options.data_file.is_some() {
            return Err(Error::Invalid(
                "A data file is needed where one is named, and only there".to_owned(),
            ));
        }
        let geometry = options.geometry()?;
        let header = options.header(geometry);
        let cluster = geometry.cluster_size();
        file.resize(0, Preallocation::Off)?;

        // The header comes last: until then nobody takes the file for an image.
        let device = !file.limits().growable;
        let mut table = vec![0; if device { (cluster / 8) as usize } else { 1 }];
        if let Some(first) = table.first_mut() {
            *first = 2 * cluster;
        }
        if device {
            write_all(&*file, &vec![0; cluster as usize], 0)?;
        }
        let mut block = vec![0; cluster as usize];
        (0..3).for_each(|index| refcount::set(&mut block, index, geometry.refcount_order, 1));
        write_all(&*file, &block, 2 * cluster)?;
        write_all(&*file, &table_bytes(&table), cluster)?;
        file.flush()?;
        write_all(&*file, &header.encode(file.name())?, 0)?;

        let mut image = Self::open(file, OpenOptions::default())?;
        if let Some(data) = data {
            data.resize(0, Preallocation::Off)?;
            image.set_data_file(data)?;
        }
        let size = options.size.checked_next_multiple_of(512).unwrap_or(u64::MAX);
        let Some(encryption) = &options.encryption else {
            if size > 0 {
                image.resize(size, options.preallocation)?;
            }
            image.begin_data_file(size, options.preallocation)?;
            image.flush()?;
            return Ok(image);
        };
        // As in QEMU the LUKS header lies between the L1 table and the data.
        image.resize(size, Preallocation::Off)?;
        image.encrypt_new(encryption)?;
        if options.preallocation != Preallocation::Off {
            image.preallocate(0, size, options.preallocation)?;
        }
        image.flush()?;
        Ok(image)
    }
}
