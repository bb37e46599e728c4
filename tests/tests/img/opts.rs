//! What may name an image: file names, `json:`, `--image-opts`, headers; beside qemu-img.

use system_tests::peers::compare;

#[test]
fn names_and_options() {
    compare(&CASES.replace("SETUP", SETUP)).unwrap();
}

#[test]
fn objects() {
    compare(&OBJECTS.replace("SETUP", SETUP)).unwrap();
}

const SETUP: &str = r#"qemu-img create -q -f raw a.raw 1M; qemu-img create -q -f qcow2 b.q 1M;qemu-img create -q -f qcow2 -b a.raw -F raw t.q; mkdir sub; qemu-img create -q -f qcow2 -b ../t.q -F qcow2 sub/u.q; qemu-img create -q -f qcow2 -u -b 'json:{"driver":"raw","offset":512,"file.filename":"a.raw"}' -F raw j.q 1M; echo -n secret > pw;qemu-img create -q -f qcow2 -u -b file:a.raw -F raw fp.q 1M; qemu-img create -q -f qcow2 -u -b nope -F raw miss.q 1M; qemu-img create -q -f qcow2 -u -b s.q -F qcow2 s.q 1M;qemu-img create -q -f qcow2 sn.q 1M; qemu-img bitmap --add sn.q bb; cp b.q a:b; truncate -s 1000 odd.raw"#;

const CASES: &str = r#"
!! SETUP
== info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q"},
qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q"},"foo":1}'
== info 'json:{"driver":"qcow2","file.driver":"file","file.filename":"b.q"
qemu-img info 'json:{"driver":"qcow2","file.driver":"file","file.filename":"b.q"}'
== info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q"},
qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q"},"file.foo":1}'
== info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q"},
qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q"},"backing":null}'
== info 'json:{"driver":"qcow2","file":"b.q"}'
qemu-img info 'json:{"driver":"qcow2","file":"b.q"}'
== info 'json:{"driver":"qcow2"}'
qemu-img info 'json:{"driver":"qcow2"}'
== info 'json:{"driver":"nope"}'
qemu-img info 'json:{"driver":"nope"}'
== info 'json:{"driver":"file"}'
qemu-img info 'json:{"driver":"file"}'
== info 'json:{"driver":"file","filename":"b.q"}'
qemu-img info 'json:{"driver":"file","filename":"b.q"}'
== info 'json:{"filename":"b.q"}'
qemu-img info 'json:{"filename":"b.q"}'
== info 'json:{"file":{"filename":"b.q"}}'
qemu-img info 'json:{"file":{"filename":"b.q"}}'
== info 'json:{"file":{"filename":"json:{}"}}'
qemu-img info 'json:{"file":{"filename":"json:{}"}}'
== info 'json:'
qemu-img info 'json:'
== info 'json:{'
qemu-img info 'json:{'
== info 'json:{]'
qemu-img info 'json:{]'
== info 'json:[]'
qemu-img info 'json:[]'
== info 'json:1'
qemu-img info 'json:1'
== info "json:{'driver':'raw','file':{'driver':'file','filename':'a.raw'}}
qemu-img info "json:{'driver':'raw','file':{'driver':'file','filename':'a.raw'}}"
== info 'json:{"driver":1}'
qemu-img info 'json:{"driver":1}'
== info 'json:{"driver":true}'
qemu-img info 'json:{"driver":true}'
== info 'json:{"driver":null}'
qemu-img info 'json:{"driver":null}'
== info 'json:{"driver":"raw","file":{"driver":"file","filename":1}}'
qemu-img info 'json:{"driver":"raw","file":{"driver":"file","filename":1}}'
== info 'json:{"driver":"raw","size":"512","file":{"driver":"file","filena
qemu-img info 'json:{"driver":"raw","size":"512","file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","size":512,"offset":512,"file":{"driver":"fi
qemu-img info 'json:{"driver":"raw","size":512,"offset":512,"file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","size":513,"file":{"driver":"file","filename
qemu-img info 'json:{"driver":"raw","size":513,"file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","offset":513,"file":{"driver":"file","filena
qemu-img info 'json:{"driver":"raw","offset":513,"file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","offset":5120000,"file":{"driver":"file","fi
qemu-img info 'json:{"driver":"raw","offset":5120000,"file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","size":51200000,"file":{"driver":"file","fil
qemu-img info 'json:{"driver":"raw","size":51200000,"file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","size":"x","file":{"driver":"file","filename
qemu-img info 'json:{"driver":"raw","size":"x","file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"raw","size":"1k","file":{"driver":"file","filenam
qemu-img info 'json:{"driver":"raw","size":"1k","file":{"driver":"file","filename":"a.raw"}}'
== info 'json:{"driver":"null-co"}'
qemu-img info 'json:{"driver":"null-co"}'
== info 'json:{"driver":"null-co","size":"1G"}'
qemu-img info 'json:{"driver":"null-co","size":"1G"}'
== info 'json:{"driver":"null-co","read-zeroes":true}'
qemu-img info 'json:{"driver":"null-co","read-zeroes":true}'
== info 'null-co://'
qemu-img info 'null-co://'
== info 'null-co://x'
qemu-img info 'null-co://x'
== info 'json:{"driver":"qcow2","lazy-refcounts":"x","file":{"driver":"fil
qemu-img info 'json:{"driver":"qcow2","lazy-refcounts":"x","file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","lazy-refcounts":1,"file":{"driver":"file"
qemu-img info 'json:{"driver":"qcow2","lazy-refcounts":1,"file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","read-only":1,"file":{"driver":"file","fil
qemu-img info 'json:{"driver":"qcow2","read-only":1,"file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","discard":"foo","file":{"driver":"file","f
qemu-img info 'json:{"driver":"qcow2","discard":"foo","file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","detect-zeroes":"foo","file":{"driver":"fi
qemu-img info 'json:{"driver":"qcow2","detect-zeroes":"foo","file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","detect-zeroes":"unmap","file":{"driver":"
qemu-img info 'json:{"driver":"qcow2","detect-zeroes":"unmap","file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","cache.direct":"foo","file":{"driver":"fil
qemu-img info 'json:{"driver":"qcow2","cache.direct":"foo","file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","cache":{"direct":true},"file":{"driver":"
qemu-img info 'json:{"driver":"qcow2","cache":{"direct":true},"file":{"driver":"file","filename":"b.q","locking":"foo"}}'
== info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q","
qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q","aio":"foo"}}'
== info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q","
qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"b.q","aio":"native"}}'
== info 'json:{"driver":"qcow2","node-name":"x y","file":{"driver":"file",
qemu-img info 'json:{"driver":"qcow2","node-name":"x y","file":{"driver":"file","filename":"b.q"}}'
== info 'json:{"driver":"qcow2","node-name":"x","file":{"driver":"file","f
qemu-img info 'json:{"driver":"qcow2","node-name":"x","file":{"driver":"file","filename":"b.q","node-name":"x"}}'
== info --image-opts driver=qcow2,file.filename=b.q,foo=1
qemu-img info --image-opts driver=qcow2,file.filename=b.q,foo=1
== info --image-opts file.filename=b.q
qemu-img info --image-opts file.filename=b.q
== info --image-opts filename=b.q
qemu-img info --image-opts filename=b.q
== info --image-opts driver=qcow2,filename=b.q
qemu-img info --image-opts driver=qcow2,filename=b.q
== info --image-opts driver=raw,filename=b.q
qemu-img info --image-opts driver=raw,filename=b.q
== info --image-opts driver=file,filename=b.q
qemu-img info --image-opts driver=file,filename=b.q
== info --image-opts driver=file,filename=b.q,file.filename=b.q
qemu-img info --image-opts driver=file,filename=b.q,file.filename=b.q
== info --image-opts b.q
qemu-img info --image-opts b.q
== info --image-opts file=b.q
qemu-img info --image-opts file=b.q
== info --image-opts driver=qcow2,file=b.q
qemu-img info --image-opts driver=qcow2,file=b.q
== info --image-opts driver=qcow2,file.filename=nope
qemu-img info --image-opts driver=qcow2,file.filename=nope
== info --image-opts driver=qcow2,file.driver=qcow2,file.file.filename=b.q
qemu-img info --image-opts driver=qcow2,file.driver=qcow2,file.file.filename=b.q
== info --image-opts driver=qcow2,file.driver=raw,file.file.filename=b.q
qemu-img info --image-opts driver=qcow2,file.driver=raw,file.file.filename=b.q
== info --image-opts driver=raw,file.driver=qcow2,file.file.filename=b.q
qemu-img info --image-opts driver=raw,file.driver=qcow2,file.file.filename=b.q
== info --image-opts driver=qcow2,file.driver=raw,file.offset=512,file.fil
qemu-img info --image-opts driver=qcow2,file.driver=raw,file.offset=512,file.file.filename=b.q
== info --image-opts ""
qemu-img info --image-opts ""
== info --image-opts ","
qemu-img info --image-opts ","
== info --image-opts "driver"
qemu-img info --image-opts "driver"
== info --image-opts "driver="
qemu-img info --image-opts "driver="
== info --image-opts "driver=qcow2"
qemu-img info --image-opts "driver=qcow2"
== info --image-opts "driver=qcow2,,"
qemu-img info --image-opts "driver=qcow2,,"
== info --image-opts "driver=qcow2,=x"
qemu-img info --image-opts "driver=qcow2,=x"
== info --image-opts "driver=qcow2,file.filename=b.q,read-only"
qemu-img info --image-opts "driver=qcow2,file.filename=b.q,read-only"
== info --image-opts "driver=qcow2,file.filename=b.q,noread-only"
qemu-img info --image-opts "driver=qcow2,file.filename=b.q,noread-only"
== info --image-opts "driver=qcow2,file.filename=b.q,backing=x"
qemu-img info --image-opts "driver=qcow2,file.filename=b.q,backing=x"
== info --image-opts "driver=qcow2,file.filename=b.q,backing="
qemu-img info --image-opts "driver=qcow2,file.filename=b.q,backing="
== info --image-opts "driver=qcow2,file.filename=t.q,backing="
qemu-img info --image-opts "driver=qcow2,file.filename=t.q,backing="
== info --backing-chain --image-opts "driver=qcow2,file.filename=t.q,backi
qemu-img info --backing-chain --image-opts "driver=qcow2,file.filename=t.q,backing="
== info --backing-chain --image-opts "driver=qcow2,file.filename=t.q,backi
qemu-img info --backing-chain --image-opts "driver=qcow2,file.filename=t.q,backing.driver=raw,backing.file.filename=b.q"
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.dri
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.driver=qcow2,backing.file.filename=b.q" o1
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.fil
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.file.filename=nope" o2
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.dri
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.driver=nope" o2
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.dri
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.driver=qcow2" o2
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.foo
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing.foo=qcow2" o2
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing=" o
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing=" o2
== convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing=b" 
qemu-img convert -O raw --image-opts "driver=qcow2,file.filename=t.q,backing=b" o2
== convert -O raw --image-opts "driver=raw,file.filename=a.raw,backing.dri
qemu-img convert -O raw --image-opts "driver=raw,file.filename=a.raw,backing.driver=raw" o2
== convert -O raw --image-opts "driver=raw,file.filename=a.raw,backing=" o
qemu-img convert -O raw --image-opts "driver=raw,file.filename=a.raw,backing=" o2
== info -f qcow2 'json:{"driver":"qcow2","file.filename":"b.q"}'
qemu-img info -f qcow2 'json:{"driver":"qcow2","file.filename":"b.q"}'
== info -f raw 'json:{"driver":"qcow2","file.filename":"b.q"}'
qemu-img info -f raw 'json:{"driver":"qcow2","file.filename":"b.q"}'
== info -f nope 'json:{"driver":"qcow2","file.filename":"b.q"}'
qemu-img info -f nope 'json:{"driver":"qcow2","file.filename":"b.q"}'
== info -f qcow2 'json:{"file.filename":"b.q"}'
qemu-img info -f qcow2 'json:{"file.filename":"b.q"}'
== info -f file b.q
qemu-img info -f file b.q
== info -f null-co b.q
qemu-img info -f null-co b.q
== info -f raw null-co://
qemu-img info -f raw null-co://
== info 'json:{"driver":"raw","file":{"driver":"null-co","size":65536}}'
qemu-img info 'json:{"driver":"raw","file":{"driver":"null-co","size":65536}}'
== info -U 'json:{"driver":"qcow2","file.filename":"b.q","force-share":fal
qemu-img info -U 'json:{"driver":"qcow2","file.filename":"b.q","force-share":false}'
== info 'json:{"driver":"qcow2","file.filename":"b.q","force-share":true}'
qemu-img info 'json:{"driver":"qcow2","file.filename":"b.q","force-share":true}'
== resize 'json:{"driver":"qcow2","file.filename":"b.q","force-share":true
qemu-img resize 'json:{"driver":"qcow2","file.filename":"b.q","force-share":true}' 1M
== resize 'json:{"driver":"qcow2","file.filename":"b.q","read-only":true}'
qemu-img resize 'json:{"driver":"qcow2","file.filename":"b.q","read-only":true}' 1M
== resize 'json:{"driver":"qcow2","file.filename":"b.q","file.read-only":t
qemu-img resize 'json:{"driver":"qcow2","file.filename":"b.q","file.read-only":true}' 1M
== info --image-opts driver=qcow2,file.filename=b.q,overlap-check=foo
qemu-img info --image-opts driver=qcow2,file.filename=b.q,overlap-check=foo
== info --image-opts driver=qcow2,file.filename=b.q,overlap-check=none
qemu-img info --image-opts driver=qcow2,file.filename=b.q,overlap-check=none
== info --image-opts driver=qcow2,file.filename=b.q,overlap-check.template
qemu-img info --image-opts driver=qcow2,file.filename=b.q,overlap-check.template=foo
== info --image-opts driver=qcow2,file.filename=b.q,overlap-check=none,ove
qemu-img info --image-opts driver=qcow2,file.filename=b.q,overlap-check=none,overlap-check.template=all
== info --image-opts driver=qcow2,file.filename=b.q,overlap-check.main-hea
qemu-img info --image-opts driver=qcow2,file.filename=b.q,overlap-check.main-header=foo
== info --image-opts driver=qcow2,file.filename=b.q,overlap-check.foo=on
qemu-img info --image-opts driver=qcow2,file.filename=b.q,overlap-check.foo=on
== info --image-opts driver=qcow2,file.filename=b.q,cache-size=1
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-size=1
== info --image-opts driver=qcow2,file.filename=b.q,cache-size=1M,l2-cache
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-size=1M,l2-cache-size=2M
== info --image-opts driver=qcow2,file.filename=b.q,cache-size=1M,refcount
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-size=1M,refcount-cache-size=2M
== info --image-opts driver=qcow2,file.filename=b.q,cache-size=1M,refcount
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-size=1M,refcount-cache-size=64k,l2-cache-size=64k
== info --image-opts driver=qcow2,file.filename=b.q,l2-cache-size=x
qemu-img info --image-opts driver=qcow2,file.filename=b.q,l2-cache-size=x
== info --image-opts driver=qcow2,file.filename=b.q,l2-cache-size=1E
qemu-img info --image-opts driver=qcow2,file.filename=b.q,l2-cache-size=1E
== info --image-opts driver=qcow2,file.filename=b.q,l2-cache-entry-size=10
qemu-img info --image-opts driver=qcow2,file.filename=b.q,l2-cache-entry-size=1000
== info --image-opts driver=qcow2,file.filename=b.q,l2-cache-entry-size=12
qemu-img info --image-opts driver=qcow2,file.filename=b.q,l2-cache-entry-size=128k
== info --image-opts driver=qcow2,file.filename=b.q,cache-clean-interval=x
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-clean-interval=x
== info --image-opts driver=qcow2,file.filename=b.q,cache-clean-interval=-
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-clean-interval=-1
== info --image-opts driver=qcow2,file.filename=b.q,cache-clean-interval=9
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache-clean-interval=99999999999
== info --image-opts driver=qcow2,file.filename=b.q,discard-no-unref=on
qemu-img info --image-opts driver=qcow2,file.filename=b.q,discard-no-unref=on
== info --image-opts driver=qcow2,file.filename=b.q,encrypt.format=luks
qemu-img info --image-opts driver=qcow2,file.filename=b.q,encrypt.format=luks
== info --image-opts driver=qcow2,file.filename=b.q,encrypt.key-secret=s0
qemu-img info --image-opts driver=qcow2,file.filename=b.q,encrypt.key-secret=s0
== info --image-opts driver=qcow2,file.filename=b.q,encrypt.foo=s0
qemu-img info --image-opts driver=qcow2,file.filename=b.q,encrypt.foo=s0
== info --image-opts driver=qcow2,file.filename=b.q,data-file.filename=a.r
qemu-img info --image-opts driver=qcow2,file.filename=b.q,data-file.filename=a.raw
== convert --image-opts driver=qcow2,file.filename=b.q,data-file.filename=
qemu-img convert --image-opts driver=qcow2,file.filename=b.q,data-file.filename=a.raw o3
== convert --image-opts driver=qcow2,file.filename=b.q,data-file= o3
qemu-img convert --image-opts driver=qcow2,file.filename=b.q,data-file= o3
== info --image-opts driver=qcow2,file.filename=b.q,file.locking=off
qemu-img info --image-opts driver=qcow2,file.filename=b.q,file.locking=off
== info --image-opts driver=qcow2,file.filename=b.q,file.locking=on,file.a
qemu-img info --image-opts driver=qcow2,file.filename=b.q,file.locking=on,file.aio=threads,file.drop-cache=off
== info --image-opts driver=qcow2,file.filename=b.q,file.aio-max-batch=x
qemu-img info --image-opts driver=qcow2,file.filename=b.q,file.aio-max-batch=x
== info --image-opts driver=qcow2,file.filename=b.q,file.pr-manager=x
qemu-img info --image-opts driver=qcow2,file.filename=b.q,file.pr-manager=x
== info --image-opts driver=qcow2,file.filename=b.q,file.aio=io_uring
qemu-img info --image-opts driver=qcow2,file.filename=b.q,file.aio=io_uring
== info --image-opts driver=qcow2,file.filename=b.q,file.aio=native,cache.
qemu-img info --image-opts driver=qcow2,file.filename=b.q,file.aio=native,cache.direct=on
== info --image-opts driver=qcow2,file.filename=b.q,cache.no-flush=on,auto
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache.no-flush=on,auto-read-only=on,discard=unmap,detect-zeroes=unmap
== info --image-opts driver=qcow2,file.filename=b.q,discard=on
qemu-img info --image-opts driver=qcow2,file.filename=b.q,discard=on
== info --image-opts driver=qcow2,file.filename=b.q,cache.foo=on
qemu-img info --image-opts driver=qcow2,file.filename=b.q,cache.foo=on
== info --image-opts driver=qcow2,file.driver=host_device,file.filename=b.
qemu-img info --image-opts driver=qcow2,file.driver=host_device,file.filename=b.q
== info -f raw .
qemu-img info -f raw .
== info ''
qemu-img info ''
== info foo:bar
qemu-img info foo:bar
== info file:b.q
qemu-img info file:b.q
== info file:a:b
qemu-img info file:a:b
== info ./a:b
qemu-img info ./a:b
== info a:b
qemu-img info a:b
== info -f qcow2 a.raw
qemu-img info -f qcow2 a.raw
== info --image-opts driver=null-co,size=100,latency-ns=5
qemu-img info --image-opts driver=null-co,size=100,latency-ns=5
== info --image-opts driver=null-co,foo=1
qemu-img info --image-opts driver=null-co,foo=1
== info --image-opts driver=null-co,latency-ns=-5
qemu-img info --image-opts driver=null-co,latency-ns=-5
== info --output=json t.q
qemu-img info --output=json t.q
== info --output=json --image-opts driver=raw,offset=512,file.filename=a.r
qemu-img info --output=json --image-opts driver=raw,offset=512,file.filename=a.raw
== info --image-opts driver=raw,file.driver=raw,file.offset=512,file.file.
qemu-img info --image-opts driver=raw,file.driver=raw,file.offset=512,file.file.filename=a.raw
== info null-co://
qemu-img info null-co://
== info --output=json null-co://
qemu-img info --output=json null-co://
== info --backing-chain t.q
qemu-img info --backing-chain t.q
== info --backing-chain --output=json t.q
qemu-img info --backing-chain --output=json t.q
== info --backing-chain sub/u.q
qemu-img info --backing-chain sub/u.q
== cd sub; qemu-img info --backing-chain u.q
cd sub; qemu-img info --backing-chain u.q
== cd sub; qemu-img info --backing-chain --output=json u.q
cd sub; qemu-img info --backing-chain --output=json u.q
== info sub/u.q
qemu-img info sub/u.q
== info j.q
qemu-img info j.q
== info -b j.q
qemu-img info -b j.q
== info --output=json -b j.q
qemu-img info --output=json -b j.q
== info fp.q
qemu-img info fp.q
== info -b fp.q
qemu-img info -b fp.q
== info miss.q
qemu-img info miss.q
== info -b miss.q
qemu-img info -b miss.q
== info --output json -b miss.q
qemu-img info --output json -b miss.q
== info s.q
qemu-img info s.q
== info -b s.q
qemu-img info -b s.q
== info sn.q
qemu-img info sn.q
== info --output json sn.q
qemu-img info --output json sn.q
== info odd.raw
qemu-img info odd.raw
== info --output json -f file odd.raw
qemu-img info --output json -f file odd.raw
== info -b --image-opts driver=qcow2,file.filename=t.q
qemu-img info -b --image-opts driver=qcow2,file.filename=t.q
== info -f qcow2 --image-opts driver=qcow2,file.filename=t.q
qemu-img info -f qcow2 --image-opts driver=qcow2,file.filename=t.q
== info a b
qemu-img info a b
== info
qemu-img info
== info --output=x a
qemu-img info --output=x a
"#;

const OBJECTS: &str = r#"
!! SETUP
== info --object secret,id=s0,data=abc b.q
qemu-img info --object secret,id=s0,data=abc b.q
== info --object secret b.q
qemu-img info --object secret b.q
== info --object secret,data=x b.q
qemu-img info --object secret,data=x b.q
== info --object foo,id=s0 b.q
qemu-img info --object foo,id=s0 b.q
== info --object secret,id=s0 b.q
qemu-img info --object secret,id=s0 b.q
== info --object secret,id=s0,data=a,file=b b.q
qemu-img info --object secret,id=s0,data=a,file=b b.q
== info --object secret,id=s0,file=nope b.q
qemu-img info --object secret,id=s0,file=nope b.q
== info --object secret,id=s0,file=pw b.q
qemu-img info --object secret,id=s0,file=pw b.q
== info --object secret,id=s0,file=/ b.q
qemu-img info --object secret,id=s0,file=/ b.q
== info --object secret,id=s0,data=abc,format=nope b.q
qemu-img info --object secret,id=s0,data=abc,format=nope b.q
== info --object secret,id=s0,data=abc,format=base64 b.q
qemu-img info --object secret,id=s0,data=abc,format=base64 b.q
== info --object secret,id=s0,data=a#c,format=base64 b.q
qemu-img info --object secret,id=s0,data=a#c,format=base64 b.q
== info --object secret,id=s0,data=YWJj,format=base64 b.q
qemu-img info --object secret,id=s0,data=YWJj,format=base64 b.q
== info --object secret,id=s0,data=abc,foo=1 b.q
qemu-img info --object secret,id=s0,data=abc,foo=1 b.q
== info --object secret,id=s0,data=abc,keyid=m b.q
qemu-img info --object secret,id=s0,data=abc,keyid=m b.q
== info --object secret,id=s0,data=abc,iv=m b.q
qemu-img info --object secret,id=s0,data=abc,iv=m b.q
== info --object secret,id=m,data=abc --object secret,id=s0,data=abc,keyid
qemu-img info --object secret,id=m,data=abc --object secret,id=s0,data=abc,keyid=m b.q
== info --object secret,id=m,data=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw
qemu-img info --object secret,id=m,data=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=,format=base64 --object secret,id=s0,data=abc,keyid=m b.q
== info --object secret,id=m,data=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw
qemu-img info --object secret,id=m,data=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=,format=base64 --object secret,id=s0,data=abc,keyid=m,iv=YWJj b.q
== info --object secret,id=m,data=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw
qemu-img info --object secret,id=m,data=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=,format=base64 --object secret,id=s0,data=abc,keyid=m,iv=MTIzNDU2Nzg5MDEyMzQ1Ng== b.q
== info --object secret,id=s0,data=abc --object secret,id=s0,data=abc b.q
qemu-img info --object secret,id=s0,data=abc --object secret,id=s0,data=abc b.q
== info --object 'secret,id=1 x,data=abc' b.q
qemu-img info --object 'secret,id=1 x,data=abc' b.q
== info --object 'secret,id=-x,data=abc' b.q
qemu-img info --object 'secret,id=-x,data=abc' b.q
== info --object '{"qom-type":"secret","id":"s0","data":"abc"}' b.q
qemu-img info --object '{"qom-type":"secret","id":"s0","data":"abc"}' b.q
== info --object '{"qom-type":"secret","data":"abc"}' b.q
qemu-img info --object '{"qom-type":"secret","data":"abc"}' b.q
== info --object '{"qom-type":"foo","id":"x","data":"abc"}' b.q
qemu-img info --object '{"qom-type":"foo","id":"x","data":"abc"}' b.q
== info --object '{"id":"s0","data":"abc"}' b.q
qemu-img info --object '{"id":"s0","data":"abc"}' b.q
== info --object '{"qom-type":"secret","id":"s0","data":1}' b.q
qemu-img info --object '{"qom-type":"secret","id":"s0","data":1}' b.q
== info --object '{"qom-type":"secret","id":"s0","data":"x","foo":1}' b.q
qemu-img info --object '{"qom-type":"secret","id":"s0","data":"x","foo":1}' b.q
== info --object '{' b.q
qemu-img info --object '{' b.q
== info --object '{}' b.q
qemu-img info --object '{}' b.q
== info --object '[]' b.q
qemu-img info --object '[]' b.q
== info --object '' b.q
qemu-img info --object '' b.q
== info --object secret,help b.q
qemu-img info --object secret,help b.q
== info --object 'secret,,id=s0' b.q
qemu-img info --object 'secret,,id=s0' b.q
== info --object 'qom-type=secret,id=s0,data=x' b.q
qemu-img info --object 'qom-type=secret,id=s0,data=x' b.q
== info --object 'id=s0,data=x' b.q
qemu-img info --object 'id=s0,data=x' b.q
== info --object secret,id=s0,data=abc=de,,f b.q
qemu-img info --object secret,id=s0,data=abc=de,,f b.q
== info --object secret,id=s0,data b.q
qemu-img info --object secret,id=s0,data b.q
== info --object secret,id=s0,data=x, b.q
qemu-img info --object secret,id=s0,data=x, b.q
== info --object ,id=s0 b.q
qemu-img info --object ,id=s0 b.q
== info --object secret,id=s0,data.x=x b.q
qemu-img info --object secret,id=s0,data.x=x b.q
== info --object secret,id=s0,data=x,data=y b.q
qemu-img info --object secret,id=s0,data=x,data=y b.q
== info --object secret,id=s0,1data=x b.q
qemu-img info --object secret,id=s0,1data=x b.q
== info --object secret,id=,data=x b.q
qemu-img info --object secret,id=,data=x b.q
== info --object secret,id=s0,data=x,keyid=s0 b.q
qemu-img info --object secret,id=s0,data=x,keyid=s0 b.q
== info --object throttle-group,id=i b.q
qemu-img info --object throttle-group,id=i b.q
== info --object authz-simple,id=i,identity=x b.q
qemu-img info --object authz-simple,id=i,identity=x b.q
== info --object secret,id=s0,data=abc nope
qemu-img info --object secret,id=s0,data=abc nope
== info --object foo,id=x
qemu-img info --object foo,id=x
== info --object foo,id=x --bad
qemu-img info --object foo,id=x --bad
== convert --object foo,id=x
qemu-img convert --object foo,id=x
== create --object foo,id=x -f qcow2 n.q 1M
qemu-img create --object foo,id=x -f qcow2 n.q 1M
== check --object secret,id=s0,data=abc b.q
qemu-img check --object secret,id=s0,data=abc b.q
"#;
