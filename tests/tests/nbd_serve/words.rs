//! Command lines that fail: the words and the exit codes of qemu-nbd.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use system_tests::programs::program;

use crate::server::{directory, shell};

/// None of them gets as far as serving; `LONG` is longer than a name may be, `PATH` than the path of a socket.
const LINES: &str = "
-p x q.qcow2
-b nohost.invalid -p 0 q.qcow2
-e -1 q.qcow2
-e 1x q.qcow2
-e 99999999999 q.qcow2
-k rel q.qcow2
-k /nonexist/s q.qcow2
-k /PATH q.qcow2
-o -1 q.qcow2
-o 128M q.qcow2
-o x q.qcow2
-o 1k q.qcow2
-o 99999999999999999999 q.qcow2
-o 2000000 q.qcow2
-f bogus q.qcow2
-f qcow2 r.raw
nofile
d
--cache=bogus q.qcow2
-n --cache=none q.qcow2
-n -n q.qcow2
--aio=bogus q.qcow2
--aio=threads --aio=threads q.qcow2
--discard=bogus q.qcow2
--discard=unmap --discard=ignore q.qcow2
--detect-zeroes=bogus q.qcow2
--detect-zeroes=unmap q.qcow2
-l bogus q.qcow2
-l snapshot.foo=1 q.qcow2
-b 192.0.2.1 -p 0 q.qcow2
--aio=native q.qcow2
--aio=native nofile
-d nofile
-c nofile q.qcow2
-l snapshot.id=9 q.qcow2
-l s1 -f raw r.raw
-B nob q.qcow2
-x LONG q.qcow2
-D LONG q.qcow2
--tls-creds=foo q.qcow2
--tls-hostname=x q.qcow2
--tls-authz=x q.qcow2
--handshake-limit=x q.qcow2
--object secret,id=a q.qcow2
--object bogus,id=a q.qcow2
q.qcow2 r.raw
--image-opts -f raw q.qcow2
--image-opts driver=bogus
--fork -k /nonexist/y q.qcow2
--fork -k rel q.qcow2
--pid-file /nonexist/p -k SOCKET q.qcow2
-L q.qcow2
-L -p 1 -b 127.0.0.1
-L -k /nonexist/s
-L -b 127.0.0.1 -p x
-L -x y -k /nonexist/s
-L --fork -k /nonexist/s
-L --tls-creds foo
-d
-c
--bogus
-Z
--port
--tls q.qcow2
--read-only=1 q.qcow2
-- -k
json:{} -r
nbd://127.0.0.1:1/x
";

fn said(program: &Path, directory: &Path, line: &str) -> String {
    let output = Command::new(program)
        .args(line.split_whitespace())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [out, error] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    format!("{:?}\n{out}{error}", output.status.code())
}

#[test]
fn mistakes_are_told_as_qemu_nbd_tells_them() {
    let directory = directory();
    let here = directory.path();
    shell(
        here,
        "qemu-img create -q -f qcow2 q.qcow2 1M; truncate -s 1M r.raw; qemu-img snapshot -c s1 q.qcow2; mkdir d ours",
    );
    let ours = here.join("ours/qemu-nbd");
    symlink(program("nbd"), &ours).unwrap();
    let mut different = String::new();
    for line in LINES.lines().filter(|line| !line.is_empty()) {
        let line = line.replace("LONG", &"a".repeat(5000)).replace("PATH", &"p".repeat(200));
        let line = line.replace("SOCKET", here.join("s").to_str().unwrap());
        let (expected, found) = (said(Path::new("qemu-nbd"), here, &line), said(&ours, here, &line));
        if expected != found {
            different += &format!("== qemu-nbd {line:.100}\n{expected}-- ours\n{found}");
        }
    }
    assert!(different.is_empty(), "{different}");
}
