#!/bin/sh
# Installs the Debian packages that a build and its tests need, when run as
# root; otherwise names what is missing and stops. With --bench also the mail
# servers that make bench and check-powercut RIG=--beside run beside the suite; with --fuzz clang's libFuzzer;
# with --rigs what the rigs of doc/reliability.md need; with --testssl testssl.sh.
set -eu
packages="gcc libc6-dev make pkg-config libevent-dev libssl-dev libsodium-dev liblmdb-dev libseccomp-dev \
libidn2-dev libutf8proc-dev libjansson-dev libcrypt-dev libpam0g-dev libcurl4-openssl-dev libcmocka-dev python3 python3-pytest python3-pytest-xdist swaks curl gsasl openssl strace \
libpam-wrapper libnss-wrapper msmtp s-nail mutt git-email libmailtools-perl libnet-ssleay-perl libauthen-sasl-perl libnet-smtp-ssl-perl php-cli"
packages="$packages zlib1g-dev libunbound-dev nsd ldnsutils mount"
# The libraries of the mail servers below.
[ "$(id -u)" -ne 0 ] || packages="$packages libdb5.3 libgnutls-dane0 libicu72 libidn12 libnsl2 libpcre2-8-0 libsasl2-2"
[ "${1:-}" != --rigs ] || packages="$packages fuse3 libfuse3-dev xfsprogs btrfs-progs"
[ "${1:-}" != --testssl ] || packages="$packages testssl.sh"
[ "${1:-}" != --fuzz ] || packages="$packages clang libclang-rt-dev"
[ "${1:-}" != --bench ] || packages="$packages postfix dovecot-core dovecot-imapd dovecot-lmtpd"
# Mail servers that mail is sent to, by tests that need to be root. None is installed: only one could be, and a test does not make this machine a mail
# server. tests/e2e/foreign.py runs them from here; without them its tests are left out.
others=$(dirname "$0")/../build/others
unpack_others() {
	scratch=$(mktemp -d)
	if (cd "$scratch" && apt-get download -qq exim4-daemon-light opensmtpd postfix >/dev/null 2>&1); then
		for p in "$scratch"/*.deb; do
			dpkg-deb -x "$p" "$scratch/root"
		done
		mkdir -p "$others/usr/sbin" "$others/usr/libexec"
		cp "$scratch/root/usr/sbin/exim4" "$scratch/root/usr/sbin/smtpd" "$scratch/root/usr/sbin/smtp-sink" "$others/usr/sbin/"
		cp -R "$scratch/root/usr/libexec/opensmtpd" "$others/usr/libexec/"
		mkdir -p "$others/usr/lib"
		rm -rf "$others/usr/lib/postfix"
		cp -R "$scratch/root/usr/lib/postfix" "$others/usr/lib/"
	fi
	rm -rf "$scratch"
}
# Programs that tests run from there as well (tests/e2e/tools.py): bsd-mailx asks for a mail server, and fail2ban's daemon would begin to watch this machine.
unpack_programs() {
	scratch=$(mktemp -d)
	if (cd "$scratch" && apt-get download -qq bsd-mailx libbsd0 libmd0 liblockfile1 fail2ban >/dev/null 2>&1); then
		for p in "$scratch"/*.deb; do
			dpkg-deb -x "$p" "$scratch/root"
		done
		mkdir -p "$others/usr/bin" "$others/usr/lib/programs"
		find "$scratch/root" -name 'lib*.so.*' -exec cp -P {} "$others/usr/lib/programs/" \;
		cp -R "$scratch/root/usr/lib/python3/dist-packages/fail2ban" "$others/usr/lib/programs/"
		cp "$scratch/root/usr/bin/bsd-mailx" "$scratch/root/usr/bin/fail2ban-regex" "$others/usr/bin/"
	fi
	rm -rf "$scratch"
}
others_are_unpacked() {
	[ -e "$others/usr/sbin/smtpd" ] && [ -e "$others/usr/sbin/smtp-sink" ] && [ -e "$others/usr/lib/postfix/sbin/master" ]
}
unpack() {
	others_are_unpacked || unpack_others
	[ -e "$others/usr/bin/fail2ban-regex" ] || unpack_programs
}
missing=""
for p in $packages; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || {
	unpack
	exit 0
}
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
unpack
