//! The forms in which answers are put, for everybody who answers: the agent in the appliance, and those who read
//! a guest's disks without it.

pub mod acl;
pub mod dump;
pub mod pattern;
pub mod stat;
pub mod tar;
