# shellcheck shell=bash
# The tools that scripts/bench measures: us, the probe, the peers, the imagers. Sourced by it.
#
# TOOL_STEP runs one step, with these set: $source what to store, $store its repository, $private
# its keys and caches (outside the repository), $out a new folder to restore to, $file a path below
# $source, $step its name, by which the snapshot of each ingest is named too. What a tool has no
# function for is not measured of it. Every program is started by `peak`. TOOL_version says which
# one it is, and fails where there is none. `lands TOOL` says where its restored tree lies.
# shellcheck disable=SC2034,SC2154 # the variables above are set by scripts/bench
: "${top:?common.sh comes first}" "${temp=}" "${program=}" "${bench=}"

# Pinned: a new version may be faster. Built once, into the cache.
bupstash_pin=bupstash@0.12.0
rustic_pin=rustic-rs@0.11.4

peers=(bupstash rustic restic borg casync)
imagers=(dd dc3dd ewf)
steps=(ingest rerun verify restore one incremental)

# peak COMMAND ARG...: runs it, and notes the most memory any one of its processes held, in KiB.
peak() { command time --quiet -a -o "$temp/peaks" -f %M -- "$@"; }

# The tree is restored under its own full path by these, and right into the folder by the others.
lands() {
	case $1 in
	restic | borg) printf '%s\n' "$out$source" ;;
	*) printf '%s\n' "$out" ;;
	esac
}

# has TOOL STEP
has() { declare -F "$1_$2" >/dev/null; }

# --- us ------------------------------------------------------------------------

asl() { peak "$program" --root "$store" "$@"; }
asl_version() { "$program" --version; }
asl_init() {
	"$program" init --root "$store" &&
		"$program" domain create --root "$store" --stick "$temp/keys"
}
# As the peers do it: what was written is not read back (asl_read_back does that too).
asl_ingest() { asl ingest "$source" --stick "$temp/keys" --passphrase-file "$temp/words" --snapshot --no-read-back; }
asl_verify() { asl verify --identity "$temp/keys/owner.txt"; }
asl_restore() { asl restore --snapshot 1 --identity "$temp/keys/owner.txt" --to "$out"; }
asl_one() { asl cat "$file" --snapshot 1 --identity "$temp/keys/owner.txt"; }

# Of the store alone, with no key, by a tool of ours.
asl_grouped() { peak "$bench" commits "$store" $((1000 / share > 1 ? 1000 / share : 2)) $((100000 / share)); }
asl_single() { peak "$bench" commits "$store" 1 $((1000 / share)); }

# As it is used by default: each block is read back from the medium.
asl_read_back_version() { "$program" --version; }
asl_read_back_init() { asl_init; }
asl_read_back_ingest() { asl ingest "$source" --stick "$temp/keys" --passphrase-file "$temp/words" --snapshot; }

# --- the limit -----------------------------------------------------------------

probe_version() { printf 'zstd 1, ChaCha20-Poly1305, 2 threads\n'; }
probe_ingest() { peak "$bench" probe "$source" "$store/blocks"; }

# --- peers ---------------------------------------------------------------------

bupstash() { BUPSTASH_REPOSITORY=$store BUPSTASH_KEY=$private/key BUPSTASH_QUERY_CACHE=$private/queries BUPSTASH_SEND_LOG=$private/sends peak "$(built "$bupstash_pin")/bupstash" "$@"; }
bupstash_version() { "$(built "$bupstash_pin")/bupstash" --version; }
bupstash_init() { rmdir "$store" && bupstash init && bupstash new-key -o "$private/key"; }
bupstash_ingest() { bupstash put -q name="$step" "$source"; }
bupstash_verify() { bupstash get -q name=ingest; }
bupstash_restore() { bupstash restore -q --into "$out" name=ingest; }
bupstash_one() { bupstash get -q --pick "$file" name=ingest; }

rustic() { RUSTIC_PASSWORD=x RUSTIC_REPOSITORY=$store RUSTIC_CACHE_DIR=$private RUSTIC_NO_PROGRESS=true RUSTIC_LOG_LEVEL=warn peak "$(built "$rustic_pin")/rustic" "$@"; }
rustic_version() { "$(built "$rustic_pin")/rustic" --version; }
rustic_init() { rustic init; }
rustic_ingest() { rustic backup "$source"; }
rustic_verify() { rustic check --read-data; }
rustic_restore() { rustic restore "latest:$source" "$out"; }
rustic_one() { rustic dump "latest:$source/$file"; }

restic() { RESTIC_PASSWORD=x RESTIC_REPOSITORY=$store RESTIC_CACHE_DIR=$private peak restic "$@"; }
restic_version() { command restic version; }
restic_init() { restic init -q --repository-version 2; }
restic_ingest() { restic backup -q --compression auto "$source"; }
restic_verify() { restic check -q --read-data; }
restic_restore() { restic restore -q latest --target "$out"; }
restic_one() { restic dump -q latest "$source/$file"; }

borg() { BORG_PASSPHRASE=x BORG_BASE_DIR=$private BORG_REPO=$store peak borg "$@"; }
borg_version() { command borg --version; }
borg_init() { rmdir "$store" && borg init -e repokey-blake2; }
borg_ingest() { borg create -C lz4 "::$step" "$source"; }
borg_verify() { borg check --verify-data; }
borg_restore() { cd "$out" && borg extract ::ingest; }
borg_one() { borg extract --stdout ::ingest "${source#/}/$file"; }

casync_version() { command casync --version | sed -n 1p; }
casync_init() { mkdir "$store/chunks"; }
casync_ingest() { peak casync make --store="$store/chunks" "$store/$step.caidx" "$source"; }
casync_restore() { peak casync extract --store="$store/chunks" "$store/ingest.caidx" "$out"; }

# --- imagers: of `big` alone, one file into one file -----------------------------

dd_version() { command dd --version | sed -n 1p; }
dd_ingest() { peak dd if="$source/disk.img" of="$store/disk.img" bs=1M conv=fsync status=none; }
dc3dd_version() { command dc3dd --version 2>&1 | sed -n 1p; }
dc3dd_ingest() { peak dc3dd if="$source/disk.img" of="$store/disk.img" hash=sha256 log="$private/log"; }
ewf_version() { ewfacquire -V | sed -n 1p; }
ewf_ingest() { peak ewfacquire -q -u -c fast -f encase6 -d sha256 -S 100GiB -t "$store/disk" "$source/disk.img"; }

# --- what is built once -----------------------------------------------------------

# built NAME@VERSION: the folder of its program in the cache.
built() { printf '%s/tools/%s/bin\n' "$(cache_dir)" "${1/@/-}"; }

# build_peer TOOL: with cargo, where the cache does not have it. Its log's end is the reason why not.
build_peer() {
	local pin=${1}_pin at log
	pin=${!pin:-}
	[ -n "$pin" ] || return 0
	at=$(dirname "$(built "$pin")")
	[ ! -x "$at/bin/$1" ] || return 0
	say "building $pin into the cache, once; some minutes"
	log=$temp/build-$1
	CARGO_TARGET_DIR=$at.build nice -n 19 cargo install --quiet --locked --version "${pin#*@}" \
		--root "$at" "${pin%@*}" >"$log" 2>&1 || return 1
	rm -rf "$at.build"
}
