//! `img measure` beside `qemu-img measure`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use system_tests::peers::compare;

#[test]
fn measure() {
    compare(&MEASURE.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#": $PWD; qemu-img create -q -f raw a.raw 1M; qemu-io -f raw -c 'write -P 3 128k 100k' a.raw; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q 2M; qemu-io -c 'write -P 5 64k 70k' -c 'write -z 300k 128k' t.q; qemu-img create -q -f qcow2 -b t.q -F qcow2 u.q 3M;  qemu-io -c 'write -P 6 1200k 70k' u.q; qemu-img create -q -f qcow2 -o preallocation=metadata pm.q 5M; qemu-img create -q -f qcow2 -o preallocation=falloc pf.q 5M; qemu-img create -q -f qcow2 -o cluster_size=512 c5.q 1M; qemu-io -c 'write 0 5k' -c 'write 100k 1' -c 'discard 1k 1k' c5.q; qemu-img convert -O qcow2 -c a.raw cc.q; truncate -s 0 e.raw; qemu-img create -q -f qcow2 e.q 0; truncate -s 1000 odd.raw; qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M; qemu-io -c 'write 0 5k' v2.q; qemu-img create -q -f qcow2 sn.q 1M; qemu-io -c 'write 0 5k' sn.q; qemu-img snapshot -c x sn.q; qemu-io -c 'write 400k 200k' sn.q; qemu-img bitmap --add sn.q bb; qemu-img bitmap --add -g 512 sn.q b2"#;

const MEASURE: &str = r#"
== measure a.raw
! SETUP
qemu-img measure a.raw
== measure -O qcow2  a.raw
! SETUP
qemu-img measure -O qcow2  a.raw
== measure -O qcow2 -o cluster_size=512 a.raw
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 a.raw
== measure -O qcow2 -o cluster_size=2M a.raw
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M a.raw
== measure -O qcow2 -o refcount_bits=1 a.raw
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 a.raw
== measure -O qcow2 -o backing_file=x a.raw
! SETUP
qemu-img measure -O qcow2 -o backing_file=x a.raw
== measure -O qcow2 -o preallocation=full a.raw
! SETUP
qemu-img measure -O qcow2 -o preallocation=full a.raw
== measure -O qcow2 -o compat=0.10 a.raw
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 a.raw
== measure b.q
! SETUP
qemu-img measure b.q
== measure -O qcow2  b.q
! SETUP
qemu-img measure -O qcow2  b.q
== measure -O qcow2 -o cluster_size=512 b.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 b.q
== measure -O qcow2 -o cluster_size=2M b.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M b.q
== measure -O qcow2 -o refcount_bits=1 b.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 b.q
== measure -O qcow2 -o backing_file=x b.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x b.q
== measure -O qcow2 -o preallocation=full b.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full b.q
== measure -O qcow2 -o compat=0.10 b.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 b.q
== measure t.q
! SETUP
qemu-img measure t.q
== measure -O qcow2  t.q
! SETUP
qemu-img measure -O qcow2  t.q
== measure -O qcow2 -o cluster_size=512 t.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 t.q
== measure -O qcow2 -o cluster_size=2M t.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M t.q
== measure -O qcow2 -o refcount_bits=1 t.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 t.q
== measure -O qcow2 -o backing_file=x t.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x t.q
== measure -O qcow2 -o preallocation=full t.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full t.q
== measure -O qcow2 -o compat=0.10 t.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 t.q
== measure u.q
! SETUP
qemu-img measure u.q
== measure -O qcow2  u.q
! SETUP
qemu-img measure -O qcow2  u.q
== measure -O qcow2 -o cluster_size=512 u.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 u.q
== measure -O qcow2 -o cluster_size=2M u.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M u.q
== measure -O qcow2 -o refcount_bits=1 u.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 u.q
== measure -O qcow2 -o backing_file=x u.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x u.q
== measure -O qcow2 -o preallocation=full u.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full u.q
== measure -O qcow2 -o compat=0.10 u.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 u.q
== measure pm.q
! SETUP
qemu-img measure pm.q
== measure -O qcow2  pm.q
! SETUP
qemu-img measure -O qcow2  pm.q
== measure -O qcow2 -o cluster_size=512 pm.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 pm.q
== measure -O qcow2 -o cluster_size=2M pm.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M pm.q
== measure -O qcow2 -o refcount_bits=1 pm.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 pm.q
== measure -O qcow2 -o backing_file=x pm.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x pm.q
== measure -O qcow2 -o preallocation=full pm.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full pm.q
== measure -O qcow2 -o compat=0.10 pm.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 pm.q
== measure pf.q
! SETUP
qemu-img measure pf.q
== measure -O qcow2  pf.q
! SETUP
qemu-img measure -O qcow2  pf.q
== measure -O qcow2 -o cluster_size=512 pf.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 pf.q
== measure -O qcow2 -o cluster_size=2M pf.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M pf.q
== measure -O qcow2 -o refcount_bits=1 pf.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 pf.q
== measure -O qcow2 -o backing_file=x pf.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x pf.q
== measure -O qcow2 -o preallocation=full pf.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full pf.q
== measure -O qcow2 -o compat=0.10 pf.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 pf.q
== measure c5.q
! SETUP
qemu-img measure c5.q
== measure -O qcow2  c5.q
! SETUP
qemu-img measure -O qcow2  c5.q
== measure -O qcow2 -o cluster_size=512 c5.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 c5.q
== measure -O qcow2 -o cluster_size=2M c5.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M c5.q
== measure -O qcow2 -o refcount_bits=1 c5.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 c5.q
== measure -O qcow2 -o backing_file=x c5.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x c5.q
== measure -O qcow2 -o preallocation=full c5.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full c5.q
== measure -O qcow2 -o compat=0.10 c5.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 c5.q
== measure cc.q
! SETUP
qemu-img measure cc.q
== measure -O qcow2  cc.q
! SETUP
qemu-img measure -O qcow2  cc.q
== measure -O qcow2 -o cluster_size=512 cc.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 cc.q
== measure -O qcow2 -o cluster_size=2M cc.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M cc.q
== measure -O qcow2 -o refcount_bits=1 cc.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 cc.q
== measure -O qcow2 -o backing_file=x cc.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x cc.q
== measure -O qcow2 -o preallocation=full cc.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full cc.q
== measure -O qcow2 -o compat=0.10 cc.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 cc.q
== measure e.raw
! SETUP
qemu-img measure e.raw
== measure -O qcow2  e.raw
! SETUP
qemu-img measure -O qcow2  e.raw
== measure -O qcow2 -o cluster_size=512 e.raw
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 e.raw
== measure -O qcow2 -o cluster_size=2M e.raw
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M e.raw
== measure -O qcow2 -o refcount_bits=1 e.raw
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 e.raw
== measure -O qcow2 -o backing_file=x e.raw
! SETUP
qemu-img measure -O qcow2 -o backing_file=x e.raw
== measure -O qcow2 -o preallocation=full e.raw
! SETUP
qemu-img measure -O qcow2 -o preallocation=full e.raw
== measure -O qcow2 -o compat=0.10 e.raw
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 e.raw
== measure e.q
! SETUP
qemu-img measure e.q
== measure -O qcow2  e.q
! SETUP
qemu-img measure -O qcow2  e.q
== measure -O qcow2 -o cluster_size=512 e.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 e.q
== measure -O qcow2 -o cluster_size=2M e.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M e.q
== measure -O qcow2 -o refcount_bits=1 e.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 e.q
== measure -O qcow2 -o backing_file=x e.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x e.q
== measure -O qcow2 -o preallocation=full e.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full e.q
== measure -O qcow2 -o compat=0.10 e.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 e.q
== measure odd.raw
! SETUP
qemu-img measure odd.raw
== measure -O qcow2  odd.raw
! SETUP
qemu-img measure -O qcow2  odd.raw
== measure -O qcow2 -o cluster_size=512 odd.raw
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 odd.raw
== measure -O qcow2 -o cluster_size=2M odd.raw
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M odd.raw
== measure -O qcow2 -o refcount_bits=1 odd.raw
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 odd.raw
== measure -O qcow2 -o backing_file=x odd.raw
! SETUP
qemu-img measure -O qcow2 -o backing_file=x odd.raw
== measure -O qcow2 -o preallocation=full odd.raw
! SETUP
qemu-img measure -O qcow2 -o preallocation=full odd.raw
== measure -O qcow2 -o compat=0.10 odd.raw
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 odd.raw
== measure v2.q
! SETUP
qemu-img measure v2.q
== measure -O qcow2  v2.q
! SETUP
qemu-img measure -O qcow2  v2.q
== measure -O qcow2 -o cluster_size=512 v2.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 v2.q
== measure -O qcow2 -o cluster_size=2M v2.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M v2.q
== measure -O qcow2 -o refcount_bits=1 v2.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 v2.q
== measure -O qcow2 -o backing_file=x v2.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x v2.q
== measure -O qcow2 -o preallocation=full v2.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full v2.q
== measure -O qcow2 -o compat=0.10 v2.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 v2.q
== measure sn.q
! SETUP
qemu-img measure sn.q
== measure -O qcow2  sn.q
! SETUP
qemu-img measure -O qcow2  sn.q
== measure -O qcow2 -o cluster_size=512 sn.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 sn.q
== measure -O qcow2 -o cluster_size=2M sn.q
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M sn.q
== measure -O qcow2 -o refcount_bits=1 sn.q
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 sn.q
== measure -O qcow2 -o backing_file=x sn.q
! SETUP
qemu-img measure -O qcow2 -o backing_file=x sn.q
== measure -O qcow2 -o preallocation=full sn.q
! SETUP
qemu-img measure -O qcow2 -o preallocation=full sn.q
== measure -O qcow2 -o compat=0.10 sn.q
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 sn.q
== measure nope
! SETUP
qemu-img measure nope
== measure -O qcow2  nope
! SETUP
qemu-img measure -O qcow2  nope
== measure -O qcow2 -o cluster_size=512 nope
! SETUP
qemu-img measure -O qcow2 -o cluster_size=512 nope
== measure -O qcow2 -o cluster_size=2M nope
! SETUP
qemu-img measure -O qcow2 -o cluster_size=2M nope
== measure -O qcow2 -o refcount_bits=1 nope
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 nope
== measure -O qcow2 -o backing_file=x nope
! SETUP
qemu-img measure -O qcow2 -o backing_file=x nope
== measure -O qcow2 -o preallocation=full nope
! SETUP
qemu-img measure -O qcow2 -o preallocation=full nope
== measure -O qcow2 -o compat=0.10 nope
! SETUP
qemu-img measure -O qcow2 -o compat=0.10 nope
== measure -O qcow2 --output json  --size 0
! SETUP
qemu-img measure -O qcow2 --output json  --size 0
== measure -O qcow2 --output json -o extended_l2=on --size 0
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 0
== measure -O qcow2 --output json -o cluster_size=512 --size 0
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 0
== measure -O qcow2 --output json -o cluster_size=4k --size 0
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 0
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 0
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 0
== measure -O qcow2 --output json -o preallocation=metadata --size 0
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 0
== measure -O qcow2 --output json  --size 1
! SETUP
qemu-img measure -O qcow2 --output json  --size 1
== measure -O qcow2 --output json -o extended_l2=on --size 1
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1
== measure -O qcow2 --output json -o cluster_size=512 --size 1
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1
== measure -O qcow2 --output json -o cluster_size=4k --size 1
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1
== measure -O qcow2 --output json -o preallocation=metadata --size 1
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1
== measure -O qcow2 --output json  --size 1000
! SETUP
qemu-img measure -O qcow2 --output json  --size 1000
== measure -O qcow2 --output json -o extended_l2=on --size 1000
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1000
== measure -O qcow2 --output json -o cluster_size=512 --size 1000
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1000
== measure -O qcow2 --output json -o cluster_size=4k --size 1000
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1000
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1000
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1000
== measure -O qcow2 --output json -o preallocation=metadata --size 1000
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1000
== measure -O qcow2 --output json  --size 1G
! SETUP
qemu-img measure -O qcow2 --output json  --size 1G
== measure -O qcow2 --output json -o extended_l2=on --size 1G
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1G
== measure -O qcow2 --output json -o cluster_size=512 --size 1G
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1G
== measure -O qcow2 --output json -o cluster_size=4k --size 1G
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1G
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1G
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1G
== measure -O qcow2 --output json -o preallocation=metadata --size 1G
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1G
== measure -O qcow2 --output json  --size 1T
! SETUP
qemu-img measure -O qcow2 --output json  --size 1T
== measure -O qcow2 --output json -o extended_l2=on --size 1T
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1T
== measure -O qcow2 --output json -o cluster_size=512 --size 1T
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1T
== measure -O qcow2 --output json -o cluster_size=4k --size 1T
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1T
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1T
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1T
== measure -O qcow2 --output json -o preallocation=metadata --size 1T
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1T
== measure -O qcow2 --output json  --size 100T
! SETUP
qemu-img measure -O qcow2 --output json  --size 100T
== measure -O qcow2 --output json -o extended_l2=on --size 100T
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 100T
== measure -O qcow2 --output json -o cluster_size=512 --size 100T
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 100T
== measure -O qcow2 --output json -o cluster_size=4k --size 100T
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 100T
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 100T
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 100T
== measure -O qcow2 --output json -o preallocation=metadata --size 100T
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 100T
== measure -O qcow2 --output json  --size 64P
! SETUP
qemu-img measure -O qcow2 --output json  --size 64P
== measure -O qcow2 --output json -o extended_l2=on --size 64P
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 64P
== measure -O qcow2 --output json -o cluster_size=512 --size 64P
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 64P
== measure -O qcow2 --output json -o cluster_size=4k --size 64P
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 64P
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 64P
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 64P
== measure -O qcow2 --output json -o preallocation=metadata --size 64P
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 64P
== measure -O qcow2 --output json  --size 7E
! SETUP
qemu-img measure -O qcow2 --output json  --size 7E
== measure -O qcow2 --output json -o extended_l2=on --size 7E
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 7E
== measure -O qcow2 --output json -o cluster_size=512 --size 7E
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 7E
== measure -O qcow2 --output json -o cluster_size=4k --size 7E
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 7E
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 7E
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 7E
== measure -O qcow2 --output json -o preallocation=metadata --size 7E
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 7E
== measure -O qcow2 --output json  --size 8E
! SETUP
qemu-img measure -O qcow2 --output json  --size 8E
== measure -O qcow2 --output json -o extended_l2=on --size 8E
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 8E
== measure -O qcow2 --output json -o cluster_size=512 --size 8E
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 8E
== measure -O qcow2 --output json -o cluster_size=4k --size 8E
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 8E
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 8E
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 8E
== measure -O qcow2 --output json -o preallocation=metadata --size 8E
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 8E
== measure -O qcow2 --output json  --size -1
! SETUP
qemu-img measure -O qcow2 --output json  --size -1
== measure -O qcow2 --output json -o extended_l2=on --size -1
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size -1
== measure -O qcow2 --output json -o cluster_size=512 --size -1
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size -1
== measure -O qcow2 --output json -o cluster_size=4k --size -1
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size -1
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size -1
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size -1
== measure -O qcow2 --output json -o preallocation=metadata --size -1
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size -1
== measure -O qcow2 --output json  --size x
! SETUP
qemu-img measure -O qcow2 --output json  --size x
== measure -O qcow2 --output json -o extended_l2=on --size x
! SETUP
qemu-img measure -O qcow2 --output json -o extended_l2=on --size x
== measure -O qcow2 --output json -o cluster_size=512 --size x
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size x
== measure -O qcow2 --output json -o cluster_size=4k --size x
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size x
== measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size x
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size x
== measure -O qcow2 --output json -o preallocation=metadata --size x
! SETUP
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size x
== measure --output json -O qcow2 --size 1G -o preallocation=foo
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o preallocation=foo
== measure --output json -O qcow2 --size 1G -o foo=x
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o foo=x
== measure --output json -O qcow2 --size 1G -o data_file=x
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o data_file=x
== measure --output json -O qcow2 --size 1G -o size=2G
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o size=2G
== measure --output json -O qcow2 --size 1G -o compat=0.10,refcount_bits=1
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o compat=0.10,refcount_bits=1
== measure --output json -O qcow2 --size 1G -o compat=9
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o compat=9
== measure --output json -O qcow2 --size 1G -o refcount_bits=3
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o refcount_bits=3
== measure --output json -O qcow2 --size 1G -o refcount_bits=128
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o refcount_bits=128
== measure --output json -O qcow2 --size 1G -o cluster_size=1000
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o cluster_size=1000
== measure --output json -O qcow2 --size 1G -o cluster_size=4M
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o cluster_size=4M
== measure --output json -O qcow2 --size 1G -o extended_l2=on,cluster_size=4k
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o extended_l2=on,cluster_size=4k
== measure --output json -O qcow2 --size 1G -o lazy_refcounts=on,compat=0.10
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o lazy_refcounts=on,compat=0.10
== measure --output json -O qcow2 --size 1G -o compression_type=zstd,compat=0.10
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o compression_type=zstd,compat=0.10
== measure --output json -O vmdk --size 1G
! SETUP
qemu-img measure --output json -O vmdk --size 1G
== measure --output json -O nope --size 1G
! SETUP
qemu-img measure --output json -O nope --size 1G
== measure --size 1G
! SETUP
qemu-img measure --size 1G
== measure --size 1000
! SETUP
qemu-img measure --size 1000
== measure --size 1G a.raw
! SETUP
qemu-img measure --size 1G a.raw
== measure
! SETUP
qemu-img measure
== measure a b
! SETUP
qemu-img measure a b
== measure -o help
! SETUP
qemu-img measure -o help
== measure -O qcow2 -o help
! SETUP
qemu-img measure -O qcow2 -o help
== measure -l x b.q
! SETUP
qemu-img measure -l x b.q
== measure -l x -O qcow2 sn.q
! SETUP
qemu-img measure -l x -O qcow2 sn.q
== measure -O qcow2 --output json sn.q
! SETUP
qemu-img measure -O qcow2 --output json sn.q
== measure -l x a.raw
! SETUP
qemu-img measure -l x a.raw
== measure -l snapshot.foo=x a.raw
! SETUP
qemu-img measure -l snapshot.foo=x a.raw
== measure --snapshot x b.q
! SETUP
qemu-img measure --snapshot x b.q
== measure -f qcow2 --size 1G
! SETUP
qemu-img measure -f qcow2 --size 1G
== measure --image-opts --size 1G
! SETUP
qemu-img measure --image-opts --size 1G
== measure -s 1G
! SETUP
qemu-img measure -s 1G
== measure --output x a.raw
! SETUP
qemu-img measure --output x a.raw
== measure -O raw -o size=3 --size 1G
! SETUP
qemu-img measure -O raw -o size=3 --size 1G
== measure -O raw -o foo=3 --size 1G
! SETUP
qemu-img measure -O raw -o foo=3 --size 1G
== measure -O raw -o preallocation=foo --size 1G
! SETUP
qemu-img measure -O raw -o preallocation=foo --size 1G
== measure -O qcow2 -o , --size 1G
! SETUP
qemu-img measure -O qcow2 -o , --size 1G
== measure -U -O qcow2 t.q
! SETUP
qemu-img measure -U -O qcow2 t.q
"#;
