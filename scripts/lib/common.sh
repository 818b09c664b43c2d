# shellcheck shell=bash
# Shared by everything in scripts/: messages, packages, temporary files, an orderly end.
# Sourced, never run. Needs nothing but bash and Debian's essential packages.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# say, die, cache_dir, list_words and tree_hash: the same words as the image's scripts.
# shellcheck source=image/lib/common.sh
. "$top/image/lib/common.sh"

PATH=$PATH:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive

# --- an orderly end ---------------------------------------------------------

cleanups=()
cleaned=

# at_exit COMMAND ARG...: run when the script ends, however it ends; the last one first.
at_exit() { cleanups+=("$(printf '%q ' "$@")"); }

run_cleanups() {
	local code=$? i
	[ -z "$cleaned" ] || return "$code"
	cleaned=1
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}" || say "clean-up failed: ${cleanups[i]}"
	done
	return "$code"
}

trap run_cleanups EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# make_temp: a private directory in $temp, gone at the end. On a disk: it may hold disk images.
make_temp() {
	temp=$(mktemp -d "${TMPDIR:-/var/tmp}/asl-rescue.XXXXXX")
	at_exit remove_temp "$temp"
}

# What a privileged step made inside may be owned by root.
remove_temp() {
	rm -rf "$1" 2>/dev/null || as_root rm -rf "$1"
}

# stop_process PID: asks a process this script started to end, then insists.
stop_process() {
	local pid=$1 i
	kill "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null || :
}

# --- packages ---------------------------------------------------------------

# as_root COMMAND ARG...: as root, through sudo where needed.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "this step needs root: $*" "run as root, or install sudo and try again"
	fi
}

# missing_packages FILE...: the packages of these lists that are not installed.
missing_packages() {
	local file word
	for file in "$@"; do
		for word in $(list_words "$file"); do
			[ "$(dpkg-query -W -f '${db:Status-Status}' "$word" 2>/dev/null)" = installed ] ||
				printf '%s\n' "$word"
		done
	done | sort -u
}

update_lists() { as_root env LC_ALL=C apt-get -q -q -o DPkg::Lock::Timeout=300 update; }

# need_lists: apt's package lists; a freshly made machine has none.
need_lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || update_lists; }

# install_needs FILE...: installs what is missing of these lists, from this machine's own
# apt sources, and says first what and how much. Removes nothing that is installed.
install_needs() {
	local missing
	command -v apt-get >/dev/null || die "no apt-get here" \
		"these scripts are made for Debian 12; install the packages of ${*##*/} by hand"
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	say "will install from this machine's apt sources: ${missing[*]}"
	update_lists
	settle_qemu
	LC_ALL=C apt-get install -s --no-install-recommends "${missing[@]}" -o Debug::NoLocking=1 2>/dev/null |
		grep -E '^[0-9]+ upgraded' >&2 || :
	LC_ALL=C apt-get install --assume-no --no-install-recommends "${missing[@]}" \
		-o Debug::NoLocking=1 2>/dev/null |
		grep -E '^(Need to get|After this operation)' >&2 || :
	as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -q -y --no-install-recommends \
		--no-remove --allow-downgrades -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "${missing[@]}" >&2 ||
		die "apt could not install: ${missing[*]}" "see the lines above; nothing is removed to make room"
}

# settle_qemu: a machine may carry a newer qemu-utils than its apt sources have an emulator for;
# the two share a version, so it goes back to that of the sources, which is said.
settle_qemu() {
	local have want
	case " ${missing[*]} " in *' qemu-system-x86 '*) ;; *) return 0 ;; esac
	have=$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null) || return 0
	want=$(LC_ALL=C apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: //p')
	if [ -n "$have" ] && [ -n "$want" ] && dpkg --compare-versions "$have" gt "$want"; then
		say "qemu-utils $have has no emulator in the sources: going back to $want"
		missing+=("qemu-utils=$want")
	fi
}

# --- the Rust toolchain -----------------------------------------------------

# The oldest compiler the workspace allows, as its Cargo.toml says.
minimum_rust() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$top/Cargo.toml"; }

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# rust_is_new_enough RUSTC
rust_is_new_enough() {
	local version
	version=$("$1" --version 2>/dev/null | cut -d' ' -f2) || return 1
	[ -n "$version" ] && version_at_least "${version%%-*}" "$(minimum_rust)"
}

# find_cargo: puts a new enough toolchain first on PATH: the user's own, else Debian's.
find_cargo() {
	[ ! -d "$HOME/.cargo/bin" ] || PATH=$PATH:$HOME/.cargo/bin
	if command -v cargo >/dev/null && command -v rustc >/dev/null && rust_is_new_enough rustc; then
		return 0
	fi
	install_needs "$top/scripts/needs/rust-debian"
	PATH=/usr/bin:$PATH
	hash -r
	rust_is_new_enough rustc ||
		die "no rustc $(minimum_rust) or newer, also not from Debian's rustc-web" \
			"add Debian 12's updates to apt's sources, or install Rust with rustup"
}

# --- small things -----------------------------------------------------------

# seconds_said N: 75 -> 1 min 15 s
seconds_said() {
	if [ "$1" -ge 60 ]; then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}
