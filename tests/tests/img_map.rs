//! `img map` beside `qemu-img map`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use system_tests::peers::compare;

#[test]
fn map() {
    compare(&MAP.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#": $PWD; qemu-img create -q -f raw a.raw 1M; qemu-io -f raw -c 'write -P 3 128k 100k' a.raw; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q 2M; qemu-io -c 'write -P 5 64k 70k' -c 'write -z 300k 128k' t.q; qemu-img create -q -f qcow2 -b t.q -F qcow2 u.q 3M;  qemu-io -c 'write -P 6 1200k 70k' u.q; qemu-img create -q -f qcow2 -o preallocation=metadata pm.q 5M; qemu-img create -q -f qcow2 -o preallocation=falloc pf.q 5M; qemu-img create -q -f qcow2 -o cluster_size=512 c5.q 1M; qemu-io -c 'write 0 5k' -c 'write 100k 1' -c 'discard 1k 1k' c5.q; qemu-img convert -O qcow2 -c a.raw cc.q; truncate -s 0 e.raw; qemu-img create -q -f qcow2 e.q 0; truncate -s 1000 odd.raw; qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M; qemu-io -c 'write 0 5k' v2.q; qemu-img create -q -f qcow2 sn.q 1M; qemu-io -c 'write 0 5k' sn.q; qemu-img snapshot -c x sn.q; qemu-io -c 'write 400k 200k' sn.q; qemu-img bitmap --add sn.q bb; qemu-img bitmap --add -g 512 sn.q b2"#;

const MAP: &str = r#"
== map --output=human a.raw
! SETUP
qemu-img map --output=human a.raw
== map --output=json a.raw
! SETUP
qemu-img map --output=json a.raw
== map --output=json -s 70000 -l 100000 a.raw
! SETUP
qemu-img map --output=json -s 70000 -l 100000 a.raw
== map --output=human b.q
! SETUP
qemu-img map --output=human b.q
== map --output=json b.q
! SETUP
qemu-img map --output=json b.q
== map --output=json -s 70000 -l 100000 b.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 b.q
== map --output=human t.q
! SETUP
qemu-img map --output=human t.q
== map --output=json t.q
! SETUP
qemu-img map --output=json t.q
== map --output=json -s 70000 -l 100000 t.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 t.q
== map --output=human u.q
! SETUP
qemu-img map --output=human u.q
== map --output=json u.q
! SETUP
qemu-img map --output=json u.q
== map --output=json -s 70000 -l 100000 u.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 u.q
== map --output=human pm.q
! SETUP
qemu-img map --output=human pm.q
== map --output=json pm.q
! SETUP
qemu-img map --output=json pm.q
== map --output=json -s 70000 -l 100000 pm.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 pm.q
== map --output=human pf.q
! SETUP
qemu-img map --output=human pf.q
== map --output=json pf.q
! SETUP
qemu-img map --output=json pf.q
== map --output=json -s 70000 -l 100000 pf.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 pf.q
== map --output=human c5.q
! SETUP
qemu-img map --output=human c5.q
== map --output=json c5.q
! SETUP
qemu-img map --output=json c5.q
== map --output=json -s 70000 -l 100000 c5.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 c5.q
== map --output=human cc.q
! SETUP
qemu-img map --output=human cc.q
== map --output=json cc.q
! SETUP
qemu-img map --output=json cc.q
== map --output=json -s 70000 -l 100000 cc.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 cc.q
== map --output=human e.raw
! SETUP
qemu-img map --output=human e.raw
== map --output=json e.raw
! SETUP
qemu-img map --output=json e.raw
== map --output=json -s 70000 -l 100000 e.raw
! SETUP
qemu-img map --output=json -s 70000 -l 100000 e.raw
== map --output=human e.q
! SETUP
qemu-img map --output=human e.q
== map --output=json e.q
! SETUP
qemu-img map --output=json e.q
== map --output=json -s 70000 -l 100000 e.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 e.q
== map --output=human odd.raw
! SETUP
qemu-img map --output=human odd.raw
== map --output=json odd.raw
! SETUP
qemu-img map --output=json odd.raw
== map --output=json -s 70000 -l 100000 odd.raw
! SETUP
qemu-img map --output=json -s 70000 -l 100000 odd.raw
== map --output=human v2.q
! SETUP
qemu-img map --output=human v2.q
== map --output=json v2.q
! SETUP
qemu-img map --output=json v2.q
== map --output=json -s 70000 -l 100000 v2.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 v2.q
== map --output=human sn.q
! SETUP
qemu-img map --output=human sn.q
== map --output=json sn.q
! SETUP
qemu-img map --output=json sn.q
== map --output=json -s 70000 -l 100000 sn.q
! SETUP
qemu-img map --output=json -s 70000 -l 100000 sn.q
== map --output=human nope
! SETUP
qemu-img map --output=human nope
== map --output=json nope
! SETUP
qemu-img map --output=json nope
== map --output=json -s 70000 -l 100000 nope
! SETUP
qemu-img map --output=json -s 70000 -l 100000 nope
== map --start-offset 2M a.raw
! SETUP
qemu-img map --start-offset 2M a.raw
== map --start-offset 2M --output json a.raw
! SETUP
qemu-img map --start-offset 2M --output json a.raw
== map --start-offset 1M --output json a.raw
! SETUP
qemu-img map --start-offset 1M --output json a.raw
== map --start-offset 512k --output json a.raw
! SETUP
qemu-img map --start-offset 512k --output json a.raw
== map --start-offset 1 --max-length 3 --output json a.raw
! SETUP
qemu-img map --start-offset 1 --max-length 3 --output json a.raw
== map --start-offset 1 --max-length 0 --output json a.raw
! SETUP
qemu-img map --start-offset 1 --max-length 0 --output json a.raw
== map --start-offset x a.raw
! SETUP
qemu-img map --start-offset x a.raw
== map --start-offset -1 a.raw
! SETUP
qemu-img map --start-offset -1 a.raw
== map --max-length -1 a.raw
! SETUP
qemu-img map --max-length -1 a.raw
== map --max-length x a.raw
! SETUP
qemu-img map --max-length x a.raw
== map --output x a.raw
! SETUP
qemu-img map --output x a.raw
== map a b
! SETUP
qemu-img map a b
== map
! SETUP
qemu-img map
== map -f nope a.raw
! SETUP
qemu-img map -f nope a.raw
== map -f raw t.q
! SETUP
qemu-img map -f raw t.q
== map -f qcow2 a.raw
! SETUP
qemu-img map -f qcow2 a.raw
== map --output=json null-co://
! SETUP
qemu-img map --output=json null-co://
== map --output=json --image-opts driver=null-co,size=64k
! SETUP
qemu-img map --output=json --image-opts driver=null-co,size=64k
== map --output=json --image-opts driver=null-co,size=64k,read-zeroes=on
! SETUP
qemu-img map --output=json --image-opts driver=null-co,size=64k,read-zeroes=on
== map --output=json --image-opts driver=raw,file.driver=null-co,file.size=64k,file.read-zero
! SETUP
qemu-img map --output=json --image-opts driver=raw,file.driver=null-co,file.size=64k,file.read-zeroes=on
== map --output=json --image-opts driver=raw,file.driver=raw,offset=4096,file.offset=512,file
! SETUP
qemu-img map --output=json --image-opts driver=raw,file.driver=raw,offset=4096,file.offset=512,file.file.filename=a.raw
== map --image-opts driver=raw,file.driver=raw,offset=4096,file.offset=512,file.file.filename
! SETUP
qemu-img map --image-opts driver=raw,file.driver=raw,offset=4096,file.offset=512,file.file.filename=a.raw
== map --image-opts driver=raw,file.driver=qcow2,file.file.filename=t.q
! SETUP
qemu-img map --image-opts driver=raw,file.driver=qcow2,file.file.filename=t.q
~ stdout: QEMU shows the upper image as if it had no backing file
== map --image-opts driver=qcow2,file.filename=t.q,backing=
! SETUP
qemu-img map --image-opts driver=qcow2,file.filename=t.q,backing=
== map --image-opts driver=qcow2,file.filename=t.q,backing.driver=qcow2,backing.file.filename
! SETUP
qemu-img map --image-opts driver=qcow2,file.filename=t.q,backing.driver=qcow2,backing.file.filename=b.q
== map --start-offset 1E --max-length 7E --output json a.raw
! SETUP
qemu-img map --start-offset 1E --max-length 7E --output json a.raw
"#;
