# shellcheck shell=bash
# How scripts/bench measures: data, rounds, one timed step, and what is said of the machine.
# Sourced by it, after bench-tools.sh.
# shellcheck disable=SC2154 # size, share, sets and the other choices are set by scripts/bench
: "${top:?common.sh comes first}" "${temp=}" "${bench=}" "${program=}" "${results=}"

# fact NAME VALUE
fact() { printf '%s\t%s\n' "$1" "$2" >>"$results/facts"; }

# --- before ----------------------------------------------------------------------

# MB of each full set: with its next version, alone, stored once, and the largest copy an imager makes.
space_table() {
	cat <<-TABLE
		home  4200 2100 1250 0
		small  420  420  300 0
		big   8600 4300 2600 4300
	TABLE
}

# check_space: what this run will hold at once is free, and a gigabyte stays so.
check_space() {
	local need free set made alone stored copy most=0 here tools
	tools=$((1 + $(wc -w <<<"$wanted")))
	need=0
	while read -r set made alone stored copy; do
		[[ " ${sets//$'\n'/ } " = *" $set "* ]] || continue
		need=$((need + made))
		# The source, what came back, a repository each, and what is deleted at once.
		here=$((2 * alone + tools * stored + (copy > stored ? copy : stored)))
		most=$((here > most ? here : most))
	done < <(space_table)
	need=$(((need + most) / share + 1200))
	free=$(($(df --output=avail -B 1000000 "$temp" | tail -n 1)))
	[ "$free" -ge "$need" ] || die "this run needs $need MB on the disk of $temp, and $free MB are free" \
		"set TMPDIR to a larger disk, or take a smaller --size, fewer --sets or --peers"
	say "needs up to $need MB on the disk of $temp; $free MB are free"
}

# choose_tools: sets $tools to what can be had; of what cannot, the reason stands in the facts.
choose_tools() {
	local tool version why
	tools=()
	if [ -n "$wanted" ]; then
		(install_needs scripts/needs/bench-peers) || say "going on without what apt could not install"
	fi
	for tool in asl asl_read_back probe $wanted; do
		why=
		if ! build_peer "$tool"; then
			why="cargo could not build it: $(grep -m 1 '^error' "$temp/build-$tool" || tail -n 1 "$temp/build-$tool")"
		elif ! version=$("${tool}_version" 2>/dev/null) || [ -z "$version" ]; then
			why="it is not installed"
		fi
		if [ -n "$why" ]; then
			say "$tool is missing: $why"
			fact "missing $tool" "${why//$'\t'/ }"
		else
			tools+=("$tool")
			fact "$tool" "${version%%$'\n'*}"
		fi
	done
}

# make_sealing_keys: an owner's keys; their passphrase takes no time to try (see relock.rs).
make_sealing_keys() {
	echo 'only to be measured' >"$temp/words"
	"$program" key generate --to "$temp/keys" --passphrase-file "$temp/words" >/dev/null 2>&1
	"$program" dam create --keys "$temp/keys" --label bench >/dev/null
	"$program" dam sign --keys "$temp/keys" >/dev/null
	"$program" key check --keys "$temp/keys" --identity "$temp/keys/owner.txt" \
		--passphrase-file "$temp/words" >/dev/null
	"$bench" relock "$temp/keys" "$temp/words"
}

machine_facts() {
	fact size "$size"
	fact rounds "$repeat"
	fact processor "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores"
	fact memory "$(awk '/^MemTotal/ { printf "%.1f GB", $2 * 1024 / 1e9 }' /proc/meminfo)"
	fact system "Linux $(uname -r), $(stat -f -c %T "$temp")"
}

# make_data SET: the set and its next version, where they are not there yet; sets what they are.
make_data() {
	local name
	kept_data=${data:+$data/$size}
	kept_data=${kept_data:-$temp/data}
	mkdir -p "$kept_data"
	for name in "$1" $(next_version "$1"); do
		if [ ! -d "$kept_data/$name" ]; then
			say "making the data set $name"
			"$bench" data "$name" "$kept_data" "$share" >"$temp/said"
			mv "$temp/said" "$kept_data/$name.txt"
		fi
		fact "set $name" "$(cat "$kept_data/$name.txt" 2>/dev/null || echo 'made elsewhere')"
	done
}

next_version() {
	case $1 in
	home) echo home-v2 ;;
	big) echo dup ;;
	esac
}

# --- rounds ----------------------------------------------------------------------

# become SET: $source holds this set; what is the same already is not touched.
become() {
	mkdir -p "$source"
	rsync --archive --delete "$kept_data/$1/" "$source/"
}

# measure_set SET: every round, every step, every tool in turn.
measure_set() {
	local set=$1 round step tool next source=$temp/source file
	next=$(next_version "$set")
	become "$set"
	file=$(find "$source" -type f -size +0 -printf '%s %P\n' | sort -n |
		awk '{ path[NR] = substr($0, index($0, " ") + 1) } END { print path[int((NR + 1) / 2)] }')
	for ((round = 1; round <= repeat; round++)); do
		[ "$round" -eq 1 ] || become "$set"
		for step in "${steps[@]}"; do
			# Ingest comes first always: the others need its repository.
			[ "$step" = ingest ] || [[ " ${only//$'\n'/ } " = *" $step "* ]] || continue
			if [ "$step" = incremental ]; then
				[ -n "$next" ] || continue
				become "$next"
			fi
			for tool in "${tools[@]}"; do measure "$tool" "$step"; done
		done
		rm -rf "$temp/stores" "$temp/private"
	done
	rm -rf "$source"
}

# measure TOOL STEP: one row, where the tool has the step and the repository for it.
measure() {
	local tool=$1 step=$2 does=$2 store=$temp/stores/$1 private=$temp/private/$1 out=$temp/out
	local result=ok before busy_before busy_after real user system
	case $step in rerun | incremental) does=ingest ;; esac
	has "$tool" "$does" || return 0
	# One small file: `big` has none.
	[ "$step" != one ] || [ "$set" != big ] || return 0
	if [ "$step" = ingest ]; then
		! is_imager "$tool" || [ "$set" = big ] || return 0
		mkdir -p "$store" "$private"
		if has "$tool" init; then ("${tool}_init") >"$temp/said" 2>&1 || result='init failed'; fi
	fi
	# A repository that failed, or is deleted after its ingest, has no further steps.
	[ -d "$store" ] || return 0
	[ "$step" = ingest ] || has "$tool" restore || return 0
	rm -rf "$out"
	mkdir "$out"
	sync -f "$store"
	vmtouch -q -e "$store"
	# Only what is read in the timed part.
	case $does in ingest) vmtouch -q -t "$source" ;; esac
	before=$(bytes_in "$store")
	: >"$temp/peaks"
	echo 0 0 0 >"$temp/times"
	busy_before=$(busy)
	[ "$result" != ok ] || timed_step || result=failed
	busy_after=$(busy)
	[ "$result" != ok ] || same_came_back || result=unequal
	[ "$result" != failed ] || { say "$tool failed at $step of $set:" && tail -n 5 "$temp/said" >&2; }
	write_row
	rm -rf "$out"
	if ! has "$tool" restore || { [ "$step" = ingest ] && [ "$result" != ok ]; }; then
		rm -rf "$store" "$private"
	fi
}

# write_row: what `measure` has found of its step.
write_row() {
	read -r real user system <"$temp/times"
	printf '%s\t' "$set" "$round" "$tool" "$step" "$real" "$user" "$system" \
		"$(sort -n "$temp/peaks" | tail -n 1 | grep . || echo 0)" "$before" "$(bytes_in "$store")" \
		"$(others "$busy_before" "$busy_after" "$real" "$user" "$system")" >>"$results/rows"
	printf '%s\n' "$result" >>"$results/rows"
	say "$set $round/$repeat $step $tool: $real s, $result"
}

# measure_commits: small pieces made durable, of us alone; each time in a store of its own.
measure_commits() {
	local set=commits tool=asl round step does store=$temp/stores/commits
	local result before=0 busy_before busy_after real user system
	for ((round = 1; round <= repeat; round++)); do
		for step in grouped single; do
			does=$step result=ok
			rm -rf "$store"
			mkdir -p "$store"
			: >"$temp/peaks"
			echo 0 0 0 >"$temp/times"
			busy_before=$(busy)
			timed_step || result=failed
			busy_after=$(busy)
			[ "$result" = ok ] || { say "$step commits failed:" && tail -n 5 "$temp/said" >&2; }
			write_row
		done
	done
	rm -rf "$store"
}

is_imager() { [[ " ${imagers[*]} " = *" $1 "* ]]; }

# --- one step ----------------------------------------------------------------------

# timed_step: runs it in a process group of its own, until what it wrote is durable; its times
# are in $temp/times.
timed_step() {
	local TIMEFORMAT='%3R %3U %3S'
	{ time group_step; } 2>"$temp/times"
}

group_step() {
	local code=0 given=/dev/null
	[ "$step" != one ] || given=$temp/given
	set -m
	(
		set +m
		"${tool}_$does" && if [ "$does" = ingest ]; then sync -f "$store"; fi
	) </dev/null >"$given" 2>"$temp/said" &
	step_pid=$!
	set +m
	wait "$step_pid" || code=$?
	step_pid=
	return "$code"
}

# stop_step: ends the running step and all it started; at the end of the script, however it ends.
stop_step() {
	[ -n "${step_pid:-}" ] || return 0
	kill -- "-$step_pid" 2>/dev/null || :
	wait "$step_pid" 2>/dev/null || :
}

# same_came_back: names, types, link targets and bytes, of what restore and one file gave.
same_came_back() {
	case $step in
	restore) diff -r --no-dereference "$source" "$(lands "$tool")" >"$temp/said" 2>&1 ;;
	one) cmp "$source/$file" "$temp/given" >"$temp/said" 2>&1 ;;
	esac
}

bytes_in() { find "$1" -type f -printf '%s\n' 2>/dev/null | awk '{ sum += $1 } END { printf "%d", sum }'; }

# busy: hundredths of seconds that all processors were at work since boot.
busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat; }

# others BEFORE AFTER REAL USER SYSTEM: percent of all processor time that was not the step's.
others() {
	awk -v before="$1" -v after="$2" -v real="$3" -v user="$4" -v kernel="$5" -v cores="$(nproc)" 'BEGIN {
		most = real * cores
		share = most > 0 ? 100 * ((after - before) / 100 - user - kernel) / most : 0
		printf "%d", (share < 0 ? 0 : (share > 100 ? 100 : share)) }'
}
