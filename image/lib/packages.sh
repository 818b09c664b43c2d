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

# resolve_packages LIST: what apt would install into an empty system now, as lines
# "package NAME VERSION ARCH SHA256" of a lock. Downloads nothing.
resolve_packages() {
	local state=$work/apt names
	mkdir -p "$state/cache/archives/partial"
	: >"$state/status"
	derive_sources >"$state/sources.list"
	mapfile -t names < <(list_words "$1")
	apt-get --quiet --quiet --yes --print-uris --no-install-recommends -o Acquire::ForceHash=sha256 \
		-o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
		-o Dir::Cache::archives="$state/cache/archives" -o Debug::NoLocking=1 \
		-o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		install '?essential' apt "${names[@]}" >"$state/uris" 2>"$state/errors" || {
		cat "$state/errors" >&2
		die "apt cannot resolve the package list $1" "see the lines above; is every name still in $SUITE?"
	}
	# 'URI' name_version_arch.deb bytes SHA256:hash; %3a stands for the colon of a version.
	sed -nE "s/^'[^']*' ([^_]+)_([^_]+)_([^_.]+)\.deb [0-9]+ SHA256:([0-9a-f]{64})$/package \1 \2 \3 \4/p" "$state/uris" |
		sed 's/%3a/:/' | LC_ALL=C sort >"$state/packages"
	[ "$(wc -l <"$state/packages")" = "$(grep -c . "$state/uris")" ] ||
		die "apt does not say the SHA-256 of every package" "its sources must be of Debian 12 or newer"
	cat "$state/packages"
}

# deb_name NAME VERSION ARCH: the file of a package, as apt names it.
deb_name() { printf '%s_%s_%s.deb\n' "$1" "${2//:/%3a}" "$3"; }

# fetch_packages LOCK DEBS: every package of the lock, whole, in DEBS. What is not there is
# fetched through this machine's apt, which checks its signatures.
fetch_packages() {
	local name version arch hash file bad='' wanted=()
	while read -r _ name version arch hash; do
		file=$2/$(deb_name "$name" "$version" "$arch")
		if ! [ -f "$file" ] || [ "$(sha256sum <"$file" | cut -d' ' -f1)" != "$hash" ]; then
			rm -f "$file"
			wanted+=("$name:$arch=$version")
		fi
	done < <(grep '^package ' "$1")
	[ ${#wanted[@]} -gt 0 ] || return 0
	wanted=("${wanted[@]//:all=/=}")
	say "fetching ${#wanted[@]} of $(grep -c '^package ' "$1") packages"
	(cd "$2" && apt-get --quiet --quiet -o APT::Sandbox::User=root -o Debug::NoLocking=1 download "${wanted[@]}" >&2) || bad=1
	while read -r _ name version arch hash; do
		file=$2/$(deb_name "$name" "$version" "$arch")
		if ! [ -f "$file" ]; then
			say "not to be had: $name $version" && bad=1
		elif [ "$(sha256sum <"$file" | cut -d' ' -f1)" != "$hash" ]; then
			say "not what the lock says: $name $version" && bad=1
		fi
	done < <(grep '^package ' "$1")
	[ -z "$bad" ] || die "this machine's sources have not every package of the lock" \
		"put the named files into $2, or build without --lock from what the sources have now"
}

# make_repository LOCK DEBS DIR: exactly these packages, as an apt source of their own, so that
# what is installed and in which order hangs on nothing else.
make_repository() {
	local name version arch hash file
	while read -r _ name version arch hash; do
		file=$(deb_name "$name" "$version" "$arch")
		# apt decodes what looks like an escape in a name; a plain one needs none.
		ln -f "$2/$file" "$3/$name.deb" 2>/dev/null || cp "$2/$file" "$3/$name.deb"
		dpkg-deb --field "$3/$name.deb"
		printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$name" "$(stat -c %s "$3/$name.deb")" "$hash"
	done < <(grep '^package ' "$1") >"$3/Packages"
}

# newest_package LOCK DEBS: when the newest of them was built, in seconds since 1970. It stands in
# the head of the archive's first member.
newest_package() {
	local name version arch
	while read -r _ name version arch _; do
		head -c 36 "$2/$(deb_name "$name" "$version" "$arch")" | tail -c 12
		echo
	done < <(grep '^package ' "$1") | sort -n | tail -n 1 | tr -d ' '
}
