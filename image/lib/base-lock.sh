# shellcheck shell=bash
# The lock of a base: what it was made of, one word and its values a line. Sourced by
# build-base, which sets $here and $init.
#
#   asl-base-lock 1
#   epoch SECONDS                       the time in every file
#   description SHA256                  of the files of image/ that decide the bytes, and asl-base-init
#   tool NAME VERSION                   packages of this machine whose programs or files went in
#   package NAME VERSION ARCH SHA256
# shellcheck disable=SC2154

LOCK_TOOLS=(mmdebstrap squashfs-tools xorriso dosfstools mtools cpio isolinux syslinux-common shim-signed grub-efi-amd64-signed)

# lock_word LOCK WORD: the first value.
lock_word() { sed -n "s/^$2 //p" "$1"; }

tool_lines() { dpkg-query -W -f 'tool ${Package} ${Version}\n' "${LOCK_TOOLS[@]}" | LC_ALL=C sort; }

# describe: a hash of every file that decides the bytes of the base, beside packages and time.
describe() {
	{
		describe_root
		tree_hash "$here/base/iso"
		cat "$here/build-base" "$here/lib/base-iso.sh" "$here/lib/base-lock.sh"
	} | sha256sum | cut -d' ' -f1
}

# write_lock PACKAGES EPOCH
write_lock() {
	echo 'asl-base-lock 1'
	echo "epoch $2"
	echo "description $(describe)"
	tool_lines
	cat "$1"
}

# read_lock LOCK COPY: the lock, when it can be followed here. What must be the same is refused
# when it is not; what only may matter is said.
read_lock() {
	local bad
	[ "$(head -n 1 "$1")" = 'asl-base-lock 1' ] || die "$1 is no lock of a base" "give the file that build-base wrote beside an ISO"
	bad=$(grep -v -E '^(asl-base-lock 1|epoch [0-9]{1,11}|description [0-9a-f]{64}|tool [a-z0-9+.-]+ [A-Za-z0-9.+~:-]+|package [a-z0-9+.-]+ [A-Za-z0-9.+~:-]+ (amd64|all) [0-9a-f]{64})$' "$1" | head -n 1) || :
	[ -z "$bad" ] || die "$1 has a line that is none of a lock: $bad" "give the file as build-base wrote it"
	if [ "$(grep -c '^epoch ' "$1")" != 1 ] || [ "$(grep -c '^description ' "$1")" != 1 ] || ! grep -q '^package ' "$1"; then
		die "$1 is not whole" "give the file as build-base wrote it"
	fi
	[ "$(lock_word "$1" description)" = "$(describe)" ] ||
		die "$1 is of another description of the base" "check out the sources it was made from, and build their asl-base-init"
	if ! diff <(grep '^tool ' "$1") <(tool_lines) >&2; then
		say "these tools are of another version than in the lock: the ISO may differ"
	fi
	cp "$1" "$2"
}
