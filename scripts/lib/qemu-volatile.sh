# shellcheck shell=bash
# Disks whose write cache is lost when the power fails. Killing QEMU alone proves nothing: the
# host's page cache keeps what the guest never flushed. Here nbdkit holds every write in a file of
# its own until the guest flushes. Sourced after qemu.sh; qemu-volatile-check proves that it works.
#
#   vm_volatile_disk target.raw DIR bus=virtio,serial=TARGET
#   vm_drive log steps 600      # the steps end with "cut"
#   vm_volatile_cut             # now target.raw holds what was flushed, and nothing else

vm_volatile_pids=()

# vm_volatile_disk FILE DIR WORDS: like vm_disk, for a raw FILE; DIR gets a socket and the cache.
vm_volatile_disk() {
	need nbdkit=nbdkit
	local socket i pid
	socket=$(mktemp -u "$2/volatile.XXXXXX")
	TMPDIR=$2 nbdkit --foreground --exit-with-parent --unix "$socket" --filter=cache file "$1" cache=writeback &
	pid=$!
	vm_volatile_pids+=("$pid")
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$socket" ] || break
		kill -0 "$pid" 2>/dev/null || die "nbdkit did not start for $1"
		sleep 0.1
	done
	vm_disk "nbd+unix:///?socket=$socket" "$3"
}

# vm_volatile_cut: the power fails; what was not flushed is gone.
vm_volatile_cut() {
	local pid
	for pid in "${vm_volatile_pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	vm_volatile_pids=()
}
