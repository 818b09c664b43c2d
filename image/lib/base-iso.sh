# shellcheck shell=bash
# The ISO of the base. Sourced by build-base,
# which sets $here and the names of base/identity.
# shellcheck disable=SC2154

# make_iso_tree ROOT TREE: every file of the ISO, in its place. ROOT is what make_root left.
make_iso_tree() {
	local root=$1 tree=$2 boot live
	boot=$tree/sysresccd/boot live=$tree/sysresccd/$ARCH
	mkdir -p "$tree" "$live" "$boot/$ARCH"
	cp -r "$here/base/iso/." "$tree/"
	grep -rlZ '@LABEL@' "$tree" | xargs -0 sed -i "s/@LABEL@/$LABEL/g"

	cp --reflink=auto "$root/airootfs.sfs" "$live/"
	(cd "$live" && sha512sum airootfs.sfs >airootfs.sha512)
	cp "$root/vmlinuz" "$root/sysresccd.img" "$boot/$ARCH/"
	cp "$root/pkglist" "$tree/sysresccd/pkglist.$ARCH.txt"
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
	find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
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
	mkfs.vfat --invariant -i A51BA5E0 -n ASL-EFI "$image" >/dev/null
	find "$efi" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
	mmd -i "$image" ::/EFI ::/EFI/boot
	mcopy -m -i "$image" "$efi"/* ::/EFI/boot/
}

# write_base_iso TREE ISO: both boot records, and an MBR so that the ISO can be written to a stick.
write_base_iso() {
	xorriso -as mkisofs -quiet -iso-level 3 -full-iso9660-filenames -rational-rock \
		-volid "$LABEL" -appid "$APPID" -publisher 'ASL rescue appliance' -preparer 'image/build-base' \
		-eltorito-boot isolinux/isolinux.bin -eltorito-catalog isolinux/boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table \
		-isohybrid-mbr "$1/isolinux/isohdpfx.bin" \
		-eltorito-alt-boot -e EFI/archiso/efiboot.img -no-emul-boot -isohybrid-gpt-basdat \
		-output "$2" "$1" 2>&1 | { grep -v -E '^$|^xorriso [0-9.]+ :|NOTE' >&2 || true; }
}
