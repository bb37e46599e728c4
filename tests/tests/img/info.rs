//! `img info` beside `qemu-img info`.

use system_tests::peers::compare;

#[test]
fn info() {
    compare(CASES).unwrap();
}

const CASES: &str = r#"
!! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
== nothing
qemu-img info 
== a b
qemu-img info a b
== nope
qemu-img info nope
== --output=x s.q
qemu-img info --output=x s.q
== --output=x
qemu-img info --output=x
== --out json s.q
qemu-img info --out json s.q
== --output JSON s.q
qemu-img info --output JSON s.q
== s.q
qemu-img info s.q
== base.raw
qemu-img info base.raw
== odd.raw
qemu-img info odd.raw
== zero.raw
qemu-img info zero.raw
== --output=json odd.raw
qemu-img info --output=json odd.raw
== --output=json zero.raw
qemu-img info --output=json zero.raw
== --output=json base.raw
qemu-img info --output=json base.raw
== -f nope s.q
qemu-img info -f nope s.q
== -f raw s.q
qemu-img info -f raw s.q
== -f qcow2 base.raw
qemu-img info -f qcow2 base.raw
== -f qcow2 zero.raw
qemu-img info -f qcow2 zero.raw
== --image-opts s.q
qemu-img info --image-opts s.q
== --image-opts driver=qcow2,file.filename=s.q
qemu-img info --image-opts driver=qcow2,file.filename=s.q
== --image-opts file.filename=s.q
qemu-img info --image-opts file.filename=s.q
== --image-opts driver=qcow2,file.driver=file,file.filename=s.q
qemu-img info --image-opts driver=qcow2,file.driver=file,file.filename=s.q
== --image-opts -f qcow2 driver=qcow2,file.filename=s.q
qemu-img info --image-opts -f qcow2 driver=qcow2,file.filename=s.q
== --image-opts driver=raw,file.filename=s.q
qemu-img info --image-opts driver=raw,file.filename=s.q
== --image-opts driver=qcow2,file=s.q
qemu-img info --image-opts driver=qcow2,file=s.q
== --image-opts driver=qcow2,file.filename=nope
qemu-img info --image-opts driver=qcow2,file.filename=nope
== --image-opts driver=nope,file.filename=s.q
qemu-img info --image-opts driver=nope,file.filename=s.q
== --image-opts driver=qcow2,foo=1,file.filename=s.q
qemu-img info --image-opts driver=qcow2,foo=1,file.filename=s.q
== 'json:{"driver":"qcow2","file.filename":"s.q"}'
qemu-img info 'json:{"driver":"qcow2","file.filename":"s.q"}'
== 'json:{"driver":"qcow2","file":{"driver":"file","filename":"s.q"}}'
qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"s.q"}}'
== 'json:{'
qemu-img info 'json:{'
== file:s.q
qemu-img info file:s.q
== ./s.q
qemu-img info ./s.q
== $PWD/s.q
qemu-img info $PWD/s.q
== foo:bar
qemu-img info foo:bar
== /
qemu-img info /
== .
qemu-img info .
== sub
qemu-img info sub
== ''
qemu-img info ''
== -- s.q -U
qemu-img info -- s.q -U
== -bU s.q
qemu-img info -bU s.q
== -U s.q
qemu-img info -U s.q
== -x
qemu-img info -x
== --backing s.q
qemu-img info --backing s.q
== --backing-chain --output=json s.q
qemu-img info --backing-chain --output=json s.q
== --object
qemu-img info --object
== --force-share s.q
qemu-img info --force-share s.q
== -f
qemu-img info -f
== -f raw -f qcow2 s.q
qemu-img info -f raw -f qcow2 s.q
== --format=qcow2 s.q
qemu-img info --format=qcow2 s.q
== -p s.q
qemu-img info -p s.q
== -q s.q
qemu-img info -q s.q
== s.q --output=json
qemu-img info s.q --output=json
== base.raw/x
qemu-img info base.raw/x
== nodir/x
qemu-img info nodir/x
== --image-opts ''
qemu-img info --image-opts ''
== --i driver=raw,file.filename=s.q
qemu-img info --i driver=raw,file.filename=s.q
== --f s.q
qemu-img info --f s.q
== -t none s.q
qemu-img info -t none s.q
!!
== every shape
! for o in cluster_size=512 cluster_size=2M compat=v2 refcount_bits=1 refcount_bits=64 lazy_refcounts=on compression_type=zstd; do qemu-img create -q -f qcow2 -o $o $o.q 1M; done
for f in *.q; do qemu-img info $f; done
for f in *.q; do qemu-img info --output=json $f; done
== snapshots
! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
! qemu-img snapshot -c a s.q; qemu-img snapshot -c 'ä b' s.q
qemu-img info s.q
qemu-img info --output=json s.q
== bitmaps
! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
! qemu-img bitmap --add s.q b0; qemu-img bitmap --add -g 32k --disable s.q b1
qemu-img info s.q
qemu-img info --output=json s.q
== sizes as shown
! for s in 1 512 1000 1023 1024 1025 10240 102400 1022976 1023488 1024000 1048064 1047552 10M 100M 999M 1000M 1023M 1G 1023G 1T 1P; do qemu-img create -q -f qcow2 $s.q $s; done
for f in *.q; do qemu-img info $f; done
== backing files
! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
! qemu-img create -q -f qcow2 -b s.q -F qcow2 top.q; qemu-img create -q -f qcow2 -b $PWD/top.q -F qcow2 sub/abs.q; qemu-img create -q -f qcow2 -b ../top.q -F qcow2 sub/rel.q
qemu-img info top.q
qemu-img info sub/abs.q
qemu-img info sub/rel.q
qemu-img info --backing-chain sub/rel.q
qemu-img info --backing-chain --output=json sub/rel.q
cd sub; qemu-img info rel.q; qemu-img info -b rel.q
! rm s.q
qemu-img info top.q
qemu-img info --backing-chain top.q
qemu-img info --backing-chain sub/rel.q
qemu-img info --backing-chain --output=json sub/rel.q
qemu-img check sub/rel.q
qemu-img check top.q
qemu-img snapshot -l top.q
qemu-img snapshot -c a top.q
qemu-img convert top.q o
qemu-img convert sub/rel.q o
== a loop
! qemu-img create -q -f qcow2 -b b.q -F qcow2 -u a.q 1M; qemu-img create -q -f qcow2 -b a.q -F qcow2 -u b.q 1M; qemu-img create -q -f qcow2 -b c.q -F qcow2 -u d.q 1M; mv d.q c.q
qemu-img info a.q
qemu-img info --backing-chain a.q
qemu-img info --backing-chain c.q
== a format that is not there, and one that is wrong
! qemu-img create -q -f qcow2 -b s.q -F vhdx -u a.q 1M; qemu-img create -q -f qcow2 -b s.q -F qcow2 -u b.q 1M; qemu-img create -q s.q 1M
qemu-img info a.q
qemu-img info b.q
qemu-img info --backing-chain b.q
qemu-img convert b.q o
qemu-img check b.q
== a backing file that is somewhere else
! qemu-img create -q -f qcow2 -b foo:bar -F raw -u a.q 1M; qemu-img create -q -f qcow2 -b 'json:{}' -F raw -u b.q 1M
qemu-img info a.q
qemu-img info b.q
qemu-img check a.q
qemu-img convert a.q o
== without a format
! qemu-img create -q base.q 1M; qemu-img create -q -f qcow2 -b base.q -F raw a.q; head -c 8 /dev/zero | dd of=a.q bs=1 seek=112 conv=notrunc status=none
qemu-img info a.q
qemu-img info --backing-chain a.q
"#;
