/* What single daemons have in memory: tokens, questions to the resolver, the queue. */
#include "tests/fault/memory/memory.h"

#include "dns/dns.h"
#include "ipc/ipc.h"
#include "oauth/oauth.h"
#include "queue/waiting.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- tokens: the example of RFC 7515, appendix A.3, and the word of a provider ---- */

static int of_verdict(enum oauth_verdict verdict)
{
	return verdict == OAUTH_GOOD ? 0 : verdict == OAUTH_STARVED ? E_NOMEM : E_BUG;
}

static int check_token(const struct oauth_keys *keys)
{
	static const char token[] = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
				    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
	static const struct oauth_policy policy = {.issuer = SPAN_LIT("joe"), .user_claim = SPAN_LIT("iss")};
	struct oauth_claims claims;

	return of_verdict(oauth_jwt_check(span_str(token), keys, &policy, 1300819000, &claims));
}

static int run_oauth(void *state)
{
	static const char set[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
				  "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
	static const char word[] = "{\"active\":true,\"username\":\"a@example.org\",\"exp\":1300819380}";
	static const struct oauth_policy policy = {0};
	struct oauth_keys *keys = NULL;
	struct oauth_claims claims;
	struct err err = {0};
	int r;

	(void)state;
	r = oauth_keys_parse(span_str(set), &keys, &err);
	if (r == 0)
		r = check_token(keys);
	if (r == 0)
		r = of_verdict(oauth_introspection_check(span_str(word), &policy, 1300819000, &claims));
	oauth_keys_free(&keys);
	return r;
}

/* ---- questions to the resolver ---- */

static void on_answer(void *arg, const struct dns_answer *answer)
{
	*(int *)arg = answer->result == DNS_FOUND ? 0 : E_NOMEM;
}

/* What does not get there must be told at once: a deadline would come much later. */
static int ask_resolver(struct event_base *base, struct dns *dns, int resolver)
{
	static char buffer[IPC_MESSAGE_MAX];
	const struct dns_reply reply = {.records = SPAN_LIT("\1\0x")};
	struct ipc_message m;
	struct err err;
	int result = E_TIMEOUT;
	uint32_t number = dns_ask(dns, SPAN_LIT("example.org"), DNS_MX, 0, on_answer, &result);

	if (number == 0)
		return E_NOMEM;
	memory_must(result == E_TIMEOUT);
	event_base_loop(base, EVLOOP_NONBLOCK);
	if (result == E_NOMEM)
		return result;
	memory_must(ipc_receive(resolver, &ipc_service_dns, TO_SERVICE, buffer, &m, &err) == 0 && m.id == number);
	memory_rest(); /* the resolver's own */
	memory_must(ipc_send(resolver, &ipc_dns_reply, number, &reply, -1) == 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	return result;
}

static int run_dns(void *state)
{
	struct event_base *base = event_base_new();
	struct dns *dns = dns_new(base);
	struct err err;
	int fds[2], r;

	(void)state;
	memory_must(base != NULL && ipc_pair(fds, &err) == 0);
	if (dns == NULL)
		close(fds[0]);
	r = dns != NULL ? dns_service(dns, fds[0]) : E_NOMEM;
	if (r == 0)
		r = ask_resolver(base, dns, fds[1]);
	dns_free(&dns);
	close(fds[1]);
	event_base_free(base);
	return r;
}

/* ---- what waits in the queue ---- */

enum { WAITING = 600 /* more than there is room for at first */ };

static uint64_t hash_text(void *arg, struct span s)
{
	(void)arg;
	return s.len > 0 ? (unsigned char)s.ptr[0] * UINT64_C(31) + s.len : 0;
}

/* Whatever is there has its place, and what is told of it is whole or not there. */
static int run_waiting(void *state)
{
	struct waiting_set *set;
	struct waiting_facts facts = {.recipients = 1, .sender = SPAN_LIT("a@example.org"), .hash = hash_text};
	char to[20];
	bool had_failed = memory_failed();
	int r;

	(void)state;
	set = waiting_new();
	r = set != NULL ? 0 : E_NOMEM;
	for (unsigned i = 1; i <= WAITING && r >= 0; i++) {
		struct waiting *w = waiting_add(set, i, (int64_t)(WAITING - i));

		if (w == NULL) {
			r = E_NOMEM;
			break;
		}
		snprintf(to, sizeof(to), "%u@example.org", i);
		facts.recipient = span_str(to);
		waiting_tell(set, w, &facts);
		memory_must(!w->known || (text_span(w->sender).len > 0 && span_eq(text_span(w->recipient), facts.recipient)));
		memory_must(waiting_first(set)->id == i && waiting_count(set) == i);
		if (!w->known)
			r = MEMORY_LESS;
	}
	while (set != NULL && waiting_first(set) != NULL)
		memory_must(waiting_remove(set, waiting_first(set)->id));
	waiting_free(&set);
	return r == 0 && memory_failed() && !had_failed ? MEMORY_LESS : r; /* a table that did not grow or shrink: slower, or larger */
}

const struct scenario daemon_scenarios[] = {
    {.name = "tokens", .run = run_oauth},
    {.name = "questions to the resolver", .run = run_dns},
    {.name = "what waits in the queue", .run = run_waiting, .may_be_less = true},
    {0},
};
