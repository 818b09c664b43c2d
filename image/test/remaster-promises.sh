# shellcheck shell=bash
# shellcheck disable=SC2016,SC2317 # words that are not for this shell; functions called by name
# What the remaster promises, each on the fixture $temp/in.iso. Sourced by image/test-remaster.
: "${temp:?test-remaster sets it}" "${here:?}" "${binary:?}" "${iso=}"

promises() {
	keeps "the module, the YAML, the provenance and the menu entries are added" additions
	keeps "every other file, the label and the boot records stay as they are" nothing_else
	keeps "asl-image.json names every file by its hash, and no other" provenance_of_out
	keeps "OUT.iso.sha512 is checked by sha512sum -c beside it" sums_beside
	keeps "the same inputs, touched and read elsewhere, give the same bits" same_bits
	keeps "paths that begin here do as well as whole ones" from_here
	keeps "its own output gives itself" idempotent
	keeps "an older appliance on the ISO is replaced, the person's own entries stay" replaced
	keeps "--label rewrites every menu" new_label
	keeps "a label with blanks is replaced by --label wherever a menu names it" blank_label
	keeps "--sha256 and --sha512 take a hash, a file with a hash, a list of many" given_hashes
	keeps "--asc takes a signature by a key in armour or not, and says whose" signed
	keeps "a checksum in the input is checked, and --md5 makes one" embedded
	keeps "a module that sorts later stays, and is told of where ours hides its files" later_module
	keeps "a module that sorts before ours and hides none of it is told of" earlier_module
	keeps "the result survives sysrescue-customize: unpacked, rebuilt, remastered again" customized
	keeps "--recipe makes with sysrescue-customize's steps what the remaster makes" by_recipe
	keeps "--recipe does not write over what is there" recipe_exists
	keeps "Ctrl-C at any moment leaves nothing, or the whole" interrupted
	keeps "an output that was there before an interruption or a refusal is kept" kept_before
	keeps "a disk that fills up leaves nothing half made" disk_full
}

additions() {
	unpack "$temp/out.iso" "$temp/o"
	mkdir "$temp/m"
	unsquashfs -no-progress -f -d "$temp/m" "$temp/o/sysresccd/00-asl-host.srm" >/dev/null
	cmp "$binary" "$temp/m/usr/bin/asl-host"
	[ "$(readlink "$temp/m/usr/bin/asl-rescue")" = asl-host ]
	cmp "$temp/profiles/fixture.toml" "$temp/m/usr/lib/asl/profiles/fixture.toml"
	(cd "$temp/m" && sha512sum --quiet -c usr/lib/asl/manifest.sha512)
	grep -qx '  loadsrm: true' "$temp/o/sysrescue.d/500-asl.yaml"
	[ "$(grep -c 'archisolabel=RESCUE1200 loadsrm' "$temp/o/sysresccd/boot/syslinux/sysresccd_custom.cfg")" -eq 6 ]
	# SystemRescue's $archiso_param holds the label or the ISO file alone, not archisobasedir.
	[ "$(grep -c 'vmlinuz archisobasedir=sysresccd $archiso_param loadsrm' "$temp/o/boot/grub/custom.cfg")" -eq 6 ]
	fails grep -r @LABEL@ "$temp/o/boot" "$temp/o/sysresccd/boot"
	grep -qx '# For entries of your own.' "$temp/o/boot/grub/custom.cfg"
}

nothing_else() {
	local ours='sysresccd/00-asl-host.srm|sysrescue.d/(500-asl.yaml|asl-image.json)|boot/grub/custom.cfg|sysresccd/boot/syslinux/sysresccd_custom.cfg'
	unpack "$temp/in.iso" "$temp/i"
	unpack "$temp/out.iso" "$temp/o"
	diff <(list_of "$temp/i" "$ours") <(list_of "$temp/o" "$ours")
	[ "$(list_of "$temp/i" "$ours" | wc -l)" -eq 19 ]
	# The boot record of BIOS holds its own place on the medium, in bytes 8 to 63.
	cmp -i 64 "$temp/i/isolinux/isolinux.bin" "$temp/o/isolinux/isolinux.bin"
	[ "$(label_of "$temp/out.iso")" = RESCUE1200 ]
	diff <(boot_records "$temp/in.iso") <(boot_records "$temp/out.iso")
	boot_records "$temp/out.iso" | grep -q isohybrid
}
list_of() {
	(cd "$1" && find . -type f -printf '%P\0' | sort -z | xargs -0 sha512sum) |
		grep -vE "  ($2|isolinux/(isolinux\.bin|boot\.cat))\$"
}

provenance_of_out() {
	unpack "$temp/out.iso" "$temp/o"
	provenance_holds "$temp/o"
	grep -q "\"sha512\": \"$(sha512sum <"$temp/in.iso" | cut -d' ' -f1)\", \"version\": \"12.00\"" "$temp/o/sysrescue.d/asl-image.json"
	grep -qx '  "epoch": 1700000000,' "$temp/o/sysrescue.d/asl-image.json"
	perl -MJSON::PP -0777 -ne 'JSON::PP->new->decode($_)' "$temp/o/sysrescue.d/asl-image.json"
}

sums_beside() {
	(cd "$temp" && sha512sum --quiet -c out.iso.sha512)
	[ "$(cut -d' ' -f3 "$temp/out.iso.sha512")" = out.iso ]
}

# Another folder, other times, other permissions, another hour.
same_bits() {
	mkdir "$temp/else where"
	cp -r "$here" "$temp/else where/image"
	cp -r "$temp/profiles" "$binary" "$temp/in.iso" "$temp/else where/"
	chmod -R go= "$temp/else where"
	find "$temp/else where" -exec touch -d '2001-02-03 04:05:06' {} +
	(umask 077 && cd / && TZ=Asia/Tokyo LC_ALL=C.UTF-8 "$temp/else where/image/remaster" --binary "$temp/else where/ldconfig" \
		--profiles "$temp/else where/profiles" "$temp/else where/in.iso" "$temp/else where/out.iso")
	cmp "$temp/out.iso" "$temp/else where/out.iso"
}

from_here() {
	cd "$temp" || exit
	"$here/remaster" --binary "$binary" --profiles profiles in.iso here.iso
	cmp out.iso here.iso
	"$here/remaster" --binary "$binary" --profiles profiles --recipe here-recipe
	[ -x here-recipe/iso_patch_and_script/50-asl-host ]
}

idempotent() {
	remaster "$temp/out.iso" "$temp/again.iso"
	cmp "$temp/out.iso" "$temp/again.iso"
	remaster --md5 "$temp/in.iso" "$temp/md5.iso"
	remaster --md5 "$temp/md5.iso" "$temp/md5-again.iso"
	cmp "$temp/md5.iso" "$temp/md5-again.iso"
}

replaced() {
	old_appliance() {
		echo 'an older module' >sysresccd/00-asl-host.srm
		printf '# mine before\n# >>> asl-host: old\nmenuentry old {}\n# <<< asl-host\n# mine after, without an end of line' >boot/grub/custom.cfg
	}
	variant older old_appliance
	remaster "$iso" "$temp/replaced.iso"
	unpack "$temp/replaced.iso" "$temp/o"
	cmp <(head -n 2 "$temp/o/boot/grub/custom.cfg") <(printf '# mine before\n# mine after, without an end of line\n')
	[ "$(grep -c '^# >>> asl-host' "$temp/o/boot/grub/custom.cfg")" -eq 1 ]
	fails grep -q 'menuentry old' "$temp/o/boot/grub/custom.cfg"
	provenance_holds "$temp/o"
}

new_label() {
	remaster --label RESCUE_ASL "$temp/in.iso" "$temp/labelled.iso"
	[ "$(label_of "$temp/labelled.iso")" = RESCUE_ASL ]
	unpack "$temp/labelled.iso" "$temp/o"
	fails grep -r RESCUE1200 "$temp/o/boot" "$temp/o/sysresccd/boot" "$temp/o/isolinux/isolinux.cfg"
	[ "$(grep -rh 'archisolabel=RESCUE_ASL' "$temp/o/boot" "$temp/o/sysresccd/boot" | wc -l)" -eq 10 ]
	diff <(boot_records "$temp/in.iso") <(boot_records "$temp/labelled.iso")
	provenance_holds "$temp/o"
	remaster "$temp/labelled.iso" "$temp/labelled-again.iso"
	cmp "$temp/labelled.iso" "$temp/labelled-again.iso"
}

blank_label() {
	make_menus "$temp/tree" 'MY RESCUE 12'
	write_fixture "$temp/tree" 'MY RESCUE 12' "$temp/blank.iso"
	make_menus "$temp/tree" RESCUE1200
	[ "$(label_of "$temp/blank.iso")" = 'MY RESCUE 12' ]
	remaster --label RESCUE1201 "$temp/blank.iso" "$temp/unblank.iso"
	[ "$(label_of "$temp/unblank.iso")" = RESCUE1201 ]
	unpack "$temp/unblank.iso" "$temp/o"
	fails grep -r 'MY' "$temp/o/boot" "$temp/o/sysresccd/boot/syslinux"
	grep -qx 'APPEND archisobasedir=sysresccd archisolabel=RESCUE1201 iomem=relaxed copytoram' "$temp/o/sysresccd/boot/syslinux/sysresccd_sys.cfg"
	grep -q 'archiso_param="archisolabel=RESCUE1201"' "$temp/o/boot/grub/grubsrcd.cfg"
}

given_hashes() {
	local sum
	sum=$(sha256sum <"$temp/in.iso" | cut -d' ' -f1)
	remaster --sha256 "${sum^^}" "$temp/in.iso" "$temp/hashed.iso"
	echo "$sum" >"$temp/one.sha256"
	(cd "$temp" && sha512sum out.iso in.iso) | sed 's/  / */' >"$temp/many.sha512"
	remaster --sha256 "$temp/one.sha256" --sha512 "$temp/many.sha512" "$temp/in.iso" "$temp/hashed.iso"
	cmp "$temp/out.iso" "$temp/hashed.iso"
}

make_keys() {
	export GNUPGHOME=$temp/gnupg
	mkdir -m 700 "$GNUPGHOME"
	gpg --batch --quiet --passphrase '' --quick-generate-key signer@example.org ed25519 sign
	gpg --batch --quiet --passphrase '' --quick-generate-key other@example.org ed25519 sign
	gpg --armor --export signer@example.org >"$temp/signer.asc"
	gpg --export signer@example.org >"$temp/signer.gpg"
	gpg --armor --export other@example.org >"$temp/other.asc"
	gpg --batch --armor --local-user signer@example.org --output "$temp/in.iso.asc" --detach-sign "$temp/in.iso"
}
signed() {
	local print
	make_keys
	print=$(gpg --with-colons --list-keys signer@example.org | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p' | head -n 1)
	remaster --asc "$temp/in.iso.asc" --key "$temp/signer.asc" "$temp/in.iso" "$temp/signed.iso" 2>&1 | grep "signed by $print"
	remaster --asc "$temp/in.iso.asc" --key "$temp/signer.gpg" "$temp/in.iso" "$temp/signed.iso"
	cmp "$temp/out.iso" "$temp/signed.iso"
}

embedded() {
	cp "$temp/in.iso" "$temp/implanted.iso"
	implantisomd5 "$temp/implanted.iso"
	remaster --md5 "$temp/implanted.iso" "$temp/md5.iso" 2>&1 | grep 'embedded checksum as it was made'
	checkisomd5 "$temp/md5.iso" </dev/null 2>&1 | grep PASS
	unpack "$temp/md5.iso" "$temp/o"
	provenance_holds "$temp/o"
	# Without --md5 there is none, not a wrong one.
	remaster "$temp/implanted.iso" "$temp/plain.iso"
	{ checkisomd5 "$temp/plain.iso" </dev/null 2>&1 || :; } | grep 'result is: NA'
}

later_module() {
	variant later make_srm_here sysresccd/customize.srm usr/bin/asl-host usr/bin/theirs
	remaster "$iso" "$temp/later-out.iso" 2>&1 | grep '/sysresccd/customize.srm .* which ours hide: usr/bin/asl-host'
	unpack "$temp/later-out.iso" "$temp/o"
	unsquashfs -no-progress -lls "$temp/o/sysresccd/customize.srm" | grep usr/bin/theirs
}
make_srm_here() {
	local at=$1
	shift
	make_srm "$PWD/$at" "$@"
}
earlier_module() {
	variant earlier make_srm_here sysresccd/00-aaa.srm opt/theirs
	remaster "$iso" "$temp/earlier-out.iso" 2>&1 | grep 'note: /sysresccd/00-aaa.srm lies above'
	variant consoles make_srm_here sysresccd/zz.srm etc/systemd/system/getty@tty1.service.d/x.conf
	remaster "$iso" "$temp/consoles-out.iso" 2>&1 | grep 'zz.srm changes the consoles'
}

customized() {
	customize_unpack "$temp/out.iso" "$temp/custom"
	customize_rebuild "$temp/custom" "$temp/custom.iso"
	[ "$(label_of "$temp/custom.iso")" = RESCUE1200 ]
	diff <(boot_records "$temp/out.iso") <(boot_records "$temp/custom.iso")
	unpack "$temp/custom.iso" "$temp/o"
	provenance_holds "$temp/o"
	remaster "$temp/custom.iso" "$temp/custom-again.iso"
	unpack "$temp/custom-again.iso" "$temp/o2"
	provenance_holds "$temp/o2"
	cmp <(grep '"base"' "$temp/o/sysrescue.d/asl-image.json") <(grep '"base"' "$temp/o2/sysrescue.d/asl-image.json")
}

by_recipe() {
	SOURCE_DATE_EPOCH=1700000000 remaster --recipe "$temp/recipe"
	# What that tool demands of a recipe: names, modes, no folders among the scripts.
	[ -z "$(find "$temp/recipe/iso_patch_and_script" -mindepth 1 ! -regex '.*/[0-9_a-z-]*')" ]
	[ -z "$(find "$temp/recipe/iso_patch_and_script" -mindepth 1 ! -type f -o ! -perm -u+x -mindepth 1)" ]
	customize_unpack "$temp/in.iso" "$temp/auto"
	cp -r "$temp/recipe/iso_add/." "$temp/auto/filesystem/"
	(cd "$temp/auto/filesystem" && SOURCE_DATE_EPOCH=1700000000 "$temp/recipe/iso_patch_and_script/50-asl-host")
	customize_rebuild "$temp/auto" "$temp/auto.iso"
	unpack "$temp/auto.iso" "$temp/a"
	unpack "$temp/out.iso" "$temp/o"
	provenance_holds "$temp/a"
	[ "$(diff -rq "$temp/a" "$temp/o" | grep -cvE 'isolinux(\.bin|: boot\.cat)|boot\.cat')" -eq 1 ]
	# That tool knows no hash of its input: the one line that differs.
	fails diff "$temp/a/sysrescue.d/asl-image.json" "$temp/o/sysrescue.d/asl-image.json" >"$temp/difference"
	[ "$(grep -c '^[<>]' "$temp/difference")" -eq 2 ]
	grep -q '^< *"base": {"sha512": "", "version": "12.00"}' "$temp/difference"
}
recipe_exists() {
	mkdir "$temp/mine"
	echo mine >"$temp/mine/file"
	fails remaster --recipe "$temp/mine"
	[ "$(cat "$temp/mine/file")" = mine ]
}

# The shell that runs this ignores SIGINT for what it starts in the background; a terminal does not.
interrupted() {
	local delay pid dir=$temp/interrupted whole=0
	mkdir "$dir"
	for delay in 0.05 0.1 0.2 0.3 0.4 0.5 0.6 0.8 1.0 1.3 1.6; do
		env --default-signal=INT setsid "$here/remaster" --binary "$binary" --profiles "$temp/profiles" \
			"$temp/in.iso" "$dir/out.iso" >/dev/null 2>&1 &
		pid=$!
		sleep "$delay"
		kill -INT -- "-$pid" 2>/dev/null || :
		wait "$pid" || :
		if [ -e "$dir/out.iso" ]; then
			whole=$((whole + 1))
			cmp "$temp/out.iso" "$dir/out.iso"
			(cd "$dir" && sha512sum --quiet -c out.iso.sha512)
			rm "$dir/out.iso" "$dir/out.iso.sha512"
		fi
		nothing_left "$dir" || { ls -A "$dir" && return 1; }
	done
	# Where every run was over before its signal came, nothing was tried.
	[ "$whole" -lt 11 ]
}

kept_before() {
	mkdir "$temp/kept"
	echo 'an earlier one' >"$temp/kept/out.iso"
	fails remaster --sha256 "$(printf '0%.0s' {1..64})" "$temp/in.iso" "$temp/kept/out.iso"
	[ "$(cat "$temp/kept/out.iso")" = 'an earlier one' ]
	[ "$(ls -A "$temp/kept")" = out.iso ]
}

# A profile that is larger than the disk was thought to need: the writing itself fails.
disk_full() {
	local user=()
	[ "$(id -u)" -eq 0 ] || user=(--user --map-root-user)
	mkdir "$temp/small" "$temp/large"
	head -c 60M /dev/urandom >"$temp/large/large.toml"
	cat >"$temp/on-small-disk" <<-'SCRIPT'
		mount -t tmpfs -o size=50m none "$1/small"
		if "$2/remaster" --binary "$3" --profiles "$1/large" "$1/in.iso" "$1/small/out.iso"; then exit 1; fi
		[ -z "$(ls -A "$1/small")" ]
	SCRIPT
	unshare "${user[@]}" --mount bash -e "$temp/on-small-disk" "$temp" "$here" "$binary"
}
