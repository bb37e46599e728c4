//! `img convert` beside `qemu-img convert`.

use system_tests::peers::compare;

#[test]
fn convert() {
    compare(CASES).unwrap();
}

const CASES: &str = r#"
!! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub; qemu-img snapshot -c s1 s.q; qemu-io -f qcow2 -c 'write -P 4 6M 64k' s.q >/dev/null; qemu-img create -q -f qcow2 -b s.q -F qcow2 top.q; qemu-io -f qcow2 -c 'write -P 5 2M 100k' -c 'write -z 3M 256k' top.q >/dev/null; qemu-img create -q o.old 1M
== nothing
qemu-img convert 
== a
qemu-img convert a
== f.raw
qemu-img convert f.raw
== base.raw o
qemu-img convert base.raw o
== -O qcow2 base.raw o
qemu-img convert -O qcow2 base.raw o
== -O nope base.raw o
qemu-img convert -O nope base.raw o
== -f nope base.raw o
qemu-img convert -f nope base.raw o
== nope o
qemu-img convert nope o
== base.raw nodir/o
qemu-img convert base.raw nodir/o
== -O qcow2 base.raw nodir/o
qemu-img convert -O qcow2 base.raw nodir/o
== -c base.raw o
qemu-img convert -c base.raw o
== -c -O qcow2 base.raw o
qemu-img convert -c -O qcow2 base.raw o
== -c -O qcow2 -o preallocation=metadata base.raw o
qemu-img convert -c -O qcow2 -o preallocation=metadata base.raw o
== -c -O qcow2 -o preallocation=off base.raw o
qemu-img convert -c -O qcow2 -o preallocation=off base.raw o
== -n -o x=1 base.raw o
qemu-img convert -n -o x=1 base.raw o
== -n base.raw nope
qemu-img convert -n base.raw nope
== -n -O qcow2 base.raw nope
qemu-img convert -n -O qcow2 base.raw nope
== -n -O qcow2 base.raw base.raw
qemu-img convert -n -O qcow2 base.raw base.raw
== -n base.raw o.old
qemu-img convert -n base.raw o.old
== -n -O qcow2 base.raw s.q
qemu-img convert -n -O qcow2 base.raw s.q
== -n base.raw s.q
qemu-img convert -n base.raw s.q
== -S x base.raw o
qemu-img convert -S x base.raw o
== -S 1 base.raw o
qemu-img convert -S 1 base.raw o
== -S 512 base.raw o
qemu-img convert -S 512 base.raw o
== -S 0 base.raw o
qemu-img convert -S 0 base.raw o
== -S 32M base.raw o
qemu-img convert -S 32M base.raw o
== -S -1 base.raw o
qemu-img convert -S -1 base.raw o
== -S 1.5k base.raw o
qemu-img convert -S 1.5k base.raw o
== -S 64k -O qcow2 base.raw o
qemu-img convert -S 64k -O qcow2 base.raw o
== -m 0 base.raw o
qemu-img convert -m 0 base.raw o
== -m 17 base.raw o
qemu-img convert -m 17 base.raw o
== -m x base.raw o
qemu-img convert -m x base.raw o
== -m 1 base.raw o
qemu-img convert -m 1 base.raw o
== -m 0x4 base.raw o
qemu-img convert -m 0x4 base.raw o
== -m '4 ' base.raw o
qemu-img convert -m '4 ' base.raw o
== -m -1 base.raw o
qemu-img convert -m -1 base.raw o
== -m 1k base.raw o
qemu-img convert -m 1k base.raw o
== -m 16 s.q o
qemu-img convert -m 16 s.q o
== -W base.raw o
qemu-img convert -W base.raw o
== -r 100M base.raw o
qemu-img convert -r 100M base.raw o
== -r x base.raw o
qemu-img convert -r x base.raw o
== -r 0 base.raw o
qemu-img convert -r 0 base.raw o
== -r -1 base.raw o
qemu-img convert -r -1 base.raw o
== -t foo base.raw o
qemu-img convert -t foo base.raw o
~ images: QEMU leaves what it could not make lying about
== -t none base.raw o
qemu-img convert -t none base.raw o
== -T foo base.raw o
qemu-img convert -T foo base.raw o
== -T none base.raw o
qemu-img convert -T none base.raw o
== -T writethrough -t directsync base.raw o
qemu-img convert -T writethrough -t directsync base.raw o
== -t writeback s.q o
qemu-img convert -t writeback s.q o
== -l s1 s.q o
qemu-img convert -l s1 s.q o
== -l 1 s.q o
qemu-img convert -l 1 s.q o
== -l snapshot.name=s1 s.q o
qemu-img convert -l snapshot.name=s1 s.q o
== -l snapshot.id=1 s.q o
qemu-img convert -l snapshot.id=1 s.q o
== -l snapshot.id=1,snapshot.name=s1 s.q o
qemu-img convert -l snapshot.id=1,snapshot.name=s1 s.q o
== -l snapshot.id=2,snapshot.name=s1 s.q o
qemu-img convert -l snapshot.id=2,snapshot.name=s1 s.q o
== -l snapshot.foo=1 s.q o
qemu-img convert -l snapshot.foo=1 s.q o
== -l nope s.q o
qemu-img convert -l nope s.q o
== -l s1 base.raw o
qemu-img convert -l s1 base.raw o
== -l s1 s.q s.q o
qemu-img convert -l s1 s.q s.q o
== -l s1 top.q o
qemu-img convert -l s1 top.q o
== -p base.raw o
qemu-img convert -p base.raw o
== -p -q base.raw o
qemu-img convert -p -q base.raw o
== -C base.raw o
qemu-img convert -C base.raw o
== -C -S 4k base.raw o
qemu-img convert -C -S 4k base.raw o
== -C -c -O qcow2 base.raw o
qemu-img convert -C -c -O qcow2 base.raw o
== --salvage base.raw o
qemu-img convert --salvage base.raw o
== -C --salvage base.raw o
qemu-img convert -C --salvage base.raw o
== --target-is-zero base.raw o
qemu-img convert --target-is-zero base.raw o
== -n --target-is-zero base.raw o.old
qemu-img convert -n --target-is-zero base.raw o.old
== --target-image-opts base.raw o
qemu-img convert --target-image-opts base.raw o
== --bitmaps base.raw o
qemu-img convert --bitmaps base.raw o
== --skip-broken-bitmaps base.raw o
qemu-img convert --skip-broken-bitmaps base.raw o
== --bitmaps s.q o
qemu-img convert --bitmaps s.q o
~ images: QEMU leaves what it could not make lying about
== -O qcow2 --bitmaps s.q o
qemu-img convert -O qcow2 --bitmaps s.q o
== -B s.q base.raw o
qemu-img convert -B s.q base.raw o
== -B s.q -F qcow2 base.raw o
qemu-img convert -B s.q -F qcow2 base.raw o
== -B s.q -O qcow2 base.raw o
qemu-img convert -B s.q -O qcow2 base.raw o
== -B s.q -F qcow2 -O qcow2 s.q o
qemu-img convert -B s.q -F qcow2 -O qcow2 s.q o
== -B s.q -F qcow2 -O qcow2 top.q o
qemu-img convert -B s.q -F qcow2 -O qcow2 top.q o
== -B s.q -F qcow2 -O qcow2 -c top.q o
qemu-img convert -B s.q -F qcow2 -O qcow2 -c top.q o
== -B s.q -F qcow2 -O qcow2 -o cluster_size=4k top.q o
qemu-img convert -B s.q -F qcow2 -O qcow2 -o cluster_size=4k top.q o
== -B s.q -F qcow2 -O qcow2 -S 0 top.q o
qemu-img convert -B s.q -F qcow2 -O qcow2 -S 0 top.q o
== -B base.raw -F raw -O qcow2 base.raw o
qemu-img convert -B base.raw -F raw -O qcow2 base.raw o
== -B nope -F qcow2 -O qcow2 s.q o
qemu-img convert -B nope -F qcow2 -O qcow2 s.q o
~ images: QEMU leaves what it could not make lying about
== -B s.q -F raw -O qcow2 s.q o
qemu-img convert -B s.q -F raw -O qcow2 s.q o
== -B s.q -F nope -O qcow2 s.q o
qemu-img convert -B s.q -F nope -O qcow2 s.q o
== -F qcow2 -O qcow2 s.q o
qemu-img convert -F qcow2 -O qcow2 s.q o
== -B s.q -F qcow2 -O qcow2 s.q s.q o
qemu-img convert -B s.q -F qcow2 -O qcow2 s.q s.q o
== -O qcow2 -o backing_file=s.q,backing_fmt=qcow2 top.q o
qemu-img convert -O qcow2 -o backing_file=s.q,backing_fmt=qcow2 top.q o
== -O qcow2 -o backing_file=s.q top.q o
qemu-img convert -O qcow2 -o backing_file=s.q top.q o
== -O qcow2 -o size=1M base.raw o
qemu-img convert -O qcow2 -o size=1M base.raw o
== -O qcow2 -o size=8M base.raw o
qemu-img convert -O qcow2 -o size=8M base.raw o
== -o size=1M base.raw o
qemu-img convert -o size=1M base.raw o
== -O qcow2 -o foo=1 base.raw o
qemu-img convert -O qcow2 -o foo=1 base.raw o
== -O qcow2 -o cluster_size=3k base.raw o
qemu-img convert -O qcow2 -o cluster_size=3k base.raw o
== -O qcow2 -o compat=foo base.raw o
qemu-img convert -O qcow2 -o compat=foo base.raw o
== -o preallocation=metadata base.raw o
qemu-img convert -o preallocation=metadata base.raw o
~ images: QEMU leaves what it could not make lying about
!!
== -O qcow2 -o help
qemu-img convert -O qcow2 -o help | awk '{ print $1 }'
qemu-img convert -O qcow2 -o help a b | awk '{ print $1 }'
qemu-img convert -O qcow2 -o help a | awk '{ print $1 }'
!! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub; qemu-img snapshot -c s1 s.q; qemu-io -f qcow2 -c 'write -P 4 6M 64k' s.q >/dev/null; qemu-img create -q -f qcow2 -b s.q -F qcow2 top.q; qemu-io -f qcow2 -c 'write -P 5 2M 100k' -c 'write -z 3M 256k' top.q >/dev/null; qemu-img create -q o.old 1M
== -O nope -o help
qemu-img convert -O nope -o help
== -O qcow2 -o , base.raw o
qemu-img convert -O qcow2 -o , base.raw o
== base.raw base.raw
qemu-img convert base.raw base.raw
== base.raw s.q o
qemu-img convert base.raw s.q o
== -O qcow2 base.raw odd.raw s.q o
qemu-img convert -O qcow2 base.raw odd.raw s.q o
== odd.raw zero.raw odd.raw o
qemu-img convert odd.raw zero.raw odd.raw o
== zero.raw o
qemu-img convert zero.raw o
== -O qcow2 zero.raw o
qemu-img convert -O qcow2 zero.raw o
== -O qcow2 odd.raw o
qemu-img convert -O qcow2 odd.raw o
== odd.raw o
qemu-img convert odd.raw o
== -f raw -O qcow2 s.q o
qemu-img convert -f raw -O qcow2 top.q o
== -f qcow2 base.raw o
qemu-img convert -f qcow2 base.raw o
== --image-opts -f raw base.raw o
qemu-img convert --image-opts -f raw base.raw o
== --image-opts driver=raw,file.filename=base.raw o
qemu-img convert --image-opts driver=raw,file.filename=base.raw o
== --source-image-opts driver=qcow2,file.filename=s.q o
qemu-img convert --source-image-opts driver=qcow2,file.filename=s.q o
== -n --target-image-opts base.raw driver=raw,file.filename=s.q
qemu-img convert -n --target-image-opts base.raw driver=raw,file.filename=s.q
== -n --target-image-opts -O raw base.raw driver=qcow2,file.filename=s.q
qemu-img convert -n --target-image-opts -O raw base.raw driver=qcow2,file.filename=s.q
== -q base.raw o
qemu-img convert -q base.raw o
== base.raw /
qemu-img convert base.raw /
== / o
qemu-img convert / o
== -O qcow2 -c -S 0 base.raw o
qemu-img convert -O qcow2 -c -S 0 base.raw o
== -U base.raw o
qemu-img convert -U base.raw o
== -c -W -O qcow2 base.raw o
qemu-img convert -c -W -O qcow2 base.raw o
== -O qcow2 --target-format=raw base.raw o
qemu-img convert -O qcow2 --target-format=raw base.raw o
== -B base.raw -n base.raw o.old
qemu-img convert -B base.raw -n base.raw o.old
== -O qcow2 -o preallocation=full s.q o
qemu-img convert -O qcow2 -o preallocation=full s.q o
== -O qcow2 -o preallocation=falloc,cluster_size=4k s.q o
qemu-img convert -O qcow2 -o preallocation=falloc,cluster_size=4k s.q o
== -O qcow2 -o preallocation=metadata s.q o
qemu-img convert -O qcow2 -o preallocation=metadata s.q o
== -o preallocation=full s.q o
qemu-img convert -o preallocation=full s.q o
== -o preallocation=falloc s.q o
qemu-img convert -o preallocation=falloc s.q o
== -O qcow2 -o compat=v2 s.q o
qemu-img convert -O qcow2 -o compat=v2 s.q o
== -O qcow2 -o cluster_size=512 s.q o
qemu-img convert -O qcow2 -o cluster_size=512 s.q o
== -O qcow2 -o cluster_size=2M,refcount_bits=1,lazy_refcounts=on s.q o
qemu-img convert -O qcow2 -o cluster_size=2M,refcount_bits=1,lazy_refcounts=on s.q o
== -O qcow2 -o compression_type=zstd -c s.q o
qemu-img convert -O qcow2 -o compression_type=zstd -c s.q o
== -O qcow2 -c -o cluster_size=512 base.raw o
qemu-img convert -O qcow2 -c -o cluster_size=512 base.raw o
== -O qcow2 -c -o cluster_size=2M base.raw o
qemu-img convert -O qcow2 -c -o cluster_size=2M base.raw o
== -O qcow2 -c -o compat=v2 odd.raw o
qemu-img convert -O qcow2 -c -o compat=v2 odd.raw o
== top.q o
qemu-img convert top.q o
== -O qcow2 top.q o
qemu-img convert -O qcow2 top.q o
== -O qcow2 -S 0 s.q o
qemu-img convert -O qcow2 -S 0 s.q o
== -S 0 top.q o
qemu-img convert -S 0 top.q o
== s.q o.old
qemu-img convert s.q o.old
== --sparse-size=8k --parallel=2 --oob --rate=1G base.raw o
qemu-img convert --sparse-size=8k --parallel=2 --oob --rate=1G base.raw o
== --s x
qemu-img convert --s x
== --source x
qemu-img convert --source x
== --snap s1 s.q o
qemu-img convert --snap s1 s.q o
== --out qcow2 base.raw o
qemu-img convert --out qcow2 base.raw o
== --output-f qcow2 base.raw o
qemu-img convert --output-f qcow2 base.raw o
== -x
qemu-img convert -x
== -O
qemu-img convert -O
== base.raw ''
qemu-img convert base.raw ''
== '' o
qemu-img convert '' o
== foo:bar o
qemu-img convert foo:bar o
== base.raw foo:bar
qemu-img convert base.raw foo:bar
== base.raw json:{}
qemu-img convert base.raw json:{}
== file:base.raw file:o
qemu-img convert file:base.raw file:o
== -o help | tail -1
qemu-img convert -o help | tail -1
== -c -O qcow2 -l s1 s.q o
qemu-img convert -c -O qcow2 -l s1 s.q o
== -n -O qcow2 odd.raw s.q
qemu-img convert -n -O qcow2 odd.raw s.q
== -n -S 0 -O qcow2 odd.raw s.q
qemu-img convert -n -S 0 -O qcow2 odd.raw s.q
== -n -c -O qcow2 base.raw s.q
qemu-img convert -n -c -O qcow2 base.raw s.q
~ status, stderr, images: compressing over what is allocated works
== -O qcow2 -o backing_file=s.q -F qcow2 top.q o
qemu-img convert -O qcow2 -o backing_file=s.q -F qcow2 top.q o
# QEMU crashes.
== -B '' -F qcow2 -O qcow2 top.q o
qemu-img convert -B '' -F qcow2 -O qcow2 top.q o
~ status, stderr, images: a name that is empty is refused
== sub o
qemu-img convert sub o
== base.raw sub
qemu-img convert base.raw sub
== -c -n base.raw o.old
qemu-img convert -c -n base.raw o.old
== -f qcow2 s.q base.raw o
qemu-img convert -f qcow2 s.q base.raw o
== -T none -t none -O qcow2 s.q o
qemu-img convert -T none -t none -O qcow2 s.q o
== -p -O qcow2 -c zero.raw o
qemu-img convert -p -O qcow2 -c zero.raw o
!! qemu-img create -q -f qcow2 b.q 4M; qemu-img bitmap --add b.q b0; qemu-img bitmap --add --disable -g 4k b.q b1; qemu-io -f qcow2 -c 'write 1M 64k' b.q >/dev/null; cp b.q broken.q; bash -c "qemu-io -f qcow2 -c 'write 2M 64k' -c 'sigraise 9' broken.q" >/dev/null 2>&1; qemu-img bitmap --add broken.q b2; qemu-img create -q a.raw 4M; qemu-img create -q -f qcow2 n.q 4M
== bitmaps: --bitmaps -O qcow2 b.q o
qemu-img convert --bitmaps -O qcow2 b.q o
== bitmaps: --bitmaps -O qcow2 broken.q o
qemu-img convert --bitmaps -O qcow2 broken.q o
== bitmaps: --bitmaps --skip-broken-bitmaps -O qcow2 broken.q o
qemu-img convert --bitmaps --skip-broken-bitmaps -O qcow2 broken.q o
== bitmaps: --bitmaps -O raw b.q o
qemu-img convert --bitmaps -O raw b.q o
~ images: QEMU leaves what it could not make lying about
== bitmaps: --bitmaps -O qcow2 a.raw o
qemu-img convert --bitmaps -O qcow2 a.raw o
== bitmaps: --bitmaps -O qcow2 b.q b.q o
qemu-img convert --bitmaps -O qcow2 b.q b.q o
== bitmaps: --bitmaps -n -O qcow2 b.q n.q
qemu-img convert --bitmaps -n -O qcow2 b.q n.q
== bitmaps: --skip-broken-bitmaps -O qcow2 b.q o
qemu-img convert --skip-broken-bitmaps -O qcow2 b.q o
"#;
