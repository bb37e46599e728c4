//! `img bench` beside `qemu-img bench`.

use system_tests::peers::compare;

#[test]
fn bench() {
    compare(&BENCH.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#"qemu-img create -q -f raw a.raw 1M; qemu-io -f raw -c 'write -P 3 128k 100k' a.raw; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q 2M; qemu-io -c 'write -P 5 64k 70k' -c 'write -z 300k 128k' t.q; qemu-img create -q -f qcow2 -b t.q -F qcow2 u.q 3M;  qemu-io -c 'write -P 6 1200k 70k' u.q; qemu-img create -q -f qcow2 -o preallocation=metadata pm.q 5M; qemu-img create -q -f qcow2 -o preallocation=falloc pf.q 5M; qemu-img create -q -f qcow2 -o cluster_size=512 c5.q 1M; qemu-io -c 'write 0 5k' -c 'write 100k 1' -c 'discard 1k 1k' c5.q; qemu-img convert -O qcow2 -c a.raw cc.q; truncate -s 0 e.raw; qemu-img create -q -f qcow2 e.q 0; truncate -s 1000 odd.raw; qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M; qemu-io -c 'write 0 5k' v2.q; qemu-img create -q -f qcow2 sn.q 1M; qemu-io -c 'write 0 5k' sn.q; qemu-img snapshot -c x sn.q; qemu-io -c 'write 400k 200k' sn.q; qemu-img bitmap --add sn.q bb; qemu-img bitmap --add -g 512 sn.q b2"#;

const BENCH: &str = r#"
!! SETUP
== bench -f raw -c 16 -w --pattern 5 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -f raw -c 16 -w --pattern 5 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 16 -w --pattern 256 a.raw
qemu-img bench -c 16 -w --pattern 256 a.raw
== bench -c 16 -w --pattern x a.raw
qemu-img bench -c 16 -w --pattern x a.raw
== bench -c 16 -w --flush-interval 4 a.raw
qemu-img bench -c 16 -w --flush-interval 4 a.raw
== bench -c 16 -w --flush-interval 4 -d 8 a.raw
qemu-img bench -c 16 -w --flush-interval 4 -d 8 a.raw
== bench -f raw -c 16 -w --flush-interval 8 --no-drain -d 8 a.raw | sed 's/[0-9.]* seconds/N 
qemu-img bench -f raw -c 16 -w --flush-interval 8 --no-drain -d 8 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -f raw -c 100 -w --flush-interval 8 -d 8 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -f raw -c 100 -w --flush-interval 8 -d 8 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 16 --flush-interval 4 a.raw
qemu-img bench -c 16 --flush-interval 4 a.raw
== bench -c 16 --no-drain a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 16 --no-drain a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 16 -w --flush-interval 4 -d 4 -n a.raw
qemu-img bench -c 16 -w --flush-interval 4 -d 4 -n a.raw
== bench -c 16 -d 0 a.raw
qemu-img bench -c 16 -d 0 a.raw
== bench -c 16 -d x a.raw
qemu-img bench -c 16 -d x a.raw
== bench -c 0 a.raw
qemu-img bench -c 0 a.raw
== bench -c -1 a.raw
qemu-img bench -c -1 a.raw
== bench -c x a.raw
qemu-img bench -c x a.raw
== bench -s 0 a.raw
qemu-img bench -s 0 a.raw
== bench -c 10 -s 1000 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -s 1000 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -s 2M a.raw
qemu-img bench -c 10 -s 2M a.raw
== bench -c 10 -s 4G a.raw
qemu-img bench -c 10 -s 4G a.raw
== bench -c 10 -s x a.raw
qemu-img bench -c 10 -s x a.raw
== bench -c 10 -S 4097 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -S 4097 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -S x a.raw
qemu-img bench -c 10 -S x a.raw
== bench -c 10 -o 1 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -o 1 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -o 2M a.raw
qemu-img bench -c 10 -o 2M a.raw
== bench -c 10 -o -1 a.raw
qemu-img bench -c 10 -o -1 a.raw
== bench -c 10 -o x a.raw
qemu-img bench -c 10 -o x a.raw
== bench -c 10 -i threads a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -i threads a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -i foo a.raw
qemu-img bench -c 10 -i foo a.raw
== bench -c 10 -i native a.raw
qemu-img bench -c 10 -i native a.raw
== bench -c 10 -i native -t none a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -i native -t none a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -n -t directsync -w b.q | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -n -t directsync -w b.q | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -t writethrough --pattern 7 -w b.q | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -t writethrough --pattern 7 -w b.q | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -t unsafe --pattern 7 -w b.q | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -t unsafe --pattern 7 -w b.q | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -t none -s 1000 --pattern 7 -w b.q | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -t none -s 1000 --pattern 7 -w b.q | sed 's/[0-9.]* seconds/N seconds/'
== bench -c 10 -t foo a.raw
qemu-img bench -c 10 -t foo a.raw
== bench -c 10 -q a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 10 -q a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -U -c 10 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -U -c 10 a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench -U -w -c 10 a.raw
qemu-img bench -U -w -c 10 a.raw
== bench
qemu-img bench
== bench a b
qemu-img bench a b
== bench nope
qemu-img bench nope
== bench -c 10 e.raw
qemu-img bench -c 10 e.raw
== bench -c 3 -w a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 3 -w a.raw | sed 's/[0-9.]* seconds/N seconds/'
== bench --image-opts -c 10 driver=qcow2,file.filename=b.q | sed 's/[0-9.]* seconds/N seconds
qemu-img bench --image-opts -c 10 driver=qcow2,file.filename=b.q | sed 's/[0-9.]* seconds/N seconds/'
== bench --image-opts -f raw -c 10 driver=qcow2,file.filename=b.q
qemu-img bench --image-opts -f raw -c 10 driver=qcow2,file.filename=b.q
== bench -c 1000 -s 64k -S 65536 -d 4 a.raw | sed 's/[0-9.]* seconds/N seconds/'
qemu-img bench -c 1000 -s 64k -S 65536 -d 4 a.raw | sed 's/[0-9.]* seconds/N seconds/'
"#;
