/* Which addresses may be asked: those of the internet, and what the configuration names. */
#include "fetch/fetch.h"

#include <arpa/inet.h>

struct block {
	unsigned char octets[6];
	unsigned bits;
};

/* RFC 6890 section 2.2.2 and what was added since; multicast and what is reserved as well. */
static const struct block private4[] = {{{0}, 8}, {{10}, 8}, {{100, 64}, 10}, {{127}, 8}, {{169, 254}, 16}, {{172, 16}, 12}, {{192, 0, 0}, 24},
    {{192, 0, 2}, 24}, {{192, 88, 99}, 24}, {{192, 168}, 16}, {{198, 18}, 15}, {{198, 51, 100}, 24}, {{203, 0, 113}, 24}, {{224}, 3}};

/* Of 2000::/3, outside of which nothing is routed (RFC 4291 section 2.4): protocols and tunnels, documentation, 6to4. */
static const struct block private6[] = {{{0x20, 0x01, 0x00}, 23}, {{0x20, 0x01, 0x0d, 0xb8}, 32}, {{0x20, 0x02}, 16}, {{0x3f, 0xff, 0x00}, 20}};

static bool is_in(const unsigned char *octets, const struct block *block)
{
	unsigned whole = block->bits / 8, rest = block->bits % 8;

	return memcmp(octets, block->octets, whole) == 0 && (rest == 0 || (octets[whole] ^ block->octets[whole]) >> (8 - rest) == 0);
}

static bool is_public4(const unsigned char *octets)
{
	for (size_t i = 0; i < sizeof(private4) / sizeof(private4[0]); i++)
		if (is_in(octets, &private4[i]))
			return false;
	return true;
}

static bool is_public6(const unsigned char *octets)
{
	static const struct block unicast = {{0x20}, 3};

	for (size_t i = 0; i < sizeof(private6) / sizeof(private6[0]); i++)
		if (is_in(octets, &private6[i]))
			return false;
	return is_in(octets, &unicast);
}

bool address_is_public(const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 = (const void *)address;
	const struct sockaddr_in *in4 = (const void *)address;

	if (address->sa_family == AF_INET)
		return is_public4((const unsigned char *)&in4->sin_addr);
	return address->sa_family == AF_INET6 && is_public6(in6->sin6_addr.s6_addr);
}

bool address_is_allowed(const struct conf *conf, const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 = (const void *)address;
	const struct sockaddr_in *in4 = (const void *)address;
	char text[INET6_ADDRSTRLEN] = "";

	if (address_is_public(address))
		return true;
	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &in4->sin_addr, text, sizeof(text));
	else if (address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
	return text[0] != '\0' && conf_in_networks(conf, CONF_fetch_private_networks, NULL, span_str(text));
}
