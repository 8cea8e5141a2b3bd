/* /etc/aliases: where its names lead. No path is opened here: master has read them all. */
#include "auth/auth.h"

#include "alias/set.h"
#include "auth/address.h"
#include "auth/system.h"

#include <stdio.h>

static struct span domain_of(struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	return span_from(address, at);
}

int aliases_find(struct auth *auth, struct span address, const struct alias **out, struct err *err)
{
	struct span domain = domain_of(address);

	*out = NULL;
	if (auth->aliases == NULL || domain.len == address.len || !system_is_domain(auth, domain))
		return 0;
	if (auth->aliases->why != NULL)
		return err_set(err, E_UNAVAILABLE, "the aliases cannot be read now");
	*out = alias_find(&auth->aliases->file, span_sub(address, 0, address.len - domain.len - 1));
	return *out != NULL;
}

bool aliases_owner(struct auth *auth, const struct alias *alias, struct span address, char *out)
{
	char name[sizeof("owner-") + ALIAS_NAME_MAX];
	int n = snprintf(name, sizeof(name), "owner-%.*s", SPAN_ARG(alias->name));

	if (span_startswith(alias->name, SPAN_LIT("owner-")) || alias_find(&auth->aliases->file, span_of(name, (size_t)n)) == NULL)
		return false;
	n = snprintf(out, DIRECTORY_ADDRESS_MAX + 1, "%s@%.*s", name, SPAN_ARG(domain_of(address)));
	return n <= DIRECTORY_ADDRESS_MAX;
}

/* ---- targets ---- */

/* One walk over an alias and the lists it includes, each once. */
struct walk {
	struct auth *auth;
	const struct alias_walk *to;
	struct span name;
	unsigned others;
	bool listed[ALIAS_INCLUDES_MAX];
};

static int each_target(struct walk *w, const struct alias *alias, unsigned depth, struct err *err);

static bool is_allowed(struct auth *auth, enum alias_kind kind)
{
	struct span allow = conf_text(daemon_conf(auth->daemon), CONF_aliases_allow, NULL);

	return span_eq(allow, SPAN_LIT("all")) || span_eq(allow, kind == ALIAS_PIPE ? SPAN_LIT("pipes") : SPAN_LIT("files"));
}

static int give_other(struct walk *w, enum program program, const struct alias_target *t, int code, struct err *err)
{
	struct recipient r = {.program = program, .name = w->name, .text = t->text, .code = code};

	if (++w->others > DIRECTORY_TARGETS_MAX)
		return err_set(err, E_LIMIT, "the alias leads to more than %d commands and files", DIRECTORY_TARGETS_MAX);
	span_copy(w->to->address, r.address, sizeof(r.address));
	span_copy(w->to->detail, r.detail, sizeof(r.detail));
	return w->to->other(w->to->arg, &r);
}

/* Whoever may write a list may not choose what runs on this machine. To throw mail away takes no rights. */
static int give_program(struct walk *w, const struct alias_target *t, bool in_list, struct err *err)
{
	bool nowhere = t->kind == ALIAS_FILE && span_eq(t->text, SPAN_LIT("/dev/null"));
	int code = !nowhere && (in_list || !is_allowed(w->auth, t->kind)) ? E_CANNOT : 0;

	return give_other(w, t->kind == ALIAS_PIPE ? PROGRAM_PIPE : PROGRAM_FILE, t, code, err);
}

/* A name of this machine is one of the alias's own domain. What is no address, or itself, is the mailbox of that name. */
static int give_address(struct walk *w, const struct alias_target *t, struct err *err)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1], full[ALIAS_TARGET_MAX + DIRECTORY_ADDRESS_MAX + 2];
	bool local = t->kind == ALIAS_USER || span_find(t->text, '@') == t->text.len;
	struct err why;
	int r;

	/* One that is no address does not take the others' mail away. */
	snprintf(full, sizeof(full), "%.*s%s%.*s", SPAN_ARG(t->text), local ? "@" : "", SPAN_ARG(local ? domain_of(w->to->address) : SPAN_LIT("")));
	r = address_canonical(span_str(full), canonical, &why);
	if (r != 0 && err_is_temp(r))
		return err_set(err, r, "out of memory");
	if (r != 0)
		return give_other(w, PROGRAM_NONE, t, E_CANNOT, err);
	return w->to->found(w->to->arg, span_str(canonical), t->kind == ALIAS_USER || span_eq(span_str(canonical), w->to->address), err);
}

/* A list that cannot be read would lose its members' mail: all of the name waits. */
static int give_list(struct walk *w, struct span path, unsigned depth, struct err *err)
{
	const struct alias_list *list = alias_set_list(w->auth->aliases, path);
	size_t i;

	if (list == NULL || list->why != NULL)
		return err_set(err, E_UNAVAILABLE, "a list that the alias %.*s includes cannot be read now", SPAN_ARG(w->name));
	i = (size_t)(list - w->auth->aliases->lists);
	if (w->listed[i])
		return 0;
	w->listed[i] = true;
	if (depth > DIRECTORY_DEPTH_MAX)
		return err_set(err, E_LOOP, "lists include lists more than %d times", DIRECTORY_DEPTH_MAX);
	return each_target(w, &list->list, depth, err);
}

static int each_target(struct walk *w, const struct alias *alias, unsigned depth, struct err *err)
{
	int r = 0;

	for (const struct alias_target *t = alias->targets; t != NULL && r == 0; t = t->next)
		switch (t->kind) {
		case ALIAS_ADDRESS:
		case ALIAS_USER:
			r = give_address(w, t, err);
			break;
		case ALIAS_PIPE:
		case ALIAS_FILE:
			r = give_program(w, t, depth > 0, err);
			break;
		case ALIAS_INCLUDE:
			r = give_list(w, t->text, depth + 1, err);
			break;
		}
	return r;
}

int aliases_each(struct auth *auth, const struct alias *alias, const struct alias_walk *to, struct err *err)
{
	struct walk w = {.auth = auth, .to = to, .name = alias->name};

	return each_target(&w, alias, 0, err);
}
