# shellcheck shell=bash
# Demo disks as files, made and read without mounting anything. Sourced by scripts/boot.
: "${top:?common.sh comes first}"

# make_tree small|full DIR ORDERS: the files to rescue, with every owner and kind.
make_tree() {
	mkdir -p "$2"
	as_root perl "$top/scripts/lib/demo-tree" "$1" "$2" "$3"
	say "demo tree: $(as_root find "$2" | wc -l) names, $(as_root du -sm --apparent-size "$2" | cut -f1) MB"
}

# make_victim DIR ORDERS IMAGE: an ext4 disk labelled VICTIM that holds the tree.
make_victim() {
	local size
	size=$(as_root du -sm "$1" | cut -f1)
	truncate -s "$((size + size / 8 + 64))M" "$3"
	# Blocks of 4096 even on a small disk, or an inode's attributes would not fit.
	as_root mke2fs -q -t ext4 -b 4096 -I 256 -L VICTIM -E root_owner=0:0 -d "$1" "$3" ||
		die "mke2fs could not fill $3" "see the line above; is the disk full?"
	debugfs_orders "$3" "$2"
	e2fsck -fn "$3" >/dev/null 2>&1 || die "the demo disk $3 is not clean" "a bug in scripts/lib/disks.sh"
}

# debugfs_orders IMAGE FILE: debugfs answers with exit code 0 whatever happens; its words tell.
debugfs_orders() {
	local said
	said=$(debugfs -w -f "$2" "$1" 2>&1 | grep -v -e '^debugfs: ' -e '^debugfs 1' || :)
	[ -z "$said" ] || die "debugfs refused: ${said%%$'\n'*}" "a bug in scripts/lib/disks.sh"
}

# make_target IMAGE MB: an empty ext4 disk labelled ASL-TARGET.
make_target() {
	truncate -s "$2M" "$1"
	mke2fs -q -t ext4 -L ASL-TARGET -E root_owner=0:0 "$1"
}

# make_stick DIR IMAGE: a FAT disk labelled ASL-KEYS (any PC reads it) with the files of DIR.
make_stick() {
	local size
	size=$(du -sm "$1" | cut -f1)
	truncate -s "$((size + 40))M" "$2"
	mkfs.vfat -F 32 -n ASL-KEYS "$2" >/dev/null
	mcopy -s -Q -i "$2" "$1"/* ::/
}

# take_out IMAGE PATH DIR: copies a folder out of an ext4 image, with debugfs alone.
take_out() {
	local said
	as_root mkdir -p "$3"
	said=$(as_root debugfs -R "rdump $2 $3" "$1" 2>&1 | grep -v '^debugfs 1' || :)
	as_root test -e "$3/${2##*/}" || die "$2 is not on $1" "the appliance has not made it; see its recording"
	[ -z "$said" ] || die "debugfs could not copy $2 out: ${said%%$'\n'*}" "is the disk damaged? e2fsck -fn $1"
}
