//! Damaged images: what each command says of them, beside what qemu-img says.

use system_tests::peers::compare;

#[test]
fn check() {
    compare(CHECK).unwrap();
}

#[test]
fn info() {
    compare(INFO).unwrap();
}

#[test]
fn check_r_all() {
    compare(CHECK_R_ALL).unwrap();
}

#[test]
fn check_output_json() {
    compare(CHECK_OUTPUT_JSON).unwrap();
}

#[test]
fn resize() {
    compare(RESIZE).unwrap();
}

#[test]
fn snapshot_l() {
    compare(SNAPSHOT_L).unwrap();
}

#[test]
fn snapshot_c_x() {
    compare(SNAPSHOT_C_X).unwrap();
}

#[test]
fn convert() {
    compare(CONVERT).unwrap();
}

const CHECK: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== check with backing offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with backing offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with backing offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with cluster bits \x01
! printf '\x01' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with cluster bits \xff
! printf '\xff' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with cluster bits \x00
! printf '\x00' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with crypt \x01
! printf '\x01' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with crypt \xff
! printf '\xff' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with crypt \x00
! printf '\x00' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 size \x01
! printf '\x01' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 size \xff
! printf '\xff' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 size \x00
! printf '\x00' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 size low \x01
! printf '\x01' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 size low \xff
! printf '\xff' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 size low \x00
! printf '\x00' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset aligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset aligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset aligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset unaligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset unaligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with l1 offset unaligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount table offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount table offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount table offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount table offset aligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount table offset aligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount table offset aligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount offset unaligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount offset unaligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount offset unaligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount clusters \x01
! printf '\x01' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount clusters \xff
! printf '\xff' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount clusters \x00
! printf '\x00' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount clusters low \x01
! printf '\x01' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount clusters low \xff
! printf '\xff' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount clusters low \x00
! printf '\x00' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with snapshots \x01
! printf '\x01' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~ status, stdout, stderr: a snapshot table that makes no sense is a finding, not the end of the check
== check with snapshots \xff
! printf '\xff' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~ status, stdout, stderr: a snapshot table that makes no sense is a finding, not the end of the check
== check with snapshots \x00
! printf '\x00' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with snapshots low \x01
! printf '\x01' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with snapshots low \xff
! printf '\xff' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~ stdout, stderr: entries beyond the end of the file are one error, not one each
== check with snapshots low \x00
! printf '\x00' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with snapshot offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~ status, stdout, stderr: a snapshot table that makes no sense is a finding, not the end of the check
== check with snapshot offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~ status, stdout, stderr: a snapshot table that makes no sense is a finding, not the end of the check
== check with snapshot offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with incompatible \x01
! printf '\x01' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with incompatible \xff
! printf '\xff' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== check with incompatible \x00
! printf '\x00' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with incompatible high \x01
! printf '\x01' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with incompatible high \xff
! printf '\xff' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with incompatible high \x00
! printf '\x00' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with compatible \x01
! printf '\x01' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with compatible \xff
! printf '\xff' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with compatible \x00
! printf '\x00' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with autoclear \x01
! printf '\x01' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with autoclear \xff
! printf '\xff' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with autoclear \x00
! printf '\x00' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount order \x01
! printf '\x01' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount order \xff
! printf '\xff' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with refcount order \x00
! printf '\x00' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with header length high \x01
! printf '\x01' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with header length high \xff
! printf '\xff' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with header length high \x00
! printf '\x00' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with header length \x01
! printf '\x01' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with header length \xff
! printf '\xff' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img check -f qcow2  d.q
~ status, stdout, stderr: an odd header length is refused
== check with header length \x00
! printf '\x00' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with compression \x01
! printf '\x01' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with compression \xff
! printf '\xff' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with compression \x00
! printf '\x00' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with extension \x01
! printf '\x01' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with extension \xff
! printf '\xff' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with extension \x00
! printf '\x00' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with magic \x01
! printf '\x01' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with magic \xff
! printf '\xff' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with magic \x00
! printf '\x00' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with version \x01
! printf '\x01' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with version \xff
! printf '\xff' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with version \x00
! printf '\x00' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size \x01
! printf '\x01' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size \xff
! printf '\xff' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size \x00
! printf '\x00' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size low \x01
! printf '\x01' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size low \xff
! printf '\xff' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size low \x00
! printf '\x00' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size middle \x01
! printf '\x01' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size middle \xff
! printf '\xff' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img check -f qcow2  d.q
== check with size middle \x00
! printf '\x00' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img check -f qcow2  d.q
"#;

const INFO: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== info with backing offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with backing offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with backing offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with cluster bits \x01
! printf '\x01' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with cluster bits \xff
! printf '\xff' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with cluster bits \x00
! printf '\x00' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with crypt \x01
! printf '\x01' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with crypt \xff
! printf '\xff' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with crypt \x00
! printf '\x00' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 size \x01
! printf '\x01' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 size \xff
! printf '\xff' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 size \x00
! printf '\x00' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 size low \x01
! printf '\x01' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 size low \xff
! printf '\xff' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 size low \x00
! printf '\x00' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset aligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset aligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset aligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset unaligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset unaligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with l1 offset unaligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount table offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount table offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount table offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount table offset aligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount table offset aligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount table offset aligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount offset unaligned \x01
! printf '\x01' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount offset unaligned \xff
! printf '\xff' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount offset unaligned \x00
! printf '\x00' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount clusters \x01
! printf '\x01' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount clusters \xff
! printf '\xff' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount clusters \x00
! printf '\x00' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount clusters low \x01
! printf '\x01' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount clusters low \xff
! printf '\xff' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount clusters low \x00
! printf '\x00' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshots \x01
! printf '\x01' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshots \xff
! printf '\xff' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshots \x00
! printf '\x00' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshots low \x01
! printf '\x01' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshots low \xff
! printf '\xff' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img info -f qcow2  d.q
~? status, stdout, stderr, images: entries beyond the end of the file are refused
== info with snapshots low \x00
! printf '\x00' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshot offset \x01
! printf '\x01' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshot offset \xff
! printf '\xff' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with snapshot offset \x00
! printf '\x00' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with incompatible \x01
! printf '\x01' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with incompatible \xff
! printf '\xff' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img info -f qcow2  d.q
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== info with incompatible \x00
! printf '\x00' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with incompatible high \x01
! printf '\x01' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with incompatible high \xff
! printf '\xff' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with incompatible high \x00
! printf '\x00' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with compatible \x01
! printf '\x01' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with compatible \xff
! printf '\xff' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with compatible \x00
! printf '\x00' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with autoclear \x01
! printf '\x01' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with autoclear \xff
! printf '\xff' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img info -f qcow2  d.q
~ status, stdout, stderr: an image that no command can use is refused by this one too
== info with autoclear \x00
! printf '\x00' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount order \x01
! printf '\x01' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount order \xff
! printf '\xff' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with refcount order \x00
! printf '\x00' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with header length high \x01
! printf '\x01' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with header length high \xff
! printf '\xff' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with header length high \x00
! printf '\x00' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with header length \x01
! printf '\x01' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with header length \xff
! printf '\xff' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img info -f qcow2  d.q
~ status, stdout, stderr: an odd header length is refused
== info with header length \x00
! printf '\x00' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with compression \x01
! printf '\x01' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with compression \xff
! printf '\xff' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with compression \x00
! printf '\x00' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with extension \x01
! printf '\x01' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with extension \xff
! printf '\xff' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with extension \x00
! printf '\x00' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with magic \x01
! printf '\x01' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with magic \xff
! printf '\xff' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with magic \x00
! printf '\x00' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with version \x01
! printf '\x01' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with version \xff
! printf '\xff' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with version \x00
! printf '\x00' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size \x01
! printf '\x01' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size \xff
! printf '\xff' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size \x00
! printf '\x00' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size low \x01
! printf '\x01' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size low \xff
! printf '\xff' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size low \x00
! printf '\x00' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size middle \x01
! printf '\x01' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size middle \xff
! printf '\xff' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img info -f qcow2  d.q
== info with size middle \x00
! printf '\x00' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img info -f qcow2  d.q
"#;

const CHECK_R_ALL: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== check -r all with backing offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with cluster bits \x07
! printf '\x07' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with crypt \x07
! printf '\x07' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with l1 size \x07
! printf '\x07' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with l1 size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with l1 offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~? status, stdout, stderr, images: nothing is written to an image whose header points beyond its end
== check -r all with l1 offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with l1 offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with refcount table offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~? status, stdout, stderr, images: nothing is written to an image whose header points beyond its end
== check -r all with refcount table offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with refcount offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with refcount clusters \x07
! printf '\x07' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with refcount clusters low \x07
! printf '\x07' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~ stderr: other ways to say the same
== check -r all with snapshots \x07
! printf '\x07' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~ status, stdout, stderr, images: a snapshot table that makes no sense is a finding, not the end of the check
== check -r all with snapshots low \x07
! printf '\x07' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~ stdout, stderr, images: entries beyond the end of the file are one error, not one each
== check -r all with snapshot offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~ status, stdout, stderr, images: a snapshot table that makes no sense is a finding, not the end of the check
== check -r all with incompatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== check -r all with incompatible high \x07
! printf '\x07' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with compatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with autoclear \x07
! printf '\x07' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with refcount order \x07
! printf '\x07' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with header length high \x07
! printf '\x07' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with header length \x07
! printf '\x07' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with compression \x07
! printf '\x07' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with extension \x07
! printf '\x07' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with magic \x07
! printf '\x07' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with version \x07
! printf '\x07' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with size \x07
! printf '\x07' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
== check -r all with size middle \x07
! printf '\x07' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img check -f qcow2 -r all d.q
"#;

const CHECK_OUTPUT_JSON: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== check --output=json with backing offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with cluster bits \x07
! printf '\x07' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with crypt \x07
! printf '\x07' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with l1 size \x07
! printf '\x07' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with l1 size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with l1 offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with l1 offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with l1 offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with refcount table offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with refcount table offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with refcount offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with refcount clusters \x07
! printf '\x07' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with refcount clusters low \x07
! printf '\x07' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
~? stderr: a long list of findings of one kind is cut short
== check --output=json with snapshots \x07
! printf '\x07' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
~ status, stdout, stderr: a snapshot table that makes no sense is a finding, not the end of the check
== check --output=json with snapshots low \x07
! printf '\x07' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
~ stdout, stderr: entries beyond the end of the file are one error, not one each
== check --output=json with snapshot offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
~ status, stdout, stderr: a snapshot table that makes no sense is a finding, not the end of the check
== check --output=json with incompatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== check --output=json with incompatible high \x07
! printf '\x07' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with compatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with autoclear \x07
! printf '\x07' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with refcount order \x07
! printf '\x07' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with header length high \x07
! printf '\x07' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with header length \x07
! printf '\x07' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with compression \x07
! printf '\x07' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with extension \x07
! printf '\x07' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with magic \x07
! printf '\x07' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with version \x07
! printf '\x07' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with size \x07
! printf '\x07' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
== check --output=json with size middle \x07
! printf '\x07' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img check -f qcow2 --output=json d.q
"#;

const RESIZE: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== resize with backing offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with cluster bits \x07
! printf '\x07' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with crypt \x07
! printf '\x07' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with l1 size \x07
! printf '\x07' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with l1 size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with l1 offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
~ status, stdout, stderr, images: nothing is written to an image whose header points beyond its end
== resize with l1 offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with l1 offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with refcount table offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
~ status, stdout, stderr, images: nothing is written to an image whose header points beyond its end
== resize with refcount table offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with refcount offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with refcount clusters \x07
! printf '\x07' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with refcount clusters low \x07
! printf '\x07' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with snapshots \x07
! printf '\x07' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with snapshots low \x07
! printf '\x07' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
~? status, stdout, stderr, images: entries beyond the end of the file are refused
== resize with snapshot offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with incompatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== resize with incompatible high \x07
! printf '\x07' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with compatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with autoclear \x07
! printf '\x07' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with refcount order \x07
! printf '\x07' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with header length high \x07
! printf '\x07' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with header length \x07
! printf '\x07' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with compression \x07
! printf '\x07' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with extension \x07
! printf '\x07' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with magic \x07
! printf '\x07' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with version \x07
! printf '\x07' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with size \x07
! printf '\x07' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
== resize with size middle \x07
! printf '\x07' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img resize -f qcow2 d.q +1M
"#;

const SNAPSHOT_L: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== snapshot -l with backing offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with cluster bits \x07
! printf '\x07' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with crypt \x07
! printf '\x07' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with l1 size \x07
! printf '\x07' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with l1 size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with l1 offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with l1 offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with l1 offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with refcount table offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with refcount table offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with refcount offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with refcount clusters \x07
! printf '\x07' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with refcount clusters low \x07
! printf '\x07' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with snapshots \x07
! printf '\x07' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with snapshots low \x07
! printf '\x07' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
~? status, stdout, stderr, images: entries beyond the end of the file are refused
== snapshot -l with snapshot offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with incompatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== snapshot -l with incompatible high \x07
! printf '\x07' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with compatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with autoclear \x07
! printf '\x07' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with refcount order \x07
! printf '\x07' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with header length high \x07
! printf '\x07' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with header length \x07
! printf '\x07' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with compression \x07
! printf '\x07' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with extension \x07
! printf '\x07' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with magic \x07
! printf '\x07' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with version \x07
! printf '\x07' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with size \x07
! printf '\x07' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
== snapshot -l with size middle \x07
! printf '\x07' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img snapshot -f qcow2 -l d.q
"#;

const SNAPSHOT_C_X: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== snapshot -c x with backing offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with cluster bits \x07
! printf '\x07' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with crypt \x07
! printf '\x07' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with l1 size \x07
! printf '\x07' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with l1 size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with l1 offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
~ status, stderr, images: nothing is written to an image whose header points beyond its end
== snapshot -c x with l1 offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with l1 offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with refcount table offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
~ stderr, images: nothing is written to an image whose header points beyond its end
== snapshot -c x with refcount table offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with refcount offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with refcount clusters \x07
! printf '\x07' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with refcount clusters low \x07
! printf '\x07' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
~ stderr: another way to say the same
~ images: it was marked as dirty before the damage was met, and that nothing more may be written comes on top
== snapshot -c x with snapshots \x07
! printf '\x07' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with snapshots low \x07
! printf '\x07' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
~? status, stdout, stderr, images: entries beyond the end of the file are refused
== snapshot -c x with snapshot offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with incompatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== snapshot -c x with incompatible high \x07
! printf '\x07' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with compatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with autoclear \x07
! printf '\x07' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with refcount order \x07
! printf '\x07' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with header length high \x07
! printf '\x07' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with header length \x07
! printf '\x07' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with compression \x07
! printf '\x07' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with extension \x07
! printf '\x07' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with magic \x07
! printf '\x07' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with version \x07
! printf '\x07' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with size \x07
! printf '\x07' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
== snapshot -c x with size middle \x07
! printf '\x07' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img snapshot -f qcow2 -c x d.q
"#;

const CONVERT: &str = r#"
!! qemu-img create -q -f qcow2 d.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 300k' -c 'write -P 2 5M 64k' d.q >/dev/null; qemu-img snapshot -c s d.q
== convert with backing offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=8 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with cluster bits \x07
! printf '\x07' | dd of=d.q bs=1 seek=23 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with crypt \x07
! printf '\x07' | dd of=d.q bs=1 seek=35 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with l1 size \x07
! printf '\x07' | dd of=d.q bs=1 seek=36 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with l1 size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=39 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with l1 offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=44 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with l1 offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=46 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with l1 offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=47 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with refcount table offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=52 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with refcount table offset aligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=54 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with refcount offset unaligned \x07
! printf '\x07' | dd of=d.q bs=1 seek=55 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with refcount clusters \x07
! printf '\x07' | dd of=d.q bs=1 seek=56 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with refcount clusters low \x07
! printf '\x07' | dd of=d.q bs=1 seek=59 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with snapshots \x07
! printf '\x07' | dd of=d.q bs=1 seek=60 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with snapshots low \x07
! printf '\x07' | dd of=d.q bs=1 seek=63 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
~? status, stdout, stderr, images: entries beyond the end of the file are refused
== convert with snapshot offset \x07
! printf '\x07' | dd of=d.q bs=1 seek=71 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with incompatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=79 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
~? stderr: data files and extended L2 entries are not supported, and all that is missing is named
== convert with incompatible high \x07
! printf '\x07' | dd of=d.q bs=1 seek=72 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with compatible \x07
! printf '\x07' | dd of=d.q bs=1 seek=87 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with autoclear \x07
! printf '\x07' | dd of=d.q bs=1 seek=95 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with refcount order \x07
! printf '\x07' | dd of=d.q bs=1 seek=99 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with header length high \x07
! printf '\x07' | dd of=d.q bs=1 seek=100 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with header length \x07
! printf '\x07' | dd of=d.q bs=1 seek=103 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with compression \x07
! printf '\x07' | dd of=d.q bs=1 seek=104 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with extension \x07
! printf '\x07' | dd of=d.q bs=1 seek=112 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with magic \x07
! printf '\x07' | dd of=d.q bs=1 seek=0 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with version \x07
! printf '\x07' | dd of=d.q bs=1 seek=7 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with size \x07
! printf '\x07' | dd of=d.q bs=1 seek=24 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with size low \x07
! printf '\x07' | dd of=d.q bs=1 seek=31 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
== convert with size middle \x07
! printf '\x07' | dd of=d.q bs=1 seek=27 conv=notrunc status=none
qemu-img convert -f qcow2 d.q o
"#;
