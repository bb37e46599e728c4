//! qcow2: QEMU's copy-on-write image format, versions 2 and 3.
//!
//! A qcow2 file is an array of clusters. Two levels of tables (L1, L2) map the clusters of the disk to
//! clusters of the file, and reference counts say how often each of those is used. What the tables do not
//! map comes from a backing file, or is zero.
//!
//! Where to read on: [`units`] has the offsets and sizes, [`header`] and [`table`] what is on disk. A read
//! goes [`image`] -> [`read`] -> [`map`]; a write [`image`] -> [`write`] -> [`alloc`] and [`refcount`].
//! Bytes of guest data go through [`data`], which knows where they lie and how. Clusters in parts are the
//! business of [`subcluster`], dirty bitmaps that of [`bitmaps`].
//! [`commit`] keeps the order in which metadata reaches the file, which is what keeps data safe.

mod alloc;
mod amend;
mod bitmap;
mod bitmaps;
mod cache;
mod check;
mod claim;
mod commit;
mod compress;
mod create;
mod crypt;
mod data;
mod deflate;
mod dirty;
mod empty;
mod extension;
mod header;
mod image;
mod info;
mod map;
mod meta;
mod offload;
mod overlap;
mod publish;
mod read;
mod refcount;
mod references;
mod repair;
mod resize;
mod snapshot;
mod snapshots;
mod status;
mod storage;
mod stream;
mod subcluster;
mod table;
mod units;
mod view;
mod write;
mod zero;

pub use amend::Amendment;
pub use check::{CheckReport, Fix};
pub use compress::Compressor;
pub use create::CreateOptions;
pub use crypt::{Encryption, EncryptionInfo};
pub use dirty::DirtyBits;
pub use header::CompressionType;
pub use image::{OpenOptions, Qcow2};
pub use info::{BitmapInfo, Info};
pub use overlap::OverlapChecks;
pub use snapshot::Snapshot;
pub use stream::read::StreamReader;
pub use stream::write::{StreamManner, write_stream};
pub use view::SnapshotView;
