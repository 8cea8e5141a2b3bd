/* What is wrong with a configuration although each of its lines is right. */
#include "conf/private.h"

static int check_tls(const struct conf *conf, struct err *err)
{
	bool certificate = conf_text(conf, CONF_tls_certificate, NULL).len > 0;
	bool key = conf_text(conf, CONF_tls_key, NULL).len > 0;

	if (certificate != key)
		return err_set(err, E_SYNTAX, "%.*s: %s is set but %s is not; write: tls certificate FILE key FILE",
		    SPAN_ARG(conf_origin(conf, certificate ? CONF_tls_certificate : CONF_tls_key, NULL)),
		    certificate ? "tls-certificate" : "tls-key", certificate ? "tls-key" : "tls-certificate");
	for (size_t i = 0; i < conf_listener_count(conf) && !key; i++)
		if (span_eq(conf_listener(conf, i)->service, SPAN_LIT("imaps")))
			return err_set(err, E_SYNTAX, "%.*s: imaps needs a certificate; write: tls certificate FILE key FILE",
			    SPAN_ARG(conf->listener_index[i]->scope->origin));
	return 0;
}

int conf_check(const struct conf *conf, const char *file, struct err *err)
{
	if (conf_text(conf, CONF_hostname, NULL).len == 0)
		return err_set(err, E_SYNTAX, "%s: the hostname is missing; write: hostname mail.example.org", file);
	return check_tls(conf, err);
}
