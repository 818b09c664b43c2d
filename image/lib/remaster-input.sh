# shellcheck shell=bash
# What image/remaster asks of its input before it trusts it. Sourced, never run.
# Uses remaster's ${option[...]}.
# shellcheck disable=SC2154

quiet_xorriso() {
	xorriso -report_about FAILURE -abort_on FAILURE -return_with FAILURE 32 "$@"
}

check_binary() {
	[ -f "$1" ] || die "no such binary: $1" "build the static asl-host first"
	case $(file -b "$1") in
	ELF*x86-64*'statically linked'* | ELF*x86-64*'static-pie linked'*) ;;
	*) die "$1 is not a static x86-64 program" "a module with a dynamic program works on one release only" ;;
	esac
}

# check_paths IN OUT: what is given is an ISO, and what is written is another file with room.
check_paths() {
	local dir free needed
	[ -f "$1" ] || die "no such ISO: $1" "image/build-base makes one"
	[ ! "$1" -ef "$2" ] || die "$2 is the input itself, which is only read" "name another output"
	[ ! -e "$2" ] || [ -f "$2" ] || die "$2 is no file" "name a file as output"
	[ "$(LC_ALL=C dd if="$1" bs=1 skip=32769 count=5 status=none)" = CD001 ] ||
		die "$1 is no ISO image" "give an official SystemRescue ISO, or one of image/build-base"
	dir=$(dirname "$2")
	mkdir -p "$dir"
	[ -w "$dir" ] || die "$dir cannot be written to" "name an output elsewhere"
	# The input unpacked, the output, and the module beside both.
	needed=$((2 * $(stat -L -c %s "$1") + 3 * $(stat -L -c %s "$binary") + 16 * 1024 * 1024))
	free=$(df --output=avail -B1 "$dir" | tail -n 1)
	[ "$free" -ge "$needed" ] ||
		die "$dir has $((free / 1048576)) MiB free, and $((needed / 1048576)) MiB are needed" "free some, or name an output elsewhere"
}

# check_origin ISO: the hash or the signature that the person was given with it.
check_origin() {
	local kind want
	for kind in sha256 sha512; do
		[ -n "${option[$kind]}" ] || continue
		want=$(wanted_hash "$kind" "${option[$kind]}" "$1")
		[ "$("${kind}sum" <"$1" | cut -d' ' -f1)" = "$want" ] ||
			die "$1 has not the $kind that was given" "it is damaged, or not what you think: fetch it again"
		say "$kind as given"
	done
	[ -z "${option[asc]}" ] || check_signature "$1"
}

# wanted_hash KIND WORD|FILE ISO: the hash itself, or the one in a file: alone, or beside this ISO's name.
wanted_hash() {
	local digits=64 found
	[ "$1" = sha256 ] || digits=128
	if [[ ${2,,} =~ ^[0-9a-f]+$ ]] && [ ${#2} -eq $digits ]; then
		printf '%s\n' "${2,,}"
		return
	fi
	[ -f "$2" ] || die "--$1: '$2' is neither a file nor $digits hexadecimal digits" "copy it whole from where the ISO came from"
	found=$(tr -d '\r' <"$2" | awk -v name="$(basename "$3")" -v digits=$digits '
		{ file = $2; sub(/^\*/, "", file); sub(/^.*\//, "", file) }
		length($1) == digits && tolower($1) ~ /^[0-9a-f]+$/ { lines++; last = tolower($1); if (file == name) exact = last }
		END { if (exact != "") print exact; else if (lines == 1) print last }')
	[ -n "$found" ] || die "--$1: $2 holds no $1 for $(basename "$3")" "give the hash itself"
	printf '%s\n' "$found"
}

# A key in armour is put into the form gpgv reads; no keyring of the user is asked or changed.
check_signature() {
	local file said ring
	need gpgv=gpgv
	for file in "${option[asc]}" "${option[key]}"; do
		[ -f "$file" ] || die "no such file: $file" "--asc is the detached signature, --key the signer's public key"
	done
	work=$(mktemp -d)
	ring=$work/key.gpg
	if grep -q '^-----BEGIN PGP PUBLIC KEY BLOCK-----' "${option[key]}"; then
		tr -d '\r' <"${option[key]}" | awk '/^-----END/ { exit } body && !/^=/ { print } /^$/ { body = 1 }' |
			base64 -d >"$ring" 2>/dev/null || die "${option[key]} is not a whole key" "export it again: gpg --armor --export"
	else
		cp "${option[key]}" "$ring"
	fi
	said=$(gpgv --status-fd 1 --keyring "$ring" "${option[asc]}" "$1" 2>/dev/null) ||
		die "$1 is not signed by a key of ${option[key]}" "it is damaged, not what you think, or signed by another key"
	say "signed by $(sed -nE 's/^\[GNUPG:\] VALIDSIG ([0-9A-F]+) .*/\1/p' <<<"$said")"
	rm -rf "$work"
	work=''
}

# An ISO may carry a checksum of itself. It says nothing of who made it.
check_embedded_md5() {
	local said
	LC_ALL=C grep -aq 'ISO MD5SUM = ' < <(dd if="$1" bs=2048 skip=16 count=1 status=none) || return 0
	if ! command -v checkisomd5 >/dev/null; then
		say "NOT CHECKED: the checksum embedded in $1 (the package isomd5sum is not installed)"
		return 0
	fi
	said=$(checkisomd5 "$1" </dev/null 2>&1 || :)
	case $said in
	*PASS*) say "embedded checksum as it was made" ;;
	*) die "$1 does not match the checksum embedded in it" "it is damaged: fetch it again" ;;
	esac
}
