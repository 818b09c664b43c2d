# shellcheck shell=bash
# Promises of a script under test, each tried: what must hold, and what must fail with its words.
# Sourced by scripts/tests/*; needs common.sh and make_temp before the first promise.
# shellcheck disable=SC2034 # $kept is said by the tests
: "${top:?common.sh comes first}" "${temp=}"

kept=0

# holds NAME COMMAND...: must succeed.
holds() {
	local name=$1
	shift
	("$@") >"$temp/said" 2>&1 || { cat "$temp/said" >&2 && die "fails, and should hold: $name" "a bug in what is tested"; }
	kept=$((kept + 1))
}

# fails NAME WORDS COMMAND...: must fail, and say so in these words. Sets $failed_with to its code.
fails() {
	local name=$1 words=$2
	shift 2
	failed_with=0
	("$@") >"$temp/said" 2>&1 || failed_with=$?
	[ "$failed_with" -ne 0 ] || die "holds, and should fail: $name" "a check that cannot fail"
	grep -qF -- "$words" "$temp/said" ||
		{ cat "$temp/said" >&2 && die "fails without the words \"$words\": $name" "a bug in what is tested"; }
	kept=$((kept + 1))
}

# says NAME WORDS: what was tried last said these words.
says() {
	grep -qF -- "$2" "$temp/said" || { cat "$temp/said" >&2 && die "was not said (\"$2\"): $1" "a bug in what is tested"; }
	kept=$((kept + 1))
}
