//! `img info`, `img map` and `img measure` of subclusters, data files and encryption, beside qemu-img.

use system_tests::peers::compare;

#[test]
fn features() {
    compare(&FEATURES.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#": $PWD; S="--object secret,id=s0,data=abc"; qemu-img create -q -f qcow2 -o extended_l2=on e.q 4M; qemu-io -c 'write -P 1 10k 3k' -c 'write -z 100k 4k' -c 'write 1M 128k' -c 'discard 1100k 4k' e.q; qemu-img create -q -f qcow2 -b e.q -F qcow2 -o extended_l2=on,cluster_size=16k e2.q; qemu-io -c 'write -P 2 12k 1k' e2.q; qemu-img create -q -f qcow2 -o data_file=d.raw d.q 2M; qemu-io -c 'write -P 3 64k 70k' -c 'write -z 1M 64k' d.q; qemu-img create -q -f qcow2 -o data_file=dr.raw,data_file_raw=on dr.q 2M; qemu-io -c 'write -P 3 64k 70k' dr.q; qemu-img create -q -f qcow2 $S -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10 l.q 2M; qemu-io $S -c 'write -P 3 64k 70k' --image-opts driver=qcow2,file.filename=l.q,encrypt.key-secret=s0; qemu-img create -q -f luks $S -o key-secret=s0,iter-time=10 l.luks 2M; qemu-img create -q -f qcow2 -b d.q -F qcow2 od.q; qemu-io -c 'write 0 64k' od.q; qemu-img create -q -f qcow2 bm.q 1M; qemu-img bitmap --add bm.q a; qemu-img bitmap --add --disable bm.q b"#;

const FEATURES: &str = r#"
== part 1
! SETUP
qemu-img info e.q
qemu-img info d.q
qemu-img info --output json d.q
qemu-img info dr.q
qemu-img info l.q | sed 's/iters: .*/iters/; s/uuid: .*/uuid/'
qemu-img info --output json l.q | grep -v 'iters\|uuid'
qemu-img info l.luks | sed 's/iters: .*/iters/; s/uuid: .*/uuid/'
qemu-img info --output json l.luks | grep -v 'iters\|uuid'
qemu-img info -b od.q
qemu-img info bm.q
qemu-img info --output json bm.q
qemu-img map e.q
qemu-img map --output json e.q
qemu-img map e2.q
qemu-img map --output json e2.q
qemu-img map d.q
qemu-img map --output json d.q
qemu-img map dr.q
qemu-img map --output json dr.q
qemu-img map od.q
qemu-img map --output json od.q
qemu-img map l.q
qemu-img map --output json --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=l.q,encrypt.key-secret=s0
qemu-img map --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=l.q,encrypt.key-secret=s0
qemu-img map l.luks
qemu-img map --output json --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=l.luks,key-secret=s0
qemu-img map --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=l.luks,key-secret=s0
qemu-img map --object secret,id=s0,data=xyz --image-opts driver=luks,file.filename=l.luks,key-secret=s0
qemu-img measure -O qcow2 e.q
qemu-img measure -O qcow2 e2.q
qemu-img measure -O qcow2 -o extended_l2=on e2.q
qemu-img measure -O qcow2 d.q
qemu-img measure -O qcow2 dr.q
qemu-img measure -O qcow2 l.q
qemu-img measure -O luks --size 1G
qemu-img measure -O luks --object secret,id=s0,data=abc -o key-secret=s0 --size 1G
qemu-img measure -O luks --object secret,id=s0,data=abc -o key-secret=s0 e.q
qemu-img measure -O luks --object secret,id=s0,data=abc -o key-secret=s1 e.q
qemu-img measure -O luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-alg=aes-128 --size 1G
qemu-img measure -O qcow2 --size 1G -o encrypt.format=luks
qemu-img measure -O qcow2 --size 1G --object secret,id=s0,data=x -o encrypt.format=luks,encrypt.key-secret=s0
qemu-img measure -O qcow2 --size 1G --object secret,id=s0,data=x -o encrypt.format=luks,encrypt.key-secret=s0,cluster_size=4k
qemu-img measure -O qcow2 --size 1G -o encrypt.format=aes
qemu-img measure -O qcow2 --size 1G --object secret,id=s0,data=x -o encrypt.format=aes,encrypt.key-secret=s0
qemu-img measure -O qcow2 --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=l.q,encrypt.key-secret=s0
qemu-img measure -O raw --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=l.luks,key-secret=s0
qemu-img info --image-opts driver=qcow2,file.filename=d.q,data-file.filename=d.raw
qemu-img map --image-opts driver=qcow2,file.filename=d.q,data-file.filename=dr.raw
qemu-img map --image-opts driver=qcow2,file.filename=d.q,data-file.driver=raw,data-file.file.filename=d.raw
qemu-img map --image-opts driver=qcow2,file.filename=e.q,data-file.filename=dr.raw
qemu-img commit od.q
"#;
