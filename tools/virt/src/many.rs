//! Many guests in one call: looked at in parallel, told in order.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Result;
use clap::{Arg, ArgMatches};
use guest_cli::{DiskSpec, GuestOptions, Usage, report};

/// More threads than this wait for each other.
const MAX_THREADS: usize = 64;

/// A guest that is looked at.
#[derive(Debug, Clone)]
pub struct Source {
    /// How it is called.
    pub name: String,
    /// Its UUID, if libvirt has given it one.
    pub uuid: Option<String>,
    /// Its disks.
    pub disks: Vec<DiskSpec>,
}

impl Source {
    /// The guest of these disks: named after the first, with a plus sign for each further one.
    pub fn of_disks(disks: &[DiskSpec]) -> Self {
        let first = disks.first().map_or("", DiskSpec::display_name);
        let name = format!("{first}{}", "+".repeat(disks.len().saturating_sub(1)));
        Source { name, uuid: None, disks: disks.to_vec() }
    }
}

/// The guests of a command line: one of the disks that options name, and one for each word without an option.
pub fn sources(options: &GuestOptions, words: &[String]) -> Vec<Source> {
    let of_options = (!options.disks.is_empty()).then(|| Source::of_disks(&options.disks));
    let of_words = words.iter().map(|word| Source::of_disks(&[options.word(word)]));
    of_options.into_iter().chain(of_words).collect()
}

/// The guests that libvirt knows, by their names.
///
/// # Errors
/// When their descriptions cannot be read.
pub fn domains() -> Result<Vec<Source>> {
    let domains = guest::domains()?;
    let source = |domain: guest::Domain| Source {
        name: domain.name,
        uuid: domain.uuid,
        disks: vec![DiskSpec::Domain(domain.description)],
    };
    Ok(domains.into_iter().map(source).collect())
}

/// The option `-P`.
pub fn threads_argument() -> Arg {
    Arg::new("threads").short('P').value_name("N").help("Look at so many guests at a time")
}

/// How many threads to use: as many as asked for, where 0 means as many as there are processors.
///
/// # Errors
/// When it is no number.
pub fn threads(matches: &ArgMatches, program: &str) -> Result<usize> {
    let asked = match matches.get_one::<String>("threads").map(|text| text.parse()) {
        Some(Ok(number)) => number,
        Some(Err(_)) => return Err(Usage(format!("{program}: -P option is not numeric")).into()),
        None => 0,
    };
    let processors = || std::thread::available_parallelism().map_or(1, NonZero::get);
    Ok(if asked == 0 { processors() } else { asked }.min(MAX_THREADS))
}

/// Looks at every guest, `threads` of them at a time, and hands what was found on in the order of the guests.
/// A guest that cannot be looked at is told on standard error, and makes the exit code 1.
///
/// # Errors
/// When what was found cannot be handed on.
pub fn each<T: Send>(
    program: &'static str,
    sources: &[Source],
    threads: usize,
    look: impl Fn(&Source) -> Result<T> + Sync,
    mut found: impl FnMut(&Source, T) -> Result<()>,
) -> Result<ExitCode> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Once nobody receives any more, nobody goes on looking.
        let (send, receive) = mpsc::channel();
        for _ in 0..threads.clamp(1, sources.len().max(1)) {
            let (send, next, look) = (send.clone(), &next, &look);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = sources.get(index) else { break };
                    if send.send((index, look(source))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let (mut waiting, mut code) = (std::collections::BTreeMap::new(), ExitCode::SUCCESS);
        for (index, source) in sources.iter().enumerate() {
            while !waiting.contains_key(&index) {
                match receive.recv() {
                    Ok((place, result)) => drop(waiting.insert(place, result)),
                    Err(_) => break,
                }
            }
            match waiting.remove(&index) {
                Some(Ok(result)) => found(source, result)?,
                Some(Err(error)) if sources.len() > 1 => {
                    code = report(program, &error.context(source.name.clone()));
                }
                Some(Err(error)) => code = report(program, &error),
                None => {}
            }
        }
        Ok(code)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_comes_in_order() {
        let sources: Vec<Source> =
            (0..50).map(|n| Source { name: n.to_string(), uuid: None, disks: Vec::new() }).collect();
        let mut order = Vec::new();
        let look = |source: &Source| {
            let number: u64 = source.name.parse()?;
            std::thread::sleep(std::time::Duration::from_micros((50 - number) * 50));
            if number == 7 { anyhow::bail!("it is damaged") } else { Ok(number) }
        };
        let code = each("x", &sources, 4, look, |_, number| {
            order.push(number);
            Ok(())
        });
        assert_eq!(code.unwrap(), ExitCode::FAILURE);
        assert_eq!(order, (0..50).filter(|n| *n != 7).collect::<Vec<u64>>());
        let nobody = each("x", &[], 4, look, |_, _| Ok(()));
        assert_eq!(nobody.unwrap(), ExitCode::SUCCESS);
    }
}
