#include "auth/machine_user.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_portable(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '.' || c == '-' || c == '_';
}

bool machine_user_name_is_valid(struct span name)
{
	size_t digits = 0;

	if (name.len == 0 || name.len > MACHINE_USER_NAME_MAX || name.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (!is_portable(name.ptr[i]))
			return false;
		digits += is_digit(name.ptr[i]);
	}
	return digits < name.len;
}

bool machine_user_has_mailbox(uint32_t uid, uint64_t first)
{
	return uid >= first && uid != MACHINE_NOBODY;
}
