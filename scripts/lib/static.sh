# shellcheck shell=bash
# The toolchain of the static binary, and the proofs that it is one. Sourced by scripts/build.
#
# Two toolchains, and why these:
# - "own": the user's rustc, where its musl target is installed. Nothing more to fetch.
# - "debian": Debian's rustc-web, cargo-web and rust-web-src, which build std for musl
#   (-Zbuild-std; RUSTC_BOOTSTRAP allows it on a stable compiler). Everything comes from apt,
#   so a machine with nothing but its package sources can do it. zig from PyPI would do as
#   well, but is a second source to trust and to reach, and gives no better result here.
# With "debian" libgcc_eh needs the small shim in musl-unwind.c, or any panic would abort.
: "${top:?common.sh comes first}" "${temp=}"

static_target=x86_64-unknown-linux-musl

# choose_static_toolchain own|debian|auto: sets $toolchain, $cargo, $rustc; installs packages.
choose_static_toolchain() {
	local wanted=$1 sysroot
	install_needs "$top/scripts/needs/build"
	[ ! -d "$HOME/.cargo/bin" ] || PATH=$PATH:$HOME/.cargo/bin
	toolchain=$wanted
	if [ "$wanted" != debian ]; then
		if command -v cargo >/dev/null && command -v rustc >/dev/null && rust_is_new_enough rustc &&
			sysroot=$(rustc --print sysroot) && [ -d "$sysroot/lib/rustlib/$static_target" ]; then
			toolchain=own rustc=rustc cargo=cargo
			return 0
		fi
		[ "$wanted" = auto ] || die "no rustc $(minimum_rust) or newer with target $static_target" \
			"rustup target add $static_target, or let --toolchain be debian"
		toolchain=debian
	fi
	install_needs "$top/scripts/needs/rust-static"
	rustc=/usr/bin/rustc cargo=/usr/bin/cargo
	rust_is_new_enough "$rustc" || die "Debian's rustc-web is older than $(minimum_rust)" \
		"add Debian 12's updates and security updates to apt's sources"
}

# static_recipe: what beside the sources decides the binary's bytes, for the cache key.
static_recipe() {
	"$rustc" --version --verbose
	dpkg-query -W musl-tools musl-dev gcc
	sha256sum <"$top/scripts/build"
	sha256sum <"$top/scripts/lib/static.sh"
	sha256sum <"$top/scripts/lib/musl-unwind.c"
}

# static_environment TARGET_DIR: exports what cargo needs; sets $cargo_words.
#
# The same sources and toolchain give the same bytes in every folder and for every user. What
# names a folder therefore reaches rustc by a wrapper, not by RUSTFLAGS: cargo hashes those into
# the name of every symbol.
static_environment() {
	local dir=$1 flags upper
	upper=${static_target//-/_}
	upper=${upper^^}
	export CARGO_TARGET_DIR=$dir
	export "CC_${static_target//-/_}=musl-gcc"
	# No position independence: `file` then says "statically linked", and no loader is asked for.
	flags="-C target-feature=+crt-static -C relocation-model=static"
	cargo_words=(--target "$static_target")
	if [ "$toolchain" = debian ]; then
		unwind_library "$dir/unwind"
		export RUSTC=$rustc CARGO=$cargo RUSTC_BOOTSTRAP=1
		export "CARGO_TARGET_${upper}_LINKER=musl-gcc"
		# Debian's std has no C startup files of its own: musl-gcc's are used. -lgcc: __popcountdi2.
		flags="$flags -C link-self-contained=no -C link-arg=-lgcc"
		# shellcheck disable=SC2054 # one word with a comma
		cargo_words+=(-Zbuild-std=std,panic_unwind)
	fi
	rustc_wrapper "$dir"
	export "CARGO_TARGET_${upper}_RUSTFLAGS=$flags" "RUSTC_WRAPPER=$dir/rustc-wrapper"
	export "CFLAGS_${static_target//-/_}=-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=cargo -ffile-prefix-map=$dir=target"
	# C sources may hold __DATE__ and __TIME__; the compiler takes this in their place.
	export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
	unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
}

# rustc_wrapper TARGET_DIR: runs rustc with the folders of this machine replaced by short names,
# which messages of a panic then show; and tells it where the unwinder lies.
rustc_wrapper() {
	local registry maps=(--remap-path-prefix="$top=." --remap-path-prefix="$1=target")
	for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
		[ ! -d "$registry" ] || maps+=(--remap-path-prefix="${registry%/}=crates")
	done
	mkdir -p "$1"
	{
		echo '#!/bin/bash'
		printf 'case " $* " in *" --target %s "*) set -- "$@"' "$static_target"
		printf ' %q' "${maps[@]}" "-Lnative=$1/unwind"
		printf ' ;; esac\nexec "$@"\n'
	} >"$1/rustc-wrapper.part"
	chmod +x "$1/rustc-wrapper.part"
	# Left as it was where nothing changed: cargo asks rustc anew after every change of it.
	if cmp -s "$1/rustc-wrapper.part" "$1/rustc-wrapper"; then
		rm "$1/rustc-wrapper.part"
	else
		mv "$1/rustc-wrapper.part" "$1/rustc-wrapper"
	fi
}

# unwind_library DIR: libunwind.a, that is gcc's unwinder and what it misses in musl.
unwind_library() {
	mkdir -p "$1"
	musl-gcc -O2 -Wall -Werror -c "$top/scripts/lib/musl-unwind.c" -o "$1/musl-unwind.o"
	cp "$(gcc -print-file-name=libgcc_eh.a)" "$1/libunwind.a"
	chmod u+w "$1/libunwind.a"
	ar r "$1/libunwind.a" "$1/musl-unwind.o" 2>/dev/null
}

# --- proofs -----------------------------------------------------------------

# prove_static BINARY
prove_static() {
	local said
	said=$(file -b "$1")
	case $said in
	*"statically linked"*) ;;
	*) die "$1 is not static: $said" "a bug in scripts/lib/static.sh" ;;
	esac
}

# in_empty_root BINARY ARG...: runs it where no other file exists.
in_empty_root() {
	local root code=0
	root=$(mktemp -d "$temp/root.XXXXXX")
	cp "$1" "$root/it"
	shift
	if [ "$(id -u)" -eq 0 ]; then
		chroot "$root" /it "$@" || code=$?
	else
		unshare --user --map-root-user chroot "$root" /it "$@" || code=$?
	fi
	rm -rf "$root"
	return "$code"
}

# prove_empty_root BINARY
prove_empty_root() {
	if [ "$(id -u)" -ne 0 ] && ! unshare --user --map-root-user true 2>/dev/null; then
		say "NOT CHECKED: whether it runs in an empty root (needs root or user namespaces)"
		return 0
	fi
	in_empty_root "$1" --version >/dev/null || die "$1 does not run in an empty root" \
		"it must need no file of the system it is on"
}

# prove_unwinding: a program of the same making panics in a thread and lives on.
prove_unwinding() {
	local crate=$temp/unwinding said
	mkdir -p "$crate/src"
	cat >"$crate/Cargo.toml" <<-TOML
		[package]
		name = "unwinding"
		version = "0.0.0"
		edition = "2021"
		[workspace]
	TOML
	sed -n '/^\[profile.release\]/,/^$/p' "$top/Cargo.toml" >>"$crate/Cargo.toml"
	cat >"$crate/src/main.rs" <<-RUST
		struct Dropped;
		impl Drop for Dropped {
		    fn drop(&mut self) {
		        println!("dropped");
		    }
		}
		fn main() {
		    let thread = std::thread::spawn(|| {
		        let _held = Dropped;
		        let none: Option<u8> = std::env::args().nth(99).map(|_| 1);
		        none.expect("the message of a panic")
		    });
		    assert!(thread.join().is_err());
		    println!("lives on");
		}
	RUST
	(cd "$crate" && "$cargo" build --quiet --release "${cargo_words[@]}")
	said=$("$CARGO_TARGET_DIR/$static_target/release/unwinding" 2>&1) ||
		die "a panic does not unwind: $said" "a bug in scripts/lib/static.sh"
	case $said in
	*"the message of a panic"*dropped*"lives on"*) ;;
	*) die "a panic does not unwind and print: $said" "a bug in scripts/lib/static.sh" ;;
	esac
}
