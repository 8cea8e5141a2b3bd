#include "auth/user_name.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_portable(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '.' || c == '-' || c == '_';
}

bool user_name_is_valid(struct span name)
{
	size_t digits = 0;

	if (name.len == 0 || name.len > USER_NAME_MAX || name.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (!is_portable(name.ptr[i]))
			return false;
		digits += is_digit(name.ptr[i]);
	}
	return digits < name.len;
}
