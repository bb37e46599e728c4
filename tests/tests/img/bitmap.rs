//! `img bitmap` beside `qemu-img bitmap`.

use system_tests::peers::compare;

#[test]
fn actions() {
    compare(ACTIONS).unwrap();
}

#[test]
fn command_lines() {
    compare(COMMAND_LINES).unwrap();
}

#[test]
fn with_other_commands() {
    compare(WITH_OTHER_COMMANDS).unwrap();
}

const ACTIONS: &str = r#"
== add, remove, clear, enable, disable
! qemu-img create -f qcow2 f.qcow2 10M
qemu-img bitmap --add f.qcow2 b0
qemu-img bitmap --add f.qcow2 b0
qemu-img bitmap --add --disable f.qcow2 b1
qemu-img bitmap --disable f.qcow2 b0
qemu-img bitmap --enable f.qcow2 b0
qemu-img bitmap --enable f.qcow2 b1
qemu-img bitmap --clear f.qcow2 b0
qemu-img bitmap --remove f.qcow2 b0
qemu-img bitmap --remove f.qcow2 b0
qemu-img bitmap --remove f.qcow2 b1
qemu-img check f.qcow2
== granularities
! qemu-img create -f qcow2 f.qcow2 10M
qemu-img bitmap --add -g 1 f.qcow2 b1
qemu-img bitmap --add -g 256 f.qcow2 b1
qemu-img bitmap --add -g 1000 f.qcow2 b1
qemu-img bitmap --add -g 4G f.qcow2 b1
qemu-img bitmap --add -g 2G f.qcow2 b2g
qemu-img bitmap --add -g 0 f.qcow2 b0
qemu-img bitmap --add -g 512 f.qcow2 b512
qemu-img bitmap --add -g x f.qcow2 b
qemu-img bitmap --add -g -1 f.qcow2 b
qemu-img bitmap --add -g 64k -g 32k f.qcow2 twice
qemu-img bitmap --clear -g 64k f.qcow2 b0
== default granularities
! for c in 512 4k 16k 2M; do qemu-img create -f qcow2 -o cluster_size=$c $c.qcow2 10M; done
qemu-img bitmap --add 512.qcow2 b
qemu-img bitmap --add 4k.qcow2 b
qemu-img bitmap --add 16k.qcow2 b
qemu-img bitmap --add 2M.qcow2 b
== names
! qemu-img create -f qcow2 f.qcow2 1M
qemu-img bitmap --add f.qcow2 ""
qemu-img bitmap --add f.qcow2 "a b"
qemu-img bitmap --add f.qcow2 $(printf 'x%.0s' $(seq 1023))
qemu-img bitmap --add f.qcow2 $(printf 'x%.0s' $(seq 1024)) 2>&1 | sed "s/in '.*':/in:/"
qemu-img bitmap --clear f.qcow2 none
qemu-img bitmap --enable f.qcow2 none
qemu-img bitmap --disable f.qcow2 none
== merging
! qemu-img create -f qcow2 f.qcow2 10M && qemu-img bitmap --add f.qcow2 a && qemu-img bitmap --add -g 512 f.qcow2 b && qemu-io -c 'write 1M 70k' f.qcow2
qemu-img bitmap --merge a f.qcow2 b
qemu-img bitmap --merge b f.qcow2 a
qemu-img bitmap --merge a f.qcow2 a
qemu-img bitmap --merge none f.qcow2 a
qemu-img bitmap --merge a f.qcow2 none
qemu-img bitmap --add --merge a --merge b --disable f.qcow2 c
qemu-img bitmap --add --remove --clear f.qcow2 d
qemu-img check f.qcow2
~ stdout: space that is given back is used again at once
== merging from another image
! qemu-img create -f qcow2 a.qcow2 10M && qemu-img bitmap --add a.qcow2 a && qemu-io -c 'write 1M 70k' a.qcow2 && qemu-img create -f qcow2 b.qcow2 10M && qemu-img create -f qcow2 c.qcow2 20M && qemu-img create -f raw r.raw 10M
qemu-img bitmap --add --merge a -b a.qcow2 b.qcow2 x
qemu-img bitmap --add --merge a -b a.qcow2 -F qcow2 b.qcow2 y
qemu-img bitmap --add --merge a -b a.qcow2 -F qcow2 c.qcow2 y
qemu-img bitmap --merge none -b a.qcow2 b.qcow2 x
qemu-img bitmap --merge a -b r.raw -F raw b.qcow2 x
qemu-img bitmap --merge a -b none.qcow2 b.qcow2 x
qemu-img bitmap --merge a -F qcow2 b.qcow2 x
qemu-img bitmap --add -b a.qcow2 b.qcow2 z
== images that hold none
! qemu-img create -f qcow2 -o compat=v2 v2.qcow2 1M && qemu-img create -f raw r.raw 1M
qemu-img bitmap --add v2.qcow2 b 2>&1 | sed "s/in '.*':/in:/"
qemu-img bitmap --add -f raw r.raw b 2>&1 | sed 's/to .*:/to:/'
qemu-img bitmap --clear -f raw r.raw b
qemu-img bitmap --merge a -f raw r.raw b
qemu-img bitmap --remove v2.qcow2 b
== a bitmap that was not finished
! qemu-img create -f qcow2 f.qcow2 10M && qemu-img bitmap --add f.qcow2 a && qemu-img bitmap --add f.qcow2 b && (qemu-io -c 'write 1M 70k' -c 'sigraise 9' f.qcow2; true)
qemu-img bitmap --clear f.qcow2 a
qemu-img bitmap --enable f.qcow2 a
qemu-img bitmap --disable f.qcow2 a
qemu-img bitmap --merge b f.qcow2 a
qemu-img bitmap --add f.qcow2 a
qemu-img resize f.qcow2 20M
qemu-img bitmap --add --merge a f.qcow2 c
qemu-img bitmap --remove f.qcow2 a
qemu-img bitmap --remove f.qcow2 b
qemu-img check f.qcow2
"#;

const COMMAND_LINES: &str = r#"
== operands
! qemu-img create -f qcow2 f.qcow2 1M
qemu-img bitmap
qemu-img bitmap f.qcow2
qemu-img bitmap f.qcow2 b
qemu-img bitmap --add
qemu-img bitmap --add f.qcow2
qemu-img bitmap --add f.qcow2 b c
qemu-img bitmap --clear -g 64k f.qcow2
qemu-img bitmap -F qcow2 --merge x f.qcow2
qemu-img bitmap -b f.qcow2 --add f.qcow2
qemu-img bitmap -b f.qcow2 --add -F qcow2 f.qcow2 b
qemu-img bitmap -g 64k -F qcow2 --clear f.qcow2 b
qemu-img bitmap --nonsense f.qcow2 b
qemu-img bitmap --merge
qemu-img bitmap -x f.qcow2 b
== files
! qemu-img create -f qcow2 f.qcow2 1M && qemu-img create -f raw r.raw 1M
qemu-img bitmap --add none.qcow2 b
qemu-img bitmap --add -f qcow2 r.raw b
qemu-img bitmap --add -f nonsense f.qcow2 b
qemu-img bitmap --add -f qcow2 f.qcow2 b
qemu-img bitmap --add --image-opts -f qcow2 f.qcow2 b
qemu-img bitmap --add --image-opts driver=qcow2,file.filename=f.qcow2 c
== a missing backing file does not matter
! qemu-img create -u -f qcow2 -b none.raw -F raw f.qcow2 1M
qemu-img bitmap --add f.qcow2 b
"#;

const WITH_OTHER_COMMANDS: &str = r#"
== resize
! qemu-img create -f qcow2 f.qcow2 10M && qemu-img bitmap --add f.qcow2 a && qemu-img bitmap --add --disable -g 512 f.qcow2 b && qemu-io -c 'write 1M 70k' f.qcow2
qemu-img resize f.qcow2 12M
qemu-img check f.qcow2
qemu-img resize --shrink f.qcow2 1M
qemu-img check f.qcow2
qemu-img resize f.qcow2 200M
qemu-img check f.qcow2
== snapshots
! qemu-img create -f qcow2 f.qcow2 10M && qemu-img snapshot -c s f.qcow2 && qemu-img bitmap --add f.qcow2 a
qemu-img snapshot -a s f.qcow2
qemu-img snapshot -d s f.qcow2
qemu-img check f.qcow2 | grep -v end
"#;
