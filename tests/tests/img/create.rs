//! `img create` beside `qemu-img create`.

use system_tests::peers::compare;

#[test]
fn sizes() {
    compare(SIZES).unwrap();
}

#[test]
fn options() {
    compare(OPTIONS).unwrap();
}

#[test]
fn subclusters_and_data_files() {
    compare(SUBCLUSTERS_AND_DATA_FILES).unwrap();
}

#[test]
fn backing_files() {
    compare(BACKING).unwrap();
}

#[test]
fn command_lines() {
    compare(COMMAND_LINES).unwrap();
}

const SIZES: &str = r#"
== size 1.5
qemu-img create f.img -- 1.5
== size 1.5k
qemu-img create f.img -- 1.5k
== size 1,5k
qemu-img create f.img -- 1,5k
== size .5G
qemu-img create f.img -- .5G
== size 1.G
qemu-img create f.img -- 1.G
== size "1 G"
qemu-img create f.img -- "1 G"
== size "12 k"
qemu-img create f.img -- "12 k"
== size 0x10
qemu-img create f.img -- 0x10
== size 0x10k
qemu-img create f.img -- 0x10k
== size 0x1e
qemu-img create f.img -- 0x1e
== size 1e3
qemu-img create f.img -- 1e3
== size -1
qemu-img create f.img -- -1
== size -5k
qemu-img create f.img -- -5k
== size +5k
qemu-img create f.img -- +5k
== size 8E
qemu-img create f.img -- 8E
== size 9223372036854775808
qemu-img create f.img -- 9223372036854775808
== size 99999999999999999999
qemu-img create f.img -- 99999999999999999999
== size 18446744073709551616
qemu-img create f.img -- 18446744073709551616
== size ""
qemu-img create f.img -- ""
== size " 1k"
qemu-img create f.img -- " 1k"
== size 1kk
qemu-img create f.img -- 1kk
== size 1m
qemu-img create f.img -- 1m
== size 1g
qemu-img create f.img -- 1g
== size 1B
qemu-img create f.img -- 1B
== size 1.0
qemu-img create f.img -- 1.0
== size 0.5
qemu-img create f.img -- 0.5
== size 0.00001k
qemu-img create f.img -- 0.00001k
== size inf
qemu-img create f.img -- inf
== size x
qemu-img create f.img -- x
== size 1.5b
qemu-img create f.img -- 1.5b
== size 010
qemu-img create f.img -- 010
== size 0.1M
qemu-img create f.img -- 0.1M
== size 1.123456789123456789G
qemu-img create f.img -- 1.123456789123456789G
== size 1KB
qemu-img create f.img -- 1KB
== size 0x
qemu-img create f.img -- 0x
== size 1.5e
qemu-img create f.img -- 1.5e
~ images: QEMU leaves what it could not make lying about
== size 30T
qemu-img create f.img -- 30T
~ images: QEMU leaves what it could not make lying about
== size 3E
qemu-img create f.img -- 3E
~ images: QEMU leaves what it could not make lying about
== size 0
qemu-img create f.img -- 0
== size 1000
qemu-img create f.img -- 1000
== size 513
qemu-img create f.img -- 513
== size -0
qemu-img create f.img -- -0
== size 1K
qemu-img create f.img -- 1K
== size 1M
qemu-img create f.img -- 1M
== size 1G
qemu-img create f.img -- 1G
== size 2T
qemu-img create f.img -- 2T
== size 0X200
qemu-img create f.img -- 0X200
== qcow2 0
qemu-img create -f qcow2 f.img 0
== qcow2 1
qemu-img create -f qcow2 f.img 1
== qcow2 1000
qemu-img create -f qcow2 f.img 1000
== qcow2 512
qemu-img create -f qcow2 f.img 512
== qcow2 1M
qemu-img create -f qcow2 f.img 1M
== qcow2 64M
qemu-img create -f qcow2 f.img 64M
== qcow2 1G
qemu-img create -f qcow2 f.img 1G
== qcow2 3G
qemu-img create -f qcow2 f.img 3G
== qcow2 1.5T
qemu-img create -f qcow2 f.img 1.5T
== qcow2 1P
qemu-img create -f qcow2 f.img 1P
== qcow2 2048P
qemu-img create -f qcow2 f.img 2048P
== qcow2 2049P
qemu-img create -f qcow2 f.img 2049P
== qcow2 3000P
qemu-img create -f qcow2 f.img 3000P
== qcow2 8E
qemu-img create -f qcow2 f.img 8E
== qcow2 7E
qemu-img create -f qcow2 f.img 7E
== qcow2 of small clusters 1T
qemu-img create -f qcow2 -o cluster_size=512 f.img 1T
== qcow2 of small clusters 128G
qemu-img create -f qcow2 -o cluster_size=512 f.img 128G
== qcow2 of small clusters 129G
qemu-img create -f qcow2 -o cluster_size=512 f.img 129G
== qcow2 of small clusters 64M
qemu-img create -f qcow2 -o cluster_size=512 f.img 64M
== qcow2 of small clusters 1000
qemu-img create -f qcow2 -o cluster_size=512 f.img 1000
== qcow2 of large clusters 1T
qemu-img create -f qcow2 -o cluster_size=2M f.img 1T
== qcow2 of large clusters 2E
qemu-img create -f qcow2 -o cluster_size=2M f.img 2E
== qcow2 of large clusters 64M
qemu-img create -f qcow2 -o cluster_size=2M f.img 64M
== qcow2 of large clusters 1000
qemu-img create -f qcow2 -o cluster_size=2M f.img 1000
== qcow2 of large clusters 7E
qemu-img create -f qcow2 -o cluster_size=2M f.img 7E
== qcow2 of large clusters 1P
qemu-img create -f qcow2 -o cluster_size=2M f.img 1P
"#;

const OPTIONS: &str = r#"
== list
qemu-img create -f qcow2 -o list f.qcow2 10M
== cluster_size=help
qemu-img create -f qcow2 -o cluster_size=help f.qcow2 10M
== ""
qemu-img create -f qcow2 -o "" f.qcow2 10M
== ,
qemu-img create -f qcow2 -o , f.qcow2 10M
== ,,
qemu-img create -f qcow2 -o ,, f.qcow2 10M
== cluster_size=4k,
qemu-img create -f qcow2 -o cluster_size=4k, f.qcow2 10M
== ,cluster_size=4k
qemu-img create -f qcow2 -o ,cluster_size=4k f.qcow2 10M
== cluster_size=4k,,compat=v3
qemu-img create -f qcow2 -o cluster_size=4k,,compat=v3 f.qcow2 10M
== cluster_size=x
qemu-img create -f qcow2 -o cluster_size=x f.qcow2 10M
== cluster_size=3k
qemu-img create -f qcow2 -o cluster_size=3k f.qcow2 10M
== cluster_size=4M
qemu-img create -f qcow2 -o cluster_size=4M f.qcow2 10M
== cluster_size=256
qemu-img create -f qcow2 -o cluster_size=256 f.qcow2 10M
== cluster_size=512
qemu-img create -f qcow2 -o cluster_size=512 f.qcow2 10M
== cluster_size=1k
qemu-img create -f qcow2 -o cluster_size=1k f.qcow2 10M
== cluster_size=2k
qemu-img create -f qcow2 -o cluster_size=2k f.qcow2 10M
== cluster_size=4k
qemu-img create -f qcow2 -o cluster_size=4k f.qcow2 10M
== cluster_size=4096
qemu-img create -f qcow2 -o cluster_size=4096 f.qcow2 10M
== cluster_size=0x1000
qemu-img create -f qcow2 -o cluster_size=0x1000 f.qcow2 10M
== cluster_size=2M
qemu-img create -f qcow2 -o cluster_size=2M f.qcow2 10M
== cluster_size=0
qemu-img create -f qcow2 -o cluster_size=0 f.qcow2 10M
== cluster_size=-4k
qemu-img create -f qcow2 -o cluster_size=-4k f.qcow2 10M
== cluster_size=1.5k
qemu-img create -f qcow2 -o cluster_size=1.5k f.qcow2 10M
== compat=1
qemu-img create -f qcow2 -o compat=1 f.qcow2 10M
== compat=0.10
qemu-img create -f qcow2 -o compat=0.10 f.qcow2 10M
== compat=1.1
qemu-img create -f qcow2 -o compat=1.1 f.qcow2 10M
== compat=v2
qemu-img create -f qcow2 -o compat=v2 f.qcow2 10M
== compat=v3
qemu-img create -f qcow2 -o compat=v3 f.qcow2 10M
== compat=V3
qemu-img create -f qcow2 -o compat=V3 f.qcow2 10M
== compat=
qemu-img create -f qcow2 -o compat= f.qcow2 10M
== lazy_refcounts
qemu-img create -f qcow2 -o lazy_refcounts f.qcow2 10M
== lazy_refcounts=maybe
qemu-img create -f qcow2 -o lazy_refcounts=maybe f.qcow2 10M
== lazy_refcounts=yes
qemu-img create -f qcow2 -o lazy_refcounts=yes f.qcow2 10M
== lazy_refcounts=y
qemu-img create -f qcow2 -o lazy_refcounts=y f.qcow2 10M
== lazy_refcounts=true
qemu-img create -f qcow2 -o lazy_refcounts=true f.qcow2 10M
== lazy_refcounts=On
qemu-img create -f qcow2 -o lazy_refcounts=On f.qcow2 10M
== nolazy_refcounts
qemu-img create -f qcow2 -o nolazy_refcounts f.qcow2 10M
== nofoo
qemu-img create -f qcow2 -o nofoo f.qcow2 10M
== foo
qemu-img create -f qcow2 -o foo f.qcow2 10M
== foo=1
qemu-img create -f qcow2 -o foo=1 f.qcow2 10M
== foo=
qemu-img create -f qcow2 -o foo= f.qcow2 10M
== =1
qemu-img create -f qcow2 -o =1 f.qcow2 10M
== refcount_bits=3
qemu-img create -f qcow2 -o refcount_bits=3 f.qcow2 10M
== refcount_bits=x
qemu-img create -f qcow2 -o refcount_bits=x f.qcow2 10M
== refcount_bits=128
qemu-img create -f qcow2 -o refcount_bits=128 f.qcow2 10M
== refcount_bits=0
qemu-img create -f qcow2 -o refcount_bits=0 f.qcow2 10M
== refcount_bits=0x10
qemu-img create -f qcow2 -o refcount_bits=0x10 f.qcow2 10M
== refcount_bits=010
qemu-img create -f qcow2 -o refcount_bits=010 f.qcow2 10M
== refcount_bits=-1
qemu-img create -f qcow2 -o refcount_bits=-1 f.qcow2 10M
== refcount_bits=1
qemu-img create -f qcow2 -o refcount_bits=1 f.qcow2 10M
== refcount_bits=2
qemu-img create -f qcow2 -o refcount_bits=2 f.qcow2 10M
== refcount_bits=4
qemu-img create -f qcow2 -o refcount_bits=4 f.qcow2 10M
== refcount_bits=8
qemu-img create -f qcow2 -o refcount_bits=8 f.qcow2 10M
== refcount_bits=16
qemu-img create -f qcow2 -o refcount_bits=16 f.qcow2 10M
== refcount_bits=32
qemu-img create -f qcow2 -o refcount_bits=32 f.qcow2 10M
== refcount_bits=64
qemu-img create -f qcow2 -o refcount_bits=64 f.qcow2 10M
== refcount_bits=1k
qemu-img create -f qcow2 -o refcount_bits=1k f.qcow2 10M
== refcount_bits=
qemu-img create -f qcow2 -o refcount_bits= f.qcow2 10M
== preallocation=foo
qemu-img create -f qcow2 -o preallocation=foo f.qcow2 10M
== preallocation=off
qemu-img create -f qcow2 -o preallocation=off f.qcow2 10M
== preallocation=metadata
qemu-img create -f qcow2 -o preallocation=metadata f.qcow2 10M
== preallocation=falloc
qemu-img create -f qcow2 -o preallocation=falloc f.qcow2 10M
== preallocation=full
qemu-img create -f qcow2 -o preallocation=full f.qcow2 10M
== size=1M
qemu-img create -f qcow2 -o size=1M f.qcow2 10M
== size=x
qemu-img create -f qcow2 -o size=x f.qcow2 10M
== size=-1
qemu-img create -f qcow2 -o size=-1 f.qcow2 10M
== size=16E
qemu-img create -f qcow2 -o size=16E f.qcow2 10M
== compression_type=lz4
qemu-img create -f qcow2 -o compression_type=lz4 f.qcow2 10M
== compression_type=zlib
qemu-img create -f qcow2 -o compression_type=zlib f.qcow2 10M
== compression_type=zstd
qemu-img create -f qcow2 -o compression_type=zstd f.qcow2 10M
== nocow=on
qemu-img create -f qcow2 -o nocow=on f.qcow2 10M
== nocow
qemu-img create -f qcow2 -o nocow f.qcow2 10M
== cluster_size=4k,cluster_size=8k
qemu-img create -f qcow2 -o cluster_size=4k,cluster_size=8k f.qcow2 10M
== keep_data_file=on
qemu-img create -f qcow2 -o keep_data_file=on f.qcow2 10M
== cluster_size
qemu-img create -f qcow2 -o cluster_size f.qcow2 10M
== id=foo
qemu-img create -f qcow2 -o id=foo f.qcow2 10M
== compat=v2,lazy_refcounts=on
qemu-img create -f qcow2 -o compat=v2,lazy_refcounts=on f.qcow2 10M
== compat=v2,refcount_bits=8
qemu-img create -f qcow2 -o compat=v2,refcount_bits=8 f.qcow2 10M
== compat=v2,refcount_bits=16
qemu-img create -f qcow2 -o compat=v2,refcount_bits=16 f.qcow2 10M
== compat=v2,compression_type=zstd
qemu-img create -f qcow2 -o compat=v2,compression_type=zstd f.qcow2 10M
== compat=v2,compression_type=zlib
qemu-img create -f qcow2 -o compat=v2,compression_type=zlib f.qcow2 10M
== compat=v2,preallocation=metadata
qemu-img create -f qcow2 -o compat=v2,preallocation=metadata f.qcow2 10M
== cluster_size=512,preallocation=metadata,refcount_bits=1
qemu-img create -f qcow2 -o cluster_size=512,preallocation=metadata,refcount_bits=1 f.qcow2 10M
== cluster_size=2M,preallocation=falloc
qemu-img create -f qcow2 -o cluster_size=2M,preallocation=falloc f.qcow2 10M
== cluster_size=4k,lazy_refcounts=on,refcount_bits=64,preallocation=full
qemu-img create -f qcow2 -o cluster_size=4k,lazy_refcounts=on,refcount_bits=64,preallocation=full f.qcow2 10M
== preallocation=metadata,compat=0.10
qemu-img create -f qcow2 -o preallocation=metadata,compat=0.10 f.qcow2 10M
== extent_size_hint=1M
qemu-img create -f qcow2 -o extent_size_hint=1M f.qcow2 10M
== extent_size_hint=x
qemu-img create -f qcow2 -o extent_size_hint=x f.qcow2 10M
== backing_fmt=raw
qemu-img create -f qcow2 -o backing_fmt=raw f.qcow2 10M
== backing_file=x
qemu-img create -f qcow2 -o backing_file=x f.qcow2 10M
== backing_file=
qemu-img create -f qcow2 -o backing_file= f.qcow2 10M
== data_file_raw=on
qemu-img create -f qcow2 -o data_file_raw=on f.qcow2 10M
== extended_l2=off
qemu-img create -f qcow2 -o extended_l2=off f.qcow2 10M
== encryption=off
qemu-img create -f qcow2 -o encryption=off f.qcow2 10M
== cluster_size=3k,compat=1
qemu-img create -f qcow2 -o cluster_size=3k,compat=1 f.qcow2 10M
== preallocation=foo,compat=1
qemu-img create -f qcow2 -o preallocation=foo,compat=1 f.qcow2 10M
== preallocation=foo,cluster_size=3k
qemu-img create -f qcow2 -o preallocation=foo,cluster_size=3k f.qcow2 10M
== compression_type=lz4,preallocation=foo
qemu-img create -f qcow2 -o compression_type=lz4,preallocation=foo f.qcow2 10M
== compression_type=lz4,compat=1
qemu-img create -f qcow2 -o compression_type=lz4,compat=1 f.qcow2 10M
== refcount_bits=3,cluster_size=3k
qemu-img create -f qcow2 -o refcount_bits=3,cluster_size=3k f.qcow2 10M
== refcount_bits=3,lazy_refcounts=on,compat=v2
qemu-img create -f qcow2 -o refcount_bits=3,lazy_refcounts=on,compat=v2 f.qcow2 10M
== CLUSTER_SIZE=4k
qemu-img create -f qcow2 -o CLUSTER_SIZE=4k f.qcow2 10M
== cluster_size=4k=8k
qemu-img create -f qcow2 -o cluster_size=4k=8k f.qcow2 10M
== raw preallocation=off
qemu-img create -o preallocation=off f.raw
qemu-img create -o preallocation=off g.raw 1M
== raw preallocation=metadata
qemu-img create -o preallocation=metadata f.raw
qemu-img create -o preallocation=metadata g.raw 1M
~ images: QEMU leaves what it could not make lying about
== raw preallocation=full
qemu-img create -o preallocation=full f.raw
qemu-img create -o preallocation=full g.raw 1M
== raw preallocation=falloc
qemu-img create -o preallocation=falloc f.raw
qemu-img create -o preallocation=falloc g.raw 1M
== raw preallocation=x
qemu-img create -o preallocation=x f.raw
qemu-img create -o preallocation=x g.raw 1M
== raw nocow=on
qemu-img create -o nocow=on f.raw
qemu-img create -o nocow=on g.raw 1M
== raw extent_size_hint=1M
qemu-img create -o extent_size_hint=1M f.raw
qemu-img create -o extent_size_hint=1M g.raw 1M
== raw extent_size_hint=x
qemu-img create -o extent_size_hint=x f.raw
qemu-img create -o extent_size_hint=x g.raw 1M
== raw size=3M
qemu-img create -o size=3M f.raw
qemu-img create -o size=3M g.raw 1M
== raw foo=1
qemu-img create -o foo=1 f.raw
qemu-img create -o foo=1 g.raw 1M
== raw size=help
qemu-img create -o size=help f.raw
qemu-img create -o size=help g.raw 1M
== raw cluster_size=4k
qemu-img create -o cluster_size=4k f.raw
qemu-img create -o cluster_size=4k g.raw 1M
== raw compat=1.1
qemu-img create -o compat=1.1 f.raw
qemu-img create -o compat=1.1 g.raw 1M
== raw preallocation=
qemu-img create -o preallocation= f.raw
qemu-img create -o preallocation= g.raw 1M
== raw backing_file=x
qemu-img create -o backing_file=x f.raw
qemu-img create -o backing_file=x g.raw 1M
== raw size=1000
qemu-img create -o size=1000 f.raw
qemu-img create -o size=1000 g.raw 1M
== raw size=0
qemu-img create -o size=0 f.raw
qemu-img create -o size=0 g.raw 1M
== several lists
qemu-img create -f qcow2 -o cluster_size=4k -o refcount_bits=8 f 1M
qemu-img create -f qcow2 -o cluster_size=4k -o cluster_size=8k f 1M
qemu-img create -f qcow2 --options lazy_refcounts=on --opt=compat=v3 f 1M
== a size in the list alone
qemu-img create -f qcow2 -o size=1M f
qemu-img create -f qcow2 -o size=1000 f
qemu-img create -f qcow2 -o size=8E f
~ stderr, images: it is simply too large; and a file that was there stays
qemu-img create -f qcow2 -o size=0 f
== help names every option
qemu-img create -f qcow2 -o help | awk '{ print $1 }'
qemu-img create -f qcow2 -o help f | awk '{ print $1 }'
qemu-img create -f qcow2 -o cluster_size=4k,help f 1M | awk '{ print $1 }'
qemu-img create -f qcow2 -o '?' f 1M | awk '{ print $1 }'
qemu-img create -o help | awk '{ print $1 }'
qemu-img create -o help f | awk '{ print $1 }'
qemu-img create -f nope -o help
"#;

const BACKING: &str = r#"
!! qemu-img create -q -f qcow2 base.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' base.q >/dev/null; qemu-img create -q base.raw 4M; truncate -s 1000 odd.raw; mkdir sub
== -b base.q
qemu-img create -f qcow2 -b base.q f 
== -b nope
qemu-img create -f qcow2 -b nope f 
== -b nope -F raw
qemu-img create -f qcow2 -b nope -F raw f 
== -b nope -u
qemu-img create -f qcow2 -b nope -u f 
== -u -b nope @ 1M
qemu-img create -f qcow2 -u -b nope  f  1M
== -b nope -F raw -u
qemu-img create -f qcow2 -b nope -F raw -u f 
== -b nope -F raw -u @ 1M
qemu-img create -f qcow2 -b nope -F raw -u  f  1M
== -b nope -F nope -u @ 1M
qemu-img create -f qcow2 -b nope -F nope -u  f  1M
== -b base.q -F qcow2
qemu-img create -f qcow2 -b base.q -F qcow2 f 
== -b base.q -F qcow2 @ 4M
qemu-img create -f qcow2 -b base.q -F qcow2  f  4M
== -b base.q -F qcow2 @ 16M
qemu-img create -f qcow2 -b base.q -F qcow2  f  16M
== -b base.raw -F raw
qemu-img create -f qcow2 -b base.raw -F raw f 
== -b odd.raw -F raw
qemu-img create -f qcow2 -b odd.raw -F raw f 
== -b base.q -F foo
qemu-img create -f qcow2 -b base.q -F foo f 
== -b base.raw -F qcow2
qemu-img create -f qcow2 -b base.raw -F qcow2 f 
== -b base.q -F raw
qemu-img create -f qcow2 -b base.q -F raw f 
== -b f -F qcow2
qemu-img create -f qcow2 -b f -F qcow2 f 
== -b '' -F qcow2
qemu-img create -f qcow2 -b '' -F qcow2 f 
== -F qcow2 @ 1M
qemu-img create -f qcow2 -F qcow2  f  1M
== -o backing_file=base.raw
qemu-img create -f qcow2 -o backing_file=base.raw f 
== -o backing_file=base.raw,backing_fmt=raw
qemu-img create -f qcow2 -o backing_file=base.raw,backing_fmt=raw f 
== -o backing_file=base.raw,backing_fmt=raw,preallocation=metadata
qemu-img create -f qcow2 -o backing_file=base.raw,backing_fmt=raw,preallocation=metadata f 
== -o backing_file=base.raw -b base.q -F qcow2
qemu-img create -f qcow2 -o backing_file=base.raw -b base.q -F qcow2 f 
== -b $PWD/base.q -F qcow2
qemu-img create -f qcow2 -b $PWD/base.q -F qcow2 f 
== -b file:base.q -F qcow2
qemu-img create -f qcow2 -b file:base.q -F qcow2 f 
== -b ./base.q -F qcow2
qemu-img create -f qcow2 -b ./base.q -F qcow2 f 
== -b sub -F raw
qemu-img create -f qcow2 -b sub -F raw f 
== -b foo:bar -F raw
qemu-img create -f qcow2 -b foo:bar -F raw f 
== -u -b base.q -F qcow2 @ 3M
qemu-img create -f qcow2 -u -b base.q -F qcow2  f  3M
== -o compat=v2 -b base.q -F qcow2
qemu-img create -f qcow2 -o compat=v2 -b base.q -F qcow2 f 
== -o cluster_size=512 -b base.q -F qcow2
qemu-img create -f qcow2 -o cluster_size=512 -b base.q -F qcow2 f 
== -o cluster_size=2M,refcount_bits=1,lazy_refcounts=on -b base.q -F qcow2
qemu-img create -f qcow2 -o cluster_size=2M,refcount_bits=1,lazy_refcounts=on -b base.q -F qcow2 f 
== --backing=base.q --backing-format=qcow2
qemu-img create -f qcow2 --backing=base.q --backing-format=qcow2 f 
== --backing base.q --backing-f qcow2 --backing-u @ 1M
qemu-img create -f qcow2 --backing base.q --backing-f qcow2 --backing-u  f  1M
== -u -b a,b -F raw @ 1M
qemu-img create -f qcow2 -u -b a,b -F raw  f  1M
== -b base.q -F vmdk
qemu-img create -f qcow2 -b base.q -F vmdk f 
~ stderr: the format is not known here, so it is not looked for in the file
== -b base.q -F '' 
qemu-img create -f qcow2 -b base.q -F ''  f 
== raw has none
qemu-img create -b base.raw -F raw f
qemu-img create -F raw f 1M
qemu-img create -b base.raw f 1M
qemu-img create -o backing_file=base.raw f 1M
== names are relative to the new image
qemu-img create -f qcow2 -b base.q -F qcow2 sub/top.q
qemu-img create -f qcow2 -b ../base.q -F qcow2 sub/top.q
qemu-img info sub/top.q
qemu-img info --output=json sub/top.q
cd sub; qemu-img create -f qcow2 -b ../base.q -F qcow2 other.q; qemu-img info --backing-chain other.q
== chains
qemu-img create -f qcow2 -b base.q -F qcow2 one.q
qemu-img create -f qcow2 -b one.q -F qcow2 two.q 20M
qemu-img create -f qcow2 -b two.q -F qcow2 three.q
qemu-img info --backing-chain three.q
qemu-img info --backing-chain --output=json three.q
! rm base.q
qemu-img create -f qcow2 -b three.q -F qcow2 four.q
== loops
! qemu-img create -q -f qcow2 -b b.q -F qcow2 -u a.q 1M; qemu-img create -q -f qcow2 -b a.q -F qcow2 -u b.q 1M
# Without -u QEMU follows the loop for ever.
qemu-img create -f qcow2 -b a.q -F qcow2 -u c.q 1M
!!
== the longest name
qemu-img create -q -f qcow2 -u -F raw -b $(printf 'x%.0s' {1..1023}) f 1M
qemu-img create -q -f qcow2 -u -F raw -b $(printf 'x%.0s' {1..1024}) g 1M
~? stderr, images: QEMU leaves what it could not make lying about
"#;

const COMMAND_LINES: &str = r#"
== nothing
qemu-img create 
== -f
qemu-img create -f
== -o
qemu-img create -o
== --format
qemu-img create --format
== -x
qemu-img create -x
== -qx
qemu-img create -qx
== --x=y
qemu-img create --x=y
== --o cluster_size=4k f 1M
qemu-img create --o cluster_size=4k f 1M
== --b x
qemu-img create --b x
== --back x
qemu-img create --back x
== --backing=x -f
qemu-img create --backing=x -f
== --backing-f
qemu-img create --backing-f
== --quiet=x
qemu-img create --quiet=x
== --q f 1M
qemu-img create --q f 1M
== -qfraw f 1M
qemu-img create -qfraw f 1M
== -f=raw f 1M
qemu-img create -f=raw f 1M
== -
qemu-img create -
== -- -q 1M
qemu-img create -- -q 1M
== f 1M -q
qemu-img create f 1M -q
== f
qemu-img create f
== f 1M 2M
qemu-img create f 1M 2M
== f x
qemu-img create f x
== f x 2M
qemu-img create f x 2M
== f -1
qemu-img create f -1
== f -- -1
qemu-img create f -- -1
== -q f 1M
qemu-img create -q f 1M
== -f nope f 1M
qemu-img create -f nope f 1M
== -f nope f
qemu-img create -f nope f
== -f RAW f 1M
qemu-img create -f RAW f 1M
== -f '' f 1M
qemu-img create -f '' f 1M
== -f qcow2 -f raw f 1M
qemu-img create -f qcow2 -f raw f 1M
== -f raw -f qcow2 f 1M
qemu-img create -f raw -f qcow2 f 1M
== nodir/f 1M
qemu-img create nodir/f 1M
== -f qcow2 nodir/f 1M
qemu-img create -f qcow2 nodir/f 1M
== / 1M
qemu-img create / 1M
== -f qcow2 / 1M
qemu-img create -f qcow2 / 1M
== '' 1M
qemu-img create '' 1M
== -f qcow2 '' 1M
qemu-img create -f qcow2 '' 1M
== foo:bar 1M
qemu-img create foo:bar 1M
== json:{} 1M
qemu-img create json:{} 1M
== file:f 1M
qemu-img create file:f 1M
== ./a:b 1M
qemu-img create ./a:b 1M
== -f qcow2 'a b' 1M
qemu-img create -f qcow2 'a b' 1M
== -f qcow2 ü 1M
qemu-img create -f qcow2 ü 1M
== -f dmg
qemu-img create -f dmg
== --format=qcow2 f 1M
qemu-img create --format=qcow2 f 1M
== --form qcow2 f 1M
qemu-img create --form qcow2 f 1M
== -fqcow2 -ocluster_size=4k f 1M
qemu-img create -fqcow2 -ocluster_size=4k f 1M
== -fqcow2 -qocluster_size=4k f 1M
qemu-img create -fqcow2 -qocluster_size=4k f 1M
== -u f 1M
qemu-img create -u f 1M
== --foo f
qemu-img create --foo f
== --output=json f 1M
qemu-img create --output=json f 1M
== -f qcow2 /dev/full 1M
qemu-img create -f qcow2 /dev/full 1M
~ stderr: a character device is refused before it is written
== -p f 1M
qemu-img create -p f 1M
== $(printf 'x%.0s' {1..256}) 1M
qemu-img create $(printf 'x%.0s' {1..256}) 1M
== an existing file is replaced
qemu-img create -f qcow2 f 1M
qemu-img create f 2M
qemu-img create -f qcow2 f 3M
! ln -s f l; ln f h
qemu-img create -f qcow2 l 5M
qemu-img create h 6M
== permissions stay
! touch f; chmod 600 f
qemu-img create f 1M; stat -c %a f
! chmod 755 f
qemu-img create f 1M; stat -c %a f
umask 027; qemu-img create g 1M; stat -c %a g
== the program itself
qemu-img
qemu-img --foo
qemu-img -x
qemu-img ''
qemu-img foo
qemu-img cr f 1M
qemu-img -T
qemu-img --=x
qemu-img -h >/dev/null
qemu-img --help >/dev/null
qemu-img --he >/dev/null
qemu-img -V >/dev/null
qemu-img --version >/dev/null
qemu-img -hV >/dev/null
qemu-img -- create f 1M
qemu-img --help | head -c 16
qemu-img -V | grep -o 'qemu-img version'
qemu-img --help | grep -A1 '^Supported' | head -1
== create --help
qemu-img create --help >/dev/null
qemu-img create -h >/dev/null
qemu-img create -h -x >/dev/null
qemu-img create --=x
qemu-img create --help | head -1
~ stdout: our help has words of its own
== info --help
qemu-img info --help >/dev/null
qemu-img info -h >/dev/null
qemu-img info -h -x >/dev/null
qemu-img info --=x
~ stderr: there is --limits too
qemu-img info --help | head -1
~ stdout: our help has words of its own
== check --help
qemu-img check --help >/dev/null
qemu-img check -h >/dev/null
qemu-img check -h -x >/dev/null
qemu-img check --=x
qemu-img check --help | head -1
~ stdout: our help has words of its own
== convert --help
qemu-img convert --help >/dev/null
qemu-img convert -h >/dev/null
qemu-img convert -h -x >/dev/null
qemu-img convert --=x
qemu-img convert --help | head -1
~ stdout: our help has words of its own
== resize --help
qemu-img resize --help >/dev/null
qemu-img resize -h >/dev/null
qemu-img resize -h -x >/dev/null
qemu-img resize --=x
qemu-img resize --help | head -1
~ stdout: our help has words of its own
== snapshot --help
qemu-img snapshot --help >/dev/null
qemu-img snapshot -h >/dev/null
qemu-img snapshot -h -x >/dev/null
qemu-img snapshot --=x
qemu-img snapshot --help | head -1
~ stdout: our help has words of its own
"#;

const SUBCLUSTERS_AND_DATA_FILES: &str = r#"
== extended_l2=on
qemu-img create -f qcow2 -o extended_l2=on f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,cluster_size=16k
qemu-img create -f qcow2 -o extended_l2=on,cluster_size=16k f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,cluster_size=2M
qemu-img create -f qcow2 -o extended_l2=on,cluster_size=2M f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,cluster_size=8k
qemu-img create -f qcow2 -o extended_l2=on,cluster_size=8k f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,cluster_size=3k
qemu-img create -f qcow2 -o extended_l2=on,cluster_size=3k f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,cluster_size=8k,compat=v2
qemu-img create -f qcow2 -o extended_l2=on,cluster_size=8k,compat=v2 f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,compat=0.10
qemu-img create -f qcow2 -o extended_l2=on,compat=0.10 f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,compat=v2,cluster_size=4M
qemu-img create -f qcow2 -o extended_l2=on,compat=v2,cluster_size=4M f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,refcount_bits=1
qemu-img create -f qcow2 -o extended_l2=on,refcount_bits=1 f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,compression_type=zstd
qemu-img create -f qcow2 -o extended_l2=on,compression_type=zstd f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=x
qemu-img create -f qcow2 -o extended_l2=x f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,preallocation=metadata
qemu-img create -f qcow2 -o extended_l2=on,preallocation=metadata f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,preallocation=falloc
qemu-img create -f qcow2 -o extended_l2=on,preallocation=falloc f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,preallocation=full
qemu-img create -f qcow2 -o extended_l2=on,preallocation=full f.qcow2 10M
qemu-img check f.qcow2
== extended_l2=on,preallocation=metadata,cluster_size=16k
qemu-img create -f qcow2 -o extended_l2=on,preallocation=metadata,cluster_size=16k f.qcow2 10M
qemu-img check f.qcow2
!! qemu-img create -f raw b.raw 3M && qemu-io -f raw -c 'write 100k 300k' b.raw
== over a backing file, off
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=off f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=off g.qcow2 9M
qemu-img create -f qcow2 -F raw -b b.raw -o preallocation=off h.qcow2 9M
== over a backing file, metadata
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=metadata f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=metadata g.qcow2 9M
qemu-img create -f qcow2 -F raw -b b.raw -o preallocation=metadata h.qcow2 9M
== over a backing file, falloc
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=falloc f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=falloc g.qcow2 9M
qemu-img create -f qcow2 -F raw -b b.raw -o preallocation=falloc h.qcow2 9M
== over a backing file, full
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=full f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o extended_l2=on,preallocation=full g.qcow2 9M
qemu-img create -f qcow2 -F raw -b b.raw -o preallocation=full h.qcow2 9M
!!
== data_file=d.raw
qemu-img create -f qcow2 -o data_file=d.raw f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,data_file_raw=on
qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,data_file_raw=off
qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=off f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,compat=v2
qemu-img create -f qcow2 -o data_file=d.raw,compat=v2 f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file_raw=on
qemu-img create -f qcow2 -o data_file_raw=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file_raw=on,compat=v2
qemu-img create -f qcow2 -o data_file_raw=on,compat=v2 f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file_raw=on,refcount_bits=3
qemu-img create -f qcow2 -o data_file_raw=on,refcount_bits=3 f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file_raw=on,compat=v2,lazy_refcounts=on
qemu-img create -f qcow2 -o data_file_raw=on,compat=v2,lazy_refcounts=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file_raw=on,compat=v2,compression_type=zstd
qemu-img create -f qcow2 -o data_file_raw=on,compat=v2,compression_type=zstd f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,compat=v2,compression_type=zstd
qemu-img create -f qcow2 -o data_file=d.raw,compat=v2,compression_type=zstd f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=
qemu-img create -f qcow2 -o data_file= f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=/nonexistent/d
qemu-img create -f qcow2 -o data_file=/nonexistent/d f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=file:d.raw
qemu-img create -f qcow2 -o data_file=file:d.raw f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=json:{}
qemu-img create -f qcow2 -o data_file=json:{} f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=f.qcow2
qemu-img create -f qcow2 -o data_file=f.qcow2 f.qcow2 10M
~ stderr: there is nothing to clean up
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,cluster_size=512
qemu-img create -f qcow2 -o data_file=d.raw,cluster_size=512 f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,extended_l2=on
qemu-img create -f qcow2 -o data_file=d.raw,extended_l2=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,extended_l2=on,data_file_raw=on
qemu-img create -f qcow2 -o data_file=d.raw,extended_l2=on,data_file_raw=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,preallocation=metadata
qemu-img create -f qcow2 -o data_file=d.raw,preallocation=metadata f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,preallocation=falloc
qemu-img create -f qcow2 -o data_file=d.raw,preallocation=falloc f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,preallocation=full
qemu-img create -f qcow2 -o data_file=d.raw,preallocation=full f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,data_file_raw=on,preallocation=full
qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on,preallocation=full f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=d.raw,lazy_refcounts=on
qemu-img create -f qcow2 -o data_file=d.raw,lazy_refcounts=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data_file=a,,b,data_file_raw=on
qemu-img create -f qcow2 -o data_file=a,,b,data_file_raw=on f.qcow2 10M
ls -s d.raw 2>/dev/null | cut -d' ' -f1; stat -c %s d.raw 2>/dev/null
== data files and backing files
! qemu-img create -f raw b.raw 3M
qemu-img create -f qcow2 -F raw -b b.raw -o data_file=d.raw,data_file_raw=on f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o data_file_raw=on f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o data_file=d.raw,data_file_raw=on,compat=v2 f.qcow2
qemu-img create -f qcow2 -F raw -b b.raw -o data_file=d.raw f.qcow2
== a data file that exists
! qemu-img create -f raw d.raw 3M && qemu-io -f raw -c 'write 0 3M' d.raw
qemu-img create -f qcow2 -o data_file=d.raw,data_file_raw=on f.qcow2 1M
"#;
