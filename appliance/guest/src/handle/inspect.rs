//! The actions of inspection: what was found is remembered, and asked by its root.

use std::rc::Rc;

use guestd_api::actions::inspect::{InspectGetIconOptions, Server};
use guestd_api::structs::{Application, Application2};
use guestd_api::{Error, Failure, GuestString};

use super::{Host, text};
use crate::inspect::{self, System, Windows};

type Done<T = ()> = Result<T, Failure>;

/// The guest's own failures are passed on; all else is told as what it is.
fn failed(error: Error) -> Failure {
    match error {
        Error::Action { failure, .. } => failure,
        other => Failure::new(other.to_string()),
    }
}

fn or_unknown(value: Option<impl Into<GuestString>>) -> GuestString {
    value.map_or_else(|| "unknown".into(), Into::into)
}

impl Host<'_> {
    fn systems(&self) -> Done<Rc<Vec<System>>> {
        let systems = self.guest.systems.borrow().clone();
        systems.ok_or_else(|| Failure::new("no inspection data: call guestfs_inspect_os first"))
    }

    /// Asks the system with this root.
    fn of<T>(&self, root: &GuestString, ask: impl FnOnce(&System) -> T) -> Done<T> {
        if !self.guest.is_launched() {
            let why = "call launch before using this function\n(in guestfish, don't forget to use the 'run' command)";
            return Err(Failure::new(why));
        }
        let systems = self.systems()?;
        let found = systems.iter().find(|system| *root == system.root.as_str());
        found.map(ask).ok_or_else(|| {
            Failure::new(format!(
                "{root}: root device not found: only call this function with a root device previously returned by guestfs_inspect_os"
            ))
        })
    }

    /// Asks a Windows; `what` is said where there is none, or nothing of the kind in it.
    fn of_windows<T>(
        &self,
        root: &GuestString,
        what: &str,
        ask: impl FnOnce(&Windows) -> Option<T>,
    ) -> Done<T> {
        let answer = self.of(root, |system| system.windows.as_ref().and_then(ask))?;
        answer.ok_or_else(|| Failure::new(format!("not a Windows guest, or {what}")))
    }
}

impl Server for Host<'_> {
    fn file_architecture(&self, filename: GuestString) -> Done<GuestString> {
        Ok(inspect::file_architecture(self.guest, &text(&filename)?).map_err(failed)?.into())
    }

    fn inspect_os(&self) -> Done<Vec<GuestString>> {
        self.guest.inspect().map_err(failed)?;
        self.inspect_get_roots()
    }

    fn inspect_get_roots(&self) -> Done<Vec<GuestString>> {
        Ok(self.systems()?.iter().map(|system| system.root.as_str().into()).collect())
    }

    fn inspect_get_type(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| s.kind.into())
    }

    fn inspect_get_distro(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.distro.as_deref()))
    }

    fn inspect_get_arch(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.arch.as_deref()))
    }

    fn inspect_get_major_version(&self, root: GuestString) -> Done<i32> {
        self.of(&root, |s| s.numbers().0)
    }

    fn inspect_get_minor_version(&self, root: GuestString) -> Done<i32> {
        self.of(&root, |s| s.numbers().1)
    }

    fn inspect_get_product_name(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.product_name.as_deref()))
    }

    fn inspect_get_product_variant(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.variant.as_deref()))
    }

    fn inspect_get_build_id(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.build_id.as_deref()))
    }

    fn inspect_get_hostname(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.hostname.as_deref()))
    }

    fn inspect_get_osinfo(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.osinfo()))
    }

    fn inspect_get_package_format(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.package_format()))
    }

    fn inspect_get_package_management(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |s| or_unknown(s.package_management()))
    }

    fn inspect_get_mountpoints(&self, root: GuestString) -> Done<Vec<(GuestString, GuestString)>> {
        let pair = |(point, device): (String, String)| (point.into(), device.into());
        self.of(&root, |s| s.mount_points().into_iter().map(pair).collect())
    }

    fn inspect_get_filesystems(&self, root: GuestString) -> Done<Vec<GuestString>> {
        self.of(&root, |s| s.file_systems().into_iter().map(Into::into).collect())
    }

    fn inspect_get_drive_mappings(&self, root: GuestString) -> Done<Vec<(GuestString, GuestString)>> {
        let pair = |(letter, device): &(String, String)| (letter.as_str().into(), device.as_str().into());
        self.of(&root, |s| s.windows.iter().flat_map(|w| &w.drives).map(pair).collect())
    }

    fn inspect_get_icon(&self, root: GuestString, opts: InspectGetIconOptions) -> Done<Vec<u8>> {
        let system = self.of(&root, System::clone)?;
        let (favicon, high) = (opts.favicon.unwrap_or(true), opts.highquality.unwrap_or(false));
        inspect::icon(self.guest, &system, favicon, high).map_err(failed)
    }

    fn inspect_list_applications(&self, root: GuestString) -> Done<Vec<Application>> {
        let apps = self.inspect_list_applications2(root)?;
        let older = |app: Application2| Application {
            app_name: app.app2_name,
            app_display_name: app.app2_display_name,
            app_epoch: app.app2_epoch,
            app_version: app.app2_version,
            app_release: app.app2_release,
            app_install_path: app.app2_install_path,
            app_trans_path: app.app2_trans_path,
            app_publisher: app.app2_publisher,
            app_url: app.app2_url,
            app_source_package: app.app2_source_package,
            app_summary: app.app2_summary,
            app_description: app.app2_description,
        };
        Ok(apps.into_iter().map(older).collect())
    }

    fn inspect_list_applications2(&self, root: GuestString) -> Done<Vec<Application2>> {
        let system = self.of(&root, System::clone)?;
        inspect::applications(self.guest, &system).map_err(failed)
    }

    fn inspect_get_format(&self, root: GuestString) -> Done<GuestString> {
        self.of(&root, |_| "installed".into())
    }

    fn inspect_is_live(&self, root: GuestString) -> Done<bool> {
        self.of(&root, |_| false)
    }

    fn inspect_is_netinst(&self, root: GuestString) -> Done<bool> {
        self.of(&root, |_| false)
    }

    fn inspect_is_multipart(&self, root: GuestString) -> Done<bool> {
        self.of(&root, |_| false)
    }

    fn inspect_get_windows_systemroot(&self, root: GuestString) -> Done<GuestString> {
        self.of_windows(&root, "systemroot could not be determined", |w| Some(w.system_root.as_str().into()))
    }

    fn inspect_get_windows_software_hive(&self, root: GuestString) -> Done<GuestString> {
        self.of_windows(&root, "software hive not found", |w| w.software_hive.as_deref().map(Into::into))
    }

    fn inspect_get_windows_system_hive(&self, root: GuestString) -> Done<GuestString> {
        self.of_windows(&root, "system hive not found", |w| w.system_hive.as_deref().map(Into::into))
    }

    fn inspect_get_windows_current_control_set(&self, root: GuestString) -> Done<GuestString> {
        self.of_windows(&root, "CurrentControlSet could not be determined", |w| {
            w.control_set.as_deref().map(Into::into)
        })
    }

    fn inspect_get_windows_group_policy(&self, root: GuestString) -> Done<bool> {
        self.of_windows(&root, "systemroot could not be determined", |w| Some(w.group_policy))
    }
}
