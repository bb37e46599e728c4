//! virt-inspector: XML as libguestfs writes it, JSON, questions about the XML.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use system_tests::images::{ROOT_UUID, Table};
use system_tests::programs::{output_of, program, run};

use super::{Guest, fails};

const STATUS: &str = "\
Package: bash
Status: install ok installed
Architecture: amd64
Source: bash-src (1.2)
Version: 1:5.2-3
Homepage: http://x.y/?a&b
Description: GNU \"Bourne\" <Again> SHell & more
 Long text
 .
 second paragraph <b>.

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: all

Package: ümlaut
Status: install ok installed
Version: 0.1-1-2~x
Architecture: all
Description: späte

";

/// What virt-inspector 1.48 wrote about such a guest, with other UUIDs.
const EXPECTED: &str = r#"<?xml version="1.0"?>
<operatingsystems>
  <operatingsystem>
    <root>/dev/sda2</root>
    <name>linux</name>
    <arch>x86_64</arch>
    <distro>debian</distro>
    <product_name>13.2</product_name>
    <major_version>13</major_version>
    <minor_version>2</minor_version>
    <package_format>deb</package_format>
    <package_management>apt</package_management>
    <hostname>web&lt;1&gt;&amp;co</hostname>
    <osinfo>debian13</osinfo>
    <mountpoints>
      <mountpoint dev="/dev/sda2">/</mountpoint>
      <mountpoint dev="/dev/sda3">/boot</mountpoint>
    </mountpoints>
    <filesystems>
      <filesystem dev="/dev/sda2">
        <type>ext4</type>
        <uuid>ROOT</uuid>
      </filesystem>
      <filesystem dev="/dev/sda3">
        <type>ext4</type>
        <label>bootfs</label>
        <uuid>BOOT</uuid>
      </filesystem>
      <filesystem dev="/dev/sda4">
        <type>swap</type>
        <label>swap,&quot;1&quot;</label>
        <uuid>SWAP</uuid>
      </filesystem>
    </filesystems>
    <applications>
      <application>
        <name>bash</name>
        <epoch>1</epoch>
        <version>5.2</version>
        <release>3</release>
        <arch>amd64</arch>
        <url>http://x.y/?a&amp;b</url>
        <source_package>bash-src</source_package>
        <summary>GNU &quot;Bourne&quot; &lt;Again&gt; SHell &amp; more</summary>
        <description>Long text
.
second paragraph &lt;b&gt;.</description>
      </application>
      <application>
        <name>ümlaut</name>
        <version>0.1</version>
        <release>1-2~x</release>
        <arch>all</arch>
        <summary>späte</summary>
      </application>
    </applications>
  </operatingsystem>
</operatingsystems>
"#;

fn guest() -> Guest {
    Guest::with(Table::Gpt, |tree, _| {
        std::fs::write(tree.join("etc/hostname"), "web<1>&co\n").unwrap();
        std::fs::create_dir_all(tree.join("var/lib/dpkg")).unwrap();
        std::fs::write(tree.join("var/lib/dpkg/status"), STATUS).unwrap();
        std::fs::copy("/bin/busybox", tree.join("usr/bin/ls")).unwrap();
        let table = std::fs::read_to_string(tree.join("etc/fstab")).unwrap();
        std::fs::write(tree.join("etc/fstab"), table + "LABEL=swap,\"1\" none swap sw 0 0\n").unwrap();
    })
}

/// The answer to a question about XML.
fn ask(xml: &str, question: &str) -> (Option<i32>, String) {
    let mut child = Command::new(program("virt-inspector"))
        .args(["--xpath", question])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_guest_as_xml_and_as_json() {
    let guest = guest();
    let disk = guest.disk();
    let uuid = |name: &str| {
        let part = guest.path(name);
        system_tests::programs::peer("blkid", &["-o", "value", "-s", "UUID", part.to_str().unwrap()])
    };
    let expected = EXPECTED.replace("ROOT", ROOT_UUID);
    let expected = expected.replace("BOOT", uuid("boot").trim()).replace("SWAP", uuid("swap").trim());
    let xml = output_of("virt-inspector", &["--direct=only", "--format=raw", "-a", &disk]);
    assert_eq!(xml, expected);
    assert_eq!(ask(&xml, "string(//name)"), (Some(0), "linux\n".to_owned()));
    assert_eq!(
        ask(&xml, "//mountpoint/@dev"),
        (Some(0), " dev=\"/dev/sda2\"\n dev=\"/dev/sda3\"\n".to_owned())
    );
    assert_eq!(ask(&xml, "//[").0, Some(1));
    let short = output_of("virt-inspector", &["--no-applications", "--format=raw", &disk]);
    assert!(
        !short.contains("<application") && short.contains("</filesystems>\n  </operatingsystem>"),
        "{short}"
    );

    // Nothing is one answer, and a guest that cannot be opened another; both leave the others alone.
    let empty = guest.path("empty").to_str().unwrap().to_owned();
    std::fs::File::create(&empty).unwrap().set_len(10 << 20).unwrap();
    let none = output_of("virt-inspector", &["--format=raw", "-a", &empty]);
    assert_eq!(none, "<?xml version=\"1.0\"?>\n<operatingsystems/>\n");
    let ran = run("virt-inspector", &["--json", "--format=raw", &disk, "/nonexistent/x.img", &empty, &disk]);
    assert_eq!(ran.status.code(), Some(1));
    let guests: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap();
    let names: Vec<&str> = guests.iter().map(|guest| guest["guest"].as_str().unwrap()).collect();
    assert_eq!(names, ["disk", "x.img", "empty", "disk"]);
    let system = &guests[0]["operatingsystems"][0];
    assert_eq!((system["distro"].as_str(), system["major_version"].as_i64()), (Some("debian"), Some(13)));
    assert_eq!(system["applications"][0]["description"], "Long text\n.\nsecond paragraph <b>.");
    assert_eq!(guests[0], guests[3]);
    assert!(guests[1]["error"].as_str().unwrap().contains("No such file"), "{}", guests[1]);
    assert_eq!(guests[2]["operatingsystems"].as_array().map(Vec::len), Some(0));
    let error = fails(&run("virt-inspector", &[]));
    assert!(error.contains("at least one -a or -d option"), "{error}");
}
