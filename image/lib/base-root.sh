# shellcheck shell=bash
# The root file system of the base. Sourced by build-base, which sets $here, $mode
# and the names of base/identity.
# shellcheck disable=SC2154

# make_root WORK DEBS: airootfs.sfs, vmlinuz, sysresccd.img, pkglist and epoch in WORK.
make_root() {
	local work=$1 debs=$2
	export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)}
	echo "$SOURCE_DATE_EPOCH" >"$work/epoch"
	# Inside a user namespace the checkout may not be readable: text and pipes go in, no paths.
	local line options=()
	while IFS= read -r line; do options+=("--aptopt=$line"); done < <(derive_apt_options)
	while IFS= read -r line; do options+=("--dpkgopt=$line"); done < <(grep -v '^#' "$here/base/excludes")
	# Root's own files with plain modes, whoever holds the checkout and whatever the umask.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' \
		--mtime="@$SOURCE_DATE_EPOCH" -C "$here/base/rootfs" -cf "$work/rootfs.tar" etc
	# When it fails, mmdebstrap ends its whole process group: it gets one of its own.
	# shellcheck disable=SC2016
	setsid --wait nice mmdebstrap --mode="$mode" --variant=apt --architectures="$DEBIAN_ARCH" \
		--format=tar --skip=essential/unlink,cleanup/apt/cache \
		"${options[@]}" \
		--setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
		--setup-hook="sync-in $debs /var/cache/apt/archives" \
		--essential-hook="tar-in $work/rootfs.tar /" \
		--include="$(list_words "$here/base/packages" | paste -sd,)" \
		--customize-hook="sync-out /var/cache/apt/archives $debs" \
		--customize-hook='rm -rf "$1"/var/cache/apt/*' \
		--customize-hook="upload $here/base/customize /run/customize" \
		--customize-hook='chroot "$1" sh /run/customize' \
		--customize-hook="download /run/pkglist $work/pkglist" \
		--customize-hook="download /vmlinuz $work/vmlinuz" \
		--customize-hook="download /initrd.img $work/sysresccd.img" \
		--customize-hook='rm -f "$1"/boot/initrd.img-*' \
		"$SUITE" - "$work/sources.list" |
		nice mksquashfs - "$work/airootfs.sfs" -tar -root-mode 0755 -comp zstd -Xcompression-level 4 -quiet -no-progress
	rm -rf "$debs/partial" "$debs/lock"
}
