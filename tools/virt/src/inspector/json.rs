//! Guests as JSON: the same facts as in the XML, under the same names.

use serde_json::{Map, Value, json};

use super::{Report, application_fields, base64, drives, fields};

/// A guest that was looked at, with its systems.
pub fn guest(name: &str, reports: &[Report]) -> Value {
    json!({ "guest": name, "operatingsystems": reports.iter().map(system).collect::<Vec<_>>() })
}

/// A guest that could not be looked at, with the reason.
pub fn failure(name: &str, why: &str) -> Value {
    json!({ "guest": name, "error": why })
}

fn system(report: &Report) -> Value {
    let mut object = Map::new();
    for (name, value) in fields(&report.system) {
        let number = name.ends_with("_version").then(|| value.parse::<i32>().ok()).flatten();
        object.insert(name.to_owned(), number.map_or(Value::String(value), Value::from));
    }
    if let Some(build) = &report.system.build_id {
        object.insert("build_id".to_owned(), build.as_str().into());
    }
    let point = |(point, device): &(String, String)| json!({ "dev": device, "mountpoint": point });
    object.insert("mountpoints".to_owned(), report.mountpoints.iter().map(point).collect());
    let filesystems = report.filesystems.iter().map(|filesystem| {
        let parts = [
            ("dev", &filesystem.device),
            ("type", &filesystem.kind),
            ("label", &filesystem.label),
            ("uuid", &filesystem.uuid),
        ];
        let known = parts.into_iter().filter(|(_, value)| !value.is_empty());
        known.map(|(name, value)| (name.to_owned(), value.as_str().into())).collect::<Map<_, _>>()
    });
    object.insert("filesystems".to_owned(), filesystems.collect::<Vec<_>>().into());
    let drive = |(letter, device): &(String, String)| json!({ "name": letter, "dev": device });
    let drives = drives(&report.system);
    if !drives.is_empty() {
        object.insert("drive_mappings".to_owned(), drives.iter().map(drive).collect());
    }
    if let Some(applications) = &report.applications {
        let app = |fields: Vec<(&str, String)>| {
            let pairs = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
            Value::Object(pairs.collect())
        };
        let applications = applications.iter().map(application_fields).map(app);
        object.insert("applications".to_owned(), applications.collect());
    }
    if !report.icon.is_empty() {
        object.insert("icon".to_owned(), base64(&report.icon).into());
    }
    Value::Object(object)
}
