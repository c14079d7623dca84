#!/bin/sh
# Installs what the lab and the tests need and this machine lacks (Debian, Ubuntu). Says nothing when all of it is there.
set -eu

# program:package, or file:package
needed="kamailio:kamailio sipp:sip-tester sipsak:sipsak keepalived:keepalived nft:nftables ip:iproute2 gcc:gcc
	baresip:baresip-core snmptrapd:snmptrapd snmptranslate:snmp smilint:smitools prometheus-alertmanager:prometheus-alertmanager
	promtool:prometheus /usr/share/doc/libnet-sip-perl/examples/bin/stateless_proxy.pl:libnet-sip-perl"

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in $needed; do
	command -v "${pair%%:*}" >/dev/null 2>&1 || [ -e "${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup.sh: missing:$missing. This is not Debian or Ubuntu: install them with your own package manager." >&2
	exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
	as_root=sudo
	if ! command -v sudo >/dev/null 2>&1 || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		echo "setup.sh: missing:$missing. Install them as root: apt-get install$missing" >&2
		exit 1
	fi
fi

echo "setup.sh: installing$missing"
# shellcheck disable=SC2086 # the lists are lists
{
	$as_root apt-get update -q || echo "setup.sh: some package lists are old" >&2
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

# The lab runs its own. A service that was here before is none of our business.
for service in kamailio keepalived snmptrapd prometheus prometheus-alertmanager; do
	case " $missing " in
	*" $service "*)
		if [ -d /run/systemd/system ]; then
			$as_root systemctl disable --now "$service" >/dev/null 2>&1 || true
		else
			$as_root service "$service" stop >/dev/null 2>&1 || true
		fi
		;;
	esac
done
