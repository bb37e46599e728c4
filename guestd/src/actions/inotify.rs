//! Watching files of the guest.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::inotify::Server;
use guestd_api::structs::InotifyEvent;
use guestd_api::{Failure, GuestString};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;

/// How many events one answer has at most.
const MAX_EVENTS: usize = 10_000;

/// What an action says that comes too early.
fn not_started(action: &str) -> String {
    format!("do_{action}: you must call 'inotify_init' first to initialize inotify")
}

impl Server for Worker {
    fn inotify_init(&self, maxevents: i32) -> Result<(), Failure> {
        let limit = u32::try_from(maxevents).map_err(|_| Failure::new("max_events < 0"))?;
        if limit > 0 {
            let file = "/proc/sys/fs/inotify/max_queued_events";
            std::fs::write(file, limit.to_string()).map_err(|e| Failure::io(file, &e))?;
        }
        let watches = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| Failure::io("inotify_init", &e.into()))?;
        self.agent.session.inotify.open(watches);
        Ok(())
    }

    fn inotify_add_watch(&self, path: GuestPath, mask: i32) -> Result<i64, Failure> {
        self.agent.session.inotify.with(&not_started("inotify_add_watch"), |watches| {
            let _guest = self.guest()?;
            let mask = WatchFlags::from_bits_retain(mask.cast_unsigned());
            inotify::add_watch(&*watches, path.path(), mask).map(i64::from).map_err(|e| path.failure(e))
        })
    }

    fn inotify_rm_watch(&self, wd: i32) -> Result<(), Failure> {
        self.agent.session.inotify.with(&not_started("inotify_rm_watch"), |watches| {
            inotify::remove_watch(&*watches, wd).map_err(|e| Failure::io(wd.to_string(), &e.into()))
        })
    }

    fn inotify_read(&self) -> Result<Vec<InotifyEvent>, Failure> {
        self.agent.session.inotify.with(&not_started("inotify_read"), |watches| {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(&*watches, &mut buffer);
            let mut events = Vec::new();
            // What was taken out of the kernel must be answered with, so the buffer is read to its end.
            while events.len() < MAX_EVENTS || !reader.is_buffer_empty() {
                match reader.next() {
                    Ok(event) => events.push(InotifyEvent {
                        in_wd: event.wd().into(),
                        in_mask: event.events().bits(),
                        in_cookie: event.cookie(),
                        in_name: event.file_name().map(|name| name.to_bytes().into()).unwrap_or_default(),
                    }),
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(Failure::io("inotify", &error.into())),
                }
            }
            Ok(events)
        })
    }

    fn inotify_files(&self) -> Result<Vec<GuestString>, Failure> {
        self.agent.session.inotify.with(&not_started("inotify_files"), |_| Ok(()))?;
        let mut names = Vec::new();
        loop {
            let events = self.inotify_read()?;
            if events.is_empty() {
                break;
            }
            names.extend(events.into_iter().map(|event| event.in_name).filter(|name| !name.is_empty()));
            names.sort_unstable();
            names.dedup();
        }
        Ok(names)
    }

    fn inotify_close(&self) -> Result<(), Failure> {
        self.agent.session.inotify.close().map(drop).ok_or_else(|| Failure::new(not_started("inotify_close")))
    }
}
