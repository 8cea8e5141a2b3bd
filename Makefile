# Mailwain. `./configure && make`; `make check`; `make demo`.
# One makefile; the objects of every binary are listed, so that what can run in
# an exposed process is a fact to be read here.

-include config.mk
CC         ?= cc
B          ?= build
PREFIX     ?= /usr/local
LIBEXECDIR ?= $(PREFIX)/libexec/mailwain
BINDIR     ?= $(PREFIX)/bin
SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
SYSCONFDIR ?= /etc
USER_PREFIX ?= mw-
CONFIGURED_PREFIX ?= /usr/local
CFLAGS     ?= -O2 -g
VERSION    := $(shell sed -n 's/^\#define MW_VERSION "\(.*\)"/\1/p' master/mailwain.c)

WARN  := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
         -Wformat=2 -Wimplicit-fallthrough -Wundef
ALLCF  = -std=c17 $(WARN) -D_GNU_SOURCE -I. -Ilib $(if $(wildcard config.h),-include config.h) \
         $(LIB_CFLAGS) $(CFLAGS) $(HARDEN_CFLAGS) -MMD -MP

EVENT_LIBS    ?= -levent_core
TLS_LIBS      ?= -lssl -lcrypto
SODIUM_LIBS   ?= -lsodium
LMDB_LIBS     ?= -llmdb
SECCOMP_LIBS  ?= -lseccomp
IDN_LIBS      ?= -lidn2
UTF8PROC_LIBS ?= -lutf8proc
JANSSON_LIBS  ?= -ljansson
PAM_LIBS      ?= -lpam
CRYPT_LIBS    ?= -lcrypt
CURL_LIBS     ?= -lcurl
ZLIB_LIBS     ?= -lz
UNBOUND_LIBS  ?= -lunbound
CMOCKA_LIBS   ?= -lcmocka

comma := ,

# ---- lib/, by level ----
BASE    := $(addprefix lib/base/,buf.o checksum.o clock.o encode.o err.o json.o log.o near.o pool.o rfc3339.o secret.o span.o utf8.o whole.o)
IPC     := $(addprefix lib/ipc/,codec.o socket.o types.o)
CONF    := $(addprefix lib/conf/,block.o check.o conf.o lex.o parse.o server.o value.o)
GRANT   := lib/proc/grant.o
CONFINE := $(addprefix lib/proc/,confine.o landlock.o profile.o seccomp.o)
NETIPC  := lib/net/ipc_conn.o
DAEMON  := $(BASE) $(IPC) $(CONF) $(CONFINE) $(NETIPC) $(addprefix lib/proc/,daemon.o handover.o)
CONTROL := lib/net/control.o lib/net/listener.o
TLS     := $(addprefix lib/tls/,authorities.o certificate.o client.o context.o provider.o ticket.o tls.o)
NET     := $(addprefix lib/net/,conn.o listener.o peer_count.o) $(TLS)
CONNECT := lib/net/connect.o
COMMAND := $(BASE) $(IPC) $(addprefix lib/control/,client.o command.o paths.o table.o)
TLSDAEMON := $(NET) $(addprefix lib/net/,keys_client.o tls_daemon.o)
SASLLINE := $(addprefix lib/sasl/,mechanism.o line.o)
SMTP    := $(addprefix lib/smtp/,address.o framing.o server.o server_auth.o server_content.o server_mail.o server_release.o tls_required.o) $(SASLLINE)
SASLCLIENT := $(SASLLINE) $(addprefix lib/sasl/,client.o client_scram.o keys.o prepare.o)
SMTPCLIENT := $(addprefix lib/smtp/,address.o framing.o reply.o client.o client_auth.o client_command.o client_content.o client_hello.o client_mail.o) $(SASLCLIENT)
SASL    := $(SASLLINE) $(addprefix lib/sasl/,sasl.o plain.o scram.o bearer.o keys.o prepare.o)
LOCAL   := $(addprefix lib/local/,address.o arguments.o complete.o drop.o extract.o lines.o) lib/intake/mend.o lib/mime/header.o
DNS     := $(addprefix lib/dns/,client.o record.o)
ALIAS   := $(addprefix lib/alias/,parse.o set.o)
TLSRPT  := $(addprefix lib/tlsrpt/,json.o mail.o record.o stored.o traffic.o)
OAUTH   := $(addprefix lib/oauth/,claims.o jwt.o keys.o)
STS     := $(addprefix lib/sts/,policy.o record.o)
SPOOL   := $(addprefix lib/spool/,id.o envelope.o journal.o delivery.o paused.o clock.o seal.o)

# ---- binaries: objects and libraries of each ----
master_O  := $(BASE) $(IPC) $(CONF) lib/conf/file.o $(NETIPC) $(CONTROL) lib/control/paths.o \
             $(addprefix master/,main.o children.o conf.o control.o listeners.o places.o reload.o run_directory.o save.o sink.o tickets.o users.o) \
             $(ALIAS) lib/proc/profile.o master/aliases.o master/alias_files.o
master_L   = $(EVENT_LIBS) $(SODIUM_LIBS)
auth_O    := $(DAEMON) $(GRANT) $(CONTROL) $(SASL) $(OAUTH) lib/net/control_daemon.o lib/net/fetch_client.o \
             $(addprefix auth/,main.o address.o directory.o directory_env.o directory_app.o directory_place.o record.o numbers.o lookup.o \
             password.o password_outside.o password_queue.o hash.o hash_cost.o app.o defence.o defence_table.o marks.o login.o login_grid.o login_vouched.o sasl.o token.o token_keys.o sender.o change.o control.o control_alias.o control_app.o \
             control_failures.o control_test.o explain.o export.o question.o standing.o system.o machine_user.o) \
             lib/store/pages.o $(ALIAS) auth/aliases.o auth/aliases_load.o
auth_L     = $(EVENT_LIBS) $(SECCOMP_LIBS) $(SODIUM_LIBS) $(LMDB_LIBS) $(TLS_LIBS) $(IDN_LIBS) $(UTF8PROC_LIBS) $(CRYPT_LIBS) $(JANSSON_LIBS) -lpthread -lm
auth-pam_O := $(DAEMON) $(addprefix auth/,pam_main.o pam_tasks.o pam_child.o machine_user.o)
# crypt(3) is pam_unix's, which comes later: a sanitizer must know it from the beginning.
auth-pam_L  = $(EVENT_LIBS) $(SECCOMP_LIBS) $(SODIUM_LIBS) $(PAM_LIBS) $(CRYPT_LIBS)
keys_O    := $(DAEMON) $(addprefix lib/tls/,certificate.o key.o) $(addprefix keys/,main.o ring.o)
keys_L     = $(EVENT_LIBS) $(SECCOMP_LIBS) $(TLS_LIBS)
fetch_O   := $(DAEMON) $(CONTROL) $(DNS) lib/dns/name.o lib/tls/certificate.o lib/net/control_daemon.o $(addprefix fetch/,main.o address.o control.o header.o loop.o transfer.o)
fetch_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(CURL_LIBS) $(TLS_LIBS) $(IDN_LIBS)
RESOLVER  := $(addprefix resolve/,packet.o present.o)
resolve_O := $(DAEMON) $(CONTROL) lib/net/control_daemon.o $(addprefix lib/dns/,record.o name.o) $(RESOLVER) \
             $(addprefix resolve/,main.o peer.o control.o flights.o context.o settings.o)
resolve_L  = $(EVENT_LIBS) $(SECCOMP_LIBS) $(IDN_LIBS) $(UNBOUND_LIBS)
INTAKE    := $(addprefix lib/intake/,daemon.o session.o room.o login.o sender.o rate.o mend.o recipients.o content.o)
smtpd_O   := $(DAEMON) $(TLSDAEMON) $(SMTP) lib/spool/id.o lib/spool/envelope.o $(INTAKE) smtpd/main.o
submission_O := $(DAEMON) $(TLSDAEMON) $(SMTP) lib/spool/id.o lib/spool/envelope.o $(INTAKE) submission/main.o
submission_L = $(EVENT_LIBS) $(SECCOMP_LIBS) $(TLS_LIBS)
pickup_O  := $(DAEMON) lib/net/listener.o lib/smtp/address.o lib/smtp/tls_required.o lib/spool/id.o lib/spool/envelope.o lib/intake/mend.o \
             $(addprefix lib/local/,address.o complete.o drop.o extract.o lines.o) lib/mime/header.o $(addprefix submission/,pickup.o pickup_job.o pickup_message.o pickup_client.o pickup_drop.o)
pickup_L   = $(EVENT_LIBS) $(SECCOMP_LIBS)
smtpd_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(TLS_LIBS)
queue_O   := $(DAEMON) $(GRANT) $(CONTROL) lib/net/control_daemon.o $(SPOOL) \
             $(addprefix queue/,main.o accept.o relay_mail.o change.o clock.o control.o control_outbound.o deliver.o destination.o disk.o advice.o dsn.o dsn_report.o expand.o files.o message.o outbound.o \
             filter.o lanes.o list.o pace.o said.o show.o texts.o waiting.o walk.o \
             recover.o removal.o route.o schedule.o agent.o done.o record.o target.o \
             explain.o reroute.o pause.o sending.o) lib/smtp/address.o
queue_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(SODIUM_LIBS) -lpthread
STORE     := $(addprefix lib/store/,account.o open.o record.o crash.o catalog.o mailbox.o names.o groups.o messages.o log.o change.o files.o known.o orphans.o pages.o \
             check.o care.o) \
             $(addprefix lib/mime/,header.o structure.o parts.o) $(addprefix lib/imap/,body.o facts.o)
MIMETEXT  := $(addprefix lib/mime/,charset.o encoding.o fold.o words.o)
MIMECONVERT := $(addprefix lib/mime/,convert.o encode.o encoding.o header.o structure.o)
IMAP      := $(addprefix lib/imap/,fetch.o lex.o pattern.o reader.o runs.o search.o set.o utf7.o)
deliver_O := $(DAEMON) lib/proc/fork.o $(GRANT) $(CONTROL) lib/net/control_daemon.o $(STORE) \
             $(addprefix lmtp/,deliver.o worker.o control.o job.o)
deliver_L  = $(EVENT_LIBS) $(SECCOMP_LIBS) $(SODIUM_LIBS) $(LMDB_LIBS)
RELAY     := $(addprefix relay/,attempt.o channel.o control.o control_sts.o convert.o dane.o dead.o destination.o dial.o job.o outcome.o plan.o policy.o recipients.o \
             report.o report_control.o report_places.o report_send.o report_store.o result.o route.o session.o settings.o state.o sts_cache.o sts_lookup.o transaction.o)
relay_O   := $(DAEMON) $(CONTROL) lib/net/control_daemon.o lib/net/fetch_client.o $(NET) $(CONNECT) $(DNS) $(STS) $(TLSRPT) lib/dns/name.o $(SMTPCLIENT) $(MIMECONVERT) lib/store/pages.o \
             $(RELAY) relay/main.o
relay_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(TLS_LIBS) $(SODIUM_LIBS) $(IDN_LIBS) $(UTF8PROC_LIBS) $(LMDB_LIBS) $(ZLIB_LIBS)
lmtpd_O   := $(DAEMON) $(NET) $(SMTP) $(addprefix lmtp/,lmtpd.o lmtpd_channel.o lmtpd_content.o lmtpd_session.o)
lmtpd_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(TLS_LIBS) $(SODIUM_LIBS)
agent_O   := $(DAEMON) lib/proc/fork.o $(GRANT) $(addprefix lmtp/,agent.o agent_run.o agent_user.o agent_file.o)
agent_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(SODIUM_LIBS)
imapd_O   := $(DAEMON) $(TLSDAEMON) $(SASLLINE) $(addprefix lib/imap/,lex.o reader.o utf7.o) $(addprefix imapd/,front.o front_session.o prelogin.o)
imapd_L    = $(EVENT_LIBS) $(SECCOMP_LIBS) $(TLS_LIBS)
imap-session_O := $(DAEMON) lib/proc/fork.o $(GRANT) $(STORE) $(MIMETEXT) $(IMAP) \
             $(addprefix imapd/,spawner.o sleepers.o keeper.o watch.o session.o session_io.o hibernate.o view.o message.o searcher.o cmd_append.o cmd_fetch.o \
             cmd_idle.o cmd_mailbox.o cmd_search.o cmd_select.o cmd_store.o)
imap-session_L  = $(EVENT_LIBS) $(SECCOMP_LIBS) $(SODIUM_LIBS) $(LMDB_LIBS) $(UTF8PROC_LIBS)

mailwain_O := $(BASE) lib/control/paths.o master/mailwain.o
mailwain-control_O := $(COMMAND) lib/proc/profile.o $(addprefix master/,command.o init.o places.o save.o users.o certificate.o)
mailwain-control_L  = $(JANSSON_LIBS) $(TLS_LIBS)
mailwain-aliases_O := $(COMMAND) $(CONF) lib/conf/file.o lib/control/local.o $(ALIAS) master/alias_files.o master/aliases_command.o
mailwain-aliases_L  = $(JANSSON_LIBS)
mailwain-config_O  := $(BASE) $(CONF) $(ALIAS) master/alias_files.o lib/conf/file.o lib/control/local.o lib/control/paths.o lib/control/table.o lib/tls/authorities.o lib/tls/certificate.o lib/tls/key.o master/config_command.o
mailwain-config_L   = $(JANSSON_LIBS) $(TLS_LIBS)
mailwain-tls_O     := $(COMMAND) lib/tls/certificate.o master/tls_command.o
mailwain-tls_L      = $(JANSSON_LIBS) $(TLS_LIBS)
mailwain-account_O := $(COMMAND) auth/command.o
mailwain-account_L  = $(JANSSON_LIBS)
mailwain-fetch_O   := $(COMMAND) fetch/command.o
mailwain-fetch_L    = $(JANSSON_LIBS)
mailwain-queue_O   := $(COMMAND) queue/command.o
mailwain-queue_L    = $(JANSSON_LIBS)
mailwain-relay_O   := $(COMMAND) relay/command.o
mailwain-relay_L    = $(JANSSON_LIBS)
mailwain-resolve_O := $(COMMAND) resolve/command.o
mailwain-resolve_L  = $(JANSSON_LIBS)
mailwain-store_O   := $(COMMAND) lmtp/command.o
mailwain-store_L    = $(JANSSON_LIBS)
sendmail_O := $(COMMAND) $(CONF) lib/conf/file.o $(LOCAL) $(SMTP) $(addprefix submission/,sendmail.o sendmail_content.o sendmail_handover.o sendmail_queue.o sendmail_smtp.o)
sendmail_L  = $(JANSSON_LIBS)

DAEMONS  := master keys resolve auth auth-pam fetch smtpd submission pickup queue deliver relay lmtpd imapd imap-session agent
COMMANDS := mailwain mailwain-control mailwain-config mailwain-tls mailwain-account mailwain-fetch mailwain-queue mailwain-relay mailwain-store mailwain-aliases mailwain-resolve
LINKS    := mailwain-alias:mailwain-account mailwain-domain:mailwain-account \
            mailwain-directory:mailwain-account mailwain-auth:mailwain-account mailwain-mailbox:mailwain-store

DAEMON_BINS  := $(DAEMONS:%=$(B)/libexec/%)
COMMAND_BINS := $(COMMANDS:%=$(B)/bin/%)
LOCAL_PROGRAMS := sendmail
# Its other names are links to it: sbin/sendmail, bin/mailq, bin/newaliases, lib/sendmail.
SENDMAIL_BINS := $(B)/sbin/sendmail $(B)/bin/mailq $(B)/bin/newaliases
LINK_BINS    := $(foreach l,$(LINKS),$(B)/bin/$(firstword $(subst :, ,$l)))

all: $(DAEMON_BINS) $(COMMAND_BINS) $(LINK_BINS) $(SENDMAIL_BINS) $(B)/libexec/newaliases $(B)/man/mailwain.conf.5 $(B)/man/mailwain-log.5

define binary
$(1): $$(addprefix $$(B)/obj/,$$($(2)_O))
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(HARDEN_LDFLAGS) $$(LDFLAGS) -o $$@ $$^ $$($(2)_L)
endef
$(foreach d,$(DAEMONS),$(eval $(call binary,$(B)/libexec/$(d),$(d))))
$(foreach c,$(COMMANDS),$(eval $(call binary,$(B)/bin/$(c),$(c))))

$(eval $(call binary,$(B)/sbin/sendmail,sendmail))
$(B)/bin/mailq $(B)/bin/newaliases: $(B)/sbin/sendmail
	@ln -sf ../sbin/sendmail $@

# What sendmail -bi runs.
$(B)/libexec/newaliases: $(B)/bin/mailwain-aliases
	@ln -sf ../bin/mailwain-aliases $@

$(LINK_BINS): $(COMMAND_BINS)
	@$(foreach l,$(LINKS),ln -sf $(lastword $(subst :, ,$l)) $(B)/bin/$(firstword $(subst :, ,$l));)

$(B)/obj/%.o: %.c $(wildcard config.h config.mk)
	@mkdir -p $(@D)
	$(CC) $(ALLCF) -c -o $@ $<

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)

# ---- tests ----
# Unit tests take what they need from one archive of all of lib/; nothing that ships is linked from it.
LIB_OBJS   := $(ALIAS) $(sort $(DAEMON) lib/proc/fork.o $(CONNECT) lib/conf/file.o $(GRANT) $(CONTROL) $(TLSDAEMON) lib/tls/key.o lib/tls/local.o $(COMMAND) $(SMTP) $(SASL) $(SMTPCLIENT) $(MIMECONVERT) $(DNS) lib/dns/name.o $(TLSRPT) $(OAUTH) $(STS) lib/net/fetch_client.o $(LOCAL) $(SPOOL) $(STORE) $(MIMETEXT) $(IMAP))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(sort $(shell find tests/unit -name '*_test.c')))
UNIT_LIBS   = $(CMOCKA_LIBS) $(EVENT_LIBS) $(TLS_LIBS) $(SODIUM_LIBS) $(LMDB_LIBS) $(SECCOMP_LIBS) $(IDN_LIBS) \
              $(UTF8PROC_LIBS) $(JANSSON_LIBS) $(CRYPT_LIBS) $(ZLIB_LIBS) -lpthread -lm
LIB_OBJS   += lib/control/local.o

$(B)/lib.a: $(addprefix $(B)/obj/,$(LIB_OBJS)) Makefile
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)

$(filter-out $(B)/tests/auth/% $(B)/tests/fetch/% $(B)/tests/lmtp/% $(B)/tests/queue/% $(B)/tests/resolve/% $(B)/tests/relay/%,$(UNIT_TESTS)): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

# Engines of daemons, of which a test brings itself what else they call.
$(filter $(B)/tests/auth/% $(B)/tests/fetch/% $(B)/tests/lmtp/% $(B)/tests/queue/% $(B)/tests/resolve/%,$(UNIT_TESTS)): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/engines.a $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

$(B)/relay.a: $(addprefix $(B)/obj/,$(RELAY)) Makefile
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)

$(filter $(B)/tests/relay/%,$(UNIT_TESTS)): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/relay.a $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

# Their planted faults, and a clock of their own, take the place of these.
$(B)/tests/lib/smtp/framing_exhaustive_test: override LDFLAGS += -Wl,--wrap=smtp_frame_next
$(B)/tests/relay/sts_test: override LDFLAGS += -Wl,--wrap=clock_gettime -Wl,--wrap=state_get
$(B)/tests/relay/report_test: override LDFLAGS += -Wl,--wrap=clock_gettime
$(B)/tests/lib/store/files_test: override LDFLAGS += -Wl,--wrap=clock_gettime
$(B)/tests/lib/linear_time_test: override LDFLAGS += -Wl,--wrap=buf_add_char

# ---- fuzz targets, tests/fuzz/NAME_fuzz.c: each as a program for libFuzzer, and as one that replays files ----
# Beside lib/, the engines of daemons that a target drives; it brings itself what else of the daemon they call.
ENGINES := lmtp/lmtpd_channel.o lmtp/lmtpd_content.o queue/lanes.o queue/pace.o queue/said.o queue/texts.o queue/waiting.o queue/filter.o queue/reroute.o queue/route.o $(addprefix imapd/,prelogin.o session.o hibernate.o view.o message.o searcher.o cmd_append.o cmd_fetch.o cmd_idle.o \
           cmd_mailbox.o cmd_search.o cmd_select.o cmd_store.o) $(addprefix auth/,address.o app.o change.o login.o login_grid.o login_vouched.o marks.o password.o password_outside.o password_queue.o sasl.o token.o token_keys.o control.o control_alias.o control_app.o \
           control_failures.o defence.o defence_table.o directory.o directory_env.o \
           directory_app.o directory_place.o record.o export.o standing.o hash.o hash_cost.o sender.o lookup.o aliases.o system.o machine_user.o pam_tasks.o) queue/advice.o queue/dsn.o queue/dsn_report.o relay/recipients.o relay/report_store.o relay/state.o relay/sts_cache.o \
           fetch/address.o fetch/header.o $(RESOLVER)
FUZZ_NAMES := $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
FUZZERS    := $(FUZZ_NAMES:%=$(B)/fuzz/%)
REPLAYS    := $(FUZZ_NAMES:%=$(B)/tests/fuzz/%)

$(B)/engines.a: $(addprefix $(B)/obj/,$(ENGINES)) Makefile
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)

$(REPLAYS): $(B)/tests/fuzz/%: $(addprefix $(B)/obj/tests/fuzz/,%_fuzz.o fuzz.o replay.o) $(B)/engines.a $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

check: deps
	$(MAKE) all tests
	@B=$(B) tests/check.sh $(UNIT_TESTS) $(B)/tests/memory $(REPLAYS)

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
# The same under AddressSanitizer and UBSan, in a build of its own. Memory that a daemon never gives
# back until it ends is no leak worth a failure; what one session leaves is found by test_imap.py.
check-sanitized: deps
	$(MAKE) B=$(B)/sanitized CFLAGS='-O1 -g' HARDEN_CFLAGS='$(SANITIZE) -fno-omit-frame-pointer' \
		HARDEN_LDFLAGS='$(SANITIZE)' all tests
	@B=$(B)/sanitized MAILWAIN_BUILD=$(abspath $(B)/sanitized) SANITIZED=1 ASAN_OPTIONS=detect_leaks=0 \
		tests/check.sh $(patsubst $(B)/%,$(B)/sanitized/%,$(UNIT_TESTS) $(B)/tests/memory $(REPLAYS))

# How many lines of each file of lib/ the unit tests run, in a build of its own; FILE=lib/DIR/NAME.c shows one
# file. Confined daemons cannot write what they counted, so the tests of e2e/ are not part of it.
coverage: deps
	$(MAKE) B=$(B)/coverage CFLAGS='-O0 -g --coverage' HARDEN_CFLAGS=-ftrivial-auto-var-init=zero HARDEN_LDFLAGS= tests
	@B=$(B)/coverage FILE=$(FILE) tests/coverage.sh $(UNIT_TESTS:$(B)/%=$(B)/coverage/%)

# The same of the kept inputs of the fuzz targets, the engines of daemons that they drive included.
fuzz-coverage: deps
	$(MAKE) B=$(B)/coverage CFLAGS='-O0 -g --coverage' HARDEN_CFLAGS=-ftrivial-auto-var-init=zero HARDEN_LDFLAGS= \
		$(REPLAYS:$(B)/%=$(B)/coverage/%)
	@B=$(B)/coverage FILE=$(FILE) tests/coverage.sh $(REPLAYS:$(B)/%=$(B)/coverage/%)

# In each daemon's confinement, tries what none may do (tests/e2e/test_sandbox.py).
$(B)/tests/confine: $(B)/obj/tests/confine/confine.o $(B)/lib.a
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

# A client of resolve alone (tests/e2e/test_resolve.py).
$(B)/tests/asker: $(B)/obj/tests/e2e/asker.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

tests: $(UNIT_TESTS) $(REPLAYS) $(B)/tests/memory $(B)/tests/confine $(B)/tests/asker $(B)/tests/fill plant-clock

# The suite with a clock that can be set (tests/e2e/test_clock.py).
plant-clock: all
	@$(MAKE) -s PLANT=clock-set plant

# Damages files and reads them with lib/ (tests/damage/damage.py). Below libexec/, so that faults can be planted in it.
damage_O := $(LIB_OBJS) auth/directory.o auth/directory_env.o auth/directory_app.o auth/directory_place.o auth/record.o $(patsubst %.c,%.o,$(sort $(wildcard tests/damage/*.c)))
damage_L  = $(UNIT_LIBS)
$(eval $(call binary,$(B)/libexec/damage,damage))

# ---- rigs: doc/reliability.md. Each takes the environment's settings that its head tells, and RIG=--sample for a few minutes ----
RIG_ENV = B=$(B) MAILWAIN_BUILD=$(abspath $(B))
check-powercut: deps-rigs $(if $(findstring --beside,$(RIG)),deps-bench) all $(B)/tests/recorder $(B)/tests/order $(B)/tests/numbers
	@$(RIG_ENV) tests/crash/powercut.py $(RIG)
check-kill: deps-rigs all $(B)/tests/killer $(B)/tests/numbers
	@$(RIG_ENV) tests/crash/kill.py $(RIG)
check-fault: deps-rigs all memory $(B)/tests/inject.so
	@$(RIG_ENV) tests/fault/fault.py $(RIG)
check-damage: deps-rigs all $(B)/libexec/damage
	@$(RIG_ENV) tests/damage/damage.py $(RIG)
check-linear: deps all $(B)/tests/lib/linear_time_test $(B)/tests/lib/linear_records_test
	@$(RIG_ENV) tests/linear/linear.py $(RIG)
# The end-to-end tests on a machine where daemons stand still at any call, then where the tests do: some minutes each (tests/README.md).
PAUSED := /usr/bin/python3 -m pytest -q -p no:cacheprovider -n 8 --dist loadfile -m "not alone" tests/e2e --ignore=tests/e2e/test_clock.py $(E2E)
check-pauses: deps deps-rigs all tests
	@$(MAKE) -s PLANT=pauses plant
	@r=0; MAILWAIN_BUILD=$(abspath $(B)/plant/pauses) $(PAUSED) || r=1; \
	PYTHONPATH=tests/e2e MAILWAIN_BUILD=$(abspath $(B)) $(PAUSED) -p pauses || r=1; exit $$r
# What testssl.sh says of the ports with TLS.
check-testssl: deps all
	@tests/install-deps.sh --testssl
	@MAILWAIN_BUILD=$(abspath $(B)) tests/testssl.py
# The clients of check-load and check-soak: thousands in one process.
LOAD_CLIENTS := $(addprefix $(B)/tests/,idlers senders)
$(LOAD_CLIENTS): $(B)/tests/%: $(addprefix $(B)/obj/tests/load/,%.o peer.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(TLS_LIBS)

check-load: deps-rigs all $(LOAD_CLIENTS)
	@$(RIG_ENV) tests/load/load.py $(RIG)
check-guessing: deps-rigs all
	@$(RIG_ENV) tests/load/guessing.py $(RIG)
check-soak: deps-rigs all $(LOAD_CLIENTS)
	@$(RIG_ENV) tests/load/soak.py $(RIG)
# A queue with very many messages for dead hosts: N=10000,100000 of them. Its tool for filling a spool syncs nothing.
$(B)/tests/fill: $(B)/obj/tests/load/fill.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -Wl,--wrap=fsync -Wl,--wrap=fdatasync -o $@ $^ $(UNIT_LIBS)
bench-queue: deps-rigs all $(B)/tests/fill
	@$(RIG_ENV) tests/load/deferred.py $(subst $(comma), ,$(N))
# What kills at a system call; and what a store says of itself.
$(B)/tests/killer $(B)/tests/numbers: $(B)/tests/%: $(B)/obj/tests/crash/%.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

# A disk that remembers what was asked of it; and what the daemons would find on it, see tests/crash/.
$(B)/tests/recorder: tests/crash/recorder.c
	@mkdir -p $(@D)
	$(CC) -std=c17 $(WARN) -D_GNU_SOURCE $(CFLAGS) $$(pkg-config --cflags fuse3) -o $@ $< $$(pkg-config --libs fuse3)

$(B)/tests/order: $(addprefix $(B)/obj/,tests/crash/order.o $(filter-out queue/main.o,$(filter queue/%,$(queue_O))) auth/directory.o auth/directory_env.o auth/directory_app.o auth/directory_place.o auth/address.o auth/record.o) \
		$(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

deps-rigs:
	@tests/install-deps.sh --rigs
deps-bench:
	@tests/install-deps.sh --bench

# The n-th allocation of every engine fails: tests/fault/memory/, under the sanitizers.
MEMORY_WRAPS := malloc calloc realloc reallocarray strdup
$(B)/tests/memory: $(addprefix $(B)/obj/tests/fault/memory/,memory.o text.o daemons.o disk.o reports.o sessions.o) $(B)/engines.a $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) $(MEMORY_WRAPS:%=-Wl,--wrap=%) -o $@ $^ $(UNIT_LIBS)

$(B)/tests/inject.so: tests/fault/inject.c tests/fault/inject.h
	@mkdir -p $(@D)
	$(CC) -std=c17 $(WARN) -D_GNU_SOURCE -I. -O1 -g -fPIC -shared -o $@ $<

memory:
	@$(MAKE) -s B=$(B)/sanitized CFLAGS='-O1 -g' HARDEN_CFLAGS='$(SANITIZE) -fno-omit-frame-pointer' \
		HARDEN_LDFLAGS='$(SANITIZE)' $(B)/sanitized/tests/memory

# A sample of each, and planted faults for them to find; or all planted faults, and a table of how each was found.
check-rigs: deps deps-rigs
	@B=$(B) tests/rigs.sh
check-plants: deps deps-rigs
	@B=$(B) tests/rigs.sh --plants

# ---- planted faults: tests/plant/README.md ----
ifdef PLANT
P := $(B)/plant/$(PLANT)
plant_line = $(shell sed -n '1s,.*plant: \(.*\); wraps: \(.*\) \*/,\$(1),p' tests/plant/$(PLANT).c)
PLANT_IN := $(call plant_line,1)

define planted
$$(P)/libexec/$(1): $$(addprefix $$(B)/obj/,$$($(1)_O) tests/plant/$$(PLANT).o) $$(B)/libexec/$(1)
	$$(CC) $$(CFLAGS) $$(HARDEN_LDFLAGS) $$(LDFLAGS) $$(addprefix -Wl$$(comma)--wrap=,$$(call plant_line,2)) -o $$@ \
		$$(filter %.o,$$^) $$($(1)_L)
endef
$(foreach d,$(PLANT_IN),$(eval $(call planted,$(d))))

# All else is the suite's own.
plant-links: all
	@mkdir -p $(P)/bin $(P)/sbin $(P)/libexec
	@cp -dfl $(COMMAND_BINS) $(LINK_BINS) $(P)/bin
	@cp -fl $(B)/sbin/sendmail $(P)/sbin
	@cp -dfl $(B)/bin/mailq $(B)/bin/newaliases $(P)/bin
	@cp -dfl $(B)/libexec/newaliases $(P)/libexec
	@ln -sfn ../../tests $(P)/tests
	@for d in $(filter-out $(PLANT_IN),$(DAEMONS)); do cp -fl $(B)/libexec/$$d $(P)/libexec || exit 1; done

plant: plant-links
	@$(MAKE) PLANT=$(PLANT) $(PLANT_IN:%=$(P)/libexec/%)
endif

# ---- fuzzing: tests/README.md ----
FUZZ_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_CC   ?= clang
$(B)/fuzz/obj/%.o: override HARDEN_CFLAGS = -fsanitize=fuzzer-no-link $(FUZZ_FLAGS)
$(B)/fuzz/obj/%.o: override CFLAGS = -O1 -g
$(B)/fuzz/obj/%.o: %.c $(wildcard config.h config.mk)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(ALLCF) -c -o $@ $<

$(B)/fuzz/all.a: $(addprefix $(B)/fuzz/obj/,$(LIB_OBJS) $(ENGINES))
	@rm -f $@
	ar rcs $@ $^

$(FUZZERS): $(B)/fuzz/%: $(addprefix $(B)/fuzz/obj/tests/fuzz/,%_fuzz.o fuzz.o driver.o) $(B)/fuzz/all.a
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(UNIT_LIBS)

fuzzers: $(FUZZERS)

# FUZZ_SECONDS for each target; FUZZ_TARGETS names some of them.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(FUZZ_NAMES)
fuzz:
	@tests/install-deps.sh --fuzz
	@[ -f config.mk ] || ./configure
	$(MAKE) $(FUZZ_TARGETS:%=$(B)/fuzz/%)
	@B=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh $(FUZZ_TARGETS)

# Moments of each, two at a time: what tests/rigs.sh runs.
fuzzers-short:
	@tests/install-deps.sh --fuzz
	$(MAKE) fuzzers
fuzz-short: fuzzers-short
	@B=$(B) FUZZ_SECONDS=$(or $(FUZZ_SHORT_SECONDS),4) FUZZ_JOBS=2 tests/fuzz/run.sh $(FUZZ_TARGETS)
ifeq ($(FUZZ),yes)
all: fuzzers
endif

demo: deps
	@[ -f config.mk ] || ./configure
	$(MAKE) all
	@B=$(B) DEMO=$(DEMO) tests/demo.sh

# Beside Debian's Postfix and Dovecot; what can be set is said in tests/bench/bench.py.
$(B)/tests/logins: $(B)/obj/tests/bench/logins.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $^ $(TLS_LIBS)

bench: deps-bench
	@[ -f config.mk ] || ./configure
	$(MAKE) all $(B)/tests/logins
	@B=$(B) tests/bench/bench.py

deps:
	@tests/install-deps.sh

# ---- manual pages: two of them come from the tables of settings and events ----
PAGES := $(sort $(wildcard man/*.1 man/*.8)) $(B)/man/mailwain.conf.5 $(B)/man/mailwain-log.5

$(B)/man/tables: man/tables.c lib/conf/schema.def lib/base/events.def
	@mkdir -p $(@D)
	$(CC) -std=c17 $(WARN) -D_GNU_SOURCE -I. -Ilib $(CFLAGS) -o $@ $<

$(B)/man/%: man/%.in $(B)/man/tables
	$(B)/man/tables <$< >$@.new && mv $@.new $@

# ---- install: DESTDIR stages it below another root; no user is made and nothing is started ----
SYSTEMDDIR  ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
PAMDIR      ?= /etc/pam.d
FILL = sed -e 's,@BINDIR@,$(BINDIR),g' -e 's,@SYSCONFDIR@,$(SYSCONFDIR),g'
# sendmail(1) under its names. Another mail server's file of such a name is neither replaced nor removed.
SENDMAIL ?= yes
ifneq ($(SENDMAIL),no)
SENDMAIL_FILES := $(SBINDIR)/sendmail $(BINDIR)/mailq $(BINDIR)/newaliases $(PREFIX)/lib/sendmail $(MANDIR)/man1/mailq.1 $(MANDIR)/man1/newaliases.1
endif
foreign = { [ -e "$$f" ] || [ -L "$$f" ]; } && [ "$$(readlink "$$f")" != $(SBINDIR)/sendmail ] && ! grep -qs -e mailwain-drop -e man1/sendmail "$$f"

# Every installed path, for install and uninstall alike. The file for PAM is configuration: it stays.
INSTALLED = $(COMMANDS:%=$(BINDIR)/%) $(foreach l,$(LINKS),$(BINDIR)/$(firstword $(subst :, ,$l))) \
            $(DAEMONS:%=$(LIBEXECDIR)/%) $(LIBEXECDIR)/newaliases $(foreach p,$(PAGES),$(MANDIR)/man$(subst .,,$(suffix $p))/$(notdir $p)) \
            $(SYSTEMDDIR)/mailwain.service $(SYSUSERSDIR)/mailwain.conf

install: all
	@[ "$(PREFIX)" = "$(CONFIGURED_PREFIX)" ] || \
	{ echo "The programs were built for $(CONFIGURED_PREFIX): run ./configure --prefix=$(PREFIX) && make" >&2; exit 1; }
	@for f in $(addprefix $(DESTDIR),$(SENDMAIL_FILES)); do \
		if $(foreign); then \
			echo "$$f is another mail server's: remove that, or run ./configure --without-sendmail" >&2; exit 1; \
		fi; \
	done
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBEXECDIR) $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man8 \
		$(SYSTEMDDIR) $(SYSUSERSDIR))
	install $(COMMAND_BINS) $(DESTDIR)$(BINDIR)
	install $(DAEMON_BINS) $(DESTDIR)$(LIBEXECDIR)
	ln -sf $(BINDIR)/mailwain-aliases $(DESTDIR)$(LIBEXECDIR)/newaliases
	$(foreach l,$(LINKS),ln -sf $(lastword $(subst :, ,$l)) $(DESTDIR)$(BINDIR)/$(firstword $(subst :, ,$l)) &&) :
	$(foreach s,1 5 8,install -m 644 $(filter %.$s,$(PAGES)) $(DESTDIR)$(MANDIR)/man$s &&) :
ifneq ($(SENDMAIL),no)
	install -d $(addprefix $(DESTDIR),$(SBINDIR) $(PREFIX)/lib)
	install $(B)/sbin/sendmail $(DESTDIR)$(SBINDIR)/sendmail
	ln -sf $(SBINDIR)/sendmail $(DESTDIR)$(PREFIX)/lib/sendmail
	ln -sf $(SBINDIR)/sendmail $(DESTDIR)$(BINDIR)/mailq
	ln -sf $(SBINDIR)/sendmail $(DESTDIR)$(BINDIR)/newaliases
	for name in mailq newaliases; do echo '.so man1/sendmail.1' >$(DESTDIR)$(MANDIR)/man1/$$name.1; done
endif
	$(FILL) packaging/mailwain.service.in >$(B)/mailwain.service
	sed 's/^u mw-/u $(USER_PREFIX)/' packaging/mailwain.sysusers >$(B)/mailwain.sysusers
	install -m 644 $(B)/mailwain.service $(DESTDIR)$(SYSTEMDDIR)/mailwain.service
	install -m 644 $(B)/mailwain.sysusers $(DESTDIR)$(SYSUSERSDIR)/mailwain.conf
	@[ -e $(DESTDIR)$(PAMDIR)/mailwain ] || { mkdir -p $(DESTDIR)$(PAMDIR) && install -m 644 packaging/pam/mailwain $(DESTDIR)$(PAMDIR)/mailwain; } || \
	echo "Users of this machine need $(PAMDIR)/mailwain, which root may write: see packaging/pam." >&2

uninstall:
	@for f in $(addprefix $(DESTDIR),$(SENDMAIL_FILES)); do \
		if $(foreign); then echo "$$f is another mail server's and stays"; else rm -f "$$f"; fi; \
	done
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-rmdir $(DESTDIR)$(LIBEXECDIR)
	@echo "Configuration, mail, queue and the daemons' users stay."

dist:
	@mkdir -p $(B)
	git archive --format=tar --prefix=mailwain-$(VERSION)/ HEAD | gzip -9n >$(B)/mailwain-$(VERSION).tar.gz
	@echo $(B)/mailwain-$(VERSION).tar.gz

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

lint: all $(PAGES)
	@B=$(B) tests/lint.sh

clean:
	rm -rf $(B)

.PHONY: all bench bench-queue check check-damage check-fault check-guessing check-kill check-linear check-load check-pauses check-plants check-powercut check-rigs check-sanitized check-soak check-testssl clean coverage demo deps deps-bench deps-rigs dist format fuzz fuzz-coverage fuzz-short fuzzers fuzzers-short install lint memory plant plant-clock plant-links tests uninstall
