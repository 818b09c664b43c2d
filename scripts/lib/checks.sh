# shellcheck shell=bash
# What the demo must show, each a check that says what it saw and stops when it is not so.
# Sourced by scripts/boot and by the tests of the checks.
: "${top:?common.sh comes first}" "${program=}" "${keys=}"

# compare_trees SOURCE RESTORED: content, type, mode, owner, time (nanoseconds), links, devices,
# access lists and extended attributes. lost+found is the file system's own, not the tree's.
compare_trees() {
	local differences
	differences=$(as_root rsync --dry-run --archive --hard-links --acls --xattrs --itemize-changes \
		--checksum --modify-window=-1 --delete --exclude=/lost+found -- "$1/" "$2/") ||
		die "rsync could not compare $1 with $2" "see the line above"
	if [ -n "$differences" ]; then
		printf '%s\n' "$differences" | head -n 20 >&2
		die "what came back differs in $(printf '%s\n' "$differences" | wc -l) names" \
			"rsync's letters above say how: c content, t time, p mode, o owner, a access list, x attribute"
	fi
}

# check_sparse SOURCE RESTORED: what had holes has them again.
check_sparse() {
	local path size blocks back sparse=0
	while IFS=' ' read -r -d '' size blocks path; do
		[ $((blocks * 512)) -lt $((size - 65536)) ] || continue
		sparse=$((sparse + 1))
		back=$(as_root stat -c %b -- "$2/$path")
		[ "$back" -le $((blocks + 128)) ] ||
			die "$path was sparse ($blocks blocks) and came back with $back" "restore has lost its holes"
	done < <(as_root find "$1" -type f -size +64k -printf '%s %b %P\0')
	[ "$sparse" -gt 0 ] || die "no sparse file in $1" "the check had nothing to check"
}

# check_unchanged FILE SHA256
check_unchanged() {
	[ "$(sha256sum <"$1")" = "$2" ] || die "${1##*/} was changed" "a disk that was not chosen must stay as it is"
}

# check_no_secret SECRETS FILE...: no private byte lies there, in any usual form.
check_no_secret() {
	local code=0
	perl "$top/scripts/lib/find-bytes" "$@" >&2 || code=$?
	case $code in
	0) ;;
	1) die "private bytes lie where they must not" "see the lines above" ;;
	*) die "could not search for private bytes" "see the line above" ;;
	esac
}

# check_acknowledged TARGET RECORDING SCRATCH: after a power cut, the log holds at least what the
# screen last called durable, and everything it names is whole.
check_acknowledged() {
	local said stored
	said=$(tr '\r' '\n' <"$2" | grep -a -oE '[0-9.]+ [kMG]?B durable' | tail -n 1 | awk '
		{ unit["B"] = 1; unit["kB"] = 1e3; unit["MB"] = 1e6; unit["GB"] = 1e9
		  # The screen rounds to two decimals.
		  printf "%d", ($1 - 0.005) * unit[$2] }')
	[ "${said:-0}" -gt 0 ] || die "nothing was said to be durable before the cut" "see ${2##*/}"
	mkdir "$3"
	cp --sparse=always "$1" "$3/disk"
	# The journal of a file system that was cut is replayed by the next mount, or by this.
	e2fsck -fp "$3/disk" >"$3/fsck" 2>&1 || [ $? -eq 1 ] || { cat "$3/fsck" >&2 && die "the target cannot be mended" "DAMAGE"; }
	take_out "$3/disk" /asl-host "$3/out"
	as_root "$program" verify --root "$3/out/asl-host" --identity "$keys/owner.txt" >&2
	stored=$(as_root "$program" log verify --root "$3/out/asl-host" --json | sed -n 's/.*"stored_bytes":\([0-9]*\).*/\1/p')
	[ "${stored:-0}" -ge "$said" ] || die "$said bytes were called durable, ${stored:-0} are there" "LOST"
	as_root rm -rf "$3"
	say "cut with $said bytes called durable: $stored are there, and whole"
}

# open_blocks_with_age HOST_ROOT OWNER_IDENTITY SCRATCH: two blocks, by programs that are not ours:
# age opens the epoch's data identity, that opens a block; the block's name is its BLAKE3.
open_blocks_with_age() {
	local domains=$1/domains identity=$2 scratch=$3 epoch block name opened=0
	epoch=$(as_root find "$domains" -path '*/store/encryption/epoch-1.age' | head -n 1)
	[ -n "$epoch" ] || die "no epoch-1.age under $domains" "an encrypted domain must hold it"
	(umask 077 && as_root cat "$epoch" | age -d -i "$identity" >"$scratch/data-identity") ||
		die "age cannot open $epoch with the owner's identity" "nobody could read this domain"
	while IFS= read -r block; do
		name=${block##*/}
		as_root cat "$block" >"$scratch/sealed"
		[ "$(b3sum --no-names "$scratch/sealed")" = "${name%.blk}" ] ||
			die "$block is not the bytes its name says" "DAMAGE"
		age -d -i "$scratch/data-identity" "$scratch/sealed" >"$scratch/open" || die "age cannot open $block" "DAMAGE"
		[ -s "$scratch/open" ] || die "$block is empty inside" "DAMAGE"
		opened=$((opened + 1))
	done < <(as_root find "$domains" -path '*/store/blocks/sealed/*.blk' | LC_ALL=C sort | sed -n -e 1p -e '1!{$p}')
	[ "$opened" -eq 2 ] || die "only $opened block(s) to open" "the demo must seal at least two"
}
