# shellcheck shell=bash
# The disks of this machine, and why one must not be written to. Sourced by scripts/write-usb.
# The kernel has the last word: write-disk holds the disk alone, or does not write.
: "${top:?common.sh comes first}" "${even_fixed=}"

# nodes WORDS: one line of NAME="value" pairs for each block device. What a hostile disk calls
# itself is escaped there by lsblk.
nodes() {
	lsblk --pairs --bytes --output NAME,TYPE,SIZE,RO,RM,HOTPLUG,TRAN,VENDOR,MODEL,SERIAL,PKNAME,MOUNTPOINTS "$@"
}

# read_node LINE: the pairs of a line of nodes into the array node.
read_node() {
	local rest=$1
	node=()
	while [[ $rest =~ ^([A-Z]+)=\"([^\"]*)\"\ ?(.*)$ ]]; do
		node[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
		rest=${BASH_REMATCH[3]}
	done
}

# disk_names: every disk with a medium in it, by its kernel name.
disk_names() {
	local line
	local -A node
	nodes --nodeps | while IFS= read -r line; do
		read_node "$line"
		[ "${node[TYPE]}" != disk ] || [ "${node[SIZE]}" = 0 ] || printf '%s\n' "${node[NAME]}"
	done
}

# What these say is of the disk that read_node has read.
is_removable() { [ "${node[RM]}" = 1 ] || [ "${node[HOTPLUG]}" = 1 ] || [ "${node[TRAN]}" = usb ]; }
disk_model() { sed -E 's/ +/ /g; s/^ | $//g' <<<"${node[VENDOR]} ${node[MODEL]}"; }
disk_title() {
	local model
	model=$(disk_model)
	printf '%s, %s, %s%s, serial %s' "${node[NAME]}" "$(size_said "${node[SIZE]}")" \
		"${node[TRAN]:-no bus named}" "${model:+, $model}" "${node[SERIAL]:-none}"
}
size_said() { numfmt --to=si --suffix=B "$1"; }

# The word that erases without a terminal. A disk without a serial is known by its size.
erase_word() { printf '%s-%s' "${node[NAME]}" "${node[SERIAL]:-${node[SIZE]}}"; }

# signatures DEVICE: USAGE,TYPE,LABEL of everything that lies there, the hidden ones too.
signatures() {
	local as=() found
	[ -r "$1" ] || as=(as_root)
	found=$("${as[@]}" wipefs --noheadings --parsable --output USAGE,TYPE,LABEL "$1" 2>/dev/null) || return 1
	[ -z "$found" ] || sort -u <<<"$found"
}

# contents DISK: a line for each part of it that holds something.
contents() {
	local line kinds used found=''
	local -A node
	while IFS= read -r line; do
		read_node "$line"
		kinds=$(signatures "/dev/${node[NAME]}" | sed -E 's/^[^,]*,//; s/,$//; s/,(.*)/ "\1"/' | paste -s -d/) || :
		used=${node[MOUNTPOINTS]//\\x0a/ }
		[ -n "$kinds$used" ] || continue
		found=1
		printf '%s, %s: %s%s\n' "${node[NAME]}" "$(size_said "${node[SIZE]}")" "${kinds:-not known}" "${used:+, in use at $used}"
	done < <(nodes "$1")
	[ -n "$found" ] || echo 'nothing that is known'
}

# in_use DISK: for each reason why it, or a part of it, serves somebody: what, and what to do.
# What cannot be looked at is a reason too.
in_use() {
	local line at ats kinds lines
	local -A node
	lines=$(nodes "$1") || :
	[ -n "$lines" ] || { printf '%s\n' "lsblk cannot read $1" "take another disk" && return; }
	while IFS= read -r line; do
		read_node "$line"
		read -r -a ats <<<"${node[MOUNTPOINTS]//\\x0a/ }"
		for at in "${ats[@]}"; do
			case $at in
			'[SWAP]') printf '%s\n' "${node[NAME]} is swap of the running system" "swapoff /dev/${node[NAME]}, if it may really go" ;;
			/ | /usr | /boot | /boot/* | /efi | /run/archiso/*)
				printf '%s\n' "${node[NAME]} holds the running system ($at)" "take another disk" ;;
			*) printf '%s\n' "${node[NAME]} is mounted at $at" "umount /dev/${node[NAME]}, if it may really go" ;;
			esac
		done
		case ${node[TYPE]} in
		disk | part | loop) ;;
		*) printf '%s\n' "${node[NAME]}, made of it, is at work (${node[TYPE]})" "stop it first, if it may really go" ;;
		esac
		kinds=$(signatures "/dev/${node[NAME]}") ||
			printf '%s\n' "${node[NAME]} cannot be read" "take another disk, or run as root"
		case $'\n'$kinds in
		*$'\n'raid,*) printf '%s\n' "${node[NAME]} is a member of an array or a volume group" "wipefs --all /dev/${node[NAME]}, if it may really go" ;;
		*,swap,* | *,swsuspend,*) printf '%s\n' "${node[NAME]} is made for swap" "wipefs --all /dev/${node[NAME]}, if it may really go" ;;
		esac
	done <<<"$lines"
}

# refusal NAME BYTES: the first reason not to write BYTES to this disk and, on a second line,
# what to do; nothing when there is none.
refusal() {
	local name=$1 bytes=$2 used
	local -A node
	[ -b "/dev/$name" ] || { printf '%s\n' "there is no disk /dev/$name" "scripts/write-usb --list shows the disks" && return; }
	read_node "$(nodes --nodeps "/dev/$name")"
	case ${node[TYPE]:-unknown to lsblk} in
	disk) ;;
	part) printf '%s\n' "$name is a partition" "name its disk: ${node[PKNAME]}" && return ;;
	*) printf '%s\n' "$name is no disk: ${node[TYPE]:-unknown to lsblk}" "scripts/write-usb --list shows the disks" && return ;;
	esac
	[ "${node[SIZE]}" -gt 0 ] || { printf '%s\n' "$name has no medium in it" "put one in" && return; }
	mapfile -t -n 2 used < <(in_use "/dev/$name")
	[ ${#used[@]} -eq 0 ] || { printf '%s\n' "${used[@]}" && return; }
	[ "${node[RO]}" = 0 ] || { printf '%s\n' "$name is write-protected" "move its switch, or take another" && return; }
	[ -n "$even_fixed" ] || is_removable ||
		{ printf '%s\n' "$name is built in, not removable" "if you mean it: --even-fixed" && return; }
	[ "${node[SIZE]}" -ge "$bytes" ] ||
		printf '%s\n' "$name is too small: it has ${node[SIZE]} bytes, $bytes are needed" "take a larger one"
}

# --- what --list prints -------------------------------------------------------

# list_disks BYTES: every disk, what is on it, and whether BYTES may be written to it.
list_disks() {
	local name why
	local -A node
	for name in $(disk_names); do
		read_node "$(nodes --nodeps "/dev/$name")"
		mapfile -t why < <(refusal "$name" "$1")
		disk_title
		printf '\n'
		contents "/dev/$name" | sed 's/^/    /'
		if [ ${#why[@]} -gt 0 ]; then
			printf '    REFUSED: %s; %s\n' "${why[@]}"
		else
			printf '    may be erased; without a terminal: --yes-erase %s\n' "$(erase_word)"
		fi
	done
}

# list_json BYTES: the same, one object a line.
list_json() {
	local name why refused
	local -A node
	for name in $(disk_names); do
		read_node "$(nodes --nodeps "/dev/$name")"
		mapfile -t why < <(refusal "$name" "$1")
		refused=null
		[ ${#why[@]} -eq 0 ] || refused=$(json_text "${why[0]}")
		printf '{"disk":%s,"bytes":%s,"bus":%s,"model":%s,"serial":%s,"contents":%s,"refused":%s,"yes_erase":%s}\n' \
			"$(json_text "$name")" "${node[SIZE]}" "$(json_text "${node[TRAN]}")" "$(json_text "$(disk_model)")" \
			"$(json_text "${node[SERIAL]}")" "$(json_text "$(contents "/dev/$name" | paste -s -d'|')")" \
			"$refused" "$(json_text "$(erase_word)")"
	done
}

# json_text TEXT: its bytes are printable, as lsblk and wipefs write them.
json_text() {
	local text=${1//\\/\\\\}
	printf '"%s"' "${text//\"/\\\"}"
}
