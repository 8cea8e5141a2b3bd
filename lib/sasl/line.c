/* A line of an AUTH exchange. */
#include "sasl/sasl.h"

#include "base/encode.h"

enum sasl_line sasl_line_decode(struct span line, bool initial, struct buf *out)
{
	if (span_eq(line, SPAN_LIT("*")))
		return initial ? SASL_LINE_MALFORMED : SASL_LINE_CANCEL;
	if (initial && span_eq(line, SPAN_LIT("=")))
		return SASL_LINE_OK;
	if (initial && line.len == 0)
		return SASL_LINE_MALFORMED;
	if (line.len > (SASL_RESPONSE_MAX + 2) / 3 * 4)
		return SASL_LINE_TOO_LONG;
	switch (base64_decode(out, line)) {
	case 0:
		return SASL_LINE_OK;
	case E_TOOBIG:
		return SASL_LINE_TOO_LONG;
	case E_NOMEM:
		return SASL_LINE_STARVED;
	default:
		return SASL_LINE_MALFORMED;
	}
}
