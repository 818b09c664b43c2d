# shellcheck shell=bash
# shellcheck disable=SC2016,SC2317 # words that are not for this shell; functions called by name
# What the remaster refuses, each with its reason. Sourced by image/test-remaster.
: "${temp:?test-remaster sets it}" "${here:?}" "${binary:?}" "${iso=}"

refusals() {
	local sum
	refused_origins
	refused_layouts
	refused_menus
	refused_modules
	refused_outputs
	keeps "wrong usage has exit code 2 and points to --help" wrong_usages
}

refused_origins() {
	sum=$(sha256sum <"$temp/out.iso" | cut -d' ' -f1)
	refuses "another sha256" "has not the sha256 that was given" --sha256 "$sum" "$temp/in.iso"
	sum=$(sha512sum <"$temp/out.iso" | cut -d' ' -f1)
	refuses "another sha512" "has not the sha512 that was given" --sha512 "$sum" "$temp/in.iso"
	refuses "a hash of another length" "neither a file nor 64 hexadecimal digits" --sha256 "$sum" "$temp/in.iso"
	(cd "$temp" && sha256sum out.iso replaced.iso) >"$temp/others.sha256"
	refuses "a list of hashes without this ISO" "holds no sha256 for in.iso" --sha256 "$temp/others.sha256" "$temp/in.iso"
	refuses "a signature by another key" "is not signed by a key of" --asc "$temp/in.iso.asc" --key "$temp/other.asc" "$temp/in.iso"
	cp "$temp/in.iso" "$temp/changed.iso"
	printf x | dd of="$temp/changed.iso" bs=1 seek=100 conv=notrunc status=none
	refuses "a signed ISO that was changed" "is not signed by a key of" --asc "$temp/in.iso.asc" --key "$temp/signer.asc" "$temp/changed.iso"
	refuses "a key that is not there" "no such file" --asc "$temp/in.iso.asc" --key "$temp/nokey" "$temp/in.iso"
	head -n 4 "$temp/signer.asc" >"$temp/half.asc"
	refuses "half a key" "half.asc" --asc "$temp/in.iso.asc" --key "$temp/half.asc" "$temp/in.iso"
	cp "$temp/implanted.iso" "$temp/bad-md5.iso"
	printf x | dd of="$temp/bad-md5.iso" bs=1 seek=200000 conv=notrunc status=none
	refuses "an ISO whose embedded checksum does not hold" "does not match the checksum embedded in it" "$temp/bad-md5.iso"
}

refused_layouts() {
	local path
	refuses "a file that is not there" "no such ISO" "$temp/nothing.iso"
	head -c 3M /dev/urandom >"$temp/noise.iso"
	refuses "a file that is no ISO" "is no ISO image" "$temp/noise.iso"
	head -c 400000 "$temp/in.iso" >"$temp/short.iso"
	refuses "an ISO that was cut short" "$temp/short.iso" "$temp/short.iso"
	xorriso -as mkisofs -quiet -rational-rock -volid RESCUE1200 -output "$temp/noboot.iso" "$temp/tree" 2>/dev/null
	refuses "an ISO without boot records" "does not boot with a BIOS" "$temp/noboot.iso"
	xorriso -as mkisofs -quiet -rational-rock -volid RESCUE1200 -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table -isohybrid-mbr "$temp/tree/isolinux/isohdpfx.bin" -output "$temp/bios.iso" "$temp/tree" 2>/dev/null
	refuses "an ISO that boots with BIOS only" "does not boot with UEFI" "$temp/bios.iso"
	xorriso -as mkisofs -quiet -rational-rock -volid RESCUE1200 -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table -eltorito-alt-boot -e EFI/archiso/efiboot.img -no-emul-boot -output "$temp/cd.iso" "$temp/tree" 2>/dev/null
	refuses "an ISO that boots from CD only" "does not boot from a stick" "$temp/cd.iso"
	for path in isolinux/isohdpfx.bin sysresccd/boot/x86_64/vmlinuz sysresccd/boot/x86_64/sysresccd.img \
		sysresccd/x86_64/airootfs.sfs sysresccd/x86_64/airootfs.sha512; do
		variant "no-${path##*/}" moved_away "$path"
		refuses "no $path" "/$path is missing" "$iso"
	done
	spoil_airootfs() { printf spoiled | dd of=sysresccd/x86_64/airootfs.sfs bs=1 seek=5000 conv=notrunc status=none; }
	variant spoiled spoil_airootfs
	refuses "a damaged airootfs.sfs" "airootfs.sfs does not match airootfs.sha512" "$iso"
	sum_of_another() { sha512sum /etc/hostname >sysresccd/x86_64/airootfs.sha512; }
	variant sum-elsewhere sum_of_another
	refuses "an airootfs.sha512 that names another file" "does not say the hash of airootfs.sfs" "$iso"
	variant linked ln -s /etc elsewhere
	refuses "a symbolic link on the ISO" "symbolic link" "$iso"
	linked_folder() { rm -r sysrescue.d && mkdir "$temp/outside" && ln -s "$temp/outside" sysrescue.d; }
	variant linked-folder linked_folder
	refuses "a link in place of a folder we write to" "symbolic link" "$iso"
	nothing_left "$temp/outside" || die "written outside of the ISO" "$temp/outside"
}
moved_away() { rm "$1"; }

refused_menus() {
	local custom=sysresccd/boot/syslinux/sysresccd_custom.cfg sys=sysresccd/boot/syslinux/sysresccd_sys.cfg
	local next="take SystemRescue 10.00 or newer"
	variant no-syslinux-hook moved_away "$custom"
	refuses "no sysresccd_custom.cfg" "/$custom is missing; this is version 12.00" "$iso"
	variant no-grub-hook moved_away boot/grub/custom.cfg
	refuses "no custom.cfg of GRUB" "/boot/grub/custom.cfg is missing" "$iso"
	variant no-include sed -i '/^INCLUDE.*custom/d' "$sys"
	refuses "no INCLUDE line" "does not include sysresccd_custom.cfg" "$iso"
	variant commented-include sed -i 's/^INCLUDE.*custom/# &/' "$sys"
	refuses "an INCLUDE line in a comment" "does not include sysresccd_custom.cfg" "$iso"
	variant no-source sed -i '/^source/d' boot/grub/grubsrcd.cfg
	refuses "no source line" "does not source custom.cfg" "$iso"
	older() { echo 9.06 >sysresccd/VERSION && rm sysresccd/boot/syslinux/sysresccd_custom.cfg; }
	variant older-release older
	refuses "SystemRescue 9" "$next" "$iso"
	variant no-menu moved_away "$sys"
	refuses "no BIOS menu" "/$sys is missing" "$iso"
	variant no-label-bios sed -i 's/archisolabel=RESCUE1200/archisolabel=RESCUE1201/' "$sys"
	refuses "a BIOS menu with another label" "does not name the label RESCUE1200" "$iso"
	variant no-label-uefi sed -i 's/archisolabel=RESCUE1200/archisolabel=RESCUE12001/' boot/grub/grubsrcd.cfg
	refuses "a UEFI menu with another label" "does not name the label RESCUE1200" "$iso"
	variant two-labels sed -i '0,/archisolabel=RESCUE1200/s//archisolabel=RESCUE0815/' "$sys"
	refuses "a menu with two labels" "which is not one plain word" "$iso"
	refuses "a label with blanks" "'MY RESCUE 12': only letters" "$temp/blank.iso"
	write_fixture "$temp/tree" 'RES$(id)"' "$temp/odd.iso"
	refuses "a label that would mean something in a menu" "can be booted by label" "$temp/odd.iso"
	refuses "--label without RESCUE" "is not RESCUE and" --label OTHER "$temp/in.iso"
	refuses "--label of twelve characters" "at most 11 characters" --label RESCUE123456 "$temp/in.iso"
	refuses "--label with a blank" "is not RESCUE and" --label 'RESCUE 1' "$temp/in.iso"
	open_block() { echo '# >>> asl-host: begun' >>boot/grub/custom.cfg; }
	variant open-block open_block
	refuses "a block of ours without an end" "has no end" "$iso"
}

refused_modules() {
	variant shadowing make_srm_here sysresccd/00-a.srm usr/bin/asl-host
	refuses "a module that hides our program" "would hide its usr/bin/asl-host" "$iso"
	variant hiding-link make_srm_here sysresccd/00-a.srm usr/bin/asl-rescue
	refuses "a module that hides our link" "would hide its usr/bin/asl-rescue" "$iso"
	variant hiding-folder make_srm_here sysresccd/00-a.srm usr/lib/asl
	refuses "a module with a file where we have a folder" "would hide" "$iso"
	spoiled_module() { make_srm_here sysresccd/zz.srm opt/theirs && truncate -s 200 sysresccd/zz.srm; }
	variant spoiled-module spoiled_module
	refuses "a module that cannot be mounted" "/sysresccd/zz.srm cannot be read as squashfs" "$iso"
	noise_module() { head -c 9000 /dev/urandom >sysresccd/zz.srm; }
	variant noise-module noise_module
	refuses "a module that is none" "cannot be read as squashfs" "$iso"
}

refused_outputs() {
	local code=0
	refuses "a program that is not static" "is not a static x86-64 program" --binary /bin/bash "$temp/in.iso"
	refuses "a program that is not there" "no such binary" --binary "$temp/nothing" "$temp/in.iso"
	mkdir -p "$temp/empty"
	refuses "no profile" "no *.toml" --profiles "$temp/empty" "$temp/in.iso"
	keeps "the input as output is refused, also by another name" same_file
	keeps "a folder as output is refused" folder_as_output
	keeps "too small a disk is refused before anything is written" small_disk
}
same_file() {
	local before name
	before=$(sha512sum <"$temp/in.iso")
	ln "$temp/in.iso" "$temp/hard.iso"
	ln -s in.iso "$temp/soft.iso"
	for name in in hard soft; do
		fails remaster "$temp/in.iso" "$temp/$name.iso" >"$temp/words" 2>&1
		grep -q 'is the input itself' "$temp/words"
	done
	[ "$(sha512sum <"$temp/in.iso")" = "$before" ]
}
folder_as_output() {
	fails remaster "$temp/in.iso" "$temp/empty" >"$temp/words" 2>&1
	grep -q 'is no file' "$temp/words"
	nothing_left "$temp/empty"
}
small_disk() {
	local user=()
	[ "$(id -u)" -eq 0 ] || user=(--user --map-root-user)
	mkdir "$temp/tiny"
	cat >"$temp/on-tiny-disk" <<-'SCRIPT'
		mount -t tmpfs -o size=8m none "$1/tiny"
		if "$2/remaster" --binary "$3" --profiles "$1/profiles" "$1/in.iso" "$1/tiny/out.iso" >"$1/words" 2>&1; then exit 1; fi
		grep -q 'MiB are needed' "$1/words"
		[ -z "$(ls -A "$1/tiny")" ]
	SCRIPT
	unshare "${user[@]}" --mount bash -e "$temp/on-tiny-disk" "$temp" "$here" "$binary"
}

wrong_usages() {
	local words code
	for words in "" "$temp/in.iso" "--nonsense a b" "--asc x $temp/in.iso $temp/o.iso" "--key x $temp/in.iso $temp/o.iso" \
		"--label" "--recipe $temp/r $temp/in.iso $temp/o.iso"; do
		code=0
		# shellcheck disable=SC2086 # words
		remaster $words >"$temp/words" 2>&1 || code=$?
		[ "$code" -eq 2 ]
		grep -q -- '--help' "$temp/words"
	done
}
