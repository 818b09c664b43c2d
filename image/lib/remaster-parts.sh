# shellcheck shell=bash
# The parts of image/remaster, which sets $here, $binary, $profiles. Sourced, never run.
# shellcheck disable=SC2154,SC2034

BLOCK_BEGIN='# >>> asl-host: written by image/remaster, replaced as a whole'
BLOCK_END='# <<< asl-host'
GRUB_CFG=/boot/grub/custom.cfg
SYSLINUX_CFG=/sysresccd/boot/syslinux/sysresccd_custom.cfg

quiet_xorriso() {
	xorriso -report_about FAILURE -abort_on FAILURE -return_with FAILURE 32 "$@"
}

check_binary() {
	[ -f "$1" ] || die "no such binary: $1" "build the static asl-host first"
	case "$(file -b "$1")" in
	ELF*x86-64*'statically linked'* | ELF*x86-64*'static-pie linked'*) ;;
	*) die "$1 is not a static x86-64 program" "a module with a dynamic program works on one release only" ;;
	esac
}

# read_input ISO DIR: the files the remaster builds on, and $in_label and $in_epoch.
read_input() {
	local live=/sysresccd/x86_64 boot=/sysresccd/boot/x86_64 when
	mkdir -p "$2"
	quiet_xorriso -osirrox on -indev "$1" \
		-extract "$live/airootfs.sfs" "$2/airootfs.sfs" -extract "$live/airootfs.sha512" "$2/airootfs.sha512" \
		-extract "$boot/vmlinuz" "$2/vmlinuz" -extract "$boot/sysresccd.img" "$2/sysresccd.img" \
		-extract "$GRUB_CFG" "$2/grub.cfg" -extract "$SYSLINUX_CFG" "$2/syslinux.cfg" \
		-extract /sysresccd/VERSION "$2/VERSION" 2>"$2/errors" || {
		cat "$2/errors" >&2
		die "$1 has not the layout of SystemRescue 10 or newer" "give the official ISO, or one of image/build-base"
	}
	chmod -R u+w "$2"
	(cd "$2" && sha512sum --status -c airootfs.sha512) ||
		die "airootfs.sfs in $1 does not match its airootfs.sha512" "the ISO is damaged: fetch or build it again"
	in_label=$(quiet_xorriso -indev "$1" -pvd_info 2>/dev/null | sed -n 's/^Volume Id *: //p')
	# The label goes into boot menus: nothing in it may mean anything there.
	[[ $in_label =~ ^[A-Za-z0-9_-]+$ ]] || die "the volume label of $1 is '$in_label'" "only A-Z, a-z, 0-9, _ and - can be booted by label"
	when=$(quiet_xorriso -indev "$1" -pvd_info 2>/dev/null | sed -n 's/^Creation Time *: *\([0-9]\{14\}\).*/\1/p')
	[ -n "$when" ] || die "$1 does not say when it was made" "set SOURCE_DATE_EPOCH"
	in_epoch=$(date -u -d "${when:0:8} ${when:8:2}:${when:10:2}:${when:12:2}" +%s)
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

# add_block CFG BLOCK: CFG without our old block, then BLOCK with the label put in.
add_block() {
	sed -e "/^# >>> asl-host/,/^# <<< asl-host/d" "$1"
	echo "$BLOCK_BEGIN"
	sed -e "s/@LABEL@/$in_label/g" "$2"
	echo "$BLOCK_END"
}

# What this image was made of. The values are hashes, numbers and checked words: no quoting needed.
write_provenance() {
	local sum=(sha512sum) in=$1 dir=$2
	hash_of() { "${sum[@]}" <"$1" | cut -d' ' -f1; }
	cat <<-JSON
		{
		  "format": "asl-image/1",
		  "input": {
		    "sha512": "$(hash_of "$in")",
		    "label": "$in_label",
		    "version": "$(head -c 64 "$dir/in/VERSION" | tr -cd 'A-Za-z0-9._-')",
		    "airootfs_sha512": "$(hash_of "$dir/in/airootfs.sfs")",
		    "kernel_sha512": "$(hash_of "$dir/in/vmlinuz")",
		    "initramfs_sha512": "$(hash_of "$dir/in/sysresccd.img")"
		  },
		  "module": {
		    "name": "00-asl-host.srm",
		    "sha512": "$(hash_of "$dir/add/sysresccd/00-asl-host.srm")",
		    "asl_host_sha512": "$(hash_of "$binary")"
		  },
		  "recipe_sha256": "$(tree_hash "$here/recipe")",
		  "epoch": $SOURCE_DATE_EPOCH
		}
	JSON
}

# write_iso IN ADD OUT: native xorriso, so that label, boot records and all other files stay.
write_iso() {
	local path args=()
	while IFS= read -r path; do
		args+=(-map "$2/$path" "/$path"
			-chown 0 "/$path" -- -chgrp 0 "/$path" -- -chmod 0444 "/$path" --
			-alter_date b "=$SOURCE_DATE_EPOCH" "/$path" --)
	done < <(cd "$2" && find . -type f -printf '%P\n' | LC_ALL=C sort)
	xorriso -report_about WARNING -abort_on FAILURE -return_with FAILURE 32 \
		-indev "$1" -outdev "$3" -boot_image any replay -compliance no_emul_toc \
		-preparer_id 'image/remaster' "${args[@]}" -commit 2>&1 |
		{ grep -v -E '^$|^xorriso [0-9.]+ :|NOTE' >&2 || true; }
}

# The output is read back: same boot records and label, and our files as they were meant.
check_output() {
	local path args=()
	diff <(boot_summary "$1") <(boot_summary "$3") >&2 ||
		die "the boot records of the output differ from the input's" "the output was not kept"
	while IFS= read -r path; do
		args+=(-extract "/$path" "$4/$path")
	done < <(cd "$2" && find . -type f -printf '%P\n')
	quiet_xorriso -osirrox on -indev "$3" "${args[@]}" 2>/dev/null ||
		die "the output cannot be read back" "the output was not kept"
	while IFS= read -r path; do
		cmp -s "$2/$path" "$4/$path" || die "/$path in the output differs from what was written" "the output was not kept"
	done < <(cd "$2" && find . -type f -printf '%P\n')
}

# Label, MBR and El Torito entries, without block addresses and sizes, which may move.
boot_summary() {
	quiet_xorriso -indev "$1" -report_el_torito plain -report_system_area plain -pvd_info 2>/dev/null |
		grep -E '^(El Torito (cat path|img path|img opts|boot img)|System area (options|summary)|Volume Id)' |
		sed -E 's/(boot img :.*) [0-9]+ *$/\1/'
}
