# Boots a systemd of its own, in namespaces of its own, with the programs of this machine, the
# units of this folder and a program tillgate. What then comes of the units is in $1/said.
#
#   sh boot.sh FOLDER PACKAGING HOW    FOLDER has the program, and gets the root and what is said
#
# HOW: good; once, where the keeper fails at its first start; never, where it fails until the
# network is up.
set -e
folder=$1 packaging=$2 how=$3
if [ -z "$4" ]; then
	# A control group of its own, so that systemd finds nobody else's processes.
	mkdir "$folder/groups"
	mount -t cgroup2 none "$folder/groups"
	own=$(mktemp -d "$folder/groups/tillgate-XXXXXX")
	echo 0 >"$own/cgroup.procs"
	status=0
	unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child sh "$0" "$folder" "$packaging" "$how" inside || status=$?
	echo 0 >"$folder/groups/cgroup.procs"
	find "$own" -depth -type d -exec rmdir {} +
	exit $status
fi

mkdir "$folder/root"
mount -t tmpfs tmpfs "$folder/root"
cd "$folder/root"
mkdir -p etc/systemd/system etc/tillgate proc sys dev/pts dev/shm run tmp var/lib out usr/bin programs before
for dir in /usr/*; do
	[ "$dir" = /usr/bin ] || [ ! -d "$dir" ] || { mkdir ".$dir" && mount --bind "$dir" ".$dir"; }
done
mount --bind /usr/bin programs
(cd programs && printf '/programs/%s\n' *) | xargs ln -s -t usr/bin
cp "$folder/tillgate" usr/bin/
for link in bin sbin lib lib64; do
	[ ! -L /$link ] || ln -s usr/$link $link
done
cp /etc/ld.so.cache etc/
echo 'root:x:0:0::/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
mkdir etc/sysusers.d
cp "$packaging"/usr/lib/sysusers.d/*.conf etc/sysusers.d/
cp "$packaging"/usr/lib/systemd/system/*.service etc/systemd/system/
systemctl --quiet --root="$folder/root" enable tillgate-firewall
cat >etc/tillgate/policy.yaml <<'END'
version: 1
classes:
  pos: {networks: [10.20.0.0/24], interfaces: [lan0], services: [payxpert/emv]}
END
# What is not this test's, and a machine's own.
for unit in systemd-udevd systemd-udev-trigger systemd-modules-load systemd-sysctl systemd-binfmt systemd-timesyncd; do
	ln -s /dev/null etc/systemd/system/$unit.service
done
mkdir etc/systemd/system/tillgate-firewall.service.d
case $how in
once) fails='[ -e /run/failed ] || { touch /run/failed; exit 1; }' ;;
never) fails='[ -e /sys/class/net/lan0 ] || ! sleep 2' wait=0.2s ;; # so that one is under way when the wait for it ends
*) fails=true ;;
esac
cat >etc/systemd/system/tillgate-firewall.service.d/fails.conf <<END
[Service]
ExecStartPre=+/bin/sh -c '$fails'
RestartSec=${wait:-1s}
END
cat >etc/systemd/system/network.service <<'END'
[Unit]
DefaultDependencies=no
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo before the network: $$(nft list tables), closed: $$(nft list ruleset | grep -c "chain closed") >>/out/said; ip link set lo up; ip link add lan0 type veth peer far; ip addr add 10.20.0.1/24 dev lan0; ip link set lan0 up'
END
cat >etc/systemd/system/look.service <<'END'
[Unit]
After=tillgate.service tillgate-firewall.service network.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=50
ExecStart=/bin/sh /look.sh
ExecStopPost=/bin/sh -c 'journalctl --no-pager -u tillgate -u tillgate-firewall >/out/journal'
END
cat >etc/systemd/system/store.target <<'END'
[Unit]
Requires=basic.target
After=basic.target
Wants=tillgate.service network.service look.service
END
[ "$how" != good ] || : >killed # who is killed comes back
cat >look.sh <<'END'
say() { echo "$*" >>/out/said; }
active() { systemctl is-active tillgate tillgate-firewall | xargs; }
good() { until tillgate firewall check >/out/check 2>&1; do :; done; }
until systemctl -q is-active tillgate-firewall; do :; done
say "started: $(active), the keeper $([ "$(systemctl show -P NRestarts tillgate-firewall)" = 0 ] && echo at once || echo after failures)"
good
say "in force, closed: $(nft list ruleset | grep -c 'chain closed')"
[ -e /killed ] || exit 0
nft flush ruleset
good
say "in force after a flush"
systemctl kill --signal=KILL tillgate-firewall
until [ "$(systemctl show -P NRestarts tillgate-firewall)" = 1 ] && systemctl -q is-active tillgate-firewall; do :; done
good
say "in force after the keeper was killed"
systemctl kill --signal=KILL tillgate
until [ "$(systemctl show -P NRestarts tillgate)" = 1 ] && systemctl -q is-active tillgate; do :; done
good
say "in force after the box was killed"
systemctl stop tillgate tillgate-firewall
say "stopped: $(active), and there is $(nft list tables)"
systemctl start tillgate tillgate-firewall
good
say "in force after a new start"
END
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
for node in 'null 3' 'zero 5' 'full 7' 'random 8' 'urandom 9'; do
	set -- $node
	mknod -m 666 dev/"$1" c 1 "$2"
done
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: >dev/console
mkdir "$folder/out"
mount --bind "$folder/out" out
pivot_root . before
umount -l /before
exec env -i container=other SYSTEMD_LOG_TARGET=console /lib/systemd/systemd --system --unit=store.target </dev/null >>/out/console 2>&1
