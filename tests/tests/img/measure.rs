//! `img measure` beside `qemu-img measure`.

use system_tests::peers::compare;

#[test]
fn measure() {
    compare(&MEASURE.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#": $PWD; qemu-img create -q -f raw a.raw 1M; qemu-io -f raw -c 'write -P 3 128k 100k' a.raw; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q 2M; qemu-io -c 'write -P 5 64k 70k' -c 'write -z 300k 128k' t.q; qemu-img create -q -f qcow2 -b t.q -F qcow2 u.q 3M;  qemu-io -c 'write -P 6 1200k 70k' u.q; qemu-img create -q -f qcow2 -o preallocation=metadata pm.q 5M; qemu-img create -q -f qcow2 -o preallocation=falloc pf.q 5M; qemu-img create -q -f qcow2 -o cluster_size=512 c5.q 1M; qemu-io -c 'write 0 5k' -c 'write 100k 1' -c 'discard 1k 1k' c5.q; qemu-img convert -O qcow2 -c a.raw cc.q; truncate -s 0 e.raw; qemu-img create -q -f qcow2 e.q 0; truncate -s 1000 odd.raw; qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M; qemu-io -c 'write 0 5k' v2.q; qemu-img create -q -f qcow2 sn.q 1M; qemu-io -c 'write 0 5k' sn.q; qemu-img snapshot -c x sn.q; qemu-io -c 'write 400k 200k' sn.q; qemu-img bitmap --add sn.q bb; qemu-img bitmap --add -g 512 sn.q b2"#;

const MEASURE: &str = r#"
== part 1
! SETUP
qemu-img measure a.raw
qemu-img measure -O qcow2  a.raw
qemu-img measure -O qcow2 -o cluster_size=512 a.raw
qemu-img measure -O qcow2 -o cluster_size=2M a.raw
qemu-img measure -O qcow2 -o refcount_bits=1 a.raw
qemu-img measure -O qcow2 -o backing_file=x a.raw
qemu-img measure -O qcow2 -o preallocation=full a.raw
qemu-img measure -O qcow2 -o compat=0.10 a.raw
qemu-img measure b.q
qemu-img measure -O qcow2  b.q
qemu-img measure -O qcow2 -o cluster_size=512 b.q
qemu-img measure -O qcow2 -o cluster_size=2M b.q
qemu-img measure -O qcow2 -o refcount_bits=1 b.q
qemu-img measure -O qcow2 -o backing_file=x b.q
qemu-img measure -O qcow2 -o preallocation=full b.q
qemu-img measure -O qcow2 -o compat=0.10 b.q
qemu-img measure t.q
qemu-img measure -O qcow2  t.q
qemu-img measure -O qcow2 -o cluster_size=512 t.q
qemu-img measure -O qcow2 -o cluster_size=2M t.q
qemu-img measure -O qcow2 -o refcount_bits=1 t.q
qemu-img measure -O qcow2 -o backing_file=x t.q
qemu-img measure -O qcow2 -o preallocation=full t.q
qemu-img measure -O qcow2 -o compat=0.10 t.q
qemu-img measure u.q
qemu-img measure -O qcow2  u.q
qemu-img measure -O qcow2 -o cluster_size=512 u.q
qemu-img measure -O qcow2 -o cluster_size=2M u.q
qemu-img measure -O qcow2 -o refcount_bits=1 u.q
qemu-img measure -O qcow2 -o backing_file=x u.q
qemu-img measure -O qcow2 -o preallocation=full u.q
qemu-img measure -O qcow2 -o compat=0.10 u.q
qemu-img measure pm.q
qemu-img measure -O qcow2  pm.q
qemu-img measure -O qcow2 -o cluster_size=512 pm.q
qemu-img measure -O qcow2 -o cluster_size=2M pm.q
qemu-img measure -O qcow2 -o refcount_bits=1 pm.q
qemu-img measure -O qcow2 -o backing_file=x pm.q
qemu-img measure -O qcow2 -o preallocation=full pm.q
qemu-img measure -O qcow2 -o compat=0.10 pm.q
qemu-img measure pf.q
qemu-img measure -O qcow2  pf.q
qemu-img measure -O qcow2 -o cluster_size=512 pf.q
qemu-img measure -O qcow2 -o cluster_size=2M pf.q
qemu-img measure -O qcow2 -o refcount_bits=1 pf.q
qemu-img measure -O qcow2 -o backing_file=x pf.q
qemu-img measure -O qcow2 -o preallocation=full pf.q
qemu-img measure -O qcow2 -o compat=0.10 pf.q
qemu-img measure c5.q
qemu-img measure -O qcow2  c5.q
qemu-img measure -O qcow2 -o cluster_size=512 c5.q
qemu-img measure -O qcow2 -o cluster_size=2M c5.q
qemu-img measure -O qcow2 -o refcount_bits=1 c5.q
qemu-img measure -O qcow2 -o backing_file=x c5.q
qemu-img measure -O qcow2 -o preallocation=full c5.q
qemu-img measure -O qcow2 -o compat=0.10 c5.q
qemu-img measure cc.q
qemu-img measure -O qcow2  cc.q
qemu-img measure -O qcow2 -o cluster_size=512 cc.q
qemu-img measure -O qcow2 -o cluster_size=2M cc.q
== part 2
! SETUP
qemu-img measure -O qcow2 -o refcount_bits=1 cc.q
qemu-img measure -O qcow2 -o backing_file=x cc.q
qemu-img measure -O qcow2 -o preallocation=full cc.q
qemu-img measure -O qcow2 -o compat=0.10 cc.q
qemu-img measure e.raw
qemu-img measure -O qcow2  e.raw
qemu-img measure -O qcow2 -o cluster_size=512 e.raw
qemu-img measure -O qcow2 -o cluster_size=2M e.raw
qemu-img measure -O qcow2 -o refcount_bits=1 e.raw
qemu-img measure -O qcow2 -o backing_file=x e.raw
qemu-img measure -O qcow2 -o preallocation=full e.raw
qemu-img measure -O qcow2 -o compat=0.10 e.raw
qemu-img measure e.q
qemu-img measure -O qcow2  e.q
qemu-img measure -O qcow2 -o cluster_size=512 e.q
qemu-img measure -O qcow2 -o cluster_size=2M e.q
qemu-img measure -O qcow2 -o refcount_bits=1 e.q
qemu-img measure -O qcow2 -o backing_file=x e.q
qemu-img measure -O qcow2 -o preallocation=full e.q
qemu-img measure -O qcow2 -o compat=0.10 e.q
qemu-img measure odd.raw
qemu-img measure -O qcow2  odd.raw
qemu-img measure -O qcow2 -o cluster_size=512 odd.raw
qemu-img measure -O qcow2 -o cluster_size=2M odd.raw
qemu-img measure -O qcow2 -o refcount_bits=1 odd.raw
qemu-img measure -O qcow2 -o backing_file=x odd.raw
qemu-img measure -O qcow2 -o preallocation=full odd.raw
qemu-img measure -O qcow2 -o compat=0.10 odd.raw
qemu-img measure v2.q
qemu-img measure -O qcow2  v2.q
qemu-img measure -O qcow2 -o cluster_size=512 v2.q
qemu-img measure -O qcow2 -o cluster_size=2M v2.q
qemu-img measure -O qcow2 -o refcount_bits=1 v2.q
qemu-img measure -O qcow2 -o backing_file=x v2.q
qemu-img measure -O qcow2 -o preallocation=full v2.q
qemu-img measure -O qcow2 -o compat=0.10 v2.q
qemu-img measure sn.q
qemu-img measure -O qcow2  sn.q
qemu-img measure -O qcow2 -o cluster_size=512 sn.q
qemu-img measure -O qcow2 -o cluster_size=2M sn.q
qemu-img measure -O qcow2 -o refcount_bits=1 sn.q
qemu-img measure -O qcow2 -o backing_file=x sn.q
qemu-img measure -O qcow2 -o preallocation=full sn.q
qemu-img measure -O qcow2 -o compat=0.10 sn.q
qemu-img measure nope
qemu-img measure -O qcow2  nope
qemu-img measure -O qcow2 -o cluster_size=512 nope
qemu-img measure -O qcow2 -o cluster_size=2M nope
qemu-img measure -O qcow2 -o refcount_bits=1 nope
qemu-img measure -O qcow2 -o backing_file=x nope
qemu-img measure -O qcow2 -o preallocation=full nope
qemu-img measure -O qcow2 -o compat=0.10 nope
qemu-img measure -O qcow2 --output json  --size 0
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 0
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 0
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 0
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 0
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 0
qemu-img measure -O qcow2 --output json  --size 1
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1
== part 3
! SETUP
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1
qemu-img measure -O qcow2 --output json  --size 1000
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1000
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1000
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1000
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1000
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1000
qemu-img measure -O qcow2 --output json  --size 1G
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1G
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1G
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1G
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1G
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1G
qemu-img measure -O qcow2 --output json  --size 1T
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 1T
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 1T
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 1T
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 1T
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 1T
qemu-img measure -O qcow2 --output json  --size 100T
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 100T
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 100T
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 100T
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 100T
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 100T
qemu-img measure -O qcow2 --output json  --size 64P
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 64P
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 64P
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 64P
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 64P
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 64P
qemu-img measure -O qcow2 --output json  --size 7E
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 7E
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 7E
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 7E
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 7E
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 7E
qemu-img measure -O qcow2 --output json  --size 8E
qemu-img measure -O qcow2 --output json -o extended_l2=on --size 8E
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size 8E
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size 8E
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size 8E
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size 8E
qemu-img measure -O qcow2 --output json  --size -1
qemu-img measure -O qcow2 --output json -o extended_l2=on --size -1
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size -1
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size -1
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size -1
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size -1
qemu-img measure -O qcow2 --output json  --size x
qemu-img measure -O qcow2 --output json -o extended_l2=on --size x
qemu-img measure -O qcow2 --output json -o cluster_size=512 --size x
qemu-img measure -O qcow2 --output json -o cluster_size=4k --size x
qemu-img measure -O qcow2 --output json -o cluster_size=2M,refcount_bits=64 --size x
qemu-img measure -O qcow2 --output json -o preallocation=metadata --size x
qemu-img measure --output json -O qcow2 --size 1G -o preallocation=foo
qemu-img measure --output json -O qcow2 --size 1G -o foo=x
== part 4
! SETUP
qemu-img measure --output json -O qcow2 --size 1G -o data_file=x
qemu-img measure --output json -O qcow2 --size 1G -o size=2G
qemu-img measure --output json -O qcow2 --size 1G -o compat=0.10,refcount_bits=1
qemu-img measure --output json -O qcow2 --size 1G -o compat=9
qemu-img measure --output json -O qcow2 --size 1G -o refcount_bits=3
qemu-img measure --output json -O qcow2 --size 1G -o refcount_bits=128
qemu-img measure --output json -O qcow2 --size 1G -o cluster_size=1000
qemu-img measure --output json -O qcow2 --size 1G -o cluster_size=4M
qemu-img measure --output json -O qcow2 --size 1G -o extended_l2=on,cluster_size=4k
qemu-img measure --output json -O qcow2 --size 1G -o lazy_refcounts=on,compat=0.10
qemu-img measure --output json -O qcow2 --size 1G -o compression_type=zstd,compat=0.10
qemu-img measure --output json -O vmdk --size 1G
qemu-img measure --output json -O nope --size 1G
qemu-img measure --size 1G
qemu-img measure --size 1000
qemu-img measure --size 1G a.raw
qemu-img measure
qemu-img measure a b
qemu-img measure -o help
qemu-img measure -O qcow2 -o help
qemu-img measure -l x b.q
qemu-img measure -l x -O qcow2 sn.q
qemu-img measure -O qcow2 --output json sn.q
qemu-img measure -l x a.raw
qemu-img measure -l snapshot.foo=x a.raw
qemu-img measure --snapshot x b.q
qemu-img measure -f qcow2 --size 1G
qemu-img measure --image-opts --size 1G
qemu-img measure -s 1G
qemu-img measure --output x a.raw
qemu-img measure -O raw -o size=3 --size 1G
qemu-img measure -O raw -o foo=3 --size 1G
qemu-img measure -O raw -o preallocation=foo --size 1G
qemu-img measure -O qcow2 -o , --size 1G
qemu-img measure -U -O qcow2 t.q
"#;
