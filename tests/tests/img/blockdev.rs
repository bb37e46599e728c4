//! Options of nodes that change what a write leaves behind, beside qemu-img.

use system_tests::peers::compare;

#[test]
fn zeroes_and_discards() {
    compare(ZEROES).unwrap();
}

#[test]
fn overlaps() {
    let mut table = String::new();
    // The second cluster of the disk is where something else is already.
    for (place, cluster) in
        [("header", 0), ("refcount table", 1), ("refcount block", 2), ("L1", 3), ("L2", 4)]
    {
        for option in [
            "lazy-refcounts=off",
            "overlap-check=none",
            "overlap-check=constant",
            "overlap-check=cached",
            "overlap-check=all",
            "overlap-check.template=none",
            "overlap-check=none,overlap-check.active-l1=on",
            "overlap-check.active-l2=off",
            "overlap-check.refcount-block=off",
        ] {
            table += &format!(
                "== data over the {place} with {option}
                 ! qemu-img create -q -f qcow2 o 1M; qemu-io -c 'write 0 64k' o; printf '\\200\\0\\0\\0\\0\\0{cluster}\\0\\0' | sed 's/{cluster}/\\x0{cluster}/' | dd of=o bs=1 seek=262152 conv=notrunc status=none
                 qemu-img bench -q -w -c 1 -d 1 -s 65536 -o 65536 --pattern=7 --image-opts driver=qcow2,{option},file.filename=o >/dev/null 2>&1; echo $?
                 head -c 80 o | tail -c 8 | od -An -tx1
                "
            );
        }
    }
    compare(&table.replace("\n                 ", "\n").replace("\n                ", "\n")).unwrap();
}

#[test]
fn names_of_drivers() {
    let mut table = "!! qemu-img create -q -f raw b 1M; qemu-img create -q -f qcow2 q 1M\n".to_owned();
    for name in [
        "blkdebug",
        "blkverify",
        "bochs",
        "compress",
        "copy-on-read",
        "dmg",
        "fat",
        "file",
        "host_device",
        "nbd",
        "nbd+unix",
        "null-co",
        "nvme",
        "parallels",
        "qcow",
        "qed",
        "quorum",
        "raw",
        "replication",
        "snapshot-access",
        "throttle",
        "vdi",
        "vhdx",
        "vmdk",
        "vpc",
        "vvfat",
        "nope",
        "io_uring",
    ] {
        table += &format!("== the driver {name}\nqemu-img create -u -f qcow2 -b b -F {name} x 1M\n");
        table +=
            &format!("qemu-img rebase -u -b b -F {name} q\nqemu-img info {name}:zz 2>&1 | grep -c Unknown\n");
        if name != "raw" {
            table += &format!("qemu-img measure -O {name} --size 1M\n");
        }
    }
    compare(&table).unwrap();
}

const ZEROES: &str = r#"
!! qemu-img create -q -f qcow2 d 1M; qemu-io -c 'write -P 1 0 1M' d; cp d e; qemu-img create -q -f raw r 1M; qemu-io -f raw -c 'write -P 1 0 1M' r; qemu-img create -q -f qcow2 z 1M; qemu-io -c 'write -P 0 0 256k' -c 'write -P 5 512k 128k' z; qemu-img create -q -f qcow2 -b d -F qcow2 t; qemu-io -c 'write -z 0 128k' t
== bench writes zeroes
qemu-img bench -q -w -c 4 -d 1 -s 64k --image-opts driver=qcow2,file.filename=d >/dev/null
qemu-img map --output=json d
== bench writes zeroes that are detected
qemu-img bench -q -w -c 4 -d 1 -s 64k --image-opts driver=qcow2,detect-zeroes=on,file.filename=d >/dev/null
qemu-img map --output=json d
== bench writes zeroes that free their clusters
qemu-img bench -q -w -c 4 -d 1 -s 64k --image-opts driver=qcow2,discard=unmap,detect-zeroes=unmap,file.filename=d >/dev/null
qemu-img map --output=json d
== bench writes parts of clusters
qemu-img bench -q -w -c 4 -d 1 -s 4k -S 16k --image-opts driver=qcow2,discard=unmap,detect-zeroes=unmap,file.filename=d >/dev/null
qemu-img map --output=json d
== bench writes something
qemu-img bench -q -w -c 4 -d 1 -s 64k --pattern=9 --image-opts driver=qcow2,discard=unmap,detect-zeroes=unmap,file.filename=d >/dev/null
qemu-img map --output=json d
== zeroes in a raw image keep their space, or do not
qemu-img bench -q -w -c 4 -d 1 -s 64k --image-opts driver=raw,detect-zeroes=on,file.filename=r >/dev/null
qemu-img bench -q -w -c 4 -d 1 -s 64k -o 512k --image-opts driver=raw,detect-zeroes=unmap,discard=unmap,file.filename=r >/dev/null
qemu-img map --output=json -f raw r; du -k r | awk '{ print int($1 / 16) }'
== a file node that keeps its space
qemu-img bench -q -w -c 4 -d 1 -s 64k --image-opts driver=raw,detect-zeroes=unmap,discard=unmap,file.filename=r,file.discard=ignore >/dev/null
du -k r | awk '{ print int($1 / 16) }'
== a file node that detects
qemu-img bench -q -w -c 4 -d 1 -s 64k --image-opts driver=raw,file.filename=r,file.discard=unmap,file.detect-zeroes=unmap >/dev/null
du -k r | awk '{ print int($1 / 16) }'
== json
qemu-img bench -q -w -c 4 -d 1 -s 64k 'json:{"driver":"qcow2","discard":"unmap","detect-zeroes":"unmap","file":{"driver":"file","filename":"d"}}' >/dev/null
qemu-img map --output=json d
== convert to an image with discard
qemu-img convert -n --target-image-opts z driver=qcow2,discard=unmap,file.filename=d
qemu-img map --output=json d
== convert to an image without discard
qemu-img convert -n --target-image-opts z driver=qcow2,discard=ignore,file.filename=d
qemu-img map --output=json d
== convert to an image and say nothing of discard
qemu-img convert -n --target-image-opts z driver=qcow2,file.filename=d
qemu-img map --output=json d
== convert all data to an image that detects
qemu-img convert -n -S 0 --target-image-opts z driver=qcow2,discard=unmap,detect-zeroes=unmap,file.filename=d
qemu-img compare d z
== convert to a raw image without discard
qemu-img convert -n -f qcow2 --target-image-opts z driver=raw,discard=ignore,file.filename=r
du -k r | awk '{ print int($1 / 16) }'
== commit with discard
qemu-img commit -q --image-opts driver=qcow2,file.filename=t,backing.driver=qcow2,backing.file.filename=d,backing.discard=unmap
qemu-img map --output=json d
== commit without discard
qemu-img commit -q --image-opts driver=qcow2,file.filename=t,backing.driver=qcow2,backing.file.filename=d,backing.discard=ignore
qemu-img map --output=json d
== options that make no sense
qemu-img bench -q -w -c 1 --image-opts driver=qcow2,detect-zeroes=unmap,file.filename=d
qemu-img bench -q -w -c 1 --image-opts driver=qcow2,detect-zeroes=maybe,file.filename=d
qemu-img bench -q -w -c 1 --image-opts driver=qcow2,discard=maybe,file.filename=d
qemu-img bench -q -w -c 1 --image-opts driver=qcow2,overlap-check=some,file.filename=d
qemu-img bench -q -w -c 1 --image-opts driver=qcow2,overlap-check=none,overlap-check.template=all,file.filename=d
qemu-img bench -q -w -c 1 --image-opts driver=qcow2,overlap-check.main-header=1,file.filename=d
"#;
