#!/bin/sh
# Installs the Debian packages that a build and its tests need, when run as
# root; otherwise names what is missing and stops. With --bench also the mail
# servers that make bench runs beside the suite; with --fuzz clang's libFuzzer;
# with --rigs what the rigs of doc/reliability.md need; with --testssl testssl.sh.
set -eu
packages="gcc libc6-dev make pkg-config libevent-dev libssl-dev libsodium-dev liblmdb-dev libseccomp-dev \
libidn2-dev libutf8proc-dev libjansson-dev libcrypt-dev libpam0g-dev libcurl4-openssl-dev libcmocka-dev python3 python3-pytest python3-pytest-xdist swaks curl gsasl openssl strace \
libpam-wrapper libnss-wrapper msmtp s-nail mutt git-email libmailtools-perl libnet-ssleay-perl libauthen-sasl-perl libnet-smtp-ssl-perl php-cli"
packages="$packages zlib1g-dev libunbound-dev nsd ldnsutils mount"
[ "${1:-}" != --rigs ] || packages="$packages fuse3 libfuse3-dev xfsprogs btrfs-progs"
[ "${1:-}" != --testssl ] || packages="$packages testssl.sh"
[ "${1:-}" != --fuzz ] || packages="$packages clang libclang-rt-dev"
[ "${1:-}" != --bench ] || packages="$packages postfix dovecot-core dovecot-imapd dovecot-lmtpd"
missing=""
for p in $packages; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "Missing packages; as root: apt-get install$missing" >&2
	exit 1
fi
# Tests start their own nsd, make bench its own Postfix and Dovecot; the packages' services stay off while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
