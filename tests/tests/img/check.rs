//! `img check` beside `qemu-img check`.

use system_tests::peers::compare;

#[test]
fn check() {
    compare(CASES).unwrap();
}

const CASES: &str = r#"
!! qemu-img create -q base.raw 4M; qemu-io -f raw -c 'write -P 3 1M 1M' base.raw >/dev/null; truncate -s 1000 odd.raw; truncate -s 0 zero.raw; qemu-img create -q -f qcow2 s.q 8M; qemu-io -f qcow2 -c 'write -P 1 1M 3M' s.q >/dev/null; mkdir sub
== f.raw
qemu-img check f.raw
== s.q
qemu-img check s.q
== -f raw s.q
qemu-img check -f raw s.q
== -f nope s.q
qemu-img check -f nope s.q
== -f qcow2 base.raw
qemu-img check -f qcow2 base.raw
== nope
qemu-img check nope
== nothing
qemu-img check 
== a b
qemu-img check a b
== -r foo s.q
qemu-img check -r foo s.q
== -r leaks s.q
qemu-img check -r leaks s.q
== -r all s.q
qemu-img check -r all s.q
== -r all base.raw
qemu-img check -r all base.raw
== -q s.q
qemu-img check -q s.q
== -q base.raw
qemu-img check -q base.raw
== --output json s.q
qemu-img check --output json s.q
== --output json base.raw
qemu-img check --output json base.raw
== --output foo s.q
qemu-img check --output foo s.q
== -T foo s.q
qemu-img check -T foo s.q
== -T none s.q
qemu-img check -T none s.q
== -T directsync s.q
qemu-img check -T directsync s.q
== -T off -r all s.q
qemu-img check -T off -r all s.q
== -T unsafe s.q
qemu-img check -T unsafe s.q
== -T
qemu-img check -T
== -U s.q
qemu-img check -U s.q
== -U -r all s.q
qemu-img check -U -r all s.q
== --image-opts driver=qcow2,file.filename=s.q
qemu-img check --image-opts driver=qcow2,file.filename=s.q
== --image-opts -f qcow2 s.q
qemu-img check --image-opts -f qcow2 s.q
== --r all s.q
qemu-img check --r all s.q
== --output=json -q s.q
qemu-img check --output=json -q s.q
== -r all --output json -q s.q
qemu-img check -r all --output json -q s.q
== /
qemu-img check /
== -r all --output json s.q
qemu-img check -r all --output json s.q
== zero.raw
qemu-img check zero.raw
== odd.raw
qemu-img check odd.raw
== --rep=leaks s.q
qemu-img check --rep=leaks s.q
== -x
qemu-img check -x
== --
qemu-img check --
== -f qcow2 zero.raw
qemu-img check -f qcow2 zero.raw
== -f qcow2 odd.raw
qemu-img check -f qcow2 odd.raw
== -f vmdk s.q
qemu-img check -f vmdk s.q
~ stderr: the format is not known here, so it is not looked for in the file
== --force s.q
qemu-img check --force s.q
== --cache=none s.q
qemu-img check --cache=none s.q
== base.raw s.q
qemu-img check base.raw s.q
== file:s.q
qemu-img check file:s.q
== foo:s.q
qemu-img check foo:s.q
== ''
qemu-img check ''
== -p s.q
qemu-img check -p s.q
== -s s.q
qemu-img check -s s.q
== --output s.q
qemu-img check --output s.q
"#;
