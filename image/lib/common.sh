# shellcheck shell=bash
# Shared by the scripts of image/: messages, needed tools, the cache. Sourced, never run.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# One line what was refused and why, one line what to do.
die() {
	say "$1"
	[ $# -lt 2 ] || say "$2"
	exit 1
}

# need COMMAND=PACKAGE...: stops with every package that is missing, not only the first.
need() {
	local pair missing=()
	PATH=$PATH:/usr/sbin:/sbin
	for pair in "$@"; do
		command -v "${pair%%=*}" >/dev/null || [ -e "${pair%%=*}" ] || missing+=("${pair#*=}")
	done
	[ ${#missing[@]} -eq 0 ] ||
		die "missing Debian packages: ${missing[*]}" "install them: apt-get install ${missing[*]}"
}

cache_dir() { printf '%s\n' "${ASL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/asl-rescue}"; }

# The words of a list file: comments and empty lines dropped.
list_words() { sed -e 's/#.*//' "$1" | xargs -n1; }

# sha256 over names, modes that matter (executable or not, link targets) and contents of a tree.
tree_hash() {
	(cd "$1" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 -r sha256sum &&
		find . -type f -perm -u+x -printf 'x %P\n' | LC_ALL=C sort &&
		find . -type l -printf 'l %P %l\n' | LC_ALL=C sort) | sha256sum | cut -d' ' -f1
}
