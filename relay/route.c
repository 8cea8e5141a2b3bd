#include "relay/route.h"

#include "net/connect.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTE_FAMILIES = 2 };

/* The addresses of one family of one host are asked for. */
struct route_question {
	struct route_finder *finder;
	struct route_host *host;
	uint32_t number; /* 0: not under way */
};

struct route_finder {
	struct route_request request;
	struct event *event; /* ends what needs no answer, in a turn of its own */
	struct route *route;
	uint32_t mx; /* the question; 0: not under way */
	struct route_question questions[ROUTE_HOSTS_MAX][ROUTE_FAMILIES];
	size_t waiting;
	struct err why;
};

static const enum dns_type family_types[ROUTE_FAMILIES] = {DNS_AAAA, DNS_A};

void route_free(struct route **route)
{
	free(*route);
	*route = NULL;
}

void route_cancel(struct route_finder **finder)
{
	struct route_finder *f = *finder;

	*finder = NULL;
	if (f == NULL)
		return;
	if (f->mx != 0)
		dns_cancel(f->request.dns, f->mx);
	for (size_t i = 0; i < ROUTE_HOSTS_MAX; i++)
		for (size_t k = 0; k < ROUTE_FAMILIES; k++)
			if (f->questions[i][k].number != 0)
				dns_cancel(f->request.dns, f->questions[i][k].number);
	if (f->event != NULL)
		event_free(f->event);
	route_free(&f->route);
	free(f);
}

static void note(struct route_finder *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct route_finder *f, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (f->request.note == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->request.note(f->request.arg, text);
}

/* The route is the callee's, unless there is an error. */
static void finish(struct route_finder *f)
{
	struct route *route = f->why.code == 0 ? f->route : NULL;
	route_done *done = f->request.done;
	void *arg = f->request.arg;
	struct err why = f->why;

	if (route != NULL)
		f->route = NULL;
	route_cancel(&f);
	done(arg, route, &why);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg);
}

static void finish_soon(struct route_finder *f)
{
	event_active(f->event, EV_TIMEOUT, 0);
}

/* ---- addresses ---- */

static bool is_me(const struct route_finder *f, const struct route_host *host)
{
	const struct route_self *self = f->request.self;

	if (f->request.fixed)
		return false;
	if (host->name[0] != '\0' && span_caseeq(span_str(host->name), self->hostname))
		return true;
	for (size_t i = 0; i < host->address_count; i++)
		if (self->is_ours != NULL && self->is_ours(self->arg, &host->addresses[i]))
			return true;
	return false;
}

/* RFC 5321 section 5.1: neither us nor those that are no better than us; they would hand it back. */
static bool drop_self(struct route_finder *f)
{
	struct route *route = f->route;

	for (size_t i = 0; i < route->count; i++) {
		unsigned preference = route->hosts[i].preference;

		if (!is_me(f, &route->hosts[i]))
			continue;
		note(f, "%s is this server: hosts of preference %u and above are passed over", route->hosts[i].name, preference);
		while (i > 0 && route->hosts[i - 1].preference == preference)
			i--;
		route->count = i;
		return true;
	}
	return false;
}

/* Both families in turn, IPv6 first: one that does not work does not keep the other waiting. */
static void order_addresses(struct route_host *host)
{
	struct sockaddr_storage v6[ROUTE_ADDRESSES_MAX], v4[ROUTE_ADDRESSES_MAX];
	size_t n6 = 0, n4 = 0, count = 0;

	for (size_t i = 0; i < host->address_count; i++)
		if (host->addresses[i].ss_family == AF_INET6)
			v6[n6++] = host->addresses[i];
		else
			v4[n4++] = host->addresses[i];
	for (size_t i = 0; count < host->address_count; i++) {
		if (i < n6)
			host->addresses[count++] = v6[i];
		if (i < n4)
			host->addresses[count++] = v4[i];
	}
}

static void note_host(struct route_finder *f, const struct route_host *host)
{
	char text[512] = "", one[INET6_ADDRSTRLEN];
	size_t len = 0;

	for (size_t i = 0; i < host->address_count && len < sizeof(text); i++) {
		connect_text(&host->addresses[i], one);
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s", one);
	}
	note(f, "%s has %s%s%s", host->name, host->address_count > 0 ? "the addresses" : host->unknown ? "addresses that nobody can tell now" : "no address",
	    text, host->secure ? " (DNSSEC)" : "");
}

/* Nobody is left. Whether one of them might have an address another time decides. */
static void fail_without_hosts(struct route_finder *f, bool unknown, bool self)
{
	const struct route *route = f->route;

	if (self)
		err_set(&f->why, E_LOOP, "5.4.6 mail for %.*s would come back to this server, which is not responsible for it", SPAN_ARG(f->request.domain));
	else if (unknown && f->why.text[0] != '\0')
		f->why.code = E_UNAVAILABLE;
	else if (unknown)
		err_set(&f->why, E_UNAVAILABLE, "4.4.3 the addresses of the hosts for %.*s cannot be told now", SPAN_ARG(f->request.domain));
	else if (f->request.fixed) /* the administrator's slip is no reason to give mail back */
		err_set(&f->why, E_UNAVAILABLE, "4.4.4 %.*s, where the mail is to go, has no address", SPAN_ARG(f->request.domain));
	else if (route->from_mx)
		err_set(&f->why, E_CANNOT, "5.4.4 none of the mail hosts of %.*s has an address", SPAN_ARG(f->request.domain));
	else
		err_set(&f->why, E_CANNOT, "5.4.4 %.*s has neither mail hosts (MX) nor an address", SPAN_ARG(f->request.domain));
}

/* All addresses are there. */
static void complete(struct route_finder *f)
{
	struct route *route = f->route;
	bool unknown = false, self;
	size_t kept = 0;

	for (size_t i = 0; i < route->count; i++) {
		order_addresses(&route->hosts[i]);
		note_host(f, &route->hosts[i]);
	}
	self = drop_self(f);
	for (size_t i = 0; i < route->count; i++) {
		unknown |= route->hosts[i].address_count == 0 && route->hosts[i].unknown;
		if (route->hosts[i].address_count == 0)
			continue;
		if (kept != i)
			route->hosts[kept] = route->hosts[i];
		kept++;
	}
	route->count = kept;
	route->unknown = unknown;
	if (kept == 0)
		fail_without_hosts(f, unknown, self && !unknown);
	else
		f->why = (struct err){0};
}

/* At most half of the places for one family while the other is waited for. */
static bool has_room(const struct route_host *host, enum dns_type type)
{
	size_t of_family = type == DNS_AAAA ? host->v6_count : host->address_count - host->v6_count;

	return host->address_count < ROUTE_ADDRESSES_MAX && of_family < ROUTE_ADDRESSES_MAX / 2;
}

static void take_addresses(struct route_host *host, const struct dns_answer *answer)
{
	struct span records = answer->records, rdata;

	while (dns_record_next(&records, &rdata) && has_room(host, answer->type))
		if (dns_address_parse(answer->type, rdata, &host->addresses[host->address_count]) == 0) {
			host->address_count++;
			host->v6_count += answer->type == DNS_AAAA;
		}
	if (answer->canonical.len > 0)
		span_copy(answer->canonical, host->canonical, sizeof(host->canonical));
}

static void on_addresses(void *arg, const struct dns_answer *answer)
{
	struct route_question *question = arg;
	struct route_finder *f = question->finder;
	struct route_host *host = question->host;

	question->number = 0;
	if (answer->result == DNS_TEMPORARY || answer->result == DNS_IS_BOGUS) {
		/* Says nothing of the other family: who keeps one answer away must not make that an unsigned host. */
		host->unknown = true;
		err_set(&f->why, 0, "4.4.3 the address of %s cannot be told now: %.*s", host->name, SPAN_ARG(answer->why));
	} else {
		host->secure &= answer->secure;
		take_addresses(host, answer);
	}
	if (--f->waiting > 0)
		return;
	complete(f);
	finish(f);
}

/* "192.0.2.1", "2001:db8::1". */
static bool take_literal(struct span text, struct route_host *host)
{
	char copy[INET6_ADDRSTRLEN];
	struct sockaddr_in *v4 = (void *)&host->addresses[0];
	struct sockaddr_in6 *v6 = (void *)&host->addresses[0];

	if (text.len >= sizeof(copy))
		return false;
	span_copy(text, copy, sizeof(copy));
	if (inet_pton(AF_INET, copy, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, copy, &v6->sin6_addr) == 1)
		v6->sin6_family = AF_INET6;
	else
		return false;
	host->address_count = 1;
	snprintf(host->name, sizeof(host->name), "%s", copy);
	return true;
}

/* E_NOMEM: not one question could be asked. */
static int ask_addresses(struct route_finder *f)
{
	struct route *route = f->route;

	for (size_t i = 0; i < route->count; i++) {
		struct route_host *host = &route->hosts[i];

		host->secure = true;
		for (size_t k = 0; k < ROUTE_FAMILIES; k++) {
			struct route_question *question = &f->questions[i][k];

			*question = (struct route_question){f, host, 0};
			question->number = dns_ask(f->request.dns, span_str(host->name), family_types[k], ROUTE_DNS_MS, on_addresses, question);
			f->waiting += question->number != 0;
			host->unknown |= question->number == 0;
		}
	}
	return f->waiting > 0 ? 0 : E_NOMEM;
}

/* ---- MX records ---- */

static uint32_t random_next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static int compare_preference(const void *a, const void *b)
{
	unsigned x = ((const struct dns_mx *)a)->preference, y = ((const struct dns_mx *)b)->preference;

	return (x > y) - (x < y);
}

/* RFC 5321 section 5.1: those of one preference share the load. */
static void shuffle_equals(struct dns_mx *mx, size_t count, uint32_t seed)
{
	uint32_t state = seed | 1;

	for (size_t begin = 0, end; begin < count; begin = end) {
		for (end = begin; end < count && mx[end].preference == mx[begin].preference;)
			end++;
		for (size_t i = end - begin; i > 1; i--) {
			size_t other = random_next(&state) % i;
			struct dns_mx swap = mx[begin + i - 1];

			mx[begin + i - 1] = mx[begin + other];
			mx[begin + other] = swap;
		}
	}
}

static void add_host(struct route *route, const char *name, unsigned preference)
{
	struct route_host *host = &route->hosts[route->count++];

	host->preference = preference;
	snprintf(host->name, sizeof(host->name), "%s", name);
}

static bool has_host(const struct route *route, const char *name)
{
	for (size_t i = 0; i < route->count; i++)
		if (strcmp(route->hosts[i].name, name) == 0)
			return true;
	return false;
}

/* RFC 7505: "." alone says that there is no mail here; beside others it says nothing. */
static void take_mx(struct route_finder *f, const struct dns_answer *answer)
{
	struct dns_mx *mx = calloc(ROUTE_RECORDS_MAX, sizeof(*mx));
	struct span records = answer->records, rdata;
	struct route *route = f->route;
	size_t count = 0, null = 0;

	while (mx != NULL && count < ROUTE_RECORDS_MAX && dns_record_next(&records, &rdata)) {
		if (dns_mx_parse(rdata, &mx[count]) != 0)
			continue;
		null += mx[count].host[0] == '\0';
		count += mx[count].host[0] != '\0';
	}
	if (mx != NULL)
		qsort(mx, count, sizeof(*mx), compare_preference);
	if (mx != NULL)
		shuffle_equals(mx, count, f->request.seed);
	for (size_t i = 0; i < count; i++) {
		note(f, "%.*s has MX %u %s%s", SPAN_ARG(answer->name), mx[i].preference, mx[i].host, answer->secure ? " (DNSSEC)" : "");
		if (route->count < ROUTE_HOSTS_MAX && !has_host(route, mx[i].host))
			add_host(route, mx[i].host, mx[i].preference);
	}
	free(mx);
	route->from_mx = true;
	if (mx == NULL)
		err_set(&f->why, E_NOMEM, "4.3.0 out of memory");
	else if (count == 0 && null > 0)
		err_set(&f->why, E_CANNOT, "5.1.10 %.*s takes no mail: its MX record says so", SPAN_ARG(answer->name));
	else if (count == 0)
		err_set(&f->why, E_CANNOT, "5.4.4 the MX records of %.*s are no names of hosts", SPAN_ARG(answer->name));
}

static void on_mx(void *arg, const struct dns_answer *answer)
{
	struct route_finder *f = arg;
	struct route *route = f->route;

	f->mx = 0;
	route->secure = answer->secure;
	span_copy(answer->canonical, route->canonical, sizeof(route->canonical));
	switch (answer->result) {
	case DNS_FOUND:
		take_mx(f, answer);
		break;
	case DNS_NO_DATA:
		note(f, "%.*s has no MX records: it is its own mail host", SPAN_ARG(answer->name));
		route->count = 1;
		break;
	case DNS_NO_NAME:
		err_set(&f->why, E_NOTFOUND, "5.1.2 there is no domain %.*s", SPAN_ARG(answer->name));
		break;
	case DNS_TEMPORARY:
		err_set(&f->why, E_UNAVAILABLE, "4.4.3 the mail hosts of %.*s cannot be told now: %.*s", SPAN_ARG(answer->name), SPAN_ARG(answer->why));
		break;
	case DNS_IS_BOGUS:
		err_set(&f->why, E_UNAVAILABLE, "4.7.5 the mail hosts of %.*s cannot be believed, DNSSEC: %.*s", SPAN_ARG(answer->name), SPAN_ARG(answer->why));
		break;
	}
	if (f->why.code == 0 && ask_addresses(f) != 0)
		err_set(&f->why, E_BUSY, "4.3.2 too many questions are asked of the resolver");
	if (f->why.code != 0)
		finish(f);
}

/* ---- the beginning ---- */

/* "[192.0.2.1]" and "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3), without the brackets. */
static struct span literal_of(struct span domain)
{
	if (domain.len < 2 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']')
		return (struct span){0};
	domain = span_sub(domain, 1, domain.len - 2);
	return span_startscase(domain, SPAN_LIT("IPv6:")) ? span_from(domain, 5) : domain;
}

static void begin(struct route_finder *f)
{
	struct span domain = f->request.domain, literal = literal_of(domain);
	struct route *route = f->route;

	if (take_literal(f->request.fixed ? domain : literal, &route->hosts[0])) {
		route->literal = true;
		route->secure = f->request.fixed;
		route->count = 1;
		if (is_me(f, &route->hosts[0]))
			err_set(&f->why, E_LOOP, "5.4.6 %.*s is this server, which is not responsible for it", SPAN_ARG(domain));
		finish_soon(f);
	} else if (domain.len == 0 || domain.len > DNS_NAME_MAX || literal.len > 0) {
		err_set(&f->why, E_CANNOT, "5.1.2 %.*s is no domain", SPAN_ARG(span_sub(domain, 0, 100)));
		finish_soon(f);
	} else if (f->request.fixed) {
		route->secure = true;
		span_copy(domain, route->hosts[0].name, DNS_NAME_TEXT);
		route->count = 1;
		if (ask_addresses(f) != 0) {
			err_set(&f->why, E_BUSY, "4.3.2 too many questions are asked of the resolver");
			finish_soon(f);
		}
	} else {
		span_copy(domain, route->hosts[0].name, DNS_NAME_TEXT); /* should there be no MX */
		f->mx = dns_ask(f->request.dns, domain, DNS_MX, ROUTE_DNS_MS, on_mx, f);
		if (f->mx == 0) {
			err_set(&f->why, E_BUSY, "4.3.2 too many questions are asked of the resolver");
			finish_soon(f);
		}
	}
}

struct route_finder *route_find(struct event_base *base, const struct route_request *request)
{
	struct route_finder *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->request = *request;
	f->route = calloc(1, sizeof(*f->route));
	f->event = evtimer_new(base, on_event, f);
	if (f->route == NULL || f->event == NULL) {
		route_cancel(&f);
		return NULL;
	}
	begin(f);
	return f;
}
