//! `img snapshot` beside `qemu-img snapshot`.

use system_tests::peers::compare;

#[test]
fn snapshot() {
    compare(CASES).unwrap();
}

const CASES: &str = r#"
!! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
== s.q
qemu-img snapshot s.q
== base.raw
qemu-img snapshot base.raw
== -l s.q
qemu-img snapshot -l s.q
== -l base.raw
qemu-img snapshot -l base.raw
== -c x base.raw
qemu-img snapshot -c x base.raw
== -f raw -c x base.raw
qemu-img snapshot -f raw -c x base.raw
== -a zz s.q
qemu-img snapshot -a zz s.q
== -d zz s.q
qemu-img snapshot -d zz s.q
== -a zz base.raw
qemu-img snapshot -a zz base.raw
~ stderr: QEMU warns twice
== -d zz base.raw
qemu-img snapshot -d zz base.raw
== -l -c x s.q
qemu-img snapshot -l -c x s.q
== -c x -c y s.q
qemu-img snapshot -c x -c y s.q
== -l -l s.q
qemu-img snapshot -l -l s.q
== -d x -a y s.q
qemu-img snapshot -d x -a y s.q
== --list s.q
qemu-img snapshot --list s.q
== --create foo s.q
qemu-img snapshot --create foo s.q
~ status, stderr, images: QEMU forgot that this long form takes a value
== --list foo s.q
qemu-img snapshot --list foo s.q
== -q -c foo s.q
qemu-img snapshot -q -c foo s.q
== -q -l s.q
qemu-img snapshot -q -l s.q
== -l -q
qemu-img snapshot -l -q
== nothing
qemu-img snapshot 
== a b
qemu-img snapshot a b
== -c
qemu-img snapshot -c
== -l
qemu-img snapshot -l
== nope
qemu-img snapshot nope
== -c x nope
qemu-img snapshot -c x nope
== -U -l s.q
qemu-img snapshot -U -l s.q
== -U -c x s.q
qemu-img snapshot -U -c x s.q
== -f nope s.q
qemu-img snapshot -f nope s.q
== -a 1 -f raw s.q
qemu-img snapshot -a 1 -f raw s.q
== --snapshot x
qemu-img snapshot --snapshot x
== -lq s.q
qemu-img snapshot -lq s.q
== -lc x s.q
qemu-img snapshot -lc x s.q
== -cx s.q
qemu-img snapshot -cx s.q
== -f qcow2 -l base.raw
qemu-img snapshot -f qcow2 -l base.raw
== --image-opts driver=qcow2,file.filename=s.q
qemu-img snapshot --image-opts driver=qcow2,file.filename=s.q
== --image-opts -c x driver=qcow2,file.filename=s.q
qemu-img snapshot --image-opts -c x driver=qcow2,file.filename=s.q
== -x
qemu-img snapshot -x
== /
qemu-img snapshot /
== -c x /
qemu-img snapshot -c x /
== --list=x s.q
qemu-img snapshot --list=x s.q
== --object x s.q
qemu-img snapshot --object x s.q
== -p s.q
qemu-img snapshot -p s.q
== -c x
qemu-img snapshot -c x
== -l s.q s.q
qemu-img snapshot -l s.q s.q
== taking, going back, deleting
qemu-img snapshot -c x s.q
qemu-io -f qcow2 -c 'write -P 9 2M 64k' s.q >/dev/null
qemu-img snapshot -c x s.q
qemu-img snapshot -c 1 s.q
qemu-img snapshot -c 2 s.q
qemu-img snapshot -l s.q
qemu-img snapshot -d x s.q
qemu-img snapshot -l s.q
qemu-img snapshot -a 2 s.q
qemu-img snapshot -d 2 s.q
qemu-img snapshot -l s.q
qemu-img snapshot -a 1 s.q
qemu-img snapshot -d 3 s.q
qemu-img snapshot -d 1 s.q
qemu-img snapshot -c y s.q
qemu-img snapshot -l s.q
qemu-img snapshot s.q
qemu-img snapshot -d 2 s.q
qemu-img snapshot -l s.q
qemu-img check s.q
== names
qemu-img snapshot -c '' s.q
qemu-img snapshot -c 'a b' s.q
qemu-img snapshot -c 'snapshot.name=a' s.q
qemu-img snapshot -c 'ä€' s.q
qemu-img snapshot -c "$(printf 'x%.0s' {1..300})" s.q
qemu-img snapshot -c "$(printf 'y%.0s' {1..255})" s.q
qemu-img snapshot -c '-l' s.q
qemu-img snapshot -c 99 s.q
qemu-img snapshot -l s.q
qemu-img snapshot -d '' s.q
qemu-img snapshot -d 'a b' s.q
qemu-img snapshot -d -l s.q
qemu-img snapshot -a 'ä€' s.q
qemu-img snapshot -d 8 s.q
qemu-img snapshot -l s.q
== a disk of another size
qemu-img snapshot -c small s.q
qemu-img resize s.q 20M
qemu-img snapshot -c large s.q
qemu-img snapshot -a small s.q
qemu-img info s.q
qemu-img snapshot -a large s.q
qemu-img info s.q
== over a backing file
! qemu-img create -q -f qcow2 -b s.q -F qcow2 top.q; qemu-io -f qcow2 -c 'write -P 7 3M 2M' top.q >/dev/null
qemu-img snapshot -c a top.q
qemu-io -f qcow2 -c 'write -P 8 0 2M' top.q >/dev/null
qemu-img snapshot -a a top.q
qemu-img snapshot -l top.q
!!
== shapes
! qemu-img create -q -f qcow2 -o compat=v2 a.q 4M; qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=1 b.q 4M; qemu-io -f qcow2 -c 'write 0 1M' b.q >/dev/null; qemu-img create -q -f qcow2 -o lazy_refcounts=on,refcount_bits=2 c.q 4M; qemu-io -f qcow2 -c 'write 0 1M' c.q >/dev/null
qemu-img snapshot -c x a.q
qemu-img snapshot -l a.q
qemu-img snapshot -c x b.q
~ stderr: it is said what the matter is
qemu-img snapshot -c x c.q
qemu-img snapshot -c y c.q
qemu-img snapshot -c z c.q
~ stderr: it is said what the matter is
qemu-img snapshot -l c.q
qemu-img snapshot -d x c.q
qemu-img check b.q
~ status, stdout, stderr: a snapshot that fails leaks nothing
qemu-img check c.q
~? status, stdout, stderr: a snapshot that fails leaks nothing
== with bitmaps
! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
! qemu-img snapshot -c a s.q; qemu-img bitmap --add s.q b0
qemu-img snapshot -a a s.q
qemu-img snapshot -c b s.q
"#;
