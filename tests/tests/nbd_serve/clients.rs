//! Real clients of `nbd serve`, and the ways in which a server can be started.

use std::os::unix::fs::symlink;
use std::path::Path;

use system_tests::programs::program;

use crate::server::{Server, directory, shell};

/// Runs a line of shell in which `nbd` and `$nbd` are the program.
fn run(directory: &Path, line: &str) -> String {
    let nbd = program("nbd");
    let bin = directory.join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        symlink(&nbd, bin.join("nbd")).unwrap();
    }
    shell(directory, &format!("export PATH={}:$PATH nbd={}; {line}", bin.display(), nbd.display()))
}

fn image(directory: &Path) {
    shell(
        directory,
        "qemu-img create -q -f qcow2 d.qcow2 8M; qemu-io -c 'write -P 5 1M 1M' -c 'write -P 6 5M 64k' d.qcow2 >/dev/null
         qemu-img convert -f qcow2 -O raw d.qcow2 same.raw",
    );
}

#[test]
fn what_real_clients_write_and_read() {
    let directory = directory();
    let here = directory.path();
    image(here);
    let out = run(
        here,
        r#"nbd serve -f qcow2 --run '
            nbdinfo --size $uri
            nbdcopy $uri copy.raw && cmp copy.raw same.raw
            qemu-img compare -f raw -F raw $uri same.raw
            nbdinfo --map $uri
            qemu-io -f raw -c "write -P 9 3M 64k" -c "write -z 1M 64k" -c "discard 5M 64k" -c flush -c "read -P 9 3M 64k" -c "read -P 0 1M 64k" $uri | grep -c bytes
            PATH=/usr/bin:$PATH nbdsh -u $uri -c "print(h.pread(4, 3 << 20))" -c "h.zero(512, 3 << 20, nbd.CMD_FLAG_FUA)" -c "print(h.pread(4, 3 << 20))"
         ' d.qcow2"#,
    );
    let expected = "8388608\nImages are identical.\n         0     1048576    3  hole,zero\n   1048576     1048576    0  data\n   2097152     3145728    3  hole,zero\n   5242880       65536    0  data\n   5308416     3080192    3  hole,zero\n5\nbytearray(b'\\t\\t\\t\\t')\nbytearray(b'\\x00\\x00\\x00\\x00')\n";
    assert_eq!(out, expected);
    shell(here, "qemu-img check -q d.qcow2; qemu-io -r -c 'read -P 9 3146240 65024' d.qcow2 >/dev/null");
}

#[test]
fn ways_to_start_a_server() {
    let directory = directory();
    let here = directory.path();
    image(here);
    // Socket activation, by libnbd and by ourselves.
    run(here, "nbdcopy -- [ $nbd serve -r -f qcow2 d.qcow2 ] - | cmp - same.raw");
    run(here, "nbd copy -- [ $nbd serve -r -f qcow2 d.qcow2 ] b.raw; cmp b.raw same.raw");
    run(here, "nbdinfo --size -- [ qemu-nbd -r -f qcow2 d.qcow2 ] >/dev/null");
    // Standard input and output, as inetd has them.
    let size = run(
        here,
        r#"PATH=/usr/bin:$PATH nbdsh -c 'h.connect_command(["'$nbd'", "serve", "--inetd", "-f", "qcow2", "d.qcow2"])' -c 'print(h.get_size())'"#,
    );
    assert_eq!(size, "8388608\n");
    // The old protocol, the simple one, and a port.
    let told = run(here, "nbd serve --oldstyle -r -f qcow2 --run 'nbdinfo $uri | head -1' d.qcow2");
    assert!(told.starts_with("protocol: oldstyle"), "{told}");
    let told =
        run(here, "nbd serve --no-structured-replies -r -f qcow2 --run 'nbdinfo $uri | head -1' d.qcow2");
    assert!(told.contains("using simple packets"), "{told}");
    let told = run(
        here,
        "nbd serve -p 0 -r -f qcow2 --run 'nbdinfo --size $uri; test -n \"$port\"; exit 3' d.qcow2 || echo $?",
    );
    assert_eq!(told, "8388608\n3\n");
    // In the background, until a signal comes.
    let told = run(
        here,
        "nbd serve --fork --pid-file=p -k s -r -f qcow2 d.qcow2; nbdinfo --size 'nbd+unix:///?socket=s'; nbd top -n 1 -i 0.1 | grep -c $(cat p)
         kill $(cat p); while kill -0 $(cat p) 2>/dev/null; do sleep 0.01; done; test ! -e s",
    );
    assert_eq!(told, "8388608\n1\n");
    // Ended by the last client.
    run(
        here,
        "nbd serve --exit-last -k t -r -f qcow2 d.qcow2 & for i in $(seq 500); do test -e t && break; sleep 0.01; done; nbdcopy 'nbd+unix:///?socket=t' null: && wait $!",
    );
}

#[test]
fn several_exports_and_what_lies_over_them() {
    let directory = directory();
    let here = directory.path();
    image(here);
    std::fs::write(
        here.join("c.json"),
        r#"{"exports": [{"name": "disk", "image": "d.qcow2", "description": "a disk", "read-only": true},
            {"name": "play", "image": "d.qcow2", "filters": ["cow"]},
            {"name": "part", "image": "same.raw", "format": "raw", "offset": 1048576, "read-only": true}]}"#,
    )
    .unwrap();
    let out = run(
        here,
        r#"nbd serve --config c.json --run '
            at() { echo "nbd+unix:///$1?socket=$unixsocket"; }
            qemu-nbd -L -k $unixsocket | grep -e export -e description
            nbdinfo --size $(at part); nbdinfo --can write $(at disk) || echo no
            qemu-io -f raw -c "write -P 7 0 8M" $(at play) >/dev/null
            qemu-img compare -f raw -F raw $(at disk) same.raw
            nbdinfo --size $(at nope) 2>/dev/null || echo none'"#,
    );
    assert_eq!(
        out,
        "exports available: 3\n export: 'disk'\n  description: a disk\n export: 'play'\n export: 'part'\n7340032\nno\nImages are identical.\nnone\n"
    );
    shell(here, "qemu-img compare -q d.qcow2 same.raw");
    // A temporary overlay, as qemu-nbd has it, and an internal snapshot.
    shell(here, "qemu-img snapshot -c before d.qcow2");
    run(
        here,
        "nbd serve -s -f qcow2 --run 'qemu-io -f raw -c \"write -P 8 0 8M\" -c \"read -P 8 0 8M\" $uri' d.qcow2 >/dev/null",
    );
    shell(here, "qemu-img compare -q d.qcow2 same.raw; qemu-io -c 'write -P 1 0 8M' d.qcow2 >/dev/null");
    let out = run(
        here,
        "nbd serve -l before -f qcow2 --run 'qemu-img compare -f raw -F raw $uri same.raw' d.qcow2",
    );
    assert_eq!(out, "Images are identical.\n");
}

#[test]
fn a_bitmap_goes_on_recording() {
    let directory = directory();
    let here = directory.path();
    image(here);
    shell(here, "qemu-img bitmap --add d.qcow2 marks");
    let server = Server::ours(here, &["-t", "-f", "qcow2", "-B", "marks", "d.qcow2"]);
    let uri = format!("nbd+unix:///?socket={}", server.socket.display());
    let dirty = |what: &str| {
        shell(here, &format!("nbdinfo --map=qemu:dirty-bitmap:marks '{uri}' | grep -c {what} || true"))
    };
    assert_eq!(dirty("dirty"), "0\n");
    shell(here, &format!("qemu-io -f raw -c 'write 2M 64k' '{uri}' >/dev/null"));
    assert_eq!(dirty("dirty"), "1\n");
}
