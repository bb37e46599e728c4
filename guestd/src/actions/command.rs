//! Running the guest's own programs.

use crate::agent::Agent;
use crate::network::NameServers;
use crate::task::Output;
use crate::worker::Worker;
use guestd_api::actions::command::Server;
use guestd_api::{Failure, GuestString};
use rustix::mount::{UnmountFlags, mount_bind_recursive, unmount};
use std::io::Write;
use std::sync::PoisonError;

/// The agent's /dev, /proc and /sys inside the guest, as long as programs of the guest run.
struct SystemDirectories<'a>(&'a Agent);

const DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];

impl<'a> SystemDirectories<'a> {
    fn bind(worker: &'a Worker) -> Result<Self, Failure> {
        let agent: &Agent = &worker.agent;
        let mut programs = agent.guest_programs.lock().unwrap_or_else(PoisonError::into_inner);
        if programs.users == 0 {
            for name in DIRECTORIES {
                let inside = agent.sysroot.join(name);
                // In a guest that has a link or nothing there, the program does without.
                let real = inside.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
                if real && let Err(error) = mount_bind_recursive(format!("/{name}"), &inside) {
                    unbind(agent);
                    return Err(Failure::io(format!("/{name}"), &error.into()));
                }
            }
            programs.name_servers = NameServers::show_in(&agent.sysroot);
        }
        programs.users = programs.users.saturating_add(1);
        Ok(SystemDirectories(agent))
    }
}

impl Drop for SystemDirectories<'_> {
    fn drop(&mut self) {
        let mut programs = self.0.guest_programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.users = programs.users.saturating_sub(1);
        if programs.users == 0 {
            programs.name_servers = None;
            unbind(self.0);
        }
    }
}

/// Takes the directories away; a program that was left behind in them keeps its own view.
fn unbind(agent: &Agent) {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for name in DIRECTORIES {
        let place = agent.sysroot.join(name);
        if table.lines().any(|line| line.split(' ').nth(1) == place.to_str()) {
            let _ = unmount(&place, UnmountFlags::DETACH);
        }
    }
}

impl Worker {
    /// Runs a program of the guest. What it prints is returned, or goes to `output`.
    fn run_in_guest(
        &self,
        words: &[GuestString],
        output: Option<&mut dyn Write>,
    ) -> Result<Vec<u8>, Failure> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::new("passed an empty list"));
        };
        if !self.agent.directory_is_guest && self.agent.guest_mounts()?.is_empty() {
            return Err(Failure::new("you must call 'mount' first to mount the root filesystem"));
        }
        let _directories = SystemDirectories::bind(self)?;
        let program = self.guest_program(program.as_os_str())?;
        let done = program.args(arguments.iter().map(GuestString::as_os_str)).finish_with(None, output)?;
        done.success().map(|()| done.stdout)
    }
}

fn shell(command: GuestString) -> [GuestString; 3] {
    ["/bin/sh".into(), "-c".into(), command]
}

impl Server for Worker {
    fn command(&self, arguments: Vec<GuestString>) -> Result<GuestString, Failure> {
        self.run_in_guest(&arguments, None).map(GuestString::from)
    }

    fn command_lines(&self, arguments: Vec<GuestString>) -> Result<Vec<GuestString>, Failure> {
        self.run_in_guest(&arguments, None).map(|text| super::lines(&text))
    }

    fn sh(&self, command: GuestString) -> Result<GuestString, Failure> {
        self.command(shell(command).into())
    }

    fn sh_lines(&self, command: GuestString) -> Result<Vec<GuestString>, Failure> {
        self.command_lines(shell(command).into())
    }

    fn command_out(&self, arguments: Vec<GuestString>, mut output: Output) -> Result<(), Failure> {
        self.run_in_guest(&arguments, Some(&mut output)).map(drop)
    }

    fn sh_out(&self, command: GuestString, output: Output) -> Result<(), Failure> {
        self.command_out(shell(command).into(), output)
    }
}
