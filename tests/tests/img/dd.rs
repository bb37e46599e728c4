//! `img dd` beside `qemu-img dd`.

use system_tests::peers::compare;

#[test]
fn dd() {
    compare(&DD.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#"qemu-img create -q -f raw a.raw 1M; qemu-io -f raw -c 'write -P 3 128k 100k' a.raw; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q 2M; qemu-io -c 'write -P 5 64k 70k' -c 'write -z 300k 128k' t.q; qemu-img create -q -f qcow2 -b t.q -F qcow2 u.q 3M;  qemu-io -c 'write -P 6 1200k 70k' u.q; qemu-img create -q -f qcow2 -o preallocation=metadata pm.q 5M; qemu-img create -q -f qcow2 -o preallocation=falloc pf.q 5M; qemu-img create -q -f qcow2 -o cluster_size=512 c5.q 1M; qemu-io -c 'write 0 5k' -c 'write 100k 1' -c 'discard 1k 1k' c5.q; qemu-img convert -O qcow2 -c a.raw cc.q; truncate -s 0 e.raw; qemu-img create -q -f qcow2 e.q 0; truncate -s 1000 odd.raw; qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M; qemu-io -c 'write 0 5k' v2.q; qemu-img create -q -f qcow2 sn.q 1M; qemu-io -c 'write 0 5k' sn.q; qemu-img snapshot -c x sn.q; qemu-io -c 'write 400k 200k' sn.q; qemu-img bitmap --add sn.q bb; qemu-img bitmap --add -g 512 sn.q b2"#;

const DD: &str = r#"
!! SETUP
== dd
qemu-img dd
== dd if=a.raw
qemu-img dd if=a.raw
== dd of=x
qemu-img dd of=x
== dd if=a.raw of=o1
qemu-img dd if=a.raw of=o1
== dd if=a.raw of=o1 bs=0
qemu-img dd if=a.raw of=o1 bs=0
== dd if=a.raw of=o1 bs=-1
qemu-img dd if=a.raw of=o1 bs=-1
== dd if=a.raw of=o1 bs=2G
qemu-img dd if=a.raw of=o1 bs=2G
== dd if=a.raw of=o1 bs=x
qemu-img dd if=a.raw of=o1 bs=x
== dd if=a.raw of=o1 count=x
qemu-img dd if=a.raw of=o1 count=x
== dd if=a.raw of=o1 skip=x
qemu-img dd if=a.raw of=o1 skip=x
== dd if=a.raw of=o1 count=0
qemu-img dd if=a.raw of=o1 count=0
== dd if=a.raw of=o1 count=-1
qemu-img dd if=a.raw of=o1 count=-1
== dd if=a.raw of=o1 bs=1k count=3 skip=2
qemu-img dd if=a.raw of=o1 bs=1k count=3 skip=2
== dd if=a.raw of=o1 bs=1k count=300 skip=120
qemu-img dd if=a.raw of=o1 bs=1k count=300 skip=120
== dd if=a.raw of=o1 bs=1k skip=1024
qemu-img dd if=a.raw of=o1 bs=1k skip=1024
== dd if=a.raw of=o1 bs=1k skip=2000
qemu-img dd if=a.raw of=o1 bs=1k skip=2000
== dd if=a.raw of=o1 bs=1k skip=1023 count=10
qemu-img dd if=a.raw of=o1 bs=1k skip=1023 count=10
== dd if=a.raw of=o1 seek=2
qemu-img dd if=a.raw of=o1 seek=2
== dd if=a.raw of=o1 foo
qemu-img dd if=a.raw of=o1 foo
== dd if=a.raw of=o1 =x
qemu-img dd if=a.raw of=o1 =x
== dd if=a.raw of=o1 bs=
qemu-img dd if=a.raw of=o1 bs=
== dd if=a.raw of=o1 if=b.q
qemu-img dd if=a.raw of=o1 if=b.q
== dd if=nope of=o1
qemu-img dd if=nope of=o1
== dd -O nope if=a.raw of=o1
qemu-img dd -O nope if=a.raw of=o1
== dd -f nope if=a.raw of=o1
qemu-img dd -f nope if=a.raw of=o1
== dd -O qcow2 if=a.raw of=o2.q bs=1000 count=3
qemu-img dd -O qcow2 if=a.raw of=o2.q bs=1000 count=3
== dd -O qcow2 if=a.raw of=o2.q bs=1000 count=300
qemu-img dd -O qcow2 if=a.raw of=o2.q bs=1000 count=300
== dd -O qcow2 if=t.q of=o2.q
qemu-img dd -O qcow2 if=t.q of=o2.q
== dd -f raw -O raw if=t.q of=o2
qemu-img dd -f raw -O raw if=t.q of=o2
== dd if=a.raw of=/nonexist/x
qemu-img dd if=a.raw of=/nonexist/x
== dd --image-opts if=driver=raw,file.filename=a.raw of=o1
qemu-img dd --image-opts if=driver=raw,file.filename=a.raw of=o1
== dd -f raw --image-opts if=driver=raw,file.filename=a.raw of=o1
qemu-img dd -f raw --image-opts if=driver=raw,file.filename=a.raw of=o1
== dd -U if=a.raw of=o1
qemu-img dd -U if=a.raw of=o1
== dd if=a.raw of=o1 bs=1M count=9223372036854775807
qemu-img dd if=a.raw of=o1 bs=1M count=9223372036854775807
== dd if=a.raw of=o1 bs=1G count=1
qemu-img dd if=a.raw of=o1 bs=1G count=1
== dd --bs x
qemu-img dd --bs x
== dd if=e.raw of=o1
qemu-img dd if=e.raw of=o1
== dd if=odd.raw of=o1 bs=100 count=7
qemu-img dd if=odd.raw of=o1 bs=100 count=7
== dd if=a.raw of=o1 conv=notrunc
qemu-img dd if=a.raw of=o1 conv=notrunc
== dd if=a.raw of=t.q
qemu-img dd if=a.raw of=t.q
== dd if= of=o1
qemu-img dd if= of=o1
== dd if=a.raw of=
qemu-img dd if=a.raw of=
"#;
