#!/bin/sh
# Removes the service address on a plain Linux host, from every interface and with every prefix length. understudy runs it with
# control-vip-scripts:
#
#   down.sh down ADDRESS/PREFIX INTERFACE ROLE EPOCH
#
# Exit code 0 says that the address is gone. Running it again is harmless. Needs iproute2.
set -u

[ $# -ge 2 ] || { echo "usage: $0 down ADDRESS/PREFIX [INTERFACE ROLE EPOCH]" >&2; exit 2; }
address=${2%/*}

ip -o address show to "$address" | while read -r _ interface _ found _; do
	ip address del "$found" dev "${interface%%@*}"
done

[ -z "$(ip -o address show to "$address")" ] || { echo "$address is still there" >&2; exit 1; }
