# shellcheck shell=bash
# The steps of image/remaster, which sets $here, $binary, $profiles and ${option[...]}. Sourced, never run.
# shellcheck disable=SC2154,SC2034

# What the recipe makes on every ISO.
our_files=(boot/grub/custom.cfg sysresccd/00-asl-host.srm sysresccd/boot/syslinux/sysresccd_custom.cfg
	sysrescue.d/500-asl.yaml sysrescue.d/asl-image.json)

# read_input ISO DIR: unpacks the ISO; sets $label and, where it is not given, SOURCE_DATE_EPOCH.
read_input() {
	local said made old
	said=$(boot_summary "$1") || die "$1 cannot be read as an ISO" "it is damaged: fetch it again"
	check_boot_records "$1" "$said"
	mkdir -p "$2"
	quiet_xorriso -osirrox on -indev "$1" -extract / "$2" 2>"$2.errors" || {
		cat "$2.errors" >&2
		die "$1 cannot be read wholly" "it is damaged or cut short: fetch it again, and see that the disk is not full"
	}
	chmod -R u+rwX "$2"
	label=$(sed -n 's/^Volume Id *: //p' <<<"$said")
	made=$(quiet_xorriso -indev "$1" -pvd_info 2>/dev/null | sed -n 's/^Creation Time *: *\([0-9]\{14\}\).*/\1/p')
	if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
		[ -n "$made" ] || die "$1 does not say when it was made" "set SOURCE_DATE_EPOCH"
		SOURCE_DATE_EPOCH=$(date -u -d "${made:0:8} ${made:8:2}:${made:10:2}:${made:12:2}" +%s)
	fi
	# What is changed later is known by its time.
	find "$2" -exec touch --no-dereference --date=@0 {} +
	check_label "$1" "$2" "$label"
	old=$label label=${option[label]:-$label}
	[ "$old" = "$label" ] || rewrite_label "$2" "$old"
}

# Label, MBR and El Torito entries, without block addresses and sizes, which may move.
boot_summary() {
	quiet_xorriso -indev "$1" -report_el_torito plain -report_system_area plain -pvd_info 2>/dev/null |
		grep -E '^(El Torito (cat path|img path|img opts|boot img)|System area (options|summary)|Volume Id)' |
		sed -E 's/(boot img :.*) [0-9]+ *$/\1/'
}

check_boot_records() {
	local iso=$1 said=$2 next="take an official SystemRescue ISO of 10.00 or newer, x86_64"
	grep -qE '^El Torito boot img : +[0-9]+ +BIOS ' <<<"$said" || die "$iso does not boot with a BIOS: no such El Torito record" "$next"
	grep -qE '^El Torito boot img : +[0-9]+ +UEFI ' <<<"$said" || die "$iso does not boot with UEFI: no such El Torito record" "$next"
	grep -qE '^System area summary: .*isohybrid' <<<"$said" || die "$iso does not boot from a stick: no isohybrid MBR" "$next"
}

# The label goes unquoted into two boot menus and the kernel's command line, and is the name of a
# link in /dev: a blank or a quote in it would need three kinds of quoting at once.
check_label() {
	local iso=$1 tree=$2 old=$3 cfg
	if [ -n "${option[label]}" ]; then
		[[ ${option[label]} =~ ^RESCUE[A-Za-z0-9_]{0,5}$ ]] ||
			die "the label '${option[label]}' is not RESCUE and letters, digits or _, at most 11 characters" \
				"SystemRescue's USB writer and FAT sticks know no other"
	else
		[[ $old =~ ^[A-Za-z0-9._-]+$ ]] ||
			die "the label of $iso is '$old': only letters, digits, '.', '_' and '-' can be booted by label" \
				"give the image another: --label RESCUE0002, say"
	fi
	[ -n "$old" ] || die "$iso has no label" "it is not SystemRescue's layout"
	for cfg in boot/grub/grubsrcd.cfg sysresccd/boot/syslinux/sysresccd_sys.cfg; do
		[ -f "$tree/$cfg" ] || continue # the recipe refuses that, with a better reason
		label_pattern "$old" | grep -qE -f - "$tree/$cfg" ||
			die "/$cfg in $iso does not name the label $old" "it would not boot: take an untouched ISO"
	done
}

# label_pattern LABEL: how menus name it: as it is, or with \x20 for a blank; nothing follows.
label_pattern() {
	sed -E 's/[][\.*^$+?(){}|/]/\\&/g; s/ /( |\\\\+x20)/g; s/.*/archisolabel=&([[:space:]"]|$)/' <<<"$1"
}

# rewrite_label TREE OLD: every menu of the tree names $label.
rewrite_label() {
	local cfg pattern
	pattern=$(label_pattern "$2")
	while IFS= read -r -d '' cfg; do
		# A group of its own is in the pattern for every blank: what follows the label is the last one.
		sed -E "s/$pattern/archisolabel=$label\\$((1 + $(tr -cd ' ' <<<"$2" | wc -c)))/g" "$cfg" >"$cfg.new"
		mv "$cfg.new" "$cfg"
	done < <(find "$1" -type f -iname '*.cfg' -print0 | xargs -0 -r grep -lZE "$pattern" || :)
}

# make_recipe DIR: the recipe with everything that is not in the source tree.
make_recipe() {
	mkdir -p "$1/iso_add/sysresccd"
	cp -r "$here/recipe/iso_add" "$here/recipe/iso_patch_and_script" "$here/recipe/menu" "$1/"
	chmod -R u=rwX,go=rX "$1"
	make_module "$1/module" "$1/iso_add/sysresccd/00-asl-host.srm"
	rm -rf "$1/module" "$1/module.sha512"
}

# write_recipe_folder DIR: the recipe for a person, whole or not at all.
write_recipe_folder() {
	[ ! -e "$1" ] || die "$1 exists" "name a folder that is not there yet"
	mkdir -p "$(dirname "$1")"
	work=$(mktemp -d "$(dirname "$1")/.remaster.XXXXXX")
	make_recipe "$work/recipe"
	mv -T "$work/recipe" "$1"
	say "recipe: $1; sysrescue-customize --auto --source=IN.iso --dest=OUT.iso --recipe-dir=$1"
}

# make_module DIR SRM: the one squashfs that holds all our code.
make_module() {
	mkdir -p "$1"
	tar --mode='u=rwX,go=rX' -C "$here/recipe/build_into_srm" -cf - . | tar -C "$1" -xpf -
	install -D -m 0755 "$binary" "$1/usr/bin/asl-host"
	ln -s asl-host "$1/usr/bin/asl-rescue"
	install -d -m 0755 "$1/usr/lib/asl/profiles"
	install -m 0644 "$profiles"/*.toml "$1/usr/lib/asl/profiles/"
	(cd "$1" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha512sum) >"$1.sha512"
	install -m 0644 "$1.sha512" "$1/usr/lib/asl/manifest.sha512"
	# SOURCE_DATE_EPOCH clamps only the super block; the files' own times are set here.
	find "$1" -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
	nice mksquashfs "$1" "$2" -noappend -all-root -no-xattrs -comp zstd -Xcompression-level 19 \
		-b 256K -quiet -no-progress
}

# apply_recipe IN RECIPE TREE: as sysrescue-customize does it.
apply_recipe() {
	local odd recipe
	# Nothing is copied through a link of the ISO to elsewhere.
	odd=$(find "$3" -type l -print -quit)
	[ -z "$odd" ] || die "$1 holds a symbolic link: ${odd#"$3"}" "this is not SystemRescue's layout"
	cp -r --remove-destination "$2/iso_add/." "$3/"
	recipe=$(realpath "$2")
	ASL_BASE_SHA512=$(sha512sum <"$1" | cut -d' ' -f1) \
		env --chdir="$3" "$recipe/iso_patch_and_script/50-asl-host" ||
		die "$1 was not remastered, for the reason above" "nothing was written"
}

# tree_sums TREE FILE: the hash of every file; the boot records of BIOS are patched at writing.
tree_sums() {
	(cd "$1" && find . -type f ! -path ./isolinux/isolinux.bin ! -path ./isolinux/boot.cat -print0 |
		LC_ALL=C sort -z | xargs -0 sha512sum --) >"$2"
}

# collect_changed TREE ADD: moves what the recipe made or changed to a tree of its own.
collect_changed() {
	local path
	while IFS= read -r -d '' path; do
		mkdir -p "$2/$(dirname "$path")"
		mv "$1/$path" "$2/$path"
	done < <(find "$1" -type f -newermt @86400 -printf '%P\0')
}

# write_iso IN ADD OUT: native xorriso, so that label, boot records and all other files stay.
# Every file of the input lies in its old order, what is new behind them by name: done once more,
# all lies where it lay.
write_iso() {
	local path weight=0 args=(-iso_rr_pattern off)
	[ -z "${option[label]}" ] || args+=(-volid "$label")
	while IFS= read -r path; do
		args+=(-map "$2/$path" "/$path"
			-chown 0 "/$path" -- -chgrp 0 "/$path" -- -chmod 0444 "/$path" --
			-alter_date b "=$SOURCE_DATE_EPOCH" "/$path" --)
	done < <(cd "$2" && find . -type f -printf '%P\n' | LC_ALL=C sort)
	while IFS= read -r path; do
		weight=$((weight - 1))
		args+=(-find "$path" -exec sort_weight "$weight" --)
	done < <({
		quiet_xorriso -indev "$1" -find / -type f -exec report_lba -- 2>/dev/null |
			sed -nE "s/^File data lba: *[0-9]+ , *([0-9]+) , *[0-9]+ , *[0-9]+ , '(.*)'$/\1 \2/p" | sort -n | cut -d' ' -f2-
		printf '/%s\n' "${our_files[@]}"
	} | tac | awk '!seen[$0]++' | tac)
	xorriso -report_about WARNING -abort_on FAILURE -return_with FAILURE 32 \
		-indev "$1" -outdev "$3" -boot_image any replay -compliance no_emul_toc \
		-preparer_id 'image/remaster' "${args[@]}" -commit 2>&1 |
		{ grep -v -E '^$|^xorriso [0-9.]+ :|NOTE' >&2 || true; } ||
		die "the output could not be written" "see above, and whether the disk is full"
}

# check_output IN OUT SUMS BACK: read back, the boot records are the input's and every file is as meant.
check_output() {
	local kept="the output was not kept"
	diff <(boot_summary "$1" | sed "s/^\(Volume Id *: \).*/\1$label/") <(boot_summary "$2") >&2 ||
		die "the boot records of the output differ from the input's" "$kept"
	mkdir -p "$4"
	quiet_xorriso -osirrox on -indev "$2" -extract / "$4" 2>/dev/null || die "the output cannot be read back" "$kept"
	chmod -R u+rwX "$4"
	tree_sums "$4" "$4.sums"
	diff "$3" "$4.sums" >&2 || die "a file of the output is not as it was meant" "$kept"
}
