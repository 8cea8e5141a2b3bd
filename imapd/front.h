/*
 * The IMAP front: TLS, greeting and login, nothing else. Behind the login a
 * session process takes over (imapd/spawner.c). The front keeps a TLS
 * connection as its TLS end and passes plain bytes over a socket pair; a plain
 * connection is handed on and forgotten.
 */
#ifndef MW_IMAPD_FRONT_H
#define MW_IMAPD_FRONT_H

#include "base/pool.h"
#include "imapd/prelogin.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/tls_daemon.h"
#include "proc/daemon.h"

struct ipc_conn;

enum { FRONT_LISTENERS = 32 };

struct front_listener {
	struct front *front;
	struct listener *listener;
	char service[16];
	char address[128];
	bool implicit_tls;
};

enum front_state {
	FRONT_GREETING,	 /* TLS handshake of an implicit-TLS connection */
	FRONT_LOGIN,	 /* commands before login */
	FRONT_CHECKING,	 /* auth or the spawner was asked */
	FRONT_PROXY,	 /* the TLS end of a session */
	FRONT_CLOSING,
};

struct front_session {
	struct front_session *next, **link; /* all sessions of the front */
	struct front *front;
	const struct front_listener *listener;
	struct conn *conn;
	struct conn *plain; /* FRONT_PROXY: our end of the socket pair */
	struct sockaddr_storage address;
	struct prelogin login;
	enum front_state state;
	uint32_t question; /* id of the pending one; 0: none */
	uint32_t exchange; /* of SASL, under way in auth; 0: none */
	bool counted;	   /* in front->peers */
	bool plain_login;  /* may log in without TLS */
	char tag[PRELOGIN_TAG_MAX + 1];
};

struct front {
	struct daemon *daemon;
	struct tls_context *tls;
	struct tls_daemon tls_daemon;
	struct ipc_conn *auth;
	struct ipc_conn *sessions_service;
	struct front_listener listeners[FRONT_LISTENERS];
	size_t listener_count;
	struct peer_count *peers;
	struct front_session *sessions;
	uint32_t session_count;
	uint64_t total;
	uint32_t last_question;
	bool halting;
};

/* front_session.c */
void front_session_start(struct front *front, const struct front_listener *listener, int fd,
    const struct sockaddr_storage *address, const char *peer);
/* The answers; false when nobody waits for this id. */
void front_challenged(struct front *front, uint32_t id, struct span challenge);
void front_login_answered(struct front *front, uint32_t id, const struct auth_login_answer *answer);
void front_session_started(struct front *front, uint32_t id, const struct session_started *answer);
/* The account's sessions end: imap-session is told, behind those that it was given. */
void front_kick(struct front *front, uint64_t account);
/* A service went away: those who wait for it are told. */
void front_service_lost(struct front *front);
void front_session_bye(struct front_session *session, const char *why);

#endif
