//! Encrypted images beside qemu-img: making them, opening them with the right and the wrong secrets, converting them.

use std::sync::{Mutex, PoisonError};

use system_tests::peers;

/// QEMU measures how fast the processor is whenever it makes a key, which takes long where many do so at once.
static ONE_TABLE: Mutex<()> = Mutex::new(());

fn compare(table: &str) -> anyhow::Result<()> {
    let _guard = ONE_TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    peers::compare(table)
}

#[test]
fn new_volumes() {
    compare(CREATE_LUKS).unwrap();
}

#[test]
fn new_qcow2_images() {
    compare(CREATE_QCOW2).unwrap();
}

#[test]
fn encrypted_images_in_use() {
    compare(USE).unwrap();
}

#[test]
fn conversions_chains_and_options() {
    compare(MORE).unwrap();
}

#[test]
fn key_slots() {
    compare(AMEND).unwrap();
}

const CREATE_LUKS: &str = r#"
== luks key-secret=s0,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 1M
~ images: nobody has written to it, so it shows noise, and not the same
== luks key-secret=nope
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=nope x.luks 1M
== luks cipher-alg=aes-256
qemu-img create -f luks --object secret,id=s0,data=abc -o cipher-alg=aes-256 x.luks 1M
== luks key-secret=s0,cipher-alg=foo
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-alg=foo x.luks 1M
== luks key-secret=s0,cipher-mode=foo
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-mode=foo x.luks 1M
== luks key-secret=s0,ivgen-alg=foo
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,ivgen-alg=foo x.luks 1M
== luks key-secret=s0,ivgen-hash-alg=foo
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,ivgen-hash-alg=foo x.luks 1M
== luks key-secret=s0,hash-alg=foo
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,hash-alg=foo x.luks 1M
== luks key-secret=s0,iter-time=x
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=x x.luks 1M
== luks key-secret=s0,foo=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,foo=1 x.luks 1M
== luks key-secret=s0,cipher-alg=des
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-alg=des x.luks 1M
== luks key-secret=s0,cipher-alg=3des,cipher-mode=cbc
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-alg=3des,cipher-mode=cbc x.luks 1M
== luks key-secret=s0,cipher-alg=cast5-128
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-alg=cast5-128 x.luks 1M
== luks key-secret=s0,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,iter-time=1 x.luks 1M
~ images: nobody has written to it, so it shows noise, and not the same
== luks key-secret=s0,ivgen-alg=essiv,ivgen-hash-alg=sha512,cipher-mode=cbc,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,ivgen-alg=essiv,ivgen-hash-alg=sha512,cipher-mode=cbc,iter-time=1 x.luks 1M
== luks key-secret=s0,ivgen-alg=plain,ivgen-hash-alg=sha1,hash-alg=sha512,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,ivgen-alg=plain,ivgen-hash-alg=sha1,hash-alg=sha512,iter-time=1 x.luks 1M
~ images: nobody has written to it, so it shows noise, and not the same
== luks key-secret=s0,detached-header=on,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,detached-header=on,iter-time=1 x.luks 1M
== luks key-secret=s0,detached-header=x
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,detached-header=x x.luks 1M
== luks key-secret=s0,preallocation=falloc,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,preallocation=falloc,iter-time=1 x.luks 1M
~ images: nobody has written to it, so it shows noise, and not the same
== luks key-secret=s0,preallocation=foo
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,preallocation=foo x.luks 1M
== luks key-secret=s0,iter-time=0x1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=0x1 x.luks 1M
~ images: nobody has written to it, so it shows noise, and not the same
== luks key-secret=s0,backing_file=x
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,backing_file=x x.luks 1M
== luks key-secret=s0,size=1M,iter-time=1
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,size=1M,iter-time=1 x.luks 1M
== luks help
qemu-img create -f luks --object secret,id=s0,data=abc -o help x.luks 1M
~ stdout: the same options, described in other words
== luks size ''
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks
== luks size '0'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 0
== luks size '1000'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 1000
~ images: nobody has written to it, so it shows noise, and not the same
== luks size '512'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 512
~ images: nobody has written to it, so it shows noise, and not the same
== luks size '1'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 1
~ images: nobody has written to it, so it shows noise, and not the same
== luks size '8E'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 8E
== luks size '-1'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks -1
== luks size '1x'
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 1x
== luks with a backing file
qemu-img create -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 -b x -F raw x.luks 1M
== luks without options
qemu-img create -f luks x.luks 1M
== luks quiet
qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x.luks 1M
~ images: nobody has written to it, so it shows noise, and not the same
qemu-img info x.luks
qemu-img info --output=json x.luks
qemu-img info -f raw x.luks
qemu-img info -f qcow2 x.luks
"#;

const CREATE_QCOW2: &str = r#"
== qcow2 encrypt.format=luks
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks x.qcow2 1M
== qcow2 encrypt.format=foo
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=foo x.qcow2 1M
== qcow2 encrypt.key-secret=s0
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.key-secret=s0 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=zz
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=zz x.qcow2 1M
== qcow2 encryption=on,encrypt.format=luks,encrypt.key-secret=s0
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=on,encrypt.format=luks,encrypt.key-secret=s0 x.qcow2 1M
== qcow2 encryption=on,encrypt.format=aes,encrypt.key-secret=s0
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=on,encrypt.format=aes,encrypt.key-secret=s0 x.qcow2 1M
== qcow2 encryption=off,encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=off,encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 x.qcow2 1M
== qcow2 encryption=off
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=off x.qcow2 1M
== qcow2 encryption=on
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=on x.qcow2 1M
== qcow2 encryption=on,encrypt.key-secret=s0
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=on,encrypt.key-secret=s0 x.qcow2 1M
== qcow2 encryption=x
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encryption=x x.qcow2 1M
== qcow2 encrypt.format=aes
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes x.qcow2 1M
== qcow2 encrypt.format=aes,encrypt.key-secret=zz
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=zz x.qcow2 1M
== qcow2 encrypt.format=aes,encrypt.key-secret=s0
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=s0 x.qcow2 1M
== qcow2 encrypt.format=aes,encrypt.key-secret=s0,encrypt.cipher-alg=aes-256
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=s0,encrypt.cipher-alg=aes-256 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.cipher-alg=foo
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.cipher-alg=foo x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,compat=0.10
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,compat=0.10 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,cluster_size=512
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,cluster_size=512 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,cluster_size=2M
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,cluster_size=2M x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata x.qcow2 1M
~ images: nobody has written to it, so it shows noise, and not the same
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=full
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=full x.qcow2 1M
~ images: nobody has written to it, so it shows noise, and not the same
== qcow2 encrypt.format=LUKS
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=LUKS x.qcow2 1M
== qcow2 encrypt.cipher-alg=aes-256
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.cipher-alg=aes-256 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.foo=1
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.foo=1 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha1
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha1 x.qcow2 1M
== qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.detached-header=on
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.detached-header=on x.qcow2 1M
== qcow2 info
qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 x.qcow2 1M
qemu-img info x.qcow2
qemu-img info --output=json x.qcow2
== qcow2 info aes
qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=s0 x.qcow2 1M
qemu-img info x.qcow2
qemu-img info --output=json x.qcow2
== qcow2 info cbc
qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv x.qcow2 1M
qemu-img info x.qcow2
== no secret of that kind
qemu-img create -f luks --object throttle-group,id=s0 -o key-secret=s0 x.luks 1M
== a secret that is not text
printf '\xff\xfe' > f
qemu-img create -f luks --object secret,id=s0,file=f -o key-secret=s0 x.luks 1M
== an overlay
! qemu-img create -q base.raw 1M
qemu-img create -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 -b base.raw -F raw x.qcow2
"#;

const USE: &str = r#"
!! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -c 'write -P 7 0 1M' > /dev/null
== luks: info IMAGE
qemu-img info --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: info --output=json IMAGE
qemu-img info --object secret,id=s0,data=abc --image-opts --output=json driver=luks,key-secret=s0,file.filename=x
== luks: check IMAGE
qemu-img check --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: check --output=json IMAGE
qemu-img check --object secret,id=s0,data=abc --image-opts --output=json driver=luks,key-secret=s0,file.filename=x
== luks: map IMAGE
qemu-img map --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: map --output=json IMAGE
qemu-img map --object secret,id=s0,data=abc --image-opts --output=json driver=luks,key-secret=s0,file.filename=x
== luks: measure IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: measure -O qcow2 IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts -O qcow2 driver=luks,key-secret=s0,file.filename=x
== luks: measure --output=json IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts --output=json driver=luks,key-secret=s0,file.filename=x
== luks: snapshot -l IMAGE
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -l driver=luks,key-secret=s0,file.filename=x
== luks: resize IMAGE 2M
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x 2M
== luks: resize --shrink IMAGE 512k
qemu-img resize --object secret,id=s0,data=abc --image-opts --shrink driver=luks,key-secret=s0,file.filename=x 512k
== luks: resize IMAGE +512k
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x +512k
== luks: convert IMAGE -O raw y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -O raw y
== luks: convert IMAGE -O qcow2 y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -O qcow2 y
== luks: without a key: check {}
qemu-img check x
== luks: with a wrong key: check {}
qemu-img check --object secret,id=s0,data=wrong --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: with a missing key: check {}
qemu-img check --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: with no key named: check {}
qemu-img check --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=x
== luks: without a key: convert {} y
qemu-img convert x y
== luks: with a wrong key: convert {} y
qemu-img convert --object secret,id=s0,data=wrong --image-opts driver=luks,key-secret=s0,file.filename=x y
== luks: with a missing key: convert {} y
qemu-img convert --image-opts driver=luks,key-secret=s0,file.filename=x y
== luks: with no key named: convert {} y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=x y
== luks: without a key: snapshot -l {}
qemu-img snapshot -l x
== luks: with a wrong key: snapshot -l {}
qemu-img snapshot --object secret,id=s0,data=wrong --image-opts -l driver=luks,key-secret=s0,file.filename=x
== luks: with a missing key: snapshot -l {}
qemu-img snapshot --image-opts -l driver=luks,key-secret=s0,file.filename=x
== luks: with no key named: snapshot -l {}
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -l driver=luks,file.filename=x
== luks: without a key: snapshot -c s {}
qemu-img snapshot -c s x
== luks: with a wrong key: snapshot -c s {}
qemu-img snapshot --object secret,id=s0,data=wrong --image-opts -c s driver=luks,key-secret=s0,file.filename=x
== luks: with a missing key: snapshot -c s {}
qemu-img snapshot --image-opts -c s driver=luks,key-secret=s0,file.filename=x
== luks: with no key named: snapshot -c s {}
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -c s driver=luks,file.filename=x
== luks: without a key: map {}
qemu-img map x
== luks: with a wrong key: map {}
qemu-img map --object secret,id=s0,data=wrong --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: with a missing key: map {}
qemu-img map --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: with no key named: map {}
qemu-img map --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=x
== luks: without a key: info {}
qemu-img info x
== luks: with a wrong key: info {}
qemu-img info --object secret,id=s0,data=wrong --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: with a missing key: info {}
qemu-img info --image-opts driver=luks,key-secret=s0,file.filename=x
== luks: with no key named: info {}
qemu-img info --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=x
== luks: without a key: resize {} 2M
qemu-img resize x 2M
== luks: with a wrong key: resize {} 2M
qemu-img resize --object secret,id=s0,data=wrong --image-opts driver=luks,key-secret=s0,file.filename=x 2M
== luks: with a missing key: resize {} 2M
qemu-img resize --image-opts driver=luks,key-secret=s0,file.filename=x 2M
== luks: with no key named: resize {} 2M
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=luks,file.filename=x 2M
== luks: convert json
qemu-img convert --object secret,id=s0,data=abc 'json:{"driver":"luks","key-secret":"s0","file":{"driver":"file","filename":"x"}}' -O raw y
== luks: snapshots
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -c s driver=luks,key-secret=s0,file.filename=x
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -a s driver=luks,key-secret=s0,file.filename=x
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -d s driver=luks,key-secret=s0,file.filename=x
== luks: compare
qemu-img compare --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x driver=luks,key-secret=s0,file.filename=x
qemu-img compare --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x driver=raw,file.filename=x
== luks: dd
qemu-img dd --object secret,id=s0,data=abc --image-opts if=driver=luks,key-secret=s0,file.filename=x of=y bs=64k count=4
== luks: write over it
! qemu-img create -q r 1M; qemu-io -f raw -c 'write -P 9 10k 5000' r > /dev/null
qemu-img convert --object secret,id=s0,data=abc -n --target-image-opts r driver=luks,key-secret=s0,file.filename=x
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -O raw y
== luks: compress into it
! qemu-img create -q r 1M; qemu-io -f raw -c 'write -P 9 10k 5000' r > /dev/null
qemu-img convert -c --object secret,id=s0,data=abc -n --target-image-opts r driver=luks,key-secret=s0,file.filename=x
!! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -c 'write -P 7 100k 300k' -c 'write -z 512k 128k' > /dev/null
== qcow2: info IMAGE
qemu-img info --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: info --output=json IMAGE
qemu-img info --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: check IMAGE
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: check --output=json IMAGE
qemu-img check --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: map IMAGE
qemu-img map --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: map --output=json IMAGE
qemu-img map --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: measure IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: measure -O qcow2 IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts -O qcow2 driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: measure --output=json IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: snapshot -l IMAGE
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -l driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: resize IMAGE 2M
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x 2M
== qcow2: resize --shrink IMAGE 512k
qemu-img resize --object secret,id=s0,data=abc --image-opts --shrink driver=qcow2,encrypt.key-secret=s0,file.filename=x 512k
== qcow2: resize IMAGE +512k
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x +512k
== qcow2: convert IMAGE -O raw y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O raw y
== qcow2: convert IMAGE -O qcow2 y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O qcow2 y
== qcow2: without a key: check {}
qemu-img check x
== qcow2: with a wrong key: check {}
qemu-img check --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with a missing key: check {}
qemu-img check --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with no key named: check {}
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x
== qcow2: without a key: convert {} y
qemu-img convert x y
== qcow2: with a wrong key: convert {} y
qemu-img convert --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x y
== qcow2: with a missing key: convert {} y
qemu-img convert --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x y
== qcow2: with no key named: convert {} y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x y
== qcow2: without a key: snapshot -l {}
qemu-img snapshot -l x
== qcow2: with a wrong key: snapshot -l {}
qemu-img snapshot --object secret,id=s0,data=wrong --image-opts -l driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with a missing key: snapshot -l {}
qemu-img snapshot --image-opts -l driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with no key named: snapshot -l {}
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -l driver=qcow2,file.filename=x
== qcow2: without a key: snapshot -c s {}
qemu-img snapshot -c s x
== qcow2: with a wrong key: snapshot -c s {}
qemu-img snapshot --object secret,id=s0,data=wrong --image-opts -c s driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with a missing key: snapshot -c s {}
qemu-img snapshot --image-opts -c s driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with no key named: snapshot -c s {}
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -c s driver=qcow2,file.filename=x
== qcow2: without a key: map {}
qemu-img map x
== qcow2: with a wrong key: map {}
qemu-img map --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with a missing key: map {}
qemu-img map --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with no key named: map {}
qemu-img map --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x
== qcow2: without a key: info {}
qemu-img info x
== qcow2: with a wrong key: info {}
qemu-img info --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with a missing key: info {}
qemu-img info --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: with no key named: info {}
qemu-img info --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x
== qcow2: without a key: resize {} 2M
qemu-img resize x 2M
== qcow2: with a wrong key: resize {} 2M
qemu-img resize --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x 2M
== qcow2: with a missing key: resize {} 2M
qemu-img resize --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x 2M
== qcow2: with no key named: resize {} 2M
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x 2M
== qcow2: convert json
qemu-img convert --object secret,id=s0,data=abc 'json:{"driver":"qcow2","encrypt":{"key-secret":"s0"},"file":{"driver":"file","filename":"x"}}' -O raw y
== qcow2: snapshots
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -c s driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -a s driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -d s driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2: compare
qemu-img compare --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img compare --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x driver=raw,file.filename=x
== qcow2: dd
qemu-img dd --object secret,id=s0,data=abc --image-opts if=driver=qcow2,encrypt.key-secret=s0,file.filename=x of=y bs=64k count=4
== qcow2: write over it
! qemu-img create -q r 1M; qemu-io -f raw -c 'write -P 9 10k 5000' r > /dev/null
qemu-img convert --object secret,id=s0,data=abc -n --target-image-opts r driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O raw y
== qcow2: compress into it
! qemu-img create -q r 1M; qemu-io -f raw -c 'write -P 9 10k 5000' r > /dev/null
qemu-img convert -c --object secret,id=s0,data=abc -n --target-image-opts r driver=qcow2,encrypt.key-secret=s0,file.filename=x
~ status, stderr: QEMU stores packed clusters in the clear
~? images: QEMU stores packed clusters in the clear
!! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=s0 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -c 'write -P 7 100k 300k' -c 'write -z 512k 128k' > /dev/null
== aes: info IMAGE
qemu-img info --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: info --output=json IMAGE
qemu-img info --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: check IMAGE
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: check --output=json IMAGE
qemu-img check --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: map IMAGE
qemu-img map --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: map --output=json IMAGE
qemu-img map --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: measure IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: measure -O qcow2 IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts -O qcow2 driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: measure --output=json IMAGE
qemu-img measure --object secret,id=s0,data=abc --image-opts --output=json driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: snapshot -l IMAGE
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -l driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: resize IMAGE 2M
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x 2M
== aes: resize --shrink IMAGE 512k
qemu-img resize --object secret,id=s0,data=abc --image-opts --shrink driver=qcow2,encrypt.key-secret=s0,file.filename=x 512k
== aes: resize IMAGE +512k
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x +512k
== aes: convert IMAGE -O raw y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O raw y
== aes: convert IMAGE -O qcow2 y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O qcow2 y
== aes: without a key: check {}
qemu-img check x
== aes: with a wrong key: check {}
qemu-img check --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with a missing key: check {}
qemu-img check --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with no key named: check {}
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x
== aes: without a key: convert {} y
qemu-img convert x y
== aes: with a wrong key: convert {} y
qemu-img convert --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x y
== aes: with a missing key: convert {} y
qemu-img convert --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x y
== aes: with no key named: convert {} y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x y
== aes: without a key: snapshot -l {}
qemu-img snapshot -l x
== aes: with a wrong key: snapshot -l {}
qemu-img snapshot --object secret,id=s0,data=wrong --image-opts -l driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with a missing key: snapshot -l {}
qemu-img snapshot --image-opts -l driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with no key named: snapshot -l {}
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -l driver=qcow2,file.filename=x
== aes: without a key: snapshot -c s {}
qemu-img snapshot -c s x
== aes: with a wrong key: snapshot -c s {}
qemu-img snapshot --object secret,id=s0,data=wrong --image-opts -c s driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with a missing key: snapshot -c s {}
qemu-img snapshot --image-opts -c s driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with no key named: snapshot -c s {}
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -c s driver=qcow2,file.filename=x
== aes: without a key: map {}
qemu-img map x
== aes: with a wrong key: map {}
qemu-img map --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with a missing key: map {}
qemu-img map --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with no key named: map {}
qemu-img map --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x
== aes: without a key: info {}
qemu-img info x
== aes: with a wrong key: info {}
qemu-img info --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with a missing key: info {}
qemu-img info --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: with no key named: info {}
qemu-img info --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x
== aes: without a key: resize {} 2M
qemu-img resize x 2M
== aes: with a wrong key: resize {} 2M
qemu-img resize --object secret,id=s0,data=wrong --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x 2M
== aes: with a missing key: resize {} 2M
qemu-img resize --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x 2M
== aes: with no key named: resize {} 2M
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=x 2M
== aes: convert json
qemu-img convert --object secret,id=s0,data=abc 'json:{"driver":"qcow2","encrypt":{"key-secret":"s0"},"file":{"driver":"file","filename":"x"}}' -O raw y
== aes: snapshots
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -c s driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -a s driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img snapshot --object secret,id=s0,data=abc --image-opts -d s driver=qcow2,encrypt.key-secret=s0,file.filename=x
== aes: compare
qemu-img compare --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img compare --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x driver=raw,file.filename=x
== aes: dd
qemu-img dd --object secret,id=s0,data=abc --image-opts if=driver=qcow2,encrypt.key-secret=s0,file.filename=x of=y bs=64k count=4
== aes: write over it
! qemu-img create -q r 1M; qemu-io -f raw -c 'write -P 9 10k 5000' r > /dev/null
qemu-img convert --object secret,id=s0,data=abc -n --target-image-opts r driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O raw y
== aes: compress into it
! qemu-img create -q r 1M; qemu-io -f raw -c 'write -P 9 10k 5000' r > /dev/null
qemu-img convert -c --object secret,id=s0,data=abc -n --target-image-opts r driver=qcow2,encrypt.key-secret=s0,file.filename=x
~ status, stderr: QEMU stores packed clusters in the clear
~? images: QEMU stores packed clusters in the clear
"#;

const MORE: &str = r#"
!! qemu-img create -q r 4M; qemu-io -f raw -c 'write -P 9 1M 5000' r > /dev/null
== convert to luks key-secret=s0,iter-time=1
qemu-img convert --object secret,id=s0,data=abc -O luks -o key-secret=s0,iter-time=1 r y
== convert -c to luks key-secret=s0,iter-time=1
qemu-img convert -c --object secret,id=s0,data=abc -O luks -o key-secret=s0,iter-time=1 r y
== convert -S 0 to luks key-secret=s0,iter-time=1
qemu-img convert -S 0 --object secret,id=s0,data=abc -O luks -o key-secret=s0,iter-time=1 r y
== convert to qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 r y
== convert -c to qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 r y
== convert -S 0 to qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 r y
== convert to qcow2 encrypt.format=aes,encrypt.key-secret=s0
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s0 r y
== convert -c to qcow2 encrypt.format=aes,encrypt.key-secret=s0
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s0 r y
== convert -S 0 to qcow2 encrypt.format=aes,encrypt.key-secret=s0
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s0 r y
== convert to qcow2 encryption=on,encrypt.key-secret=s0
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encryption=on,encrypt.key-secret=s0 r y
== convert -c to qcow2 encryption=on,encrypt.key-secret=s0
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encryption=on,encrypt.key-secret=s0 r y
== convert -S 0 to qcow2 encryption=on,encrypt.key-secret=s0
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encryption=on,encrypt.key-secret=s0 r y
== convert to luks key-secret=zz
qemu-img convert --object secret,id=s0,data=abc -O luks -o key-secret=zz r y
== convert -c to luks key-secret=zz
qemu-img convert -c --object secret,id=s0,data=abc -O luks -o key-secret=zz r y
== convert -S 0 to luks key-secret=zz
qemu-img convert -S 0 --object secret,id=s0,data=abc -O luks -o key-secret=zz r y
== convert to luks cipher-alg=zz
qemu-img convert --object secret,id=s0,data=abc -O luks -o cipher-alg=zz r y
== convert -c to luks cipher-alg=zz
qemu-img convert -c --object secret,id=s0,data=abc -O luks -o cipher-alg=zz r y
== convert -S 0 to luks cipher-alg=zz
qemu-img convert -S 0 --object secret,id=s0,data=abc -O luks -o cipher-alg=zz r y
== convert to qcow2 encrypt.format=luks
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks r y
== convert -c to qcow2 encrypt.format=luks
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks r y
== convert -S 0 to qcow2 encrypt.format=luks
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks r y
== convert to qcow2 encrypt.key-secret=s0
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encrypt.key-secret=s0 r y
== convert -c to qcow2 encrypt.key-secret=s0
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encrypt.key-secret=s0 r y
== convert -S 0 to qcow2 encrypt.key-secret=s0
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encrypt.key-secret=s0 r y
== convert to qcow2 encrypt.format=luks,encrypt.cipher-alg=zz
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.cipher-alg=zz r y
== convert -c to qcow2 encrypt.format=luks,encrypt.cipher-alg=zz
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.cipher-alg=zz r y
== convert -S 0 to qcow2 encrypt.format=luks,encrypt.cipher-alg=zz
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.cipher-alg=zz r y
== convert to qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata
qemu-img convert --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata r y
== convert -c to qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata
qemu-img convert -c --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata r y
== convert -S 0 to qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata
qemu-img convert -S 0 --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,preallocation=metadata r y
== convert to luks without options
qemu-img convert -O luks r y
!!
== convert encrypted to encrypted
! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -c 'write -P 7 0 1M' > /dev/null
qemu-img convert --object secret,id=s0,data=abc --object secret,id=s1,data=def --image-opts driver=luks,key-secret=s0,file.filename=x -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s1,encrypt.iter-time=1 y
== convert -n without a key
! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 4M; qemu-img create -q r 4M
qemu-img convert -n -O luks r x
qemu-img convert -n r x
== measure luks 
qemu-img measure --object secret,id=s0,data=abc -O luks  --size 1G
== measure luks -o key-secret=s0
qemu-img measure --object secret,id=s0,data=abc -O luks -o key-secret=s0,iter-time=1 --size 1G
== measure luks -o key-secret=s0,cipher-alg=aes-128
qemu-img measure --object secret,id=s0,data=abc -O luks -o key-secret=s0,cipher-alg=aes-128,iter-time=1 --size 1G
== measure luks -o cipher-alg=foo
qemu-img measure --object secret,id=s0,data=abc -O luks -o cipher-alg=foo --size 1G
== measure luks -o detached-header=on,key-secret=s0
qemu-img measure --object secret,id=s0,data=abc -O luks -o detached-header=on,key-secret=s0 --size 1G
== measure luks -o key-secret=zz
qemu-img measure --object secret,id=s0,data=abc -O luks -o key-secret=zz --size 1G
== measure qcow2 encrypt.format=luks,encrypt.key-secret=s0
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 --size 1G
== measure qcow2 encrypt.format=luks
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks --size 1G
== measure qcow2 encrypt.format=aes
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=aes --size 1G
== measure qcow2 encrypt.format=foo
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=foo --size 1G
== measure qcow2 encrypt.cipher-alg=foo
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.cipher-alg=foo --size 1G
== measure qcow2 encrypt.format=luks,encrypt.cipher-alg=foo
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.cipher-alg=foo --size 1G
== measure qcow2 encryption=on
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encryption=on --size 1G
== measure qcow2 encrypt.format=luks,encrypt.key-secret=s0,encrypt.cipher-alg=aes-128,cluster_size=4k
qemu-img measure --object secret,id=s0,data=abc -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.cipher-alg=aes-128,cluster_size=4k,encrypt.iter-time=1 --size 1G
== options of the image
! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 x 1M; qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=s0 a 1M; qemu-img create -q -f qcow2 n 1M
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.format=luks,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.format=aes,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.foo=s0,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.foo=s0,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.format=luks,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.format=luks,file.filename=a
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.format=aes,file.filename=a
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.foo=s0,file.filename=a
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.foo=s0,file.filename=a
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.format=luks,file.filename=a
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=a
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.format=luks,file.filename=n
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.format=aes,file.filename=n
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.foo=s0,file.filename=n
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,encrypt.foo=s0,file.filename=n
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.format=luks,file.filename=n
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=n
== options of a volume
! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 1M
qemu-img map --output=json --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,foo=bar,file.filename=x
qemu-img map --output=json --object secret,id=s0,data=abc --image-opts driver=luks,encrypt.key-secret=s0,file.filename=x
qemu-img info --object secret,id=s0,data=abc -f luks --image-opts driver=luks,key-secret=s0,file.filename=x
== not a volume
! qemu-img create -q -f qcow2 n 1M; : > e
qemu-img info -f luks n
qemu-img info -f luks e
qemu-img info -f luks missing
== a detached header
! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -c 'write -P 7 0 1M' > /dev/null; head -c 2068480 x > h; printf '\0\0\0\0' | dd of=h bs=1 seek=104 conv=notrunc status=none; tail -c +2068481 x > p; rm x
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=p,header.filename=h -O raw y
qemu-img info --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=p,header.filename=h
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=p -O raw z
qemu-img info h
qemu-img resize --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=p,header.filename=h 2M
== a detached header that has a payload
! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -c 'write -P 7 0 1M' > /dev/null; head -c 2068480 x > h
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x,header.filename=h -O raw y
== an encrypted backing file
! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 b 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=b -c 'write -P 7 0 300k' > /dev/null; qemu-img create -q -f qcow2 -u -b b -F qcow2 t 1M
qemu-img convert -O raw t y
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=t,backing.encrypt.key-secret=s0 -O raw y
qemu-img map --output=json --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=t,backing.encrypt.key-secret=s0
qemu-img info --backing-chain t
qemu-img create --object secret,id=s0,data=abc -f qcow2 -b b -F qcow2 u
qemu-img create --object secret,id=s0,data=abc -f qcow2 -F qcow2 -b 'json:{"driver":"qcow2","encrypt.key-secret":"s0","file":{"driver":"file","filename":"b"}}' u
== commit and rebase
! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 b 1M; qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 -u -b b -F qcow2 t 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=t,backing.encrypt.key-secret=s0 -c 'write -P 7 0 300k' > /dev/null
qemu-img commit -d --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=t,backing.encrypt.key-secret=s0
qemu-img commit --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=t,backing.encrypt.key-secret=s0
qemu-img rebase --object secret,id=s0,data=abc -b '' --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=t,backing.encrypt.key-secret=s0
"#;

const AMEND: &str = r#"
!! qemu-img create -q -f luks --object secret,id=s0,data=abc -o key-secret=s0,iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=x -c 'write -P 7 0 1M' > /dev/null
== luks state=active
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active --image-opts driver=luks,key-secret=s0,file.filename=x
== luks iter-time=1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o iter-time=1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=foo
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=foo --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=zz,iter-time=1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=zz,iter-time=1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,old-secret=s0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,old-secret=s0 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,keyslot=0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,keyslot=0 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,keyslot=8
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,keyslot=8 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,keyslot=-1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,keyslot=-1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,keyslot=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,keyslot=x --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,keyslot=99999999999
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,keyslot=99999999999 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=active,new-secret=s1,iter-time=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,iter-time=x --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,new-secret=s1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,new-secret=s1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,new-secret=zz
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,new-secret=zz --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,iter-time=1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,iter-time=1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,keyslot=5
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=5 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,keyslot=9
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=9 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,keyslot=-1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=-1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,keyslot=1,old-secret=s0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=1,old-secret=s0 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,keyslot=0,old-secret=s1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=0,old-secret=s1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,old-secret=s1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,old-secret=s1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,old-secret=zz
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,old-secret=zz --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,old-secret=s0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,old-secret=s0 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks state=inactive,keyslot=0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=0 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks cipher-alg=aes-256
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o cipher-alg=aes-256 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks foo=1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o foo=1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks size=2M
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o size=2M --image-opts driver=luks,key-secret=s0,file.filename=x
== luks detached-header=on
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o detached-header=on --image-opts driver=luks,key-secret=s0,file.filename=x
== luks key-secret=s0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o key-secret=s0 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks nocow=on
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o nocow=on --image-opts driver=luks,key-secret=s0,file.filename=x
== luks keys
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1,iter-time=1 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s2,iter-time=1 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,old-secret=s1 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi --force -o state=active,new-secret=s1,iter-time=1,keyslot=2 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img info x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -q -o state=inactive,keyslot=0 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=inactive,keyslot=2 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img convert --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi --image-opts driver=luks,key-secret=s1,file.filename=x -O raw y
== luks forced
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi --force -o state=inactive,keyslot=0 --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img info x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o state=active,new-secret=s1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks progress
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -p -o state=active,new-secret=s1,iter-time=1 --image-opts driver=luks,key-secret=s0,file.filename=x
== luks command line
qemu-img amend -f luks x
qemu-img amend x
qemu-img amend -f luks -o state=active x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -f luks -o state=active --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend -o help
qemu-img amend -f foo -o help
qemu-img amend -f raw -o help
qemu-img amend -f raw -o size=2M x
qemu-img amend -f luks -o state=active x x
qemu-img amend -t foo -o state=active x
qemu-img amend -o , x
qemu-img amend -o help --image-opts driver=luks,key-secret=s0,file.filename=x
qemu-img amend -f luks -o help
~ stdout: the same options, described in other words
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o help --image-opts driver=luks,key-secret=s0,file.filename=x
~ stdout: the same options, described in other words
!! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 x 1M; qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=aes,encrypt.key-secret=s0 a 1M; qemu-img create -q -f qcow2 n 1M
== qcow2 encrypt.state=active
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=active --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.new-secret=s1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.new-secret=s1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.state=foo
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=foo --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.format=luks
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.format=luks --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encryption=on
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encryption=on --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.cipher-alg=aes-256
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.cipher-alg=aes-256 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.foo=1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.foo=1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.key-secret=s0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.key-secret=s0 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.state=inactive,encrypt.keyslot=0
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=inactive,encrypt.keyslot=0 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.state=inactive,encrypt.keyslot=8
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=inactive,encrypt.keyslot=8 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 encrypt.state=inactive,encrypt.old-secret=s1
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=inactive,encrypt.old-secret=s1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 keys
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=active,encrypt.new-secret=s1,encrypt.iter-time=1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=inactive,encrypt.old-secret=s0 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img info x
qemu-img check --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi --image-opts driver=qcow2,encrypt.key-secret=s1,file.filename=x
qemu-img check --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
== qcow2 without keys
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=active,encrypt.new-secret=s1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=a
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -o encrypt.state=active,encrypt.new-secret=s1 n
qemu-img amend --object secret,id=s0,data=abc --object secret,id=s1,data=def --object secret,id=s2,data=ghi -f qcow2 -o encrypt.state=active x
!!
== other changes
! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -c 'write -P 7 100k 300k' -c 'write -z 512k 128k' -c 'write -P 8 512k 1k' -c 'write -z 200k 64k' > /dev/null
qemu-img amend --object secret,id=s0,data=abc -o compat=0.10 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o compat=1.1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o refcount_bits=64 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o lazy_refcounts=on --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o size=2M --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img info x
== other changes over a backing file
! qemu-img create -q base.raw 1M; qemu-io -f raw -c 'write -P 9 0 1M' base.raw > /dev/null; qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1 -b base.raw -F raw x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -c 'write -P 7 100k 300k' -c 'write -z 512k 128k' -c 'write -P 8 512k 1k' -c 'write -z 200k 64k' > /dev/null
qemu-img amend --object secret,id=s0,data=abc -o compat=0.10 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o compat=1.1 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o refcount_bits=64 --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o lazy_refcounts=on --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img amend --object secret,id=s0,data=abc -o size=2M --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img info x
== LUKS version 2
! truncate -s 20M v; printf abc > k; cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file k v
qemu-img info v
qemu-img info -f luks v
~ status, stdout, stderr: version 2 can be read here
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=luks,key-secret=s0,file.filename=v -O raw y
~ status, stderr, images: version 2 can be read here
qemu-img amend --object secret,id=s0,data=abc --image-opts -o state=inactive,keyslot=0 driver=luks,key-secret=s0,file.filename=v
~ stderr, images: version 2 can be read here
== a data file
! qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,data_file=d x 1M; qemu-io --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -c 'write -P 7 100k 300k' -c 'write -z 512k 128k' -c 'write -P 8 512k 1k' > /dev/null
qemu-img map --output=json --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img check --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x
qemu-img convert --object secret,id=s0,data=abc --image-opts driver=qcow2,encrypt.key-secret=s0,file.filename=x -O raw y
qemu-img create --object secret,id=s0,data=abc -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,data_file=e z 1M
"#;
