# Run as root in a guest by nested_nbd.rs.
PATH=/bin:/usr/bin:/sbin:/usr/sbin
fail() { echo "FAILED: $*"; dmesg | tail -15; exit 1; }
# Something that must fail, and say something.
fails() { words=$1; shift; if out=$("$@" 2>&1); then fail "worked: $*"; fi
    case $out in *"$words"*) ;; *) fail "$*: $out";; esac; }
attach() { d=$(nbd attach "$@") || fail "attach $*"; }
size() { cat /sys/block/${1#/dev/}/size; }
mkdir -p /m /etc; : >/etc/mtab; ip link set lo up; echo '127.0.0.1 localhost' >/etc/hosts

echo "an image with partitions"
attach parts.qcow2
[ $d = /dev/nbd0 ] && [ $(size nbd0) = 131072 ] && [ -b /dev/nbd0p2 ] || fail "device $d"
mkfs.ext4 -q /dev/nbd0p1 && mount /dev/nbd0p1 /m && seq 20000 >/m/numbers || fail "use of $d"
fails "in use" nbd detach $d
dd if=/dev/urandom of=/m/gone bs=1M count=8 2>/dev/null && sync && rm /m/gone && fstrim /m || fail fstrim
case $(nbd attach --list) in "/dev/nbd0  67108864  rw  parts.qcow2") ;; *) fail "list: $(nbd attach --list)";; esac
fails "lock" nbd attach parts.qcow2
umount /m && nbd detach $d || fail "detach $d"
[ $(size nbd0) = 0 ] && [ ! -e /sys/block/nbd0/pid ] || fail "there is still something behind $d"
pidof nbd && fail "a process is left"
fails "not attached" nbd detach $d
[ -z "$(nbd attach --list)" ] || fail "list: $(nbd attach --list)"

echo "read-only, another number, an odd size"
attach -r /dev/nbd5 parts.qcow2
[ $d = /dev/nbd5 ] && [ $(cat /sys/block/nbd5/ro) = 1 ] || fail "device $d"
fails "attached already" nbd attach /dev/nbd5 plain.qcow2
mount -o ro /dev/nbd5p1 /m && [ $(wc -l </m/numbers) = 20000 ] && umount /m || fail "numbers"
nbd detach nosuch 2>/dev/null && fail "detach nosuch"
nbd detach /dev/nbd5 || fail "detach"
attach -f raw -C 1 odd.raw
[ $(size $d) = 16386 ] && nbd detach $d || fail "odd: $(size $d)"
attach -f raw -b 4096 odd.raw 2>/tmp/err
grep -q "last 1024 bytes" /tmp/err && [ $(size $d) = 16384 ] || fail "odd: $(cat /tmp/err)"
[ $(cat /sys/block/${d#/dev/}/queue/logical_block_size) = 4096 ] || fail "sectors"
nbd detach $d || fail "detach"
fails "is not one of" nbd attach /dev/null plain.qcow2
fails "No such file" nbd attach none.qcow2

echo "a signal, and the last to close"
attach -P /tmp/pid plain.qcow2
kill $(cat /tmp/pid); n=0
while [ -d /proc/$(cat /tmp/pid) ] && [ $n -lt 100 ]; do usleep 50000; n=$((n+1)); done
[ $(size $d) = 0 ] || fail "a signal"
nbd attach --disconnect-on-close --foreground plain.qcow2 >/tmp/name &
n=0; while [ ! -s /tmp/name ] && [ $n -lt 100 ]; do usleep 50000; n=$((n+1)); done
dd if=$(cat /tmp/name) of=/dev/null bs=4k count=1 2>/dev/null
wait $! || fail "the last to close"

echo "servers"
nbd serve --fork -t -e 0 -k /tmp/s -f qcow2 -x disk plain.qcow2 || fail serve
attach 'nbd+unix:///disk?socket=/tmp/s'
mkfs.ext4 -q $d && mount $d /m && seq 20000 >/m/numbers && umount /m && nbd detach $d || fail "unix"
pidof nbd >/tmp/pid; kill $(cat /tmp/pid); while pidof nbd >/dev/null; do usleep 20000; done
nbd serve --fork -t -e 0 -p 10809 -f qcow2 -x disk plain.qcow2 || fail serve
attach nbd://localhost/disk
mount $d /m && [ $(wc -l </m/numbers) = 20000 ] && umount /m && nbd detach $d || fail "tcp"
nbd-client -N disk localhost 10809 /dev/nbd3 >/dev/null || fail "nbd-client"
mount /dev/nbd3 /m && cp /m/numbers /m/again && umount /m || fail "nbd-client's device"
fails "in use" sh -c 'exec 3</dev/nbd3; mount /dev/nbd3 /m; nbd detach /dev/nbd3; s=$?; umount /m; exit $s'
nbd-client -d /dev/nbd3 >/dev/null || fail "nbd-client -d"
fails "Could not connect" nbd attach nbd://localhost:1/disk
fails "not available" nbd attach nbd://localhost/other

echo "as qemu-nbd"
ln -s nbd /bin/qemu-nbd
qemu-nbd -r -f qcow2 -c /dev/nbd9 parts.qcow2 && [ $(cat /sys/block/nbd9/ro) = 1 ] || fail "qemu-nbd -c"
[ "$(qemu-nbd -d /dev/nbd9)" = "/dev/nbd9 disconnected" ] && [ $(size nbd9) = 0 ] || fail "qemu-nbd -d"
[ "$(qemu-nbd -d /dev/nbd9)" = "/dev/nbd9 disconnected" ] || fail "qemu-nbd -d, again"

echo "a server that comes back"
server=$(pidof nbd)
attach --reconnect 60 -P /tmp/pid nbd://localhost/disk
dd if=$d of=/tmp/before bs=1M count=4 2>/dev/null || fail "before"
kill -9 $server
(dd if=$d of=/tmp/after bs=1M count=4 iflag=direct 2>/dev/null; echo $? >/tmp/status) &
usleep 300000
[ ! -e /tmp/status ] || fail "it does not wait for the server"
nbd serve --fork -t -e 0 -p 10809 -f qcow2 -x disk plain.qcow2 || fail serve
# A request that was on its way when the server died is sent again when the kernel looks after it: within 30 seconds.
n=0; while [ ! -e /tmp/status ] && [ $n -lt 1000 ]; do usleep 50000; n=$((n+1)); done
[ "$(cat /tmp/status)" = 0 ] && cmp /tmp/before /tmp/after || fail "it does not come back"
nbd detach $d && [ $(size $d) = 0 ] || fail "detach"
[ ! -d /proc/$(cat /tmp/pid) ] || fail "the process that reconnects is left"
kill $(pidof nbd); while pidof nbd >/dev/null; do usleep 20000; done

echo "calls on the device, where there is no netlink"
d=$(unshare -n nbd attach plain.qcow2) || fail "without netlink"
[ $(size $d) = 98304 ] && mount $d /m && [ $(wc -l </m/again) = 20000 ] && umount /m || fail "$d without netlink"
unshare -n nbd detach $d && [ $(size $d) = 0 ] || fail "detach without netlink"
pidof nbd && fail "a process is left"

if [ -e /dev/ublk-control ]; then
    echo "ublk"
    d=$(nbd attach --ublk ublk.qcow2) || fail "ublk"
    [ $d = /dev/ublkb0 ] && [ $(size $d) = 98304 ] || fail "device $d"
    mkfs.ext4 -q $d && mount $d /m && seq 20000 >/m/numbers || fail "use of $d"
    dd if=/dev/urandom of=/m/gone bs=1M count=8 2>/dev/null && sync && rm /m/gone && fstrim /m || fail fstrim
    for i in 1 2 3 4 5 6; do dd if=/dev/urandom of=/m/f$i bs=64k count=20 conv=fsync 2>/dev/null & done; wait
    md5sum /m/f? >/tmp/sums
    fails "in use" nbd detach $d
    umount /m && nbd detach $d || fail "detach $d"
    [ ! -e /dev/ublkb0 ] && [ ! -e /dev/ublkc0 ] && ! pidof nbd || fail "something is left of $d"
    fails "not attached" nbd detach --ublk 0
    d=$(nbd attach --ublk --id 7 -P /tmp/pid ublk.qcow2) || fail "ublk 7"
    [ $d = /dev/ublkb7 ] && mount $d /m && md5sum -c /tmp/sums >/dev/null && umount /m || fail "the files of ublk 7"
    fails "already" nbd attach --ublk --id 7 plain.qcow2
    kill $(cat /tmp/pid); n=0
    while [ -e /dev/ublkc7 ] && [ $n -lt 100 ]; do usleep 50000; n=$((n+1)); done
    [ ! -e /dev/ublkc7 ] || fail "a signal to ublk"
    # A server that dies leaves a device without anything behind it.
    d=$(nbd attach --ublk -P /tmp/pid -r ublk.qcow2) || fail "ublk, read-only"
    kill -9 $(cat /tmp/pid)
    usleep 300000
    nbd detach $d || fail "detach of a dead $d"
    [ ! -e /dev/ublkc0 ] || fail "something is left of a dead $d"
else
    fail "this kernel has no ublk"
fi
echo "all done"
