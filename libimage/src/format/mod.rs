//! (module docs to follow)
