/* What takes a log-in back ends its sessions; when a daemon cannot be told of that, who asked for it is. */
#include "tests/unit/auth/fixture.h"

#include "auth/app.h"
#include "auth/request.h"
#include "net/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <sysexits.h>

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\n";
static const char address[] = "a@example.org";

/* ---- what control requests want of the daemon ---- */

struct control_reply {
	char text[512];
	unsigned exit;
};

static bool can_tell;
static uint64_t kicked;

void auth_changed(struct auth *auth)
{
	(void)auth;
}

bool auth_kick(struct auth *auth, uint64_t account)
{
	(void)auth;
	kicked = account;
	return can_tell;
}

void password_forgive(struct password_pool *pool)
{
	(void)pool;
}

int password_make(struct password_pool *pool, struct span password, password_done *done, void *arg)
{
	const struct credentials made = {.hash = "another"};

	(void)pool, (void)password;
	done(arg, 0, &made);
	return 0;
}

void control_test(struct request *q)
{
	(void)q;
}

void control_reply_row(struct control_reply *reply, struct span json)
{
	(void)reply, (void)json;
}

void control_reply_text(struct control_reply *reply, struct span text)
{
	(void)reply, (void)text;
}

void control_reply_done(struct control_reply *reply, unsigned exit, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(reply->text, sizeof(reply->text), fmt, args);
	va_end(args);
	reply->exit = exit;
}

/* ---- requests ---- */

static int begin(void **state)
{
	static struct auth auth;

	if (fixture_begin(config) != 0 || fixture_directory(&auth.directory) != 0)
		return -1;
	*state = &auth;
	return 0;
}

/* On an account that is new each time, whose sessions are to end. */
static void ask(struct auth *auth, const char *line, const char *input, struct control_reply *reply)
{
	struct account account = {.address = "a@example.org", .quota = UINT64_MAX};
	struct app_password app = {.label = "phone"};
	struct span words[8], rest = span_str(line);
	size_t count = 0;

	directory_account_remove(auth->directory, span_str(address), NULL);
	assert_int_equal(directory_account_add(auth->directory, &account, NULL), 0);
	assert_int_equal(directory_app_put(auth->directory, account.id, &app, false, NULL), 0);
	while (rest.len > 0) {
		size_t end = span_find(rest, ' ');

		words[count++] = span_sub(rest, 0, end);
		rest = span_from(rest, end < rest.len ? end + 1 : end);
	}
	kicked = 0;
	auth_control(auth, reply, words, count, span_str(input), SPAN_LIT("a new password"));
	assert_int_equal(kicked, account.id);
}

static void who_asked_is_told(void **state)
{
	static const struct {
		const char *line, *input, *done;
	} requests[] = {
	    {"account passwd a@example.org", "", "a@example.org has a new password"},
	    {"account disable a@example.org", "", "a@example.org disabled"},
	    {"account remove a@example.org", "", "a@example.org removed; its mail stays in "},
	    {"account app-password revoke a@example.org phone", "", "a@example.org: phone is revoked"},
	    {"directory import -", "account a@example.org disabled\n", "1 lines imported"},
	    {"directory import - --replace --all", "domain example.com\n", "1 lines imported, "},
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct control_reply reply = {0};

		can_tell = true;
		ask(*state, requests[i].line, requests[i].input, &reply);
		assert_int_equal(reply.exit, EX_OK);
		assert_ptr_equal(strstr(reply.text, requests[i].done), reply.text);
		assert_null(strstr(reply.text, REQUEST_UNTOLD));
		can_tell = false;
		ask(*state, requests[i].line, requests[i].input, &reply);
		assert_int_equal(reply.exit, EX_TEMPFAIL);
		assert_ptr_equal(strstr(reply.text, requests[i].done), reply.text);
		assert_non_null(strstr(reply.text, REQUEST_UNTOLD));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(who_asked_is_told, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
