//! The actions that set and get: all of them before the launch, most of them after it too.

use guestd_api::actions::handle::Server;
use guestd_api::{Failure, GuestString};

use super::{Config, Host, opt_text, text};

type Done<T = ()> = Result<T, Failure>;

/// Names of the credentials that libvirt may ask for.
const CREDENTIALS: [&str; 8] =
    ["username", "authname", "language", "cnonce", "passphrase", "echoprompt", "noechoprompt", "realm"];

impl Host<'_> {
    fn get<T>(&self, value: impl FnOnce(&Config) -> T) -> Done<T> {
        Ok(value(&self.guest.config.borrow()))
    }

    fn set(&self, change: impl FnOnce(&mut Config)) -> Done {
        change(&mut self.guest.config.borrow_mut());
        Ok(())
    }

    /// Changes what only the next launch can take over.
    fn set_before_launch(&self, action: &str, change: impl FnOnce(&mut Config) -> Done) -> Done {
        self.only_before_launch(action)?;
        change(&mut self.guest.config.borrow_mut())
    }

    pub(super) fn only_before_launch(&self, action: &str) -> Done {
        if self.guest.is_launched() {
            let why = format!("{action}: this function can only be called in the config state");
            return Err(Failure::new(why));
        }
        Ok(())
    }
}

/// Only something that libvirt asks for has an answer, and it never asks.
fn not_asked<T>(action: &str) -> Done<T> {
    Err(Failure::new(format!(
        "guestfs_impl_{action} should only be called from within the GUESTFS_EVENT_LIBVIRT_AUTH event handler"
    )))
}

impl Server for Host<'_> {
    fn set_memsize(&self, memsize: i32) -> Done {
        self.set_before_launch("set_memsize", |c| c.set_memsize(memsize))
    }

    fn get_memsize(&self) -> Done<i32> {
        self.get(|c| c.memsize)
    }

    fn set_smp(&self, smp: i32) -> Done {
        self.set_before_launch("set_smp", |c| c.set_smp(smp))
    }

    fn get_smp(&self) -> Done<i32> {
        self.get(|c| c.smp)
    }

    fn set_network(&self, network: bool) -> Done {
        self.only_before_launch("set_network")?;
        self.set(|c| c.network = network)
    }

    fn get_network(&self) -> Done<bool> {
        self.get(|c| c.network)
    }

    fn set_autosync(&self, autosync: bool) -> Done {
        self.set(|c| c.autosync = autosync)
    }

    fn get_autosync(&self) -> Done<bool> {
        self.get(|c| c.autosync)
    }

    fn set_verbose(&self, verbose: bool) -> Done {
        self.set(|c| c.verbose = verbose)
    }

    fn get_verbose(&self) -> Done<bool> {
        self.get(|c| c.verbose)
    }

    fn set_trace(&self, trace: bool) -> Done {
        self.set(|c| c.trace = trace)
    }

    fn get_trace(&self) -> Done<bool> {
        self.get(|c| c.trace)
    }

    fn set_path(&self, searchpath: Option<GuestString>) -> Done {
        self.only_before_launch("set_path")?;
        let path = opt_text(searchpath.as_ref())?;
        self.set(|c| c.path = path)
    }

    fn get_path(&self) -> Done<GuestString> {
        let found = || {
            let place = appliance_engine::build::cache_dir();
            place.map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default()
        };
        self.get(|c| c.path.clone().unwrap_or_else(found).into())
    }

    fn set_append(&self, append: Option<GuestString>) -> Done {
        self.only_before_launch("set_append")?;
        let append = opt_text(append.as_ref())?;
        self.set(|c| c.append = append)
    }

    fn get_append(&self) -> Done<Option<GuestString>> {
        self.get(|c| c.append.clone().map(GuestString::from))
    }

    fn set_hv(&self, hv: GuestString) -> Done {
        self.only_before_launch("set_hv")?;
        let hv = text(&hv)?;
        self.set(|c| c.hv = Some(hv))
    }

    fn get_hv(&self) -> Done<GuestString> {
        self.get(|c| c.hv.clone().unwrap_or_else(|| "/usr/bin/qemu-system-x86_64".to_owned()).into())
    }

    fn set_qemu(&self, hv: Option<GuestString>) -> Done {
        self.only_before_launch("set_qemu")?;
        let hv = opt_text(hv.as_ref())?;
        self.set(|c| c.hv = hv)
    }

    fn get_qemu(&self) -> Done<GuestString> {
        self.get_hv()
    }

    fn set_backend(&self, backend: GuestString) -> Done {
        let backend = text(&backend)?;
        self.set_before_launch("set_backend", |c| c.set_backend(&backend))
    }

    fn get_backend(&self) -> Done<GuestString> {
        self.get(|c| c.backend().into())
    }

    fn set_attach_method(&self, backend: GuestString) -> Done {
        let backend = text(&backend)?;
        self.set_before_launch("set_attach_method", |c| c.set_backend(&backend))
    }

    fn get_attach_method(&self) -> Done<GuestString> {
        self.get(|c| if c.backend() == "direct" { "appliance".into() } else { c.backend().into() })
    }

    fn set_backend_settings(&self, settings: Vec<GuestString>) -> Done {
        self.only_before_launch("set_backend_settings")?;
        let settings = settings.iter().map(text).collect::<Done<_>>()?;
        self.set(|c| c.backend_settings = settings)
    }

    fn get_backend_settings(&self) -> Done<Vec<GuestString>> {
        self.get(|c| c.backend_settings.iter().map(|s| s.as_str().into()).collect())
    }

    fn get_backend_setting(&self, name: GuestString) -> Done<GuestString> {
        let name = text(&name)?;
        let missing = || Failure::new("setting not found").with_errno(libc_esrch());
        self.get(|c| c.setting(&name).map(GuestString::from))?.ok_or_else(missing)
    }

    fn set_backend_setting(&self, name: GuestString, val: GuestString) -> Done {
        self.only_before_launch("set_backend_setting")?;
        let (name, value) = (text(&name)?, text(&val)?);
        self.set(|c| {
            c.clear_setting(&name);
            c.backend_settings.push(format!("{name}={value}"));
        })
    }

    fn clear_backend_setting(&self, name: GuestString) -> Done<i32> {
        let name = text(&name)?;
        let cleared = self.guest.config.borrow_mut().clear_setting(&name);
        Ok(cleared.try_into().unwrap_or(i32::MAX))
    }

    fn set_program(&self, program: GuestString) -> Done {
        let program = text(&program)?;
        self.set(|c| c.program = program)
    }

    fn get_program(&self) -> Done<GuestString> {
        self.get(|c| c.program.as_str().into())
    }

    fn set_identifier(&self, identifier: GuestString) -> Done {
        let identifier = text(&identifier)?;
        self.set(|c| c.identifier = identifier)
    }

    fn get_identifier(&self) -> Done<GuestString> {
        self.get(|c| c.identifier.as_str().into())
    }

    fn set_pgroup(&self, pgroup: bool) -> Done {
        self.only_before_launch("set_pgroup")?;
        self.set(|c| c.pgroup = pgroup)
    }

    fn get_pgroup(&self) -> Done<bool> {
        self.get(|c| c.pgroup)
    }

    fn set_recovery_proc(&self, recoveryproc: bool) -> Done {
        self.only_before_launch("set_recovery_proc")?;
        self.set(|c| c.recovery_proc = recoveryproc)
    }

    fn get_recovery_proc(&self) -> Done<bool> {
        self.get(|c| c.recovery_proc)
    }

    fn set_selinux(&self, selinux: bool) -> Done {
        self.only_before_launch("set_selinux")?;
        self.set(|c| c.selinux = selinux)
    }

    fn get_selinux(&self) -> Done<bool> {
        self.get(|c| c.selinux)
    }

    fn set_direct(&self, direct: bool) -> Done {
        self.only_before_launch("set_direct")?;
        self.set(|c| c.direct = direct)
    }

    fn get_direct(&self) -> Done<bool> {
        self.get(|c| c.direct)
    }

    fn set_tmpdir(&self, tmpdir: Option<GuestString>) -> Done {
        let tmpdir = opt_text(tmpdir.as_ref())?;
        self.set_before_launch("set_tmpdir", |c| c.set_tmpdir(tmpdir))
    }

    fn get_tmpdir(&self) -> Done<GuestString> {
        self.get(|c| c.tmpdir().into())
    }

    fn set_cachedir(&self, cachedir: Option<GuestString>) -> Done {
        let cachedir = opt_text(cachedir.as_ref())?;
        self.set_before_launch("set_cachedir", |c| c.set_cachedir(cachedir))
    }

    fn get_cachedir(&self) -> Done<GuestString> {
        self.get(|c| c.cachedir().into())
    }

    fn get_sockdir(&self) -> Done<GuestString> {
        let own = std::env::var("XDG_RUNTIME_DIR").ok().filter(|dir| !dir.is_empty());
        Ok(own.unwrap_or_else(|| "/tmp".to_owned()).into())
    }

    fn get_pid(&self) -> Done<i32> {
        if !self.guest.is_launched() {
            return Err(Failure::new("get-pid can only be called after launch"));
        }
        self.guest.boot().map_err(|error| Failure::new(error.to_string()))?;
        Ok(self.guest.process_id().unwrap_or_else(|| std::process::id().try_into().unwrap_or(0)))
    }

    fn get_state(&self) -> Done<i32> {
        const CONFIG: i32 = 0;
        const READY: i32 = 2;
        Ok(if self.guest.is_launched() { READY } else { CONFIG })
    }

    fn c_pointer(&self) -> Done<i64> {
        Ok(std::ptr::from_ref(self.guest).addr() as i64)
    }

    fn user_cancel(&self) -> Done {
        self.guest.canceller().cancel();
        Ok(())
    }

    fn parse_environment(&self) -> Done {
        self.guest.config.borrow_mut().take_environment(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    fn parse_environment_list(&self, environment: Vec<GuestString>) -> Done {
        let pairs = environment.iter().map(ToString::to_string).filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        self.guest.config.borrow_mut().take_environment(pairs)
    }

    fn set_libvirt_supported_credentials(&self, creds: Vec<GuestString>) -> Done {
        match creds.iter().find(|name| !CREDENTIALS.iter().any(|known| *name == known)) {
            Some(unknown) => Err(Failure::new(format!("unknown credential type ‘{unknown}’"))),
            None => Ok(()),
        }
    }

    fn get_libvirt_requested_credentials(&self) -> Done<Vec<GuestString>> {
        not_asked("get_libvirt_requested_credentials")
    }

    fn get_libvirt_requested_credential_prompt(&self, _: i32) -> Done<GuestString> {
        not_asked("get_libvirt_requested_credential_prompt")
    }

    fn get_libvirt_requested_credential_challenge(&self, _: i32) -> Done<GuestString> {
        not_asked("get_libvirt_requested_credential_challenge")
    }

    fn get_libvirt_requested_credential_defresult(&self, _: i32) -> Done<GuestString> {
        not_asked("get_libvirt_requested_credential_defresult")
    }

    fn set_libvirt_requested_credential(&self, _: i32, _: GuestString) -> Done {
        not_asked("set_libvirt_requested_credential")
    }
}

/// The number of the error that libguestfs gives for settings that are not there.
fn libc_esrch() -> i32 {
    rustix::io::Errno::SRCH.raw_os_error()
}
