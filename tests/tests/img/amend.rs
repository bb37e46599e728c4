//! `img amend` beside `qemu-img amend`.

use system_tests::peers::compare;

#[test]
fn the_same_as_qemu_img() {
    compare(TABLE).unwrap();
}

const TABLE: &str = r#"
== down and up again
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2
qemu-img amend -o compat=v2 f.qcow2
qemu-img map --output=json f.qcow2
qemu-img check f.qcow2
qemu-img amend -o compat=v2 f.qcow2
qemu-img amend -o compat=0.10 f.qcow2
qemu-img amend -o compat=v3 f.qcow2
qemu-img amend -o compat=1.1 f.qcow2
qemu-img amend -o compat=v9 f.qcow2
qemu-img amend -o compat= f.qcow2
== down with a backing file
! qemu-img create -f raw b.raw 3M && qemu-io -f raw -c 'write 0 3M' b.raw && qemu-img create -f qcow2 -b b.raw -F raw f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 2M 128k' -c 'write -z 5M 1M' f.qcow2
qemu-img amend -o compat=v2 f.qcow2
qemu-img check f.qcow2 | grep -v end
== down with snapshots
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2 && qemu-img snapshot -c s f.qcow2 && qemu-io -c 'write 3M 100k' -c 'write -z 6M 1M' f.qcow2
qemu-img amend -o compat=v2 f.qcow2
qemu-img check f.qcow2 | grep -v end
~ stdout, stderr: QEMU leaves an error of its own behind, and clusters for zeroes that need none
qemu-img snapshot -a s f.qcow2
qemu-img check f.qcow2 | grep allocated
~ stdout: zeroes that need no clusters have none
qemu-img amend -o compat=v3 f.qcow2
qemu-img snapshot -d s f.qcow2
== down with a snapshot of another size
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2 && qemu-img snapshot -c s f.qcow2 && qemu-img resize f.qcow2 12M
qemu-img amend -o compat=v2 f.qcow2
== down with features
! qemu-img create -f qcow2 -o extended_l2=on e.qcow2 1M && qemu-img create -f qcow2 -o compression_type=zstd z.qcow2 1M && qemu-img create -f qcow2 -o compression_type=zstd y.qcow2 1M && qemu-io -c 'write -c 0 64k' y.qcow2 && qemu-img create -f qcow2 -o refcount_bits=64 r.qcow2 1M && qemu-img create -f qcow2 -o lazy_refcounts=on l.qcow2 1M && qemu-img create -f qcow2 -o data_file=d.raw d.qcow2 1M
qemu-img amend -o compat=v2 e.qcow2
qemu-img amend -o compat=v2 z.qcow2
qemu-img amend -o compat=v2 y.qcow2
qemu-img amend -o compat=v2 r.qcow2
qemu-img amend -o compat=v2,refcount_bits=16 r.qcow2
qemu-img amend -o refcount_bits=16 r.qcow2
qemu-img amend -o compat=v2 r.qcow2
qemu-img amend -o compat=v2 l.qcow2
qemu-img amend -o compat=v2 d.qcow2
!! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2
== lazy refcounts
qemu-img amend -o lazy_refcounts=on f.qcow2
qemu-img amend -o lazy_refcounts=on f.qcow2
qemu-img amend -o lazy_refcounts=x f.qcow2
qemu-img amend -o lazy_refcounts=off f.qcow2
qemu-img amend -o compat=v2 f.qcow2
qemu-img amend -o lazy_refcounts=on f.qcow2
qemu-img amend -o lazy_refcounts=off f.qcow2
qemu-img amend -o lazy_refcounts=on,compat=v3 f.qcow2
qemu-img amend -o lazy_refcounts=on,compat=v2 f.qcow2
== 1 bits
qemu-img amend -o refcount_bits=1 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== 2 bits
qemu-img amend -o refcount_bits=2 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== 4 bits
qemu-img amend -o refcount_bits=4 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== 8 bits
qemu-img amend -o refcount_bits=8 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== 16 bits
qemu-img amend -o refcount_bits=16 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== 32 bits
qemu-img amend -o refcount_bits=32 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== 64 bits
qemu-img amend -o refcount_bits=64 f.qcow2
qemu-img check f.qcow2 | grep -v end
qemu-io -c 'write 5M 1M' f.qcow2 | head -1
qemu-img check f.qcow2 | grep -v end
== bits that make no sense
qemu-img amend -o refcount_bits=3 f.qcow2
qemu-img amend -o refcount_bits=128 f.qcow2
qemu-img amend -o refcount_bits=0 f.qcow2
qemu-img amend -o refcount_bits=x f.qcow2
qemu-img amend -o refcount_bits=-1 f.qcow2
!!
== too few bits
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2 && qemu-img snapshot -c s f.qcow2
qemu-img amend -o refcount_bits=1 f.qcow2
qemu-img amend -o refcount_bits=2 f.qcow2
== bits of version 2
! qemu-img create -f qcow2 -o compat=v2 f.qcow2 1M
qemu-img amend -o refcount_bits=16 f.qcow2
qemu-img amend -o refcount_bits=64 f.qcow2
qemu-img amend -o refcount_bits=64,compat=v3 f.qcow2
== size
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2
qemu-img amend -o size=12M f.qcow2
qemu-img amend -o size=8M f.qcow2
qemu-img amend -o size=x f.qcow2
qemu-img amend -o size=20M,refcount_bits=8 f.qcow2
== backing files
! qemu-img create -f raw b.raw 3M && qemu-img create -f qcow2 -b b.raw -F raw f.qcow2
qemu-img amend -o backing_file=x f.qcow2
qemu-img amend -o backing_file=b.raw f.qcow2
qemu-img amend -o backing_fmt=raw f.qcow2
qemu-img amend -o backing_file=b.raw,backing_fmt=raw f.qcow2
qemu-img amend -o backing_file=,backing_fmt= f.qcow2
qemu-img amend -o backing_fmt=foo f.qcow2
== data files
! qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 1M && qemu-img create -f qcow2 -o data_file=e.raw e.qcow2 1M && qemu-img create -f qcow2 g.qcow2 1M && cp d.raw x
qemu-img amend -o data_file=x g.qcow2
qemu-img amend -o data_file_raw=on g.qcow2
qemu-img amend -o data_file_raw=off g.qcow2
qemu-img amend -o data_file_raw=on e.qcow2
qemu-img amend -o data_file_raw=on f.qcow2
qemu-img amend -o data_file=x f.qcow2
qemu-img amend -o data_file_raw=off f.qcow2
qemu-img amend -o data_file_raw=on f.qcow2
qemu-img amend -o data_file= f.qcow2
qemu-img amend -o data_file=d.raw f.qcow2
== options for creation only
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2
qemu-img amend -o cluster_size=4k f.qcow2
qemu-img amend -o cluster_size=64k f.qcow2
qemu-img amend -o extended_l2=on f.qcow2
qemu-img amend -o preallocation=full f.qcow2
qemu-img amend -o compression_type=zstd f.qcow2
qemu-img amend -o encryption=on f.qcow2
qemu-img amend -o encrypt.format=luks f.qcow2
qemu-img amend -o nocow=on f.qcow2
qemu-img amend -o foo=1 f.qcow2
qemu-img amend -o foo f.qcow2
qemu-img amend -o encrypt.new-secret=x f.qcow2
== command lines
! qemu-img create -f qcow2 f.qcow2 10M && qemu-io -c 'write 1M 1M' -c 'write -z 3M 1M' -c 'write -z 1M 64k' f.qcow2 && qemu-img create -f raw r.raw 1M
qemu-img amend
qemu-img amend f.qcow2
qemu-img amend -o compat=v3
qemu-img amend -o compat=v3 f.qcow2 g
qemu-img amend -o help
qemu-img amend -o '' f.qcow2
qemu-img amend -o , f.qcow2
qemu-img amend -f raw -o size=2M r.raw
qemu-img amend -f raw -o help
qemu-img amend -f foo -o compat=v2 f.qcow2
qemu-img amend -f foo -o help
qemu-img amend -t foo -o compat=v3 f.qcow2
qemu-img amend -t none -q --force -o compat=v3 f.qcow2
qemu-img amend -o compat=v3 none
qemu-img amend -o compat=v3 -o lazy_refcounts=on f.qcow2
qemu-img amend --image-opts -o compat=v3 driver=qcow2,file.filename=f.qcow2
qemu-img amend --image-opts -f qcow2 -o compat=v3 f.qcow2
qemu-img amend -p -o lazy_refcounts=off f.qcow2 | tr '\r' '\n' | tail -1
== bitmaps
! qemu-img create -f qcow2 f.qcow2 1M && qemu-img bitmap --add f.qcow2 b
qemu-img amend -o lazy_refcounts=on f.qcow2
qemu-img amend -o refcount_bits=64 f.qcow2
qemu-img check f.qcow2 | grep -v end
"#;
