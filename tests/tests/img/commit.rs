//! `img commit` beside `qemu-img commit`.

use system_tests::peers::compare;

#[test]
fn commit() {
    compare(&COMMIT.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#"qemu-img create -q base.raw 1M; qemu-io -f raw -c 'write -P 1 0 1M' base.raw; qemu-img create -q -f qcow2 -b base.raw -F raw mid.q; qemu-io -c 'write -P 2 100k 100k' mid.q; mkdir sub; qemu-img create -q -f qcow2 -b mid.q -F qcow2 top.q 2M; qemu-io -c 'write -P 3 150k 100k' -c 'write -z 600k 200k' -c 'write -P 4 1500k 64k' top.q; qemu-img create -q -f qcow2 alone.q 1M; qemu-io -c 'write -P 9 64k 64k' alone.q; qemu-img create -q -f qcow2 -b ../mid.q -F qcow2 sub/s.q; qemu-io -c 'write -P 6 0 64k' sub/s.q; qemu-img create -q -f qcow2 -u -b nope -F raw miss.q 1M; qemu-img create -q -f qcow2 b2.q 3M;  qemu-io -c 'write -P 8 128k 128k' -c 'write -P 1 0 64k'  b2.q; qemu-img create -q -f qcow2 -o compat=0.10 -b base.raw -F raw v2.q; qemu-io -c 'write -P 2 100k 100k' v2.q; truncate -s 700k short.raw"#;

const COMMIT: &str = r#"
!! SETUP
== commit
qemu-img commit
== commit top.q
qemu-img commit top.q
== commit top.q x
qemu-img commit top.q x
== commit -d top.q
qemu-img commit -d top.q
== commit -q top.q
qemu-img commit -q top.q
== commit -p mid.q | tr '\r' '\n' | tail -2
qemu-img commit -p mid.q | tr '\r' '\n' | tail -2
== commit -b base.raw top.q
qemu-img commit -b base.raw top.q
== commit -b mid.q top.q
qemu-img commit -b mid.q top.q
== commit -d -b mid.q top.q
qemu-img commit -d -b mid.q top.q
== commit -b nope top.q
qemu-img commit -b nope top.q
== commit -b top.q top.q
qemu-img commit -b top.q top.q
== commit -b $PWD/mid.q top.q
qemu-img commit -b $PWD/mid.q top.q
== commit alone.q
qemu-img commit alone.q
== commit base.raw
qemu-img commit base.raw
== commit -f raw base.raw
qemu-img commit -f raw base.raw
== commit nope
qemu-img commit nope
== commit miss.q
qemu-img commit miss.q
== commit -t foo top.q
qemu-img commit -t foo top.q
== commit -t none top.q
qemu-img commit -t none top.q
== commit -t writethrough top.q
qemu-img commit -t writethrough top.q
== commit -t unsafe top.q
qemu-img commit -t unsafe top.q
== commit -f nope top.q
qemu-img commit -f nope top.q
== commit -f raw top.q
qemu-img commit -f raw top.q
== commit sub/s.q
qemu-img commit sub/s.q
== commit -b ../mid.q sub/s.q
qemu-img commit -b ../mid.q sub/s.q
== commit -b mid.q sub/s.q
qemu-img commit -b mid.q sub/s.q
== commit -b base.raw sub/s.q
qemu-img commit -b base.raw sub/s.q
== commit -r 1M top.q
qemu-img commit -r 1M top.q
== commit -r x top.q
qemu-img commit -r x top.q
== commit -r -1 top.q
qemu-img commit -r -1 top.q
== commit --image-opts driver=qcow2,file.filename=top.q
qemu-img commit --image-opts driver=qcow2,file.filename=top.q
== commit --image-opts -f qcow2 driver=qcow2,file.filename=top.q
qemu-img commit --image-opts -f qcow2 driver=qcow2,file.filename=top.q
== commit --image-opts driver=qcow2,file.filename=top.q,backing.driver=qcow2,backing.file.fil
qemu-img commit --image-opts driver=qcow2,file.filename=top.q,backing.driver=qcow2,backing.file.filename=alone.q
== commit v2.q
qemu-img commit v2.q
== commit -d v2.q
qemu-img commit -d v2.q
== snapshot -c x top.q; qemu-img commit top.q
qemu-img snapshot -c x top.q; qemu-img commit top.q
== chmod 444 base.raw; commit mid.q
chmod 444 base.raw; qemu-img commit mid.q
== commit -U top.q
qemu-img commit -U top.q
"#;
