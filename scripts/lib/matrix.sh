# shellcheck shell=bash
# The boots of scripts/qemu-matrix: which, what is done in each, and what must be seen.
# Sourced by it; needs common.sh and qemu.sh.
: "${top:?common.sh comes first}" "${label=}"
# The settings of the row that is being booted, as scripts/qemu-matrix reads them.
: "${firmware=}" "${medium=}" "${console=}" "${memory=}" "${network=}" "${entry=}" "${clock=}" "${damaged=}"

# Every value of every setting meets every value of every other one at least once; pairs_missing
# proves it. Entries are those of the appliance's menu, by their names there; asl_host is asl with
# one word more, asl.profile=host, and what such a word does is seen by image/test-boot.
matrix() {
	cat <<-TABLE
		1  bios   cd  serial 1024 none asl         now
		2  uefi   usb screen 2048 none asl         1970
		3  secure usb screen 2048 user asl         2106
		4  bios   usb serial 2048 none asl_ram     1970
		5  uefi   cd  screen 2048 none asl_ram     2106
		6  secure usb screen 1024 user asl_ram     now
		7  bios   usb serial 2048 none asl_serial  2106
		8  uefi   usb screen 1024 user asl_serial  now
		9  secure cd  serial 2048 none asl_serial  1970
		10 bios   cd  screen 2048 none asl_verify  now
		11 uefi   usb serial 2048 user asl_verify  1970
		12 secure usb screen 1024 user asl_verify  2106
		13 bios   cd  serial 1024 user asl_without 1970
		14 uefi   cd  screen 2048 user asl_without 2106
		15 secure usb serial 1024 none asl_without now
	TABLE
}
# One boot beside the pairs: the medium is damaged, and the check of it must say so.
damaged_boot() { echo '16 bios   usb screen 1024 none asl_verify  now damaged'; }

settings=(firmware medium console memory network entry clock)
# The values that must occur, in the order of the settings.
values=('bios uefi secure' 'cd usb' 'screen serial' '1024 2048' 'user none'
	'asl asl_ram asl_serial asl_verify asl_without' 'now 1970 2106')

# pairs_missing: each pair of values, of two settings, that no boot of the matrix (standard input) has.
pairs_missing() {
	awk -v names="${settings[*]}" -v all="$(printf '%s;' "${values[@]}")" '
		{ for (i = 2; i <= 8; i++) for (j = i + 1; j <= 8; j++) seen[i, $i, j, $j] = 1 }
		END {
			split(names, name, " ")
			n = split(all, value, ";") - 1
			for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) {
				as = split(value[i], a, " "); bs = split(value[j], b, " ")
				for (x = 1; x <= as; x++) for (y = 1; y <= bs; y++)
					if (!((i + 1, a[x], j + 1, b[y]) in seen)) print name[i] "=" a[x] " with " name[j] "=" b[y]
			}
		}'
}

# --- the menu, as the ISO itself has it -----------------------------------------

# read_menus ISO DIR: DIR/bios and DIR/uefi, one line "ENTRY TITLE|WORDS" for each entry of the
# appliance in the order of the menu, the default one first; sets $label.
read_menus() {
	local grub=/boot/grub/custom.cfg syslinux=/sysresccd/boot/syslinux/sysresccd_custom.cfg
	label=$(iso_label "$1")
	xorriso -report_about FAILURE -abort_on FAILURE -return_with FAILURE 32 -osirrox on -indev "$1" \
		-extract "$grub" "$2/custom.cfg" -extract "$syslinux" "$2/sysresccd_custom.cfg" 2>/dev/null ||
		die "$1 has no menu of an appliance" "is it an ISO of image/remaster?"
	perl -e '
		my ( $grub, $syslinux, $dir ) = @ARGV;
		sub all { open my $f, "<", $_[0] or die "$_[0]: $!\n"; local $/; return scalar <$f> }
		sub told {
			my ( $name, $default, @entries ) = @_;
			shift @entries while @entries && $entries[0][0] ne $default;
			die "$name: no default entry\n" unless @entries;
			open my $f, ">", "$dir/$name" or die "$dir/$name: $!\n";
			print $f "$_->[0] $_->[1]|$_->[2]\n" for @entries;
		}
		my $text = all($grub);
		my @entries;
		while ( $text =~ /^menuentry "([^"]+)" --id (\S+) \{\s*linux \S+ ([^\n]+)\n/mg ) {
			my ( $title, $id, $words ) = ( $1, $2, $3 );
			$words =~ s/^.*\$archiso_param +//;    # what GRUB puts in its place is its own affair
			push @entries, [ $id, $title, $words ];
		}
		told( "uefi", ( $text =~ /^set default=(\S+)/m )[0], @entries );
		$text = all($syslinux);
		@entries = ();
		my $default = "";
		for my $part ( split /^(?=LABEL )/m, $text ) {
			my ($id) = $part =~ /^LABEL (\S+)/ or next;
			my ($title) = $part =~ /^MENU LABEL (.+)$/m or next;
			my ($words) = $part =~ /^APPEND (.+)$/m or next;
			$default = $id if $part =~ /^MENU DEFAULT/m;
			push @entries, [ $id, $title, $words ];
		}
		told( "bios", $default, @entries );
	' "$2/custom.cfg" "$2/sysresccd_custom.cfg" "$2" ||
		die "the menu of $1 cannot be read" "see the line above"
}

# find_entry MENU ENTRY: sets $entry_at (steps down from the default), $entry_words and $default_title.
find_entry() {
	local line i=0
	entry_words=''
	while IFS= read -r line; do
		[ "$i" -ne 0 ] || default_title=${line#* } default_title=${default_title%%|*}
		[ "${line%% *}" != "$2" ] || { entry_at=$i entry_words=${line#*|} && break; }
		i=$((i + 1))
	done <"$1"
	[ -n "$entry_words" ] || die "the menu has no entry $2" "the matrix and image/menu disagree"
}

# --- one boot -------------------------------------------------------------------

# boot_steps DIR: the steps of qemu-drive, for the settings of this boot.
boot_steps() {
	local dir=$1 down='' i main=screen end
	for ((i = 0; i < entry_at; i++)); do down+='down '; done
	[[ ${entry_words##*console=} != ttyS* ]] || main=serial
	facts='sh /run/facts/qemu-facts'
	end='; echo FACTS-"ENDED"'
	cat <<-STEPS
		wait 300 $default_title
		monitor screendump $dir/menu.png -f png
		keys $console ${down}enter
	STEPS
	if [ -n "$damaged" ]; then
		echo "screen_until 900 cat /dev/vcs1 >/dev/ttyS0 | airootfs.sfs does not match airootfs.sha512"
		echo "monitor screendump $dir/screen.png -f png"
		return
	fi
	case $entry:$main in
	asl_without:*) echo 'wait 900 root@sysrescue:~#' ;;
	*:screen) printf '%s\n' 'wait 900 The rescue session runs on console tty1' 'shell 180' ;;
	*:serial) printf '%s\n' 'wait 240 Loading, please wait' 'wait 900 ASL rescue appliance' 'wait 120 > [A-Z]' 'shell 180' ;;
	esac
	cat <<-STEPS
		type mkdir -p /run/facts && mount -o ro,noload /dev/disk/by-label/FACTS /run/facts && $facts all$end
		wait 300 FACTS-ENDED
	STEPS
	case $entry:$console in
	asl_without:serial) printf '%s\n' 'type id' 'wait 60 uid=0.root.' ;;
	asl_without:screen)
		echo 'screen id'
		echo "type $facts screen seen 'uid=0(root)'$end"
		echo 'wait 300 FACTS-ENDED'
		;;
	*:screen)
		cat <<-STEPS
			type $facts screen seen '> '$end
			wait 300 FACTS-ENDED
			keys screen down
			type $facts screen moved '> '$end
			wait 300 FACTS-ENDED
		STEPS
		;;
	esac
	[ "$entry" != asl_ram ] || pull_steps
	# A person at the serial line has the session there, once it ends on the screen.
	[ "$entry:$console:$main" != "$entry:serial:screen" ] || [ "$entry" = asl_without ] || cat <<-STEPS
		screen_ends 180 $facts ended
		type exit
		wait 180 ASL rescue appliance
		wait 120 > [A-Z]
	STEPS
	echo "monitor screendump $dir/screen.png -f png"
	[ "$entry" != asl_ram ] || off_steps
}

# The medium is pulled out, and the session goes on.
pull_steps() {
	if [ "$medium" = usb ]; then echo 'monitor device_del stick'; else echo 'monitor eject -f medium'; fi
	echo "type $facts pulled $label$end"
	echo 'wait 600 FACTS-ENDED'
	[ "$console" = serial ] || cat <<-STEPS
		keys screen up
		type $facts screen after '> '$end
		wait 300 FACTS-ENDED
	STEPS
}

# Without the medium, the machine still switches itself off.
off_steps() {
	[ "$console" = screen ] || echo 'shell 180'
	printf '%s\n' 'type systemctl poweroff' 'end 300'
}

# --- what must be seen ------------------------------------------------------------

# told NAME: the last that the machine told of this fact.
told() { sed -n "s/^.*FACT $1=//p" "$said" | tail -n 1; }

# must NAME WHAT-IT-IS PATTERN: a fact must match; else $why says so, once.
must() {
	# shellcheck disable=SC2053 # a pattern is meant
	[[ $2 == $3 ]] || why=${why:-$1 is \"$2\", not $3}
}

# judge LOG: sets $why where this boot is not what its settings say.
judge() {
	said=$1.said
	tr -d '\r' <"$1" >"$said"
	[ -z "$damaged" ] || return 0
	must firmware "$(told firmware)" "$firmware"
	[ "$firmware" != secure ] || must lockdown "$(told lockdown)" '*\[integrity\]*'
	# GRUB and syslinux put words of their own before and after those of the entry.
	must 'the command line' " $(told cmdline) " "* $entry_words *"
	if [ "$entry" = asl_ram ]; then
		must medium "$(told medium)" ram
		must 'what is left of the pulled medium' "$(told gone)" yes
		must 'going on without the medium' "$(told goes_on)" yes
	else
		must medium "$(told medium)" "$medium"
		must label "$(told label)" "$label"
	fi
	if [ "$entry" = asl_without ]; then
		must module "$(told module)" no
	else
		must module "$(told module)" yes
		must 'the patience with the serial line' "$(told serial_patience)" 15min
	fi
	case $entry in
	asl_ram | asl_verify) must 'the check of the medium' "$(told checked)" yes ;;
	*) must 'the check of the medium' "$(told checked)" no ;;
	esac
	local have
	have=$(told memory)
	if [ "${have:-0}" -gt "$memory" ] || [ "${have:-0}" -lt $((memory * 8 / 10)) ]; then why=${why:-memory is $have MiB}; fi
	case $network in
	user) must network "$(told network)" '10.0.2.*' ;;
	none) must network "$(told network)" none ;;
	esac
	judge_clock
	[ "$console" = serial ] || judge_screen
}

judge_clock() {
	local now
	now=$(date -u +%Y)
	case $firmware:$clock in
	*:now) must 'the clock' "$(told date)" "$now-*" ;;
	bios:*) must 'the clock' "$(told rtc)" "$clock-*" ;;
	esac
}

# With the serial entry the screen may find the session on the serial line: it says so and offers it.
judge_screen() {
	local shot title='ASL rescue appliance'
	[ "$entry" != asl_serial ] || title="($title|The rescue session runs on console ttyS0)"
	for shot in seen $([ "$entry" = asl_without ] || echo moved) $([ "$entry" != asl_ram ] || echo after); do
		must "the screen ($shot)" "$(told "screen_$shot")" new
		if [ "$entry" = asl_without ]; then
			grep -qF "SCREEN $shot: uid=0(root)" "$said" || why=${why:-the keyboard reaches no shell}
		else
			grep -qE "SCREEN $shot: $title" "$said" && grep -q "SCREEN $shot: > " "$said" ||
				why=${why:-the rescue screen is not on tty1}
		fi
	done
}
