//! qcow2 against outside witnesses: QEMU's tools, a model in memory, power cuts, failing writes.
#![allow(clippy::unwrap_used, reason = "a failing test should fail where it fails")]

mod amend;
mod bitmaps;
mod crash;
mod crash_jobs;
mod damage;
mod faults;
mod foreign;
mod model;
mod record;
mod record_files;
mod script;
mod states;
mod survive;
mod threads;
mod tools;
