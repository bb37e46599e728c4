//! Guests as XML, in the form that libguestfs' schema `virt-inspector.rng` describes.

use super::{Report, application_fields, base64, drives, fields};

/// Letters of base64 in a line.
const LINE: usize = 72;

/// The whole document.
pub fn document(reports: &[Report]) -> String {
    let mut xml = Xml { text: "<?xml version=\"1.0\"?>\n".to_owned(), level: 0 };
    xml.group("operatingsystems", |xml| {
        for report in reports {
            xml.group("operatingsystem", |xml| system(xml, report));
        }
    });
    xml.text
}

fn system(xml: &mut Xml, report: &Report) {
    for (name, value) in fields(&report.system) {
        xml.element(name, None, &value);
    }
    xml.group("mountpoints", |xml| {
        for (point, device) in &report.mountpoints {
            xml.element("mountpoint", Some(("dev", device.as_str())), point);
        }
    });
    xml.group("filesystems", |xml| {
        for filesystem in &report.filesystems {
            xml.group_with("filesystem", Some(("dev", filesystem.device.as_str())), |xml| {
                let parts =
                    [("type", &filesystem.kind), ("label", &filesystem.label), ("uuid", &filesystem.uuid)];
                for (name, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
                    xml.element(name, None, value);
                }
            });
        }
    });
    let drives = drives(&report.system);
    if !drives.is_empty() {
        xml.group("drive_mappings", |xml| {
            for (letter, device) in &drives {
                xml.element("drive_mapping", Some(("name", letter.as_str())), device);
            }
        });
    }
    if let Some(applications) = &report.applications {
        xml.group("applications", |xml| {
            for application in applications {
                xml.group("application", |xml| {
                    for (name, value) in application_fields(application) {
                        xml.element(name, None, &value);
                    }
                });
            }
        });
    }
    if !report.icon.is_empty() {
        let text = base64(&report.icon);
        let lines: Vec<&str> =
            text.as_bytes().chunks(LINE).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        xml.verbatim("icon", &lines.join("\r\n"));
    }
}

/// A document that grows.
struct Xml {
    text: String,
    level: usize,
}

impl Xml {
    fn set_in(&mut self) {
        self.text.push_str(&"  ".repeat(self.level));
    }

    fn group(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.group_with(name, None, inside);
    }

    /// Elements in an element; one tag if there are none.
    fn group_with(&mut self, name: &str, attribute: Option<(&str, &str)>, inside: impl FnOnce(&mut Self)) {
        self.set_in();
        let begin = format!("<{name}{}", attribute_text(attribute));
        self.text.push_str(&begin);
        let empty = self.text.len();
        self.text.push_str(">\n");
        let before = self.text.len();
        self.level += 1;
        inside(self);
        self.level -= 1;
        if self.text.len() == before {
            self.text.truncate(empty);
            self.text.push_str("/>\n");
            return;
        }
        self.set_in();
        self.text.push_str(&format!("</{name}>\n"));
    }

    fn element(&mut self, name: &str, attribute: Option<(&str, &str)>, value: &str) {
        self.set_in();
        self.text.push_str(&format!("<{name}{}>{}</{name}>\n", attribute_text(attribute), escaped(value)));
    }

    fn verbatim(&mut self, name: &str, value: &str) {
        self.set_in();
        self.text.push_str(&format!("<{name}>{value}</{name}>\n"));
    }
}

fn attribute_text(attribute: Option<(&str, &str)>) -> String {
    attribute.map(|(name, value)| format!(" {name}=\"{}\"", escaped(value))).unwrap_or_default()
}

/// Characters that XML cannot have are shown as U+FFFD.
fn escaped(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => whole.push_str("&amp;"),
            '<' => whole.push_str("&lt;"),
            '>' => whole.push_str("&gt;"),
            '"' => whole.push_str("&quot;"),
            '\r' => whole.push_str("&#13;"),
            '\t' | '\n' => whole.push(character),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => whole.push('\u{fffd}'),
            other => whole.push(other),
        }
    }
    whole
}
