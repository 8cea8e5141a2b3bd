#!/bin/sh
# make demo: an instance in a scratch directory, a message in over SMTP and out
# over IMAP, and then a server to play with until Ctrl-C. DEMO=once ends after
# the read-back, with exit 0 when the message came through.
set -eu
cd "$(dirname "$0")/.."
mailwain="${B:-build}/bin/mailwain"
root=$(mktemp -d /tmp/mailwain-demo.XXXXXX)
chmod 755 "$root"

say() {
	printf '\n== %s\n' "$*"
}

finish() {
	trap - EXIT INT TERM
	say "Stopping"
	"$mailwain" --root "$root" stop || true
	rm -rf "$root"
}
trap finish EXIT
trap 'exit 0' INT TERM

# The first offset whose SMTP port nobody has.
offset=20000
while curl -s -o /dev/null --connect-timeout 1 "telnet://127.0.0.1:$((offset + 25))" </dev/null; do
	offset=$((offset + 1000))
done

say "Setting up in $root"
"$mailwain" --root "$root" init --hostname mail.example.com --domain example.com --port-offset "$offset"
"$mailwain" --root "$root" start
for name in alice bob; do
	printf 'secret\n' | "$mailwain" --root "$root" account add "$name@example.com" --password-stdin
done

say "A message over SMTP"
swaks --server "127.0.0.1:$((offset + 25))" --from bob@remote.test --to alice@example.com \
	--header 'Subject: First mail' --body 'It works.'

say "The same message over IMAP"
inbox="imaps://127.0.0.1:$((offset + 993))/INBOX"
tries=0
until curl -sk --url "$inbox" -u alice@example.com:secret -X 'STATUS INBOX (MESSAGES)' | grep -q 'MESSAGES 1'; do
	tries=$((tries + 1))
	if [ $tries -gt 100 ]; then
		say "FAILED: the message did not arrive; the log:"
		cat "$root/log/mailwain.log"
		exit 1
	fi
	sleep 0.1
done
curl -skv --url "$inbox;MAILINDEX=1" -u alice@example.com:secret >"$root/conversation" 2>&1
grep -a '^[<>]' "$root/conversation"
if ! curl -sk --url "$inbox;MAILINDEX=1" -u alice@example.com:secret | tee "$root/message" | grep -q '^It works\.'; then
	say "FAILED: the message that came back is another one"
	exit 1
fi
cat "$root/message"

say "The daemons"
"$mailwain" --root "$root" status

say "Connect a mail client"
cat <<END
Accounts  alice@example.com and bob@example.com, password "secret"
IMAP      127.0.0.1 port $((offset + 993)) (TLS) or $((offset + 143)) (STARTTLS); the certificate is self-signed
SMTP out  127.0.0.1 port $((offset + 465)) (TLS) or $((offset + 587)) (STARTTLS), with the same name and password
SMTP in   127.0.0.1 port $((offset + 25)), for mail to these accounts
Commands  $mailwain --root $root status | queue list | account list | mailbox list alice@example.com
Log       $root/log/mailwain.log
END
if [ "${DEMO:-}" = once ]; then
	exit 0
fi
say "Running until Ctrl-C"
tail -n 0 -f "$root/log/mailwain.log" &
wait $!
