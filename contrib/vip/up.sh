#!/bin/sh
# Adds the service address on a plain Linux host and tells the neighbours. understudy runs it with control-vip-scripts:
#
#   up.sh up ADDRESS/PREFIX INTERFACE ROLE EPOCH
#
# Exit code 0 says that the address is there. Running it again is harmless. Needs iproute2; announces with arping (iputils) and
# ndptool (libndp) where they are installed: without them, neighbours that remember the old host find the new one only when their
# entries time out.
set -u

[ $# -ge 3 ] || { echo "usage: $0 up ADDRESS/PREFIX INTERFACE [ROLE EPOCH]" >&2; exit 2; }
cidr=$2 interface=$3
address=${cidr%/*}

case $address in
*:*) # no duplicate address detection, which takes a second; deprecated, so that nothing uses it as its own source
	ip -6 address replace "$cidr" dev "$interface" nodad noprefixroute valid_lft forever preferred_lft 0 || exit 1
	if command -v ndptool >/dev/null; then
		ndptool -t na -U -i "$interface" -T "$address" send >/dev/null
	fi
	;;
*)
	ip -4 address replace "$cidr" dev "$interface" || exit 1
	if command -v arping >/dev/null; then # request and reply form: neighbours differ in which they believe
		arping -q -U -c 1 -w 1 -I "$interface" "$address" &
		arping -q -A -c 1 -w 1 -I "$interface" "$address" &
		wait
	fi
	;;
esac

[ -n "$(ip -o address show dev "$interface" to "$address")" ] || { echo "$address is not on $interface" >&2; exit 1; }
