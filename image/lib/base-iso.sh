# shellcheck shell=bash
# The root file system and the ISO tree of the base. Sourced by build-base,
# which sets $here, $mode and the names of base/identity.
# shellcheck disable=SC2154

# make_root WORK DEBS: airootfs.sfs, vmlinuz, sysresccd.img and pkglist in WORK.
make_root() {
	local work=$1 debs=$2
	export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)}
	derive_apt_options >"$work/apt.conf"
	# Root's own files with plain modes, whoever holds the checkout and whatever the umask.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' \
		--mtime="@$SOURCE_DATE_EPOCH" -C "$here/base/rootfs" -cf "$work/rootfs.tar" etc
	# When it fails, mmdebstrap ends its whole process group: it gets one of its own.
	# shellcheck disable=SC2016
	setsid --wait nice mmdebstrap --mode="$mode" --variant=apt --architectures="$DEBIAN_ARCH" \
		--format=tar --skip=essential/unlink,cleanup/apt/cache \
		--aptopt="$work/apt.conf" --dpkgopt="$here/base/excludes" \
		--setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
		--setup-hook="sync-in $debs /var/cache/apt/archives" \
		--essential-hook="tar-in $work/rootfs.tar /" \
		--include="$(list_words "$here/base/packages" | paste -sd,)" \
		--customize-hook="sync-out /var/cache/apt/archives $debs" \
		--customize-hook='rm -rf "$1"/var/cache/apt/*' \
		--customize-hook="$here/base/customize" \
		--customize-hook="download /run/pkglist $work/pkglist" \
		--customize-hook="download /vmlinuz $work/vmlinuz" \
		--customize-hook="download /initrd.img $work/sysresccd.img" \
		--customize-hook='rm -f "$1"/boot/initrd.img-*' \
		"$SUITE" - "$work/sources.list" |
		nice mksquashfs - "$work/airootfs.sfs" -tar -root-mode 0755 -comp zstd -Xcompression-level 4 -quiet -no-progress
	rm -rf "$debs/partial" "$debs/lock"
}

# make_iso_tree WORK TREE: every file of the ISO, in its place.
make_iso_tree() {
	local work=$1 tree=$2 boot live
	boot=$tree/sysresccd/boot live=$tree/sysresccd/$ARCH
	mkdir -p "$tree" "$live" "$boot/$ARCH"
	cp -r "$here/base/iso/." "$tree/"
	grep -rlZ '@LABEL@' "$tree" | xargs -0 sed -i "s/@LABEL@/$LABEL/g"

	mv "$work/airootfs.sfs" "$live/"
	(cd "$live" && sha512sum airootfs.sfs >airootfs.sha512)
	mv "$work/vmlinuz" "$work/sysresccd.img" "$boot/$ARCH/"
	mv "$work/pkglist" "$tree/sysresccd/pkglist.$ARCH.txt"
	echo "$VERSION" >"$tree/sysresccd/VERSION"
	printf '%s="%s"\n' NAME 'ASL base' VERSION "$VERSION" ARCH "$ARCH" SYSLINUX_VERSION \
		"$(dpkg-query -W -f '${Version}' syslinux-common | cut -d: -f2 | cut -d~ -f1)" \
		FORMAT_EPOCH 1 >"$tree/sysresccd/.imageinfo"
	# Microcode is not in Debian's main section; the entries load empty archives in its place.
	cpio --quiet -o -H newc </dev/null >"$boot/intel_ucode.img"
	cp "$boot/intel_ucode.img" "$boot/amd_ucode.img"

	bios_files "$tree"
	uefi_files "$tree"
	chmod -R u=rwX,go=rX "$tree"
}

bios_files() {
	local mods=/usr/lib/syslinux/modules/bios name
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/ISOLINUX/isohdpfx.bin "$mods/ldlinux.c32" "$1/isolinux/"
	for name in ldlinux menu vesamenu libcom32 libutil libmenu whichsys chain reboot poweroff; do
		cp "$mods/$name.c32" "$1/sysresccd/boot/syslinux/"
	done
}

# Debian's signed shim and GRUB, on the ISO and in the EFI partition image.
uefi_files() {
	local efi=$1/EFI/boot image=$1/EFI/archiso/efiboot.img
	mkdir -p "$1/EFI/archiso"
	cp /usr/lib/shim/shimx64.efi.signed "$efi/bootx64.efi"
	cp /usr/lib/shim/mmx64.efi.signed "$efi/mmx64.efi"
	cp /usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed "$efi/grubx64.efi"
	truncate -s 8M "$image"
	mkfs.vfat -i A51BA5E0 -n ASL-EFI "$image" >/dev/null
	mmd -i "$image" ::/EFI ::/EFI/boot
	mcopy -i "$image" "$efi"/* ::/EFI/boot/
}

# write_base_iso TREE ISO: both boot records, and an MBR so that the ISO can be written to a stick.
write_base_iso() {
	nice xorriso -as mkisofs -quiet -iso-level 3 -full-iso9660-filenames -rational-rock \
		-volid "$LABEL" -appid "$APPID" -publisher 'ASL rescue appliance' -preparer 'image/build-base' \
		-eltorito-boot isolinux/isolinux.bin -eltorito-catalog isolinux/boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table \
		-isohybrid-mbr "$1/isolinux/isohdpfx.bin" \
		-eltorito-alt-boot -e EFI/archiso/efiboot.img -no-emul-boot -isohybrid-gpt-basdat \
		-output "$2" "$1"
}
