#include "smtp/tls_required.h"

/* requiretls-field = "TLS-Required:" [FWS] "No"; what people add behind it is forgiven when it is a blank. */
void tls_required_line(struct tls_required *required, struct span line)
{
	const struct span name = SPAN_LIT("TLS-Required:");
	struct span value = {0};

	if (required->named && line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
		value = line;
	else if (span_startscase(line, name))
		value = span_from(line, name.len);
	else
		line.len = 0;
	value = span_trim(value);
	required->named = line.len > 0 && value.len == 0;
	required->no |= line.len < TLS_REQUIRED_HEAD && span_caseeq(value, SPAN_LIT("No"));
}
