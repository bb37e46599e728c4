//! `img map` beside `qemu-img map`.

use system_tests::peers::compare;

#[test]
fn map() {
    compare(&MAP.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#": $PWD; qemu-img create -q -f raw a.raw 1M; qemu-io -f raw -c 'write -P 3 128k 100k' a.raw; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q 2M; qemu-io -c 'write -P 5 64k 70k' -c 'write -z 300k 128k' t.q; qemu-img create -q -f qcow2 -b t.q -F qcow2 u.q 3M;  qemu-io -c 'write -P 6 1200k 70k' u.q; qemu-img create -q -f qcow2 -o preallocation=metadata pm.q 5M; qemu-img create -q -f qcow2 -o preallocation=falloc pf.q 5M; qemu-img create -q -f qcow2 -o cluster_size=512 c5.q 1M; qemu-io -c 'write 0 5k' -c 'write 100k 1' -c 'discard 1k 1k' c5.q; qemu-img convert -O qcow2 -c a.raw cc.q; truncate -s 0 e.raw; qemu-img create -q -f qcow2 e.q 0; truncate -s 1000 odd.raw; qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M; qemu-io -c 'write 0 5k' v2.q; qemu-img create -q -f qcow2 sn.q 1M; qemu-io -c 'write 0 5k' sn.q; qemu-img snapshot -c x sn.q; qemu-io -c 'write 400k 200k' sn.q; qemu-img bitmap --add sn.q bb; qemu-img bitmap --add -g 512 sn.q b2"#;

const MAP: &str = r#"
== part 1
! SETUP
qemu-img map --output=human a.raw
qemu-img map --output=json a.raw
qemu-img map --output=json -s 70000 -l 100000 a.raw
qemu-img map --output=human b.q
qemu-img map --output=json b.q
qemu-img map --output=json -s 70000 -l 100000 b.q
qemu-img map --output=human t.q
qemu-img map --output=json t.q
qemu-img map --output=json -s 70000 -l 100000 t.q
qemu-img map --output=human u.q
qemu-img map --output=json u.q
qemu-img map --output=json -s 70000 -l 100000 u.q
qemu-img map --output=human pm.q
qemu-img map --output=json pm.q
qemu-img map --output=json -s 70000 -l 100000 pm.q
qemu-img map --output=human pf.q
qemu-img map --output=json pf.q
qemu-img map --output=json -s 70000 -l 100000 pf.q
qemu-img map --output=human c5.q
qemu-img map --output=json c5.q
qemu-img map --output=json -s 70000 -l 100000 c5.q
qemu-img map --output=human cc.q
qemu-img map --output=json cc.q
qemu-img map --output=json -s 70000 -l 100000 cc.q
qemu-img map --output=human e.raw
qemu-img map --output=json e.raw
qemu-img map --output=json -s 70000 -l 100000 e.raw
qemu-img map --output=human e.q
qemu-img map --output=json e.q
qemu-img map --output=json -s 70000 -l 100000 e.q
qemu-img map --output=human odd.raw
qemu-img map --output=json odd.raw
qemu-img map --output=json -s 70000 -l 100000 odd.raw
qemu-img map --output=human v2.q
qemu-img map --output=json v2.q
qemu-img map --output=json -s 70000 -l 100000 v2.q
qemu-img map --output=human sn.q
qemu-img map --output=json sn.q
qemu-img map --output=json -s 70000 -l 100000 sn.q
qemu-img map --output=human nope
== part 2
! SETUP
qemu-img map --output=json nope
qemu-img map --output=json -s 70000 -l 100000 nope
qemu-img map --start-offset 2M a.raw
qemu-img map --start-offset 2M --output json a.raw
qemu-img map --start-offset 1M --output json a.raw
qemu-img map --start-offset 512k --output json a.raw
qemu-img map --start-offset 1 --max-length 3 --output json a.raw
qemu-img map --start-offset 1 --max-length 0 --output json a.raw
qemu-img map --start-offset x a.raw
qemu-img map --start-offset -1 a.raw
qemu-img map --max-length -1 a.raw
qemu-img map --max-length x a.raw
qemu-img map --output x a.raw
qemu-img map a b
qemu-img map
qemu-img map -f nope a.raw
qemu-img map -f raw t.q
qemu-img map -f qcow2 a.raw
qemu-img map --output=json null-co://
qemu-img map --output=json --image-opts driver=null-co,size=64k
qemu-img map --output=json --image-opts driver=null-co,size=64k,read-zeroes=on
qemu-img map --output=json --image-opts driver=raw,file.driver=null-co,file.size=64k,file.read-zeroes=on
qemu-img map --output=json --image-opts driver=raw,file.driver=raw,offset=4096,file.offset=512,file.file.filename=a.raw
qemu-img map --image-opts driver=raw,file.driver=raw,offset=4096,file.offset=512,file.file.filename=a.raw
qemu-img map --image-opts driver=raw,file.driver=qcow2,file.file.filename=t.q
~ stdout: QEMU shows the upper image as if it had no backing file
qemu-img map --image-opts driver=qcow2,file.filename=t.q,backing=
qemu-img map --image-opts driver=qcow2,file.filename=t.q,backing.driver=qcow2,backing.file.filename=b.q
qemu-img map --start-offset 1E --max-length 7E --output json a.raw
"#;
