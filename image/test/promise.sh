# shellcheck shell=sh
# One line for each promise, as image/test-boot reads it. Sourced inside the booted appliance.

promise() {
	text=$1
	shift
	if why=$("$@" 2>&1); then
		echo "PROMISE kept: $text"
	else
		echo "PROMISE broken: $text ($(echo "$why" | tail -n 1))"
	fi
}
