# shellcheck shell=bash
# Small ISOs in the official layout for image/test-remaster: real boot records, a tiny root file
# system, and menus of our own words with the hooks where SystemRescue has them. Sourced.
: "${temp:?test-remaster sets it}"

# make_tree DIR LABEL: every file the remaster asks for, and some it must leave alone.
make_tree() {
	local tree=$1 label=$2 boot=$1/sysresccd/boot root=$1.root
	mkdir -p "$boot/x86_64" "$boot/syslinux" "$tree"/{isolinux,EFI/boot,EFI/archiso,boot/grub,autorun,sysrescue.d} \
		"$tree/sysresccd/x86_64" "$root/etc" "$root/usr/bin"
	echo 'ID=fixture' >"$root/etc/os-release"
	head -c 200000 /dev/urandom >"$root/usr/bin/something"
	mksquashfs "$root" "$tree/sysresccd/x86_64/airootfs.sfs" -all-root -quiet -no-progress -comp zstd
	(cd "$tree/sysresccd/x86_64" && sha512sum airootfs.sfs >airootfs.sha512)
	head -c 50000 /dev/urandom >"$boot/x86_64/vmlinuz"
	head -c 50000 /dev/urandom >"$boot/x86_64/sysresccd.img"
	: >"$boot/intel_ucode.img"
	: >"$boot/amd_ucode.img"
	echo 12.00 >"$tree/sysresccd/VERSION"
	printf '%s\n' 'NAME="Fixture"' 'VERSION="12.00"' 'ARCH="x86_64"' 'FORMAT_EPOCH="1"' >"$tree/sysresccd/.imageinfo"
	printf 'global:\n    copytoram: false\n' >"$tree/sysrescue.d/100-defaults.yaml"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/ISOLINUX/isohdpfx.bin "$tree/isolinux/"
	printf 'CONFIG /sysresccd/boot/syslinux/sysresccd.cfg\nAPPEND /sysresccd/\n' >"$tree/isolinux/isolinux.cfg"
	head -c 30000 /dev/urandom >"$tree/EFI/boot/bootx64.efi"
	truncate -s 1440K "$tree/EFI/archiso/efiboot.img"
	mkfs.vfat "$tree/EFI/archiso/efiboot.img" >/dev/null
	make_menus "$tree" "$label"
}

# The menus: the label literally in each, blanks as \x20, and one hook for other people's entries.
make_menus() {
	local tree=$1 word=${2// /\\\\x20} syslinux=$1/sysresccd/boot/syslinux
	printf '%s\n' 'CONFIG boot/syslinux/sysresccd_sys.cfg' >"$syslinux/sysresccd.cfg"
	cat >"$syslinux/sysresccd_sys.cfg" <<-CFG
		INCLUDE boot/syslinux/sysresccd_head.cfg

		LABEL fixture
		LINUX boot/x86_64/vmlinuz
		APPEND archisobasedir=sysresccd archisolabel=${word//\\\\/\\} iomem=relaxed

		LABEL fixture_ram
		APPEND archisobasedir=sysresccd archisolabel=${word//\\\\/\\} iomem=relaxed copytoram

		INCLUDE boot/syslinux/sysresccd_custom.cfg
	CFG
	printf 'LABEL nbd\nAPPEND archisobasedir=sysresccd archisolabel=%s\n' "${word//\\\\/\\}" >"$syslinux/sysresccd_pxe.cfg"
	printf '# For entries of your own.\n\n' >"$syslinux/sysresccd_custom.cfg"
	printf 'TIMEOUT 300\n' >"$syslinux/sysresccd_head.cfg"
	cat >"$tree/boot/grub/grubsrcd.cfg" <<-CFG
		set timeout=30
		if [ -z "\$archiso_param" ]; then
			archiso_param="archisolabel=$word"
		fi
		eval "
		menuentry 'Fixture' {
			linux /sysresccd/boot/x86_64/vmlinuz archisobasedir=sysresccd \$archiso_param iomem=relaxed
		}
		source /boot/grub/custom.cfg
		" # end
	CFG
	printf '# For entries of your own.\n' >"$tree/boot/grub/custom.cfg"
	printf 'srcd_skip_init=yes\nsource /boot/grub/grubsrcd.cfg\n' >"$tree/boot/grub/loopback.cfg"
}

# write_fixture TREE LABEL ISO: as mkarchiso does it, with a time of its own.
write_fixture() {
	SOURCE_DATE_EPOCH=1700000000 xorriso -as mkisofs -quiet -iso-level 3 -full-iso9660-filenames -rational-rock \
		-volid "$2" -appid 'Fixture' -publisher 'Fixture' -preparer 'fixture' \
		-eltorito-boot isolinux/isolinux.bin -eltorito-catalog isolinux/boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin \
		-eltorito-alt-boot -e EFI/archiso/efiboot.img -no-emul-boot -isohybrid-gpt-basdat \
		-output "$3" "$1" 2>"$temp/xorriso" || { cat "$temp/xorriso" >&2 && die "$3 could not be made" "a bug in the fixture"; }
}

# variant NAME COMMAND...: an ISO whose tree was changed by COMMAND, run in the tree's root; $iso names it.
variant() {
	local tree=$temp/variants/$1
	iso=$temp/$1.iso
	shift
	mkdir -p "$temp/variants"
	cp -r "$temp/tree" "$tree"
	(cd "$tree" && "$@")
	write_fixture "$tree" RESCUE1200 "$iso"
	rm -rf "$tree"
}

# make_srm TREE_DIR SRM PATH...: a module that holds these files.
make_srm() {
	local root=$temp/srm-root out=$1 path
	shift
	rm -rf "$root"
	for path in "$@"; do
		mkdir -p "$root/$(dirname "$path")"
		echo "another's" >"$root/$path"
	done
	mksquashfs "$root" "$out" -noappend -all-root -quiet -no-progress -comp zstd
}

# unpack ISO DIR
unpack() {
	rm -rf "$2"
	mkdir -p "$2"
	xorriso -report_about FAILURE -osirrox on -indev "$1" -extract / "$2" 2>/dev/null
	chmod -R u+rwX "$2"
}

boot_records() {
	xorriso -report_about FAILURE -indev "$1" -report_el_torito plain -report_system_area plain 2>/dev/null |
		grep -E '^(El Torito (cat path|img path|img opts|boot img)|System area (options|summary))' |
		sed -E 's/(boot img :.*) [0-9]+ *$/\1/'
}
label_of() { xorriso -report_about FAILURE -indev "$1" -pvd_info 2>/dev/null | sed -n 's/^Volume Id *: //p'; }

# customize_unpack ISO DIR, customize_rebuild DIR ISO: the steps of SystemRescue's own tool.
customize_unpack() {
	mkdir -p "$2/filesystem"
	xorriso -drive_access shared:readonly -indev "$1" -report_system_area cmd >"$2/meta-cmd" 2>/dev/null
	xorriso -drive_access shared:readonly -indev "$1" -pvd_info >"$2/meta-pvd" 2>/dev/null
	xorriso -osirrox on -drive_access shared:readonly -indev "$1" -extract / "$2/filesystem" 2>/dev/null
}
customize_rebuild() {
	local words=()
	fails grep -q '["\\]' "$1/meta-cmd"
	mapfile -t words < <(grep -vE '^(-volume_date|-boot_image isolinux system_area)' "$1/meta-cmd" | xargs printf '%s\n')
	xorriso -x -compliance iso_9660_level=3 \
		-application_id "$(sed -n 's/^App Id *: //p' "$1/meta-pvd")" \
		-publisher "$(sed -n 's/^Publisher Id *: //p' "$1/meta-pvd")" \
		-preparer_id 'prepared by another tool' \
		-boot_image isolinux system_area="$1/filesystem/isolinux/isohdpfx.bin" \
		"${words[@]}" -outdev "$2" -map "$1/filesystem/" / 2>/dev/null
}

# provenance_holds TREE: every file that asl-image.json names is there and as it says, and no other.
provenance_holds() {
	local sums=$temp/provenance.sums
	sed -nE 's/^    "(.*)": "([0-9a-f]{128})",?$/\2  \1/p' "$1/sysrescue.d/asl-image.json" >"$sums"
	[ -s "$sums" ]
	(cd "$1" && sha512sum --quiet -c "$sums")
	diff <(cut -c131- "$sums") <(cd "$1" && find . -type f -printf '%P\n' | LC_ALL=C sort |
		grep -vxE 'isolinux/(isolinux\.bin|boot\.cat)|sysrescue\.d/asl-image\.json')
}
