# shellcheck shell=bash
# The stages of scripts/test: what each runs, and how it is counted. Sourced by scripts/test.
: "${top:?common.sh comes first}" "${logs=}"

# Pinned: a new version may judge anew.
cargo_deny_version=0.20.2

# One stage a line: its name, its bound in minutes, what it is. stage_NAME runs it.
stage_table() {
	cat <<-TABLE
		format      2 the code is formatted
		lints      20 clippy, warnings are errors
		tests      25 every test of the code
		shell       2 shellcheck on every shell script, perl's own check on the others
		supply     10 cargo deny: bans, licences, sources
		advisories  2 cargo deny: known holes in what we use
		checks      5 the demo's checks fail when they should; write-usb erases what was meant
		static     20 the static binary: static, unwinds, runs in an empty root
		reader      5 other people's tools read, check and bring back a domain
		bench      10 scripts/bench at its smallest: what is wrong does not count, nothing is left behind
		remaster   10 the remaster's promises and refusals, on small ISOs in the official layout
		image      15 the bootable ISO
		boots      20 two rows of scripts/qemu-matrix: Secure Boot and BIOS, from USB, through the menu
		promises   15 the ISO's promises, from inside a boot
		targets    15 six file systems sealed into and restored from, in a boot
		demo       20 scripts/boot --auto --small: from power-on to a proven restore
	TABLE
}
stage_names() { stage_table | cut -d' ' -f1; }
stage_list() { stage_table | sed -E 's/ +[0-9]+ / /' | while read -r name what; do printf '  %-11s %s\n' "$name" "$what"; done; }
is_stage() { stage_names | grep -qxF -- "$1"; }

stage_format() { cargo fmt --all --check; }

stage_lints() { cargo clippy --workspace --all-targets --locked -- -D warnings; }

stage_tests() { cargo test --workspace --locked --no-fail-fast; }

# Scripts are known by their first line: names here have no endings.
stage_shell() {
	local file first shell=() perl=()
	while IFS= read -r -d '' file; do
		[ -f "$file" ] || continue
		IFS= read -r first <"$file" || continue
		case $first in
		'#!'*/sh | '#!'*/sh\ * | '#!'*bash* | '# shellcheck shell='*) shell+=("$file") ;;
		'#!'*perl*) perl+=("$file") ;;
		esac
	done < <(git ls-files -z --cached --others --exclude-standard)
	echo "${#shell[@]} shell scripts, ${#perl[@]} Perl scripts"
	[ ${#shell[@]} -gt 0 ] && [ ${#perl[@]} -gt 0 ]
	shellcheck --external-sources -- "${shell[@]}"
	for file in "${perl[@]}"; do perl -c "$file"; done
}

# cargo_deny: builds it once, quickly rather than fast, and puts it on PATH.
cargo_deny() {
	local at
	at=$(cache_dir)/tools/cargo-deny-$cargo_deny_version
	if [ ! -x "$at/bin/cargo-deny" ]; then
		CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
			CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR=$at.build nice cargo install --quiet \
			--locked --version "$cargo_deny_version" --root "$at" cargo-deny
		rm -rf "$at.build"
	fi
	PATH=$at/bin:$PATH
}

stage_supply() {
	cargo_deny
	cargo deny --locked check --hide-inclusion-graph bans licenses sources
}

# 77 says: not checked, which is neither passed nor failed, and is said aloud.
stage_advisories() {
	cargo_deny
	timeout 60 cargo deny fetch db || return 77
	cargo deny --locked check --hide-inclusion-graph advisories
}

stage_checks() {
	scripts/tests/checks
	scripts/tests/write-usb
	scripts/tests/matrix
}
stage_static() { scripts/build; }
stage_reader() { scripts/tests/reader; }
stage_bench() { scripts/tests/bench; }
stage_remaster() { install_needs "$top/image/needs" && image/test-remaster; }
stage_image() { scripts/image; }
stage_boots() { scripts/qemu-matrix --only 3,7; }
stage_promises() { image/test-boot --log target/test/promises-serial.log target/asl-rescue.iso; }
stage_targets() { scripts/test-targets --log target/test/targets-serial.log; }
stage_demo() { scripts/boot --auto --small; }

table=() passed=0 failed=0 stage_pid=

stop_stage() { [ -z "$stage_pid" ] || stop_process "$stage_pid"; }

# run_stage NAME: one line when it begins, one when it ends; the log's end where it failed.
run_stage() {
	local name=$1 log=$logs/$1.log started=$SECONDS code=0 minutes result
	minutes=$(stage_table | sed -nE "s/^$name +([0-9]+) .*/\1/p")
	echo "== $name"
	# A shell of its own: bounded in time, and nothing of a stage reaches the next. In the
	# background, so that Ctrl-C ends this script at once and the stage with it.
	# shellcheck disable=SC2016 # $1 is for the inner shell
	timeout --kill-after=20 "${minutes}m" bash -c '
		set -euo pipefail
		. scripts/lib/common.sh
		. scripts/lib/stages.sh
		"stage_$1"' stage "$name" >"$log" 2>&1 </dev/null &
	stage_pid=$!
	wait "$stage_pid" || code=$?
	stage_pid=
	count_stage "$name" "$code" "$log"
	case $code in
	0) result=passed ;;
	77) result='NOT CHECKED' ;;
	124 | 137) result="over ${minutes} min" ;;
	*) result=FAILED ;;
	esac
	table+=("$(printf '%-14s %-12s %s' "$name" "$result" "$(seconds_said $((SECONDS - started)))")")
	printf '%s\n' "${table[-1]}"
	case $code in
	0) ;;
	77) printf '!! %s NOT CHECKED: what it needs could not be had\n' "$name" && tail -n 5 "$log" ;;
	*) failure_said "$log" ;;
	esac
}

# failure_said LOG: each failed test's own words where there are such, and the log's end.
failure_said() {
	echo "-- of $1:"
	sed -n '/^failures:$/,/^test result:/p' "$1" | head -n 300
	tail -n 60 "$1"
}

# count_stage NAME CODE LOG: the tests of the code one by one, every other stage as one.
count_stage() {
	local good=0 bad=0
	if [ "$1" = tests ]; then
		read -r good bad < <(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$3")
		# Code that did not build has no results at all.
		[ "$2" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	elif [ "$2" -eq 0 ]; then
		good=1
	elif [ "$2" -ne 77 ]; then
		bad=1
	fi
	passed=$((passed + good)) failed=$((failed + bad))
}
