# shellcheck shell=bash
# Which packages the base is made of, and from where. Sourced by build-base,
# which sets $work and the names of base/identity.
# shellcheck disable=SC2154

# Debian's main packages for $SUITE, as this machine's apt knows them: one source line each.
derive_sources() {
	local lines
	# shellcheck disable=SC2016
	lines=$(apt-get indextargets \
		--format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(ARCHITECTURE)' \
		'Created-By: Packages' |
		awk -F'|' -v s="$SUITE" -v a="$DEBIAN_ARCH" '$2 == "Debian" && $4 == "main" && $5 == a &&
			($3 == s || $3 == s "-updates" || $3 == s "-security") { print $1 }' | sort -u)
	[ -n "$lines" ] || die "this machine's apt knows no Debian $SUITE" \
		"run apt-get update; its sources must name Debian $SUITE main"
	printf '%s\n' "$lines"
}

# The machine's ways to reach its sources (proxies, checks), as apt options.
derive_apt_options() {
	apt-config dump | grep -E '^Acquire::(http|https|ftp|Retries|Check-Date|Check-Valid-Until)\b' || true
	echo 'Acquire::Languages "none";'
}

# resolve_packages SOURCES LIST: every package the base will hold: name version bytes file.
# Asks apt with an empty system, so it is exact and downloads nothing.
resolve_packages() {
	local state=$work/apt names
	mkdir -p "$state/cache/archives/partial"
	: >"$state/status"
	mapfile -t names < <(list_words "$2")
	apt-get --quiet --quiet --yes --print-uris --no-install-recommends \
		-o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
		-o Dir::Cache::archives="$state/cache/archives" -o Debug::NoLocking=1 \
		-o Dir::Etc::SourceList="$1" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		install '?essential' apt "${names[@]}" >"$state/uris" 2>"$state/errors" || {
		cat "$state/errors" >&2
		die "apt cannot resolve the package list $2" "see the lines above; is every name still in $SUITE?"
	}
	# 'URI' file_version_arch.deb bytes hash
	awk '{ split($2, part, "_"); print part[1], part[2], $3, $2 }' "$state/uris" | LC_ALL=C sort
}

# say_download RESOLVED DEBS: how much is fetched now.
say_download() {
	local bytes file count=0 total=0 fetch=0
	while read -r _ _ bytes file; do
		count=$((count + 1)) total=$((total + bytes))
		[ -f "$2/$file" ] || fetch=$((fetch + bytes))
	done <"$1"
	say "$count packages, $((total / 1000000)) MB; to download: $((fetch / 1000000)) MB and package lists (about 10 MB)"
}
