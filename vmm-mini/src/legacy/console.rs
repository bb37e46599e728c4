//! The last lines that the guest printed, kept for error messages, on their way to whoever reads them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept.
const KEPT: usize = 8 << 10;
/// How Linux begins its last words.
const PANIC: &str = "Kernel panic - not syncing: ";

/// The end of what the guest printed.
#[derive(Clone, Default)]
pub struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// What was printed last, at most a few kilobytes.
    #[must_use]
    pub fn text(&self) -> String {
        let kept: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        String::from_utf8_lossy(&kept).replace('\r', "")
    }

    /// The reason of a kernel panic, if one was printed.
    #[must_use]
    pub fn panic_reason(&self) -> Option<String> {
        let text = self.text();
        let (_, reason) = text.rsplit_once(PANIC)?;
        Some(reason.lines().next().unwrap_or_default().trim_end().to_owned())
    }
}

/// A sink for console output that also keeps its tail.
pub struct Recorder {
    tail: Tail,
    sink: Option<Box<dyn Write + Send>>,
}

impl Recorder {
    /// Passes output on to `sink`, or only keeps it.
    #[must_use]
    pub fn new(tail: Tail, sink: Option<Box<dyn Write + Send>>) -> Recorder {
        Recorder { tail, sink }
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tail.push(bytes);
        // A reader that has gone away must not stop the guest: from then on output is only kept.
        if let Some(sink) = &mut self.sink
            && sink.write_all(bytes).and_then(|()| sink.flush()).is_err()
        {
            self.sink = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keeps_the_end_and_finds_the_last_panic() {
        let tail = Tail::default();
        let mut recorder = Recorder::new(tail.clone(), None);
        recorder.write_all(&[b'x'; KEPT]).unwrap();
        assert_eq!(tail.panic_reason(), None);
        recorder.write_all(b"[ 1.0] Kernel panic - not syncing: VFS: no root\r\n[ 1.1] CPU: 0\r\n").unwrap();
        assert_eq!(tail.panic_reason().as_deref(), Some("VFS: no root"));
        assert!(tail.text().len() <= KEPT);
    }

    #[test]
    fn a_broken_sink_does_not_stop_the_guest() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let tail = Tail::default();
        let mut recorder = Recorder::new(tail.clone(), Some(Box::new(Broken)));
        recorder.write_all(b"a").unwrap();
        recorder.write_all(b"b").unwrap();
        assert_eq!(tail.text(), "ab");
    }
}
