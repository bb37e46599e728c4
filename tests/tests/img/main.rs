//! `img`, command by command, beside qemu-img; and what becomes of images when it is interrupted or its input is bad.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod amend;
mod bad_input;
mod bench;
mod beyond;
mod bitmap;
mod blockdev;
mod chains;
mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod damage;
mod dd;
mod features;
mod hash;
mod info;
mod killed;
mod luks;
mod map;
mod measure;
mod opts;
mod rebase;
mod reflink;
mod resize;
mod resume;
mod snapshot;
mod stream;
