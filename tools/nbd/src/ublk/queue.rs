//! A queue of a ublk device: one thread speaks with the driver, and helpers work while it does.
//!
//! A request that comes alone is carried out at once; of several that come together, each goes to a helper, so that they
//! wait for their disk at the same time.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use libimage::Block;

use super::abi::{Descriptor, QueueCommand, queue};
use super::request::{Place, carry_out};
use super::ring::{Descriptors, QueueRing, Told, Waker};

/// Helpers of a queue.
const HELPERS: usize = 8;

/// What a queue serves.
pub(super) struct Queue {
    pub(super) number: u16,
    pub(super) depth: u16,
    pub(super) device: Arc<File>,
    pub(super) block: Arc<dyn Block>,
}

impl Queue {
    /// Serves it until the device is stopped. `ready` is called when the driver may begin.
    ///
    /// # Errors
    /// When the driver cannot be spoken with. Whoever waits for requests of this queue waits until the device is stopped.
    pub(super) fn serve(&self, ready: impl FnOnce()) -> io::Result<()> {
        let descriptors = Descriptors::new(&self.device, self.number, self.depth)?;
        let mut ring = QueueRing::new(&self.device, self.depth)?;
        let waker = ring.waker()?;
        for tag in 0..self.depth {
            ring.command(queue::FETCH, self.command(tag, 0))?;
        }
        ready();
        let (send_done, done) = mpsc::channel();
        let (send, jobs) = mpsc::channel();
        let jobs = Mutex::new(jobs);
        std::thread::scope(|scope| {
            // When this ends, so do they.
            let send = send;
            for _ in 0..HELPERS {
                let (jobs, send_done, waker) = (&jobs, send_done.clone(), &waker);
                std::thread::Builder::new().name("ublk-request".into()).spawn_scoped(scope, move || {
                    self.help(jobs, &send_done, waker);
                })?;
            }
            self.speak(&mut ring, &descriptors, &send, &done)
        })
    }

    fn command(&self, tag: u16, result: i32) -> QueueCommand {
        QueueCommand { q_id: self.number, tag, result, addr: 0 }
    }

    fn carry_out(&self, tag: u16, request: Descriptor, buffer: &mut Vec<u8>) -> i32 {
        let place = Place { queue: self.number, tag };
        carry_out(&*self.block, &self.device, place, request, buffer)
    }

    fn speak(
        &self,
        ring: &mut QueueRing,
        descriptors: &Descriptors,
        jobs: &Sender<(u16, Descriptor)>,
        done: &Receiver<(u16, i32)>,
    ) -> io::Result<()> {
        let mut told = Vec::new();
        let mut buffer = Vec::new();
        // Tags that something may come for, and those that helpers have.
        let (mut open, mut helped) = (usize::from(self.depth), 0usize);
        while open > 0 {
            ring.wait(&mut told)?;
            let mut requests = Vec::new();
            for told in told.drain(..) {
                match told {
                    Told::Request(tag) => requests.extend(descriptors.get(tag).map(|request| (tag, request))),
                    Told::Over => open = open.saturating_sub(1),
                    Told::Woken => {}
                }
            }
            if let ([(tag, request)], 0) = (&requests[..], helped) {
                let result = self.carry_out(*tag, *request, &mut buffer);
                ring.command(queue::COMMIT_AND_FETCH, self.command(*tag, result))?;
            } else {
                for request in requests {
                    helped += 1;
                    jobs.send(request).map_err(io::Error::other)?;
                }
            }
            while let Ok((tag, result)) = done.try_recv() {
                helped = helped.saturating_sub(1);
                ring.command(queue::COMMIT_AND_FETCH, self.command(tag, result))?;
            }
        }
        Ok(())
    }

    fn help(&self, jobs: &Mutex<Receiver<(u16, Descriptor)>>, done: &Sender<(u16, i32)>, waker: &Waker) {
        let mut buffer = Vec::new();
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((tag, request)) = job else { break };
            let result = self.carry_out(tag, request, &mut buffer);
            if done.send((tag, result)).is_err() {
                break;
            }
            waker.wake();
        }
    }
}
