#include "auth/standing.h"

#include <sodium.h>

enum { STANDINGS_MAX = 256 * 1024 * 1024 };

struct standing {
	uint64_t account;
	unsigned char print[16];
};

static int add_app(void *arg, const struct app_password *app)
{
	crypto_generichash_state *print = arg;

	crypto_generichash_update(print, (const void *)app->label, sizeof(app->label));
	crypto_generichash_update(print, (const void *)&app->protocols, sizeof(app->protocols));
	crypto_generichash_update(print, app->hash, sizeof(app->hash));
	return 0;
}

static struct standing standing_of(struct directory *d, const struct account *account)
{
	const struct credentials *c = &account->credentials;
	const char *const texts[] = {c->hash, c->scram_sha_1, c->scram_sha_256};
	const unsigned char disabled = account->disabled;
	struct standing standing = {.account = account->id};
	crypto_generichash_state print;

	crypto_generichash_init(&print, NULL, 0, sizeof(standing.print));
	crypto_generichash_update(&print, &disabled, 1);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		crypto_generichash_update(&print, (const void *)texts[i], strlen(texts[i]) + 1);
	directory_app_each(d, account->id, add_app, &print);
	crypto_generichash_final(&print, standing.print, sizeof(standing.print));
	return standing;
}

static int take(void *arg, const struct account *account)
{
	struct standings *s = arg;
	struct standing standing = standing_of(s->auth->directory, account);

	buf_add(&s->rows, &standing, sizeof(standing));
	return 0;
}

int standings_take(struct auth *auth, struct standings *out)
{
	int r;

	out->auth = auth;
	buf_init(&out->rows, STANDINGS_MAX);
	r = directory_account_each(auth->directory, take, out);
	return buf_failed(&out->rows) ? E_NOMEM : r;
}

static bool still_stands(struct directory *d, const struct standing *before)
{
	struct account account;
	struct standing now;

	if (directory_account_by_id(d, before->account, &account) != 0)
		return false;
	now = standing_of(d, &account);
	return memcmp(now.print, before->print, sizeof(now.print)) == 0;
}

bool standings_end(struct standings *s)
{
	struct span rest = buf_span(&s->rows);
	struct standing before;
	bool told = true;

	for (; rest.len >= sizeof(before); rest = span_from(rest, sizeof(before))) {
		memcpy(&before, rest.ptr, sizeof(before));
		if (!still_stands(s->auth->directory, &before))
			told &= auth_kick(s->auth, before.account);
	}
	standings_fini(s);
	return told;
}

void standings_fini(struct standings *s)
{
	buf_fini(&s->rows);
}
