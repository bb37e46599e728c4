//! `img resize` beside `qemu-img resize`.

use system_tests::peers::compare;

#[test]
fn resize() {
    compare(CASES).unwrap();
}

#[test]
fn subclusters_and_data_files() {
    compare(SUBCLUSTERS_AND_DATA_FILES).unwrap();
}

const CASES: &str = r#"
!! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
== raw f -1M
! cp base.raw f
qemu-img resize f -1M
== raw -1M f
! cp base.raw f
qemu-img resize -1M f
== raw -- f -1M
! cp base.raw f
qemu-img resize -- f -1M
== raw f -- -1M
! cp base.raw f
qemu-img resize f -- -1M
== raw f -q -1M
! cp base.raw f
qemu-img resize f -q -1M
== raw f +1M
! cp base.raw f
qemu-img resize f +1M
== raw f 5M --shrink
! cp base.raw f
qemu-img resize f 5M --shrink
== raw --shrink f -1M
! cp base.raw f
qemu-img resize --shrink f -1M
== raw --shrink f -1M 3M
! cp base.raw f
qemu-img resize --shrink f -1M 3M
== raw f
! cp base.raw f
qemu-img resize f
== raw f -500
! cp base.raw f
qemu-img resize f -500
== raw -500
! cp base.raw f
qemu-img resize -500
== raw --shrink -500 f
! cp base.raw f
qemu-img resize --shrink -500 f
== raw f 0
! cp base.raw f
qemu-img resize f 0
== raw f +0
! cp base.raw f
qemu-img resize f +0
== raw f ++1
! cp base.raw f
qemu-img resize f ++1
== raw f +-1
! cp base.raw f
qemu-img resize f +-1
== raw f x
! cp base.raw f
qemu-img resize f x
== raw f ''
! cp base.raw f
qemu-img resize f ''
== raw f 1.5
! cp base.raw f
qemu-img resize f 1.5
== raw f 8E
! cp base.raw f
qemu-img resize f 8E
== raw f 9E
! cp base.raw f
qemu-img resize f 9E
== raw f 20E
! cp base.raw f
qemu-img resize f 20E
== raw f +8E
! cp base.raw f
qemu-img resize f +8E
== raw --shrink f -8E
! cp base.raw f
qemu-img resize --shrink f -8E
== raw --shrink f -1G
! cp base.raw f
qemu-img resize --shrink f -1G
== raw f -x
! cp base.raw f
qemu-img resize f -x
== raw f -5x
! cp base.raw f
qemu-img resize f -5x
== raw --preallocation x f +1M
! cp base.raw f
qemu-img resize --preallocation x f +1M
== raw --preallocation metadata f +1M
! cp base.raw f
qemu-img resize --preallocation metadata f +1M
== raw --preallocation full f +1M
! cp base.raw f
qemu-img resize --preallocation full f +1M
== raw --preallocation=falloc f +1M
! cp base.raw f
qemu-img resize --preallocation=falloc f +1M
== raw --preallocation=full --shrink f 1M
! cp base.raw f
qemu-img resize --preallocation=full --shrink f 1M
== raw f 30T
! cp base.raw f
qemu-img resize f 30T
== raw -f nope f 1M
! cp base.raw f
qemu-img resize -f nope f 1M
== raw nope 1M
! cp base.raw f
qemu-img resize nope 1M
== raw --output=json f 2M
! cp base.raw f
qemu-img resize --output=json f 2M
== raw -q f +1M
! cp base.raw f
qemu-img resize -q f +1M
== raw -f raw f +1
! cp base.raw f
qemu-img resize -f raw f +1
== raw -f raw f +100
! cp base.raw f
qemu-img resize -f raw f +100
== raw -f raw f +513
! cp base.raw f
qemu-img resize -f raw f +513
== raw -p f 1M
! cp base.raw f
qemu-img resize -p f 1M
== raw f 100000000000000000000
! cp base.raw f
qemu-img resize f 100000000000000000000
== raw f -100000000000000000000
! cp base.raw f
qemu-img resize f -100000000000000000000
== raw f 0x800000
! cp base.raw f
qemu-img resize f 0x800000
== raw --shr -f raw f 0x80000
! cp base.raw f
qemu-img resize --shr -f raw f 0x80000
== raw --shrink -f raw f 0
! cp base.raw f
qemu-img resize --shrink -f raw f 0
== raw --shrink f 512
! cp base.raw f
qemu-img resize --shrink f 512
== raw --shrink f 1
! cp base.raw f
qemu-img resize --shrink f 1
== raw --shrink f 1000
! cp base.raw f
qemu-img resize --shrink f 1000
== raw f 1G
! cp base.raw f
qemu-img resize f 1G
== raw f 1T
! cp base.raw f
qemu-img resize f 1T
== raw f +512
! cp base.raw f
qemu-img resize f +512
== raw f 8M
! cp base.raw f
qemu-img resize f 8M
== raw f 4M
! cp base.raw f
qemu-img resize f 4M
== raw --image-opts driver=raw,file.filename=f +1M
! cp base.raw f
qemu-img resize --image-opts driver=raw,file.filename=f +1M
== raw --image-opts -f raw f +1M
! cp base.raw f
qemu-img resize --image-opts -f raw f +1M
== raw --image-opts f +1M
! cp base.raw f
qemu-img resize --image-opts f +1M
== raw / 1M
! cp base.raw f
qemu-img resize / 1M
== raw '' 1M
! cp base.raw f
qemu-img resize '' 1M
== raw --object x f 1M
! cp base.raw f
qemu-img resize --object x f 1M
== raw --preallocation off f +1M
! cp base.raw f
qemu-img resize --preallocation off f +1M
== raw --preallocation= f +1M
! cp base.raw f
qemu-img resize --preallocation= f +1M
== raw --preallocation metadata --shrink f 1M
! cp base.raw f
qemu-img resize --preallocation metadata --shrink f 1M
== raw --pre full f +1M
! cp base.raw f
qemu-img resize --pre full f +1M
== raw --shrink -f raw f 1536k
! cp base.raw f
qemu-img resize --shrink -f raw f 1536k
== raw f 3000P
! cp base.raw f
qemu-img resize f 3000P
== raw -f vmdk f 1M
! cp base.raw f
qemu-img resize -f vmdk f 1M
~ stderr: the format is not known here, so it is not looked for in the file
== raw f +1M +1M
! cp base.raw f
qemu-img resize f +1M +1M
== raw f 1M x
! cp base.raw f
qemu-img resize f 1M x
== raw sub 1M
! cp base.raw f
qemu-img resize sub 1M
== raw foo:f 1M
! cp base.raw f
qemu-img resize foo:f 1M
== raw file:f +1M
! cp base.raw f
qemu-img resize file:f +1M
== raw -f raw f -1k --shrink
! cp base.raw f
qemu-img resize -f raw f -1k --shrink
== raw -f raw --shrink f -1k
! cp base.raw f
qemu-img resize -f raw --shrink f -1k
== qcow2 f -1M
! cp s.q f
qemu-img resize f -1M
== qcow2 -1M f
! cp s.q f
qemu-img resize -1M f
== qcow2 -- f -1M
! cp s.q f
qemu-img resize -- f -1M
== qcow2 f -- -1M
! cp s.q f
qemu-img resize f -- -1M
== qcow2 f -q -1M
! cp s.q f
qemu-img resize f -q -1M
== qcow2 f +1M
! cp s.q f
qemu-img resize f +1M
== qcow2 f 5M --shrink
! cp s.q f
qemu-img resize f 5M --shrink
== qcow2 --shrink f -1M
! cp s.q f
qemu-img resize --shrink f -1M
== qcow2 --shrink f -1M 3M
! cp s.q f
qemu-img resize --shrink f -1M 3M
== qcow2 f
! cp s.q f
qemu-img resize f
== qcow2 f -500
! cp s.q f
qemu-img resize f -500
== qcow2 -500
! cp s.q f
qemu-img resize -500
== qcow2 --shrink -500 f
! cp s.q f
qemu-img resize --shrink -500 f
== qcow2 f 0
! cp s.q f
qemu-img resize f 0
== qcow2 f +0
! cp s.q f
qemu-img resize f +0
== qcow2 f ++1
! cp s.q f
qemu-img resize f ++1
== qcow2 f +-1
! cp s.q f
qemu-img resize f +-1
== qcow2 f x
! cp s.q f
qemu-img resize f x
== qcow2 f ''
! cp s.q f
qemu-img resize f ''
== qcow2 f 1.5
! cp s.q f
qemu-img resize f 1.5
== qcow2 f 8E
! cp s.q f
qemu-img resize f 8E
== qcow2 f 9E
! cp s.q f
qemu-img resize f 9E
== qcow2 f 20E
! cp s.q f
qemu-img resize f 20E
== qcow2 f +8E
! cp s.q f
qemu-img resize f +8E
== qcow2 --shrink f -8E
! cp s.q f
qemu-img resize --shrink f -8E
== qcow2 --shrink f -1G
! cp s.q f
qemu-img resize --shrink f -1G
== qcow2 f -x
! cp s.q f
qemu-img resize f -x
== qcow2 f -5x
! cp s.q f
qemu-img resize f -5x
== qcow2 --preallocation x f +1M
! cp s.q f
qemu-img resize --preallocation x f +1M
== qcow2 --preallocation metadata f +1M
! cp s.q f
qemu-img resize --preallocation metadata f +1M
== qcow2 --preallocation full f +1M
! cp s.q f
qemu-img resize --preallocation full f +1M
== qcow2 --preallocation=falloc f +1M
! cp s.q f
qemu-img resize --preallocation=falloc f +1M
== qcow2 --preallocation=full --shrink f 1M
! cp s.q f
qemu-img resize --preallocation=full --shrink f 1M
== qcow2 f 30T
! cp s.q f
qemu-img resize f 30T
== qcow2 -f nope f 1M
! cp s.q f
qemu-img resize -f nope f 1M
== qcow2 nope 1M
! cp s.q f
qemu-img resize nope 1M
== qcow2 --output=json f 2M
! cp s.q f
qemu-img resize --output=json f 2M
== qcow2 -q f +1M
! cp s.q f
qemu-img resize -q f +1M
== qcow2 -f qcow2 f +1
! cp s.q f
qemu-img resize -f qcow2 f +1
== qcow2 -f qcow2 f +100
! cp s.q f
qemu-img resize -f qcow2 f +100
== qcow2 -f qcow2 f +513
! cp s.q f
qemu-img resize -f qcow2 f +513
== qcow2 -p f 1M
! cp s.q f
qemu-img resize -p f 1M
== qcow2 f 100000000000000000000
! cp s.q f
qemu-img resize f 100000000000000000000
== qcow2 f -100000000000000000000
! cp s.q f
qemu-img resize f -100000000000000000000
== qcow2 f 0x800000
! cp s.q f
qemu-img resize f 0x800000
== qcow2 --shr -f qcow2 f 0x80000
! cp s.q f
qemu-img resize --shr -f qcow2 f 0x80000
== qcow2 --shrink -f qcow2 f 0
! cp s.q f
qemu-img resize --shrink -f qcow2 f 0
== qcow2 --shrink f 512
! cp s.q f
qemu-img resize --shrink f 512
== qcow2 --shrink f 1
! cp s.q f
qemu-img resize --shrink f 1
== qcow2 --shrink f 1000
! cp s.q f
qemu-img resize --shrink f 1000
== qcow2 f 1G
! cp s.q f
qemu-img resize f 1G
== qcow2 f 1T
! cp s.q f
qemu-img resize f 1T
== qcow2 f +512
! cp s.q f
qemu-img resize f +512
== qcow2 f 8M
! cp s.q f
qemu-img resize f 8M
== qcow2 f 4M
! cp s.q f
qemu-img resize f 4M
== qcow2 --image-opts driver=qcow2,file.filename=f +1M
! cp s.q f
qemu-img resize --image-opts driver=qcow2,file.filename=f +1M
== qcow2 --image-opts -f qcow2 f +1M
! cp s.q f
qemu-img resize --image-opts -f qcow2 f +1M
== qcow2 --image-opts f +1M
! cp s.q f
qemu-img resize --image-opts f +1M
== qcow2 / 1M
! cp s.q f
qemu-img resize / 1M
== qcow2 '' 1M
! cp s.q f
qemu-img resize '' 1M
== qcow2 --object x f 1M
! cp s.q f
qemu-img resize --object x f 1M
== qcow2 --preallocation off f +1M
! cp s.q f
qemu-img resize --preallocation off f +1M
== qcow2 --preallocation= f +1M
! cp s.q f
qemu-img resize --preallocation= f +1M
== qcow2 --preallocation metadata --shrink f 1M
! cp s.q f
qemu-img resize --preallocation metadata --shrink f 1M
== qcow2 --pre full f +1M
! cp s.q f
qemu-img resize --pre full f +1M
== qcow2 --shrink -f qcow2 f 1536k
! cp s.q f
qemu-img resize --shrink -f qcow2 f 1536k
== qcow2 f 3000P
! cp s.q f
qemu-img resize f 3000P
== qcow2 -f vmdk f 1M
! cp s.q f
qemu-img resize -f vmdk f 1M
~ stderr: the format is not known here, so it is not looked for in the file
== qcow2 f +1M +1M
! cp s.q f
qemu-img resize f +1M +1M
== qcow2 f 1M x
! cp s.q f
qemu-img resize f 1M x
== qcow2 sub 1M
! cp s.q f
qemu-img resize sub 1M
== qcow2 foo:f 1M
! cp s.q f
qemu-img resize foo:f 1M
== qcow2 file:f +1M
! cp s.q f
qemu-img resize file:f +1M
== qcow2 -f qcow2 f -1k --shrink
! cp s.q f
qemu-img resize -f qcow2 f -1k --shrink
== qcow2 -f qcow2 --shrink f -1k
! cp s.q f
qemu-img resize -f qcow2 --shrink f -1k
== raw as qcow2
qemu-img resize -f qcow2 base.raw 1M
== odd raw
qemu-img resize -f raw odd.raw +1
qemu-img resize -f raw odd.raw 3000
qemu-img resize -f raw --shrink odd.raw 100
qemu-img resize -f raw zero.raw 100
qemu-img info odd.raw
== with a backing file
! qemu-img create -q -f qcow2 -b s.q -F qcow2 top.q
qemu-img resize top.q +8M
qemu-img resize --shrink top.q 2M
qemu-img resize top.q 6M
! rm s.q
qemu-img resize top.q +1M
== smaller than its backing file
! qemu-img create -q -f qcow2 -b s.q -F qcow2 top.q 2M
qemu-img resize top.q 8M
qemu-img resize --preallocation=metadata top.q 12M
~? stderr,status,images: preallocation over a backing file
== with snapshots
! qemu-img snapshot -c a s.q
qemu-img resize s.q 16M
qemu-img resize --shrink s.q 1M
qemu-img snapshot -a a s.q
qemu-img info s.q | grep -v 'file length'
!!
== old, with snapshots
! qemu-img create -q -f qcow2 -o compat=v2 o.q 4M; qemu-img snapshot -c a o.q
qemu-img resize o.q 8M
qemu-img resize --shrink o.q 1M
== many shapes
! qemu-img create -q -f qcow2 -o cluster_size=512 a.q 1M; qemu-img create -q -f qcow2 -o cluster_size=2M,refcount_bits=1 b.q 1M; qemu-img create -q -f qcow2 -o lazy_refcounts=on,refcount_bits=64 c.q 1M
qemu-img resize a.q 8M
qemu-img resize --preallocation=metadata b.q 1G
qemu-img resize --preallocation=falloc c.q 8M
qemu-img resize --preallocation=full c.q 9M
qemu-img resize --shrink a.q 600k
qemu-img resize --shrink b.q 1M
qemu-img resize --shrink c.q 512
"#;

const SUBCLUSTERS_AND_DATA_FILES: &str = r#"
== extended_l2=on
! qemu-img create -f qcow2 -o extended_l2=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | grep -v end
qemu-img resize --shrink f.qcow2 1088k
qemu-img check f.qcow2 | grep -v end
qemu-img resize f.qcow2 2M
qemu-io -c 'read -P 0 1088k 960k' f.qcow2 | head -1
== extended_l2=on,cluster_size=16k
! qemu-img create -f qcow2 -o extended_l2=on,cluster_size=16k f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | grep -v end
qemu-img resize --shrink f.qcow2 1088k
qemu-img check f.qcow2 | grep -v end
qemu-img resize f.qcow2 2M
qemu-io -c 'read -P 0 1088k 960k' f.qcow2 | head -1
== extended_l2=on,preallocation=metadata
! qemu-img create -f qcow2 -o extended_l2=on,preallocation=metadata f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | grep -v end
qemu-img resize --shrink f.qcow2 1088k
qemu-img check f.qcow2 | grep -v end
qemu-img resize f.qcow2 2M
qemu-io -c 'read -P 0 1088k 960k' f.qcow2 | head -1
== extended_l2=on, metadata
! qemu-img create -f qcow2 -o extended_l2=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=metadata f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2
stat -c %s f.qcow2
qemu-img resize --preallocation=metadata --shrink f.qcow2 1M
== cluster_size=64k, metadata
! qemu-img create -f qcow2 -o cluster_size=64k f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=metadata f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2
stat -c %s f.qcow2
qemu-img resize --preallocation=metadata --shrink f.qcow2 1M
== over a backing file, metadata
! qemu-img create -f raw b.raw 9M && qemu-io -f raw -c 'write 0 9M' b.raw && qemu-img create -f qcow2 -o extended_l2=on -b b.raw -F raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=metadata f.qcow2 10M
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'read -P 0 3M 7M' f.qcow2 | head -1
== a data file, metadata
! qemu-img create -f qcow2 -o data_file=d.raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=metadata f.qcow2 5M
stat -c '%s %b' d.raw
qemu-img check f.qcow2
qemu-img map --output=json f.qcow2 | tr -d ' ' | tail -1
== a raw data file, metadata
! qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=metadata f.qcow2 5M
stat -c '%s' d.raw
qemu-img check f.qcow2
qemu-img map --output=json f.qcow2 | tr -d ' ' | tail -1
== extended_l2=on, falloc
! qemu-img create -f qcow2 -o extended_l2=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=falloc f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | head -1
qemu-img resize --preallocation=falloc --shrink f.qcow2 1M
== cluster_size=64k, falloc
! qemu-img create -f qcow2 -o cluster_size=64k f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=falloc f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | head -1
qemu-img resize --preallocation=falloc --shrink f.qcow2 1M
== over a backing file, falloc
! qemu-img create -f raw b.raw 9M && qemu-io -f raw -c 'write 0 9M' b.raw && qemu-img create -f qcow2 -o extended_l2=on -b b.raw -F raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=falloc f.qcow2 10M
qemu-img check f.qcow2 | head -1
qemu-io -c 'read -P 0 3M 7M' f.qcow2 | head -1
== a data file, falloc
! qemu-img create -f qcow2 -o data_file=d.raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=falloc f.qcow2 5M
stat -c '%s %b' d.raw
qemu-img check f.qcow2
qemu-img map --output=json f.qcow2 | tr -d ' ' | tail -1
== a raw data file, falloc
! qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=falloc f.qcow2 5M
stat -c '%s' d.raw
qemu-img check f.qcow2
qemu-img map --output=json f.qcow2 | tr -d ' ' | tail -1
== extended_l2=on, full
! qemu-img create -f qcow2 -o extended_l2=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=full f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | head -1
qemu-img resize --preallocation=full --shrink f.qcow2 1M
== cluster_size=64k, full
! qemu-img create -f qcow2 -o cluster_size=64k f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=full f.qcow2 5M
qemu-img map --output=json f.qcow2 | tail -1 | tr -d ' ' | sed 's/,"offset.*//'
qemu-img check f.qcow2 | head -1
qemu-img resize --preallocation=full --shrink f.qcow2 1M
== over a backing file, full
! qemu-img create -f raw b.raw 9M && qemu-io -f raw -c 'write 0 9M' b.raw && qemu-img create -f qcow2 -o extended_l2=on -b b.raw -F raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=full f.qcow2 10M
qemu-img check f.qcow2 | head -1
qemu-io -c 'read -P 0 3M 7M' f.qcow2 | head -1
== a data file, full
! qemu-img create -f qcow2 -o data_file=d.raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=full f.qcow2 5M
stat -c '%s %b' d.raw
qemu-img check f.qcow2
qemu-img map --output=json f.qcow2 | tr -d ' ' | tail -1
== a raw data file, full
! qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize --preallocation=full f.qcow2 5M
stat -c '%s' d.raw
qemu-img check f.qcow2
qemu-img map --output=json f.qcow2 | tr -d ' ' | tail -1
== data_file=d.raw
! qemu-img create -f qcow2 -o data_file=d.raw f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize f.qcow2 5M
stat -c %s d.raw
qemu-img check f.qcow2 | grep -v end
qemu-img map f.qcow2
qemu-img resize --shrink f.qcow2 1088k
stat -c %s d.raw
qemu-img check f.qcow2 | grep -v end
qemu-img resize f.qcow2 2M
qemu-io -c 'read -P 0 1088k 960k' f.qcow2 | head -1
cp d.raw e.raw; rm d.raw; qemu-img resize f.qcow2 3M
qemu-img info f.qcow2 | grep data
qemu-img check f.qcow2
qemu-img map f.qcow2
== data_file=d.raw,data_file_raw=on
! qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize f.qcow2 5M
stat -c %s d.raw
qemu-img check f.qcow2 | grep -v end
qemu-img map f.qcow2
qemu-img resize --shrink f.qcow2 1088k
stat -c %s d.raw
qemu-img check f.qcow2 | grep -v end
qemu-img resize f.qcow2 2M
qemu-io -c 'read -P 0 1088k 960k' f.qcow2 | head -1
cp d.raw e.raw; rm d.raw; qemu-img resize f.qcow2 3M
qemu-img info f.qcow2 | grep data
qemu-img check f.qcow2
qemu-img map f.qcow2
== data_file=d.raw,extended_l2=on
! qemu-img create -f qcow2 -o data_file=d.raw,extended_l2=on f.qcow2 3M && qemu-io -c 'write -P 3 1M 300k' f.qcow2
qemu-img resize f.qcow2 5M
stat -c %s d.raw
qemu-img check f.qcow2 | grep -v end
qemu-img map f.qcow2
qemu-img resize --shrink f.qcow2 1088k
stat -c %s d.raw
qemu-img check f.qcow2 | grep -v end
qemu-img resize f.qcow2 2M
qemu-io -c 'read -P 0 1088k 960k' f.qcow2 | head -1
cp d.raw e.raw; rm d.raw; qemu-img resize f.qcow2 3M
qemu-img info f.qcow2 | grep data
qemu-img check f.qcow2
qemu-img map f.qcow2
"#;
