/* REQUIRETLS and "TLS-Required: No" (RFC 8689), where a message is taken. */
#include "tests/unit/lib/smtp/dialog.h"

static int setup(void **state)
{
	struct dialog *d = dialog_new(&dialog_config);

	say(d, "EHLO client.example\r\n");
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct dialog *d = *state;

	dialog_free(&d);
	return 0;
}

static void tls_may_be_required_where_there_is_tls(void **state)
{
	struct dialog *d = *state;

	assert_string_equal(say(d, "MAIL FROM:<a@b> REQUIRETLS\r\n"), "555 5.5.4 MAIL: parameter REQUIRETLS is not known\r\n");
	say(d, "STARTTLS\r\n");
	smtp_server_tls_started(d->server);
	assert_non_null(strstr(say(d, "EHLO a\r\n"), "250-REQUIRETLS\r\n"));
	assert_non_null(strstr(say(d, "MAIL FROM:<a@b> REQUIRETLS=yes\r\n"), "501 5.5.4"));
	assert_non_null(strstr(say(d, "MAIL FROM:<a@b> REQUIRETLS REQUIRETLS\r\n"), "501 5.5.4"));
	assert_string_equal(say(d, "MAIL FROM:<a@b> requiretls\r\n"), "250 2.1.0 Ok\r\n");
	assert_true(smtp_server_transaction(d->server)->requiretls);
	assert_string_equal(say(d, "RSET\r\nMAIL FROM:<a@b>\r\n"), "250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n");
	assert_false(smtp_server_transaction(d->server)->requiretls);
}

static void a_field_says_that_tls_is_not_required(void **state)
{
	static const struct {
		const char *header;
		bool optional;
	} rows[] = {{"TLS-Required: No\r\n", true}, {"A: b\r\ntls-required:no\r\nC: d\r\n", true}, {"TLS-Required:\r\n No\r\n", true}, {"TLS-Required:\t \r\n\t no \r\n", true},
	    {"TLS-Required: Yes\r\n", false}, {"TLS-Required: No, yes\r\n", false}, {"TLS-Required:\r\nX: y\r\n No\r\n", false}, {"X: y\r\n TLS-Required: No\r\n", false},
	    {"X-TLS-Required: No\r\n", false}, {"TLS-Required: No                                     x\r\n", false}, {"\r\nTLS-Required: No\r\n", false},
	    {"TLS-Required:\r\n\r\n No\r\n", false}, {"", false}};
	struct dialog *d = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), "BDAT %zu\r\n%s", strlen(rows[i].header), rows[i].header);
		say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
		say(d, text);
		if (smtp_server_transaction(d->server)->tls_optional != rows[i].optional)
			fail_msg("%s", rows[i].header);
		say(d, "RSET\r\n");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(tls_may_be_required_where_there_is_tls, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_field_says_that_tls_is_not_required, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
