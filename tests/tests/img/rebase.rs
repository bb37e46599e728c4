//! `img rebase` beside `qemu-img rebase`.

use system_tests::peers::compare;

#[test]
fn rebase() {
    compare(&REBASE.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#"qemu-img create -q base.raw 1M; qemu-io -f raw -c 'write -P 1 0 1M' base.raw; qemu-img create -q -f qcow2 -b base.raw -F raw mid.q; qemu-io -c 'write -P 2 100k 100k' mid.q; mkdir sub; qemu-img create -q -f qcow2 -b mid.q -F qcow2 top.q 2M; qemu-io -c 'write -P 3 150k 100k' -c 'write -z 600k 200k' -c 'write -P 4 1500k 64k' top.q; qemu-img create -q -f qcow2 alone.q 1M; qemu-io -c 'write -P 9 64k 64k' alone.q; qemu-img create -q -f qcow2 -b ../mid.q -F qcow2 sub/s.q; qemu-io -c 'write -P 6 0 64k' sub/s.q; qemu-img create -q -f qcow2 -u -b nope -F raw miss.q 1M; qemu-img create -q -f qcow2 b2.q 3M;  qemu-io -c 'write -P 8 128k 128k' -c 'write -P 1 0 64k'  b2.q; qemu-img create -q -f qcow2 -o compat=0.10 -b base.raw -F raw v2.q; qemu-io -c 'write -P 2 100k 100k' v2.q; truncate -s 700k short.raw"#;

const REBASE: &str = r#"
!! SETUP
== rebase
qemu-img rebase
== rebase top.q
qemu-img rebase top.q
== rebase -b base.raw top.q
qemu-img rebase -b base.raw top.q
== rebase -b base.raw -F raw top.q
qemu-img rebase -b base.raw -F raw top.q
== rebase -b base.raw -F raw mid.q
qemu-img rebase -b base.raw -F raw mid.q
== rebase -b b2.q -F qcow2 mid.q
qemu-img rebase -b b2.q -F qcow2 mid.q
== rebase -b b2.q -F qcow2 top.q
qemu-img rebase -b b2.q -F qcow2 top.q
== rebase -p -b b2.q -F qcow2 top.q | tr '\r' '\n' | tail -1
qemu-img rebase -p -b b2.q -F qcow2 top.q | tr '\r' '\n' | tail -1
== rebase -b "" top.q
qemu-img rebase -b "" top.q
== rebase -b "" -F raw top.q
qemu-img rebase -b "" -F raw top.q
== rebase -u -b "" top.q
qemu-img rebase -u -b "" top.q
== rebase -u top.q
qemu-img rebase -u top.q
== rebase -u -b nope -F raw top.q
qemu-img rebase -u -b nope -F raw top.q
== rebase -u -b nope top.q
qemu-img rebase -u -b nope top.q
== rebase -u -b nope -F nope top.q
qemu-img rebase -u -b nope -F nope top.q
== rebase -b nope -F raw top.q
qemu-img rebase -b nope -F raw top.q
== rebase -b base.raw -F nope top.q
qemu-img rebase -b base.raw -F nope top.q
== rebase -b base.raw -F qcow2 top.q
qemu-img rebase -b base.raw -F qcow2 top.q
== rebase -b short.raw -F raw top.q
qemu-img rebase -b short.raw -F raw top.q
== rebase -b alone.q -F qcow2 top.q
qemu-img rebase -b alone.q -F qcow2 top.q
== rebase -b top.q -F qcow2 top.q
qemu-img rebase -b top.q -F qcow2 top.q
== rebase -b mid.q -F qcow2 top.q
qemu-img rebase -b mid.q -F qcow2 top.q
== rebase -b mid.q -F qcow2 alone.q
qemu-img rebase -b mid.q -F qcow2 alone.q
== rebase -b base.raw -F raw alone.q
qemu-img rebase -b base.raw -F raw alone.q
== rebase -b base.raw -F raw base.raw
qemu-img rebase -b base.raw -F raw base.raw
== rebase -f raw -b mid.q -F qcow2 base.raw
qemu-img rebase -f raw -b mid.q -F qcow2 base.raw
== rebase -u -f raw -b mid.q -F qcow2 base.raw
qemu-img rebase -u -f raw -b mid.q -F qcow2 base.raw
== rebase -b base.raw -F raw miss.q
qemu-img rebase -b base.raw -F raw miss.q
== rebase -u -b base.raw -F raw miss.q
qemu-img rebase -u -b base.raw -F raw miss.q
== rebase -b base.raw -F raw nope
qemu-img rebase -b base.raw -F raw nope
== rebase -f nope -b base.raw -F raw top.q
qemu-img rebase -f nope -b base.raw -F raw top.q
== rebase -t foo -b base.raw -F raw top.q
qemu-img rebase -t foo -b base.raw -F raw top.q
== rebase -T foo -b base.raw -F raw top.q
qemu-img rebase -T foo -b base.raw -F raw top.q
== rebase -t none -T none -b base.raw -F raw top.q
qemu-img rebase -t none -T none -b base.raw -F raw top.q
== rebase -c -b base.raw -F raw top.q
qemu-img rebase -c -b base.raw -F raw top.q
== rebase -c -b b2.q -F qcow2 top.q
qemu-img rebase -c -b b2.q -F qcow2 top.q
== rebase -c -f raw -b b2.q -F qcow2 base.raw
qemu-img rebase -c -f raw -b b2.q -F qcow2 base.raw
== rebase -c -u -b b2.q -F qcow2 top.q
qemu-img rebase -c -u -b b2.q -F qcow2 top.q
== rebase -U -b base.raw -F raw top.q
qemu-img rebase -U -b base.raw -F raw top.q
== rebase -b ../base.raw -F raw sub/s.q
qemu-img rebase -b ../base.raw -F raw sub/s.q
== rebase -b base.raw -F raw sub/s.q
qemu-img rebase -b base.raw -F raw sub/s.q
== rebase -b $PWD/base.raw -F raw sub/s.q; qemu-img rebase -u -b ../mid.q -F qcow2 sub/s.q
qemu-img rebase -b $PWD/base.raw -F raw sub/s.q; qemu-img rebase -u -b ../mid.q -F qcow2 sub/s.q
== rebase -b base.raw -F raw v2.q
qemu-img rebase -b base.raw -F raw v2.q
== rebase -b b2.q -F qcow2 v2.q
qemu-img rebase -b b2.q -F qcow2 v2.q
== rebase -b "" v2.q
qemu-img rebase -b "" v2.q
== rebase -q -b base.raw -F raw top.q
qemu-img rebase -q -b base.raw -F raw top.q
== rebase top.q -b base.raw -F raw
qemu-img rebase top.q -b base.raw -F raw
== rebase -b base.raw -F raw top.q mid.q
qemu-img rebase -b base.raw -F raw top.q mid.q
== rebase -b 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}' -F raw to
qemu-img rebase -b 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}' -F raw top.q
== rebase -b file:base.raw -F raw top.q
qemu-img rebase -b file:base.raw -F raw top.q
== rebase --image-opts -b base.raw -F raw driver=qcow2,file.filename=top.q
qemu-img rebase --image-opts -b base.raw -F raw driver=qcow2,file.filename=top.q
== rebase --image-opts -f qcow2 -b base.raw -F raw driver=qcow2,file.filename=top.q
qemu-img rebase --image-opts -f qcow2 -b base.raw -F raw driver=qcow2,file.filename=top.q
== rebase -u -b $(printf 'x%.0s' $(seq 1 1100)) -F raw top.q
qemu-img rebase -u -b $(printf 'x%.0s' $(seq 1 1100)) -F raw top.q
== snapshot -c x top.q; qemu-img rebase -b base.raw -F raw top.q
qemu-img snapshot -c x top.q; qemu-img rebase -b base.raw -F raw top.q
"#;
