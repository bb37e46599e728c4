//! `img compare` beside `qemu-img compare`.

use system_tests::peers::compare;

/// The same inputs for every case.
const INPUTS: &str = "! qemu-img create -q a.raw 4M; cp a.raw b.raw; \
    qemu-io -f raw -c 'write -P 3 1M 64k' a.raw >/dev/null; cp --sparse=always a.raw c.raw; \
    cp a.raw d.raw; truncate -s 5M d.raw; cp a.raw e.raw; truncate -s 6M e.raw; \
    printf X | dd of=e.raw bs=1 seek=5000000 conv=notrunc status=none; \
    cp a.raw f.raw; printf X | dd of=f.raw bs=1 seek=1048976 conv=notrunc status=none; \
    cp a.raw g.raw; printf X | dd of=g.raw bs=1 seek=3000000 conv=notrunc status=none; \
    qemu-img convert -O qcow2 a.raw a.q; qemu-img convert -c -O qcow2 a.raw ac.q; \
    qemu-img convert -O qcow2 e.raw e.q; cp a.q bad.q; cp ac.q badc.q; \
    qemu-io -f qcow2 -c 'write -P 4 2M 64k' bad.q >/dev/null; \
    qemu-img create -q -f qcow2 -b a.q -F qcow2 top.q; cp top.q top2.q; \
    qemu-io -f qcow2 -c 'write -P 3 1M 64k' top2.q >/dev/null; \
    qemu-img create -q -f qcow2 zero.q 4M; qemu-img create -q -f qcow2 zero2.q 4M; \
    qemu-io -f qcow2 -c 'write -z 0 4M' zero2.q >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 empty.raw; \
    qemu-img create -q -f qcow2 -o preallocation=metadata pre.q 4M; mkdir sub";

#[test]
fn compares_as_qemu_does() {
    let mut table = String::new();
    for line in CASES.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with('~') {
            table.push_str(&format!("== {line}\n{INPUTS}\nqemu-img compare "));
        }
        table.push_str(line);
        table.push('\n');
    }
    compare(&table).unwrap();
}

const CASES: &str = r"
a.raw c.raw
a.raw b.raw
b.raw a.raw
-s a.raw a.q
-s a.raw a.raw
-s a.q a.q
-s a.q ac.q
-s zero.q zero2.q
-s zero.q pre.q
zero.q zero2.q
zero.q pre.q
a.raw d.raw
d.raw a.raw
-s a.raw d.raw
-q -s a.raw d.raw
a.raw e.raw
e.raw a.raw
-q a.raw e.raw
a.raw f.raw
f.raw g.raw
a.raw g.raw
-p a.raw c.raw
-p a.raw f.raw
-p a.raw e.raw
-p -q a.raw c.raw
-p a.raw a.q
--progress a.q ac.q
a.raw ac.q
a.q e.q
a.q bad.q
top.q a.q
top.q top2.q
top2.q a.raw
-s top.q top2.q
-s top.q top.q
-U a.raw a.q
--force-share a.raw a.q
odd.raw empty.raw
odd.raw zero.q
empty.raw empty.raw
-q a.raw b.raw
-T none a.raw a.q
-T writeback a.raw b.raw
-T foo a.raw b.raw
--cache=foo a.raw nope
-f raw -F qcow2 a.raw a.q
-f raw a.q a.q
--a-format raw --b-format raw a.q a.q
--left-format=raw a.q a.q
--right-format=raw a.q a.q
-F nope a.raw b.raw
-f nope a.raw b.raw
-f qcow2 a.raw b.raw
-F qcow2 a.raw b.raw
nope b.raw
a.raw nope
nope nope2
sub a.raw
a.raw sub
'' a.raw
a.raw

a.raw b.raw c.raw
--foo a.raw b.raw
-x a.raw b.raw
-f
--cache
--quiet=1 a.raw b.raw
--image-opts driver=raw,file.filename=a.raw driver=qcow2,file.filename=a.q
--image-opts driver=raw,file.filename=a.raw driver=nope,file.filename=a.q
--image-opts -f raw a.raw b.raw
--image-opts -F raw driver=raw,file.filename=a.raw b.raw
--object secret,id=x,data=y a.raw a.raw
--object foo a.raw a.raw
file:a.raw file:a.q
foo:a.raw a.q
--strict --quiet a.raw a.q
-sq a.raw c.raw
-- a.raw b.raw
a.raw -q b.raw
";
