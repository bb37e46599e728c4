//! The bodies of the fuzz targets, which `libimage/tests/mutations` runs with a stable compiler too.

#[path = "../../tests/mutations/bodies.rs"]
pub mod bodies;
