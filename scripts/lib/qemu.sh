# shellcheck shell=bash
# A virtual machine for the tests and the demo: firmware, CD or USB stick, disks, serial line.
# Sourced, never run; needs say, die and need of image/lib/common.sh. See qemu-drive for the
# steps of the serial line. One machine is described at a time:
#
#   vm_begin 1024                          # MiB of memory
#   vm_iso target/asl-rescue.iso           # or: vm_iso ISO usb
#   vm_kernel target/asl-rescue.iso DIR 'asl.console=off'   # else the ISO's own menu boots
#   vm_disk victim.raw bus=virtio,cache=writeback,serial=VICTIM
#   vm_net user
#   vm_drive serial.log steps 600          # or: vm_terminal

qemu_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

qemu_need() { need qemu-system-x86_64=qemu-system-x86 expect=expect xorriso=xorriso; }

# extract_kernel ISO DIR: DIR/vmlinuz and DIR/sysresccd.img.
extract_kernel() {
	local boot=/sysresccd/boot/x86_64
	mkdir -p "$2"
	rm -f "$2/vmlinuz" "$2/sysresccd.img"
	xorriso -report_about FAILURE -abort_on FAILURE -return_with FAILURE 32 -osirrox on -indev "$1" \
		-extract "$boot/vmlinuz" "$2/vmlinuz" -extract "$boot/sysresccd.img" "$2/sysresccd.img" 2>/dev/null ||
		die "$1 holds no kernel in $boot" "is it an ISO of image/remaster or image/build-base?"
}

# iso_label ISO
iso_label() { xorriso -indev "$1" -pvd_info 2>/dev/null | sed -n 's/^Volume Id *: //p'; }

# choose_accel VMLINUZ: sets $vm_accel to kvm or tcg. A /dev/kvm that opens may still never run a
# guest, so a kernel is started without a root file system: it must end by itself.
# ASL_QEMU_ACCEL=kvm|tcg decides without the probe.
choose_accel() {
	vm_accel=${ASL_QEMU_ACCEL:-}
	[ -z "$vm_accel" ] || return 0
	vm_accel=tcg
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 0
	if timeout --kill-after=2 20 qemu-system-x86_64 -accel kvm -cpu host -m 256 -nodefaults -display none \
		-no-reboot -kernel "$1" -append 'console=ttyS0 panic=-1' -serial stdio </dev/null 2>&1 |
		grep -q 'Kernel panic'; then
		vm_accel=kvm
	fi
	say "QEMU runs with $vm_accel"
}

# vm_begin MEMORY_MIB [CPUS]
vm_begin() {
	qemu_need
	vm_disks=0 vm_has_usb='' vm_has_net='' vm_monitor='' vm_clock=utc
	vm_args=(-name asl -machine q35 -m "$1" -smp "${2:-2}" -no-reboot -display none -vga std
		-monitor none -device virtio-rng-pci)
}

# vm_clock DATE: what the machine's clock says at power-on, like 2106-02-08T00:00:00. clock=vm:
# with the host's clock QEMU counts the difference in 32 bits, and ends up in another century.
vm_clock() { vm_clock=$1,clock=vm; }

# vm_firmware bios|uefi|secure DIR: secure is UEFI with Secure Boot on and the keys that PCs are
# sold with; DIR gets the machine's own copy of the firmware's variables.
vm_firmware() {
	local code=OVMF_CODE_4M.fd vars=OVMF_VARS_4M.fd at=/usr/share/OVMF
	case "$1" in
	bios) return 0 ;;
	uefi) ;;
	secure)
		code=OVMF_CODE_4M.ms.fd vars=OVMF_VARS_4M.ms.fd
		vm_args+=(-machine smm=on -global cfi.pflash01.secure=on -global ICH9-LPC.disable_s3=1)
		;;
	*) die "vm_firmware: $1 is neither bios nor uefi nor secure" ;;
	esac
	need "$at/$code=ovmf"
	cp "$at/$vars" "$2/vars.fd"
	vm_args+=(-drive "if=pflash,unit=0,format=raw,readonly=on,file=$at/$code"
		-drive "if=pflash,unit=1,format=raw,file=$2/vars.fd")
}

# vm_monitor DIR: a way to QEMU's monitor, for the steps "monitor" and "keys screen".
vm_monitor() {
	vm_monitor=$1/monitor
	rm -f "$vm_monitor.in" "$vm_monitor.out"
	mkfifo "$vm_monitor.in" "$vm_monitor.out"
	vm_args+=(-chardev "pipe,id=monitor,path=$vm_monitor" -mon chardev=monitor)
}

# vm_iso ISO [cd|usb]: the boot medium; usb is the ISO written to a stick. The monitor pulls it
# with "eject -f medium" or "device_del stick".
vm_iso() {
	local at
	case "${2:-cd}" in
	cd) at=ide-cd,bus=ide.0 ;;
	usb) vm_usb; at=usb-storage,bus=xhci.0,id=stick ;;
	*) die "vm_iso: $2 is neither cd nor usb" ;;
	esac
	vm_args+=(-drive "if=none,id=medium,format=raw,readonly=on,file.locking=off,file=$1"
		-device "$at,drive=medium,bootindex=1")
}

# vm_kernel ISO DIR WORDS: boots the ISO's kernel directly, with WORDS on its command line; the ISO
# must be given with vm_iso too. The serial line is the main console. On a busy host the emulated
# timer may come too late for the kernel's check of it, so that check is left out.
vm_kernel() {
	extract_kernel "$1" "$2"
	vm_args+=(-kernel "$2/vmlinuz" -initrd "$2/sysresccd.img" -append
		"archisobasedir=sysresccd archisolabel=$(iso_label "$1") loadsrm nomdlvm loglevel=4 no_timer_check console=tty0 console=ttyS0,115200n8 $3")
}

vm_usb() {
	[ -n "$vm_has_usb" ] || vm_args+=(-device 'qemu-xhci,id=xhci')
	vm_has_usb=1
}

# vm_disk FILE [bus=virtio|usb|ahci][,cache=MODE][,format=raw|qcow2][,ro=on|off][,serial=WORD]
# cache is QEMU's: writeback (default), none, writethrough, directsync, unsafe.
vm_disk() {
	local bus=virtio cache=writeback format=raw ro=off serial='' pair id device
	local IFS=,
	for pair in ${2:-}; do
		case "$pair" in
		bus=*) bus=${pair#*=} ;;
		cache=*) cache=${pair#*=} ;;
		format=*) format=${pair#*=} ;;
		ro=*) ro=${pair#*=} ;;
		serial=*) serial=${pair#*=} ;;
		*) die "vm_disk: unknown word $pair" ;;
		esac
	done
	id=disk$vm_disks
	vm_disks=$((vm_disks + 1))
	case "$bus" in
	virtio) device=virtio-blk-pci ;;
	usb) vm_usb; device=usb-storage,bus=xhci.0,removable=on ;;
	ahci) device=ide-hd,bus=ide.$vm_disks ;;
	*) die "vm_disk: unknown bus $bus" ;;
	esac
	[ -z "$serial" ] || device+=,serial=$serial,id=$serial
	vm_args+=(-drive "if=none,id=$id,format=$format,cache=$cache,readonly=$ro,file=$1"
		-device "$device,drive=$id")
}

# vm_net user|none: with user, the guest reaches this machine's loopback as 10.0.2.2.
vm_net() {
	vm_has_net=1
	case "$1" in
	user) vm_args+=(-netdev 'user,id=net' -device 'e1000e,netdev=net') ;;
	none) vm_args+=(-nic none) ;;
	*) die "vm_net: $1 is neither user nor none" ;;
	esac
}

# The whole command, ready to run: sets $vm_command.
vm_finish() {
	[ -n "${vm_accel:-}" ] || die "no accelerator chosen" "call choose_accel first"
	[ -n "$vm_has_net" ] || vm_net none
	local cpu=max,la57=off
	[ "$vm_accel" != kvm ] || cpu=host
	vm_command=(qemu-system-x86_64 -accel "$vm_accel" -cpu "$cpu" -rtc "base=$vm_clock" "${vm_args[@]}")
}

# vm_drive LOG STEPS SECONDS: runs the machine and the steps of the file STEPS on its serial line
# (signal=off: Ctrl-C is the guest's).
# All that the line said is in LOG. 0 when every step came true; else 1, with the last lines.
vm_drive() {
	vm_finish
	ASL_QEMU_MONITOR=$vm_monitor expect -f "$qemu_lib/qemu-drive" -- "$1" "$2" "$3" \
		"${vm_command[@]}" -chardev stdio,id=line,signal=off -serial chardev:line
}

# vm_terminal: runs the machine with its serial line in this terminal (Ctrl-A X ends it).
vm_terminal() {
	vm_finish
	"${vm_command[@]}" -serial mon:stdio
}
