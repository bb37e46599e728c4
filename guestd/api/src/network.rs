//! The network of an appliance that has one: who is who on the link between it and its host.
//!
//! The addresses are those that libguestfs uses, so that what scripts know of them stays true. They belong to
//! nobody but such a link (RFC 3927).

use std::net::Ipv4Addr;

/// The appliance.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 15);
/// Bits of an address that are the same on the whole link.
pub const PREFIX: u8 = 16;
/// The way to everywhere else. Its address is also the host's own: what listens on the host's loopback
/// answers here.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
/// Who is asked for the addresses of names. The host passes it on to whom it asks itself.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 3);
