# shellcheck shell=bash
# The root file system of the base. Sourced by build-base, which sets $here, $mode, $init
# and the names of base/identity, and removes $repository.
# shellcheck disable=SC2154

# describe_root: a hash of what decides the root file system, beside packages and time.
describe_root() {
	{
		tree_hash "$here/base/rootfs"
		cat "$here/base/customize" "$here/base/excludes" "$here/base/packages" "$here/base/identity"
		cat "$here/lib/base-root.sh" "$here/lib/packages.sh"
		sha256sum <"$init"
	} | sha256sum | cut -d' ' -f1
}

# make_root WORK LOCK DEBS: airootfs.sfs, vmlinuz, sysresccd.img and pkglist in WORK.
make_root() {
	local work=$1 line options=() squash=(mksquashfs)
	# From a tar, mksquashfs gives the root directory to whoever runs it: that must be root.
	[ "$mode" = root ] || squash=(unshare --user --map-root-user mksquashfs)
	# Where everyone may read: in a user namespace even root's own cache is a stranger's.
	repository=$(mktemp -d "${TMPDIR:-/var/tmp}/asl-base-packages.XXXXXX")
	make_repository "$2" "$3" "$repository"
	chmod -R a+rX "$repository"
	# Inside a user namespace the checkout may not be readable: text and pipes go in, no paths.
	while IFS= read -r line; do options+=("--dpkgopt=$line"); done < <(grep -v '^#' "$here/base/excludes")
	install -D -m 0755 "$init" "$work/init/usr/lib/sysresccd/asl-base-init"
	# Root's own files with plain modes, whoever holds the checkout and whatever the umask.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' \
		--mtime="@$SOURCE_DATE_EPOCH" -cf "$work/rootfs.tar" -C "$here/base/rootfs" etc -C "$work/init" usr
	# When it fails, mmdebstrap ends its whole process group: it gets one of its own. apt's binary
	# caches hold times, so there are none.
	# shellcheck disable=SC2016
	setsid --wait nice mmdebstrap --mode="$mode" --variant=apt --architectures="$DEBIAN_ARCH" \
		--format=tar --skip=essential/unlink \
		--aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' \
		--aptopt='Acquire::Languages "none"' "${options[@]}" \
		--essential-hook="tar-in $work/rootfs.tar /" \
		--include="$(list_words "$here/base/packages" | paste -sd,)" \
		--customize-hook="upload $here/base/customize /run/customize" \
		--customize-hook='chroot "$1" sh /run/customize' \
		--customize-hook="download /run/pkglist $work/pkglist" \
		--customize-hook="download /vmlinuz $work/vmlinuz" \
		--customize-hook="download /initrd.img $work/sysresccd.img" \
		--customize-hook='rm -f "$1"/boot/initrd.img-*' \
		"$SUITE" - "deb [trusted=yes] copy://$repository ./" |
		nice "${squash[@]}" - "$work/airootfs.sfs" -tar -root-mode 0755 -comp zstd -Xcompression-level 4 -quiet -no-progress
	rm -rf "$repository"
	diff <(awk '/^package / { print $2, $3 }' "$2" | LC_ALL=C sort) <(LC_ALL=C sort "$work/pkglist") >&2 ||
		die "other packages were installed than the lock names" "see the lines above; a bug of image/build-base"
}
