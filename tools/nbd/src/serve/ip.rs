//! Which clients may come, by where they come from: `--ip allow=...` and `--ip deny=...`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use anyhow::{Result, anyhow, bail};
use rustix::net::{AddressFamily, sockopt};

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Another machine, or this one, over TCP.
    Network(SocketAddr),
    /// A process of this machine.
    Local { process: i32, user: u32, group: u32 },
    /// Anything else: a virtual machine, a pipe.
    Other,
}

impl Origin {
    /// Of the client behind a socket.
    pub(super) fn of(socket: BorrowedFd<'_>) -> Self {
        let network = rustix::net::getpeername(socket).ok().and_then(|any| SocketAddr::try_from(any?).ok());
        if let Some(address) = network {
            return Origin::Network(address);
        }
        match sockopt::socket_domain(socket) {
            Ok(AddressFamily::UNIX) => match sockopt::socket_peercred(socket) {
                Ok(who) => Origin::Local {
                    process: who.pid.as_raw_nonzero().get(),
                    user: who.uid.as_raw(),
                    group: who.gid.as_raw(),
                },
                Err(_) => Origin::Other,
            },
            _ => Origin::Other,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Network(address) => write!(f, "{address}"),
            Origin::Local { process, .. } => {
                let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
                match name.trim_end() {
                    "" => write!(f, "process {process}"),
                    name => write!(f, "{name} ({process})"),
                }
            }
            Origin::Other => f.write_str("-"),
        }
    }
}

/// Some of all clients.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    All,
    Ipv4,
    Ipv6,
    Unix,
    Range(IpAddr, IpAddr),
    Process(i32),
    User(u32),
    Group(u32),
}

impl Kind {
    fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse().map_err(|_| anyhow!("'{text}' is not a number"));
        Ok(match text {
            "all" | "any" => Kind::All,
            "allipv4" | "anyipv4" | "all4" | "any4" => Kind::Ipv4,
            "allipv6" | "anyipv6" | "all6" | "any6" => Kind::Ipv6,
            "allunix" | "anyunix" => Kind::Unix,
            _ => match text.split_once(':') {
                Some(("pid", rest)) => Kind::Process(i32::try_from(number(rest)?)?),
                Some(("uid", rest)) => Kind::User(number(rest)?),
                Some(("gid", rest)) => Kind::Group(number(rest)?),
                _ => Self::range(text)?,
            },
        })
    }

    fn range(text: &str) -> Result<Self> {
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
            bare.parse::<IpAddr>().map_err(|_| anyhow!("'{text}' is neither an address nor a kind of client"))
        };
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            if first.is_ipv4() != last.is_ipv4() || first > last {
                bail!("'{text}' is not a range of addresses");
            }
            return Ok(Kind::Range(first, last));
        }
        let Some((network, bits)) = text.split_once('/') else {
            let one = address(text)?;
            return Ok(Kind::Range(one, one));
        };
        let bad = || anyhow!("'{text}' is not a network: as many bits as an address has, at most");
        let bits: u32 = bits.parse().map_err(|_| bad())?;
        Ok(match address(network)? {
            IpAddr::V4(network) if bits <= 32 => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                let first = u32::from(network) & mask;
                Kind::Range(IpAddr::V4(first.into()), IpAddr::V4((first | !mask).into()))
            }
            IpAddr::V6(network) if bits <= 128 => {
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                let first = u128::from(network) & mask;
                Kind::Range(IpAddr::V6(first.into()), IpAddr::V6((first | !mask).into()))
            }
            _ => return Err(bad()),
        })
    }

    fn has(&self, origin: Origin) -> bool {
        match (self, origin) {
            (Kind::All, _) | (Kind::Unix, Origin::Local { .. }) => true,
            (Kind::Ipv4, Origin::Network(address)) => address.ip().to_canonical().is_ipv4(),
            (Kind::Ipv6, Origin::Network(address)) => address.ip().to_canonical().is_ipv6(),
            (Kind::Range(first, last), Origin::Network(address)) => {
                let ip = address.ip().to_canonical();
                ip.is_ipv4() == first.is_ipv4() && (*first..=*last).contains(&ip)
            }
            (Kind::Process(number), Origin::Local { process, .. }) => *number == process,
            (Kind::User(number), Origin::Local { user, .. }) => *number == user,
            (Kind::Group(number), Origin::Local { group, .. }) => *number == group,
            _ => false,
        }
    }
}

/// Whom a server lets in: whoever is allowed by name, and else whoever is not denied.
#[derive(Debug, Clone, Default)]
pub(super) struct Doorman {
    allowed: Vec<Kind>,
    denied: Vec<Kind>,
}

impl Doorman {
    /// Reads the values of all `--ip` options.
    ///
    /// # Errors
    /// When one makes no sense.
    pub(super) fn new(rules: &[String]) -> Result<Self> {
        let mut doorman = Doorman::default();
        for rule in rules {
            let (list, values) = match rule.split_once('=') {
                Some(("allow", values)) => (&mut doorman.allowed, values),
                Some(("deny", values)) => (&mut doorman.denied, values),
                _ => bail!("--ip takes allow=LIST or deny=LIST, not '{rule}'"),
            };
            for value in values.split(',') {
                list.push(Kind::parse(value)?);
            }
        }
        Ok(doorman)
    }

    /// The client may come in.
    pub(super) fn lets_in(&self, origin: Origin) -> bool {
        let any = |list: &[Kind]| list.iter().any(|some| some.has(origin));
        any(&self.allowed) || !any(&self.denied)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn allowed_comes_before_denied() {
        let doorman = |rules: &[&str]| Doorman::new(&rules.iter().map(|&r| r.to_owned()).collect::<Vec<_>>());
        let network = |text: &str| Origin::Network(text.parse().unwrap());
        let home = doorman(&["allow=127.0.0.0/8,::1,10.0.0.5-10.0.0.7", "deny=all"]).unwrap();
        assert!(home.lets_in(network("127.3.2.1:5")));
        assert!(home.lets_in(network("[::1]:5")));
        assert!(home.lets_in(network("[::ffff:127.0.0.1]:5")));
        assert!(home.lets_in(network("10.0.0.6:5")));
        assert!(!home.lets_in(network("10.0.0.8:5")));
        assert!(!home.lets_in(Origin::Other));
        let users = doorman(&["allow=uid:7", "deny=anyunix"]).unwrap();
        assert!(users.lets_in(Origin::Local { process: 1, user: 7, group: 0 }));
        assert!(!users.lets_in(Origin::Local { process: 1, user: 8, group: 7 }));
        assert!(users.lets_in(network("10.0.0.8:5")));
        assert!(doorman(&[]).unwrap().lets_in(Origin::Other));
        for bad in ["allow=1.2.3", "deny=1.2.3.4/33", "x=all", "all", "deny=9.0.0.0-8.0.0.0", "allow=pid:x"] {
            assert!(doorman(&[bad]).is_err(), "{bad}");
        }
    }
}
