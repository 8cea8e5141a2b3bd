/* The configuration's language: any text is either refused, or its flattened text gives the same again. */
#include "conf/conf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void dump(const struct conf *conf, struct buf *out)
{
	buf_init(out, 8 * 1024 * 1024);
	conf_dump(conf, out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct conf *conf, *again;
	struct buf text, second;
	struct err err;

	if (conf_parse(span_of(data, size), "input", &conf, &err) != 0)
		return 0;
	dump(conf, &text);
	if (!buf_failed(&text)) {
		if (conf_parse(buf_span(&text), "dump", &again, &err) != 0)
			abort();
		dump(again, &second);
		if (!span_eq(buf_span(&text), buf_span(&second)))
			abort();
		buf_fini(&second);
		conf_free(&again);
	}
	buf_fini(&text);
	conf_free(&conf);
	return 0;
}
