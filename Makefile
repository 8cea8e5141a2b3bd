# Mailwain. `./configure && make`; `make check`; `make demo`.
# One makefile; the objects of every binary are listed, so that what can run in
# an exposed process is a fact to be read here.

-include config.mk
CC         ?= cc
B          ?= build
PREFIX     ?= /usr/local
LIBEXECDIR ?= $(PREFIX)/libexec/mailwain
MANDIR     ?= $(PREFIX)/share/man

WARN   := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
          -Wformat=2 -Wimplicit-fallthrough -Wundef
CPPF   := -D_GNU_SOURCE -I. -Ilib $(if $(wildcard config.h),-include config.h)
ALLCF  := -std=c17 $(WARN) $(CPPF) $(CFLAGS) $(HARDEN_CFLAGS) $(ALL_PKG_CFLAGS) -MMD -MP
LINK    = $(CC) $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^)

# ---- lib/, by level ----
BASE    := buf clock encode err log pool secret span utf8
L_BASE  := $(BASE:%=lib/base/%.o)
L_IPC   := lib/ipc/codec.o lib/ipc/socket.o lib/ipc/types.o
L_CONF  := lib/conf/parse.o lib/conf/conf.o
L_PROC  := lib/proc/confine.o lib/proc/daemon.o lib/proc/landlock.o lib/proc/profile.o lib/proc/seccomp.o
L_GRANT := lib/proc/grant.o
L_NET   := lib/net/conn.o lib/net/ipc_conn.o lib/net/listener.o lib/net/peer_count.o
L_TLS   := lib/tls/tls.o
