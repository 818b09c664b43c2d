# shellcheck shell=bash
# Keys, the key stick and the admitting host of the demo, all made by the real binary.
# Sourced by scripts/boot and keys-example/make; they set $program to the binary.
: "${top:?common.sh comes first}" "${program=}"

# make_keys DIR LABEL PASSPHRASE_FILE: everything an owner makes at home, proven. DIR is new.
make_keys() {
	"$program" key generate --to "$1" --passphrase-file "$3" >/dev/null
	"$program" dam create --keys "$1" --label "$2" >/dev/null
	"$program" dam sign --keys "$1" >/dev/null
	"$program" key check --keys "$1" --identity "$1/owner.txt" --passphrase-file "$3" >/dev/null
}

# make_stick_files KEYS DIR ADDRESS HOST_KEY: what lies on the key stick.
make_stick_files() {
	mkdir -p "$2"
	"$program" key bundle --keys "$1" --to "$2" --host "home=$3=$4" >/dev/null
}

# start_host ROOT TRUSTED: a host on loopback that trusts these roots. Sets $host_port and
# $host_key; it ends with the script, or with stop_host.
start_host() {
	local i
	"$program" init --root "$1" >/dev/null
	cp "$2" "$1/host/trusted-roots"
	host_key=$(sed -n 's/.*"public_key": *"\([^"]*\)".*/\1/p' "$1/host/host-id")
	[ -n "$host_key" ] || die "no public key in $1/host/host-id" "a bug in scripts/lib/keys.sh"
	: >"$1.said"
	"$program" serve --root "$1" --listen 127.0.0.1:0 --json >"$1.said" 2>"$1.log" &
	host_pid=$!
	at_exit stop_host
	for ((i = 0; i < 100; i++)); do
		host_port=$(sed -n 's/.*"listening": *"127\.0\.0\.1:\([0-9]*\)".*/\1/p' "$1.said")
		[ -z "$host_port" ] || return 0
		kill -0 "$host_pid" 2>/dev/null || break
		sleep 0.1
	done
	cat "$1.log" >&2
	die "the admitting host did not start" "see the lines above"
}

stop_host() {
	[ -z "${host_pid:-}" ] || stop_process "$host_pid"
	host_pid=
}

# open_with_passphrase FILE PASSPHRASE_FILE: by Debian's age, which asks on a terminal only.
open_with_passphrase() {
	expect -f - -- "$1" "$2" <<-'EXPECT'
		lassign [lrange $argv end-1 end] file words
		set f [open $words]; gets $f passphrase; close $f
		log_user 0
		set timeout 120
		spawn -noecho age -d -o $file.open $file
		expect -nocase "passphrase" { send -- "$passphrase\r" } timeout { exit 1 } eof { exit 1 }
		expect eof
		lassign [wait] pid id oserror code
		exit $code
	EXPECT
	cat "$1.open"
}

# list_secrets KEYS PASSPHRASE_FILE SCRATCH: every private byte of these keys, as find-bytes reads
# them. What is locked is opened by programs that are not ours.
list_secrets() {
	local keys=$1 words=$2 scratch=$3 name
	mkdir -m 0700 "$scratch"
	for name in operator seal; do
		cp "$keys/$name.age" "$scratch/"
		open_with_passphrase "$scratch/$name.age" "$words" >"$scratch/$name" ||
			die "age cannot open $name.age with the passphrase" "make the keys again: keys-example/make"
	done
	age -d -i "$keys/owner.txt" "$keys/epoch-1.age" >"$scratch/data-identity"
	age -d -i "$scratch/data-identity" "$keys/epoch-1.keys.age" >"$scratch/epoch-keys"
	perl - "$keys" "$words" "$scratch" <<-'PERL' || die "the keys are not as expected" "a bug in scripts/lib/keys.sh"
		use strict;
		my ( $keys, $words, $scratch ) = @ARGV;
		sub all { open my $f, '<:raw', $_[0] or die "$_[0]: $!\n"; local $/; return <$f> }
		sub told {
		    my ( $name, $count, @found ) = @_;
		    die "$name: not $count but ", scalar @found, "\n" unless @found == $count;
		    print "$name ", unpack( 'H*', $_ ), "\n" for @found;
		}
		my $identity = qr/AGE-SECRET-KEY-1[A-Z0-9]{58}/;
		my $bytes32  = qr/\x58\x20(.{32})/s;    # a CBOR byte string of 32 bytes
		told( 'owner-identity', 1, all("$keys/owner.txt") =~ /($identity)/g );
		told( 'data-identity',  1, all("$scratch/data-identity") =~ /($identity)/g );
		told( 'index-identity', 1, all("$scratch/seal") =~ /($identity)/g );
		told( 'root-seed',      1, ( all("$keys/root.key") =~ /$bytes32/g )[0] );
		told( 'operator-seed',  1, ( all("$scratch/operator") =~ /$bytes32/g )[0] );
		told( 'epoch-key',      2, all("$scratch/epoch-keys") =~ /$bytes32/g );
		told( 'passphrase',     1, all($words) =~ /^(.+)/ );
	PERL
	rm -rf "$scratch"
}
