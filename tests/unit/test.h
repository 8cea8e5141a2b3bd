/* What every unit test includes. */
#ifndef MW_TESTS_UNIT_TEST_H
#define MW_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/span.h"

#define assert_span_equal(s, text)                                                                 \
	do {                                                                                       \
		struct span got_ = (s);                                                            \
		assert_int_equal(got_.len, strlen(text));                                          \
		if (got_.len > 0)                                                                  \
			assert_memory_equal(got_.ptr, text, got_.len);                             \
	} while (0)

#endif
