#include "auth/marks.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <stdlib.h>

enum {
	MARKS_MAX = 1024, /* more are left to a later login; with half of them they are written at once */
	MARKS_WAIT_S = 2,
	MARKS_APP_S = 3600, /* how old the last use in the directory may be */
	DAY_S = 86400,
};

struct mark {
	uint64_t account;
	struct place place; /* hash 0: an app password */
	char label[DIRECTORY_LABEL_MAX + 1];
	int64_t used;
	char from[DIRECTORY_FROM_MAX + 1];
};

struct marks {
	struct auth *auth;
	struct event *timer;
	struct mark waiting[MARKS_MAX];
	size_t count;
};

static int write_app(struct directory *d, const struct mark *mark, struct err *err)
{
	struct app_password app;

	if (directory_app_get(d, mark->account, span_str(mark->label), &app) != 0)
		return 0; /* revoked meanwhile */
	app.used = mark->used;
	memcpy(app.from, mark->from, sizeof(app.from));
	return directory_app_put(d, mark->account, &app, true, err);
}

static int write_one(struct directory *d, const struct mark *mark, struct err *err)
{
	struct account account;
	int r;

	if (mark->place.hash == 0)
		return write_app(d, mark, err);
	r = directory_account_by_id(d, mark->account, &account);
	if (r != 0) /* removed meanwhile; its number is nobody's, and nothing would take the place away again */
		return r == E_NOTFOUND ? 0 : err_set(err, r, "the directory cannot be read");
	return directory_place_put(d, mark->account, &mark->place, err);
}

static int write_all(struct marks *marks, struct err *err)
{
	struct directory *d = marks->auth->directory;
	int r = directory_begin(d, err);

	for (size_t i = 0; i < marks->count && r == 0; i++)
		r = write_one(d, &marks->waiting[i], err);
	if (r == 0)
		r = directory_commit(d, err);
	else
		directory_abort(d);
	return r;
}

/* What could not be written is written by a later login. */
void marks_flush(struct marks *marks)
{
	struct err err = {0};

	if (marks->count > 0 && !directory_is_damaged(marks->auth->directory) && write_all(marks, &err) != 0)
		log_event(EV_auth_directory_error, daemon_log(marks->auth->daemon), F_ERR(&err));
	marks->count = 0;
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	marks_flush(arg);
}

struct marks *marks_new(struct auth *auth)
{
	struct marks *marks = calloc(1, sizeof(*marks));

	if (marks == NULL)
		return NULL;
	marks->auth = auth;
	marks->timer = evtimer_new(daemon_base(auth->daemon), on_time, marks);
	if (marks->timer == NULL) {
		free(marks);
		return NULL;
	}
	return marks;
}

/* NULL: there is no room. */
static struct mark *add(struct marks *marks, uint64_t account)
{
	struct mark *mark;

	if (marks->count == MARKS_MAX)
		return NULL;
	if (marks->count == 0)
		evtimer_add(marks->timer, &(struct timeval){.tv_sec = MARKS_WAIT_S});
	else if (marks->count == MARKS_MAX / 2)
		evtimer_add(marks->timer, &(struct timeval){0});
	mark = &marks->waiting[marks->count++];
	*mark = (struct mark){.account = account};
	return mark;
}

static bool is_waiting(const struct marks *marks, uint64_t account, uint64_t place)
{
	for (size_t i = 0; i < marks->count; i++)
		if (marks->waiting[i].account == account && marks->waiting[i].place.hash == place)
			return true;
	return false;
}

static const struct place *find_place(const struct place *places, uint64_t hash)
{
	for (size_t i = 0; i < DIRECTORY_PLACES; i++)
		if (places[i].hash == hash)
			return &places[i];
	return NULL;
}

/*
 * The address of a café is not to be known for ever. A day to come was written by a clock that went wrong, or is read by one: the place is known until
 * the next log-in puts the day right, as an owner must get in while it is today's clock that is wrong.
 */
bool marks_is_known(struct marks *marks, uint64_t account, uint64_t place)
{
	struct place places[DIRECTORY_PLACES];
	int64_t today = clock_wall() / DAY_S;
	const struct place *found;

	if (account == 0)
		return false;
	directory_places_get(marks->auth->directory, account, places);
	found = find_place(places, place);
	return (found != NULL && today - found->day <= MARKS_PLACE_DAYS) || is_waiting(marks, account, place);
}

void marks_place(struct marks *marks, uint64_t account, uint64_t place)
{
	struct place places[DIRECTORY_PLACES];
	uint32_t today = (uint32_t)(clock_wall() / DAY_S);
	const struct place *before;
	struct mark *mark;

	directory_places_get(marks->auth->directory, account, places);
	before = find_place(places, place);
	if ((before != NULL && before->day == today) || is_waiting(marks, account, place))
		return;
	mark = add(marks, account);
	if (mark != NULL)
		mark->place = (struct place){place, today};
}

void marks_app(struct marks *marks, uint64_t account, const struct app_password *app, struct span from)
{
	int64_t now = clock_wall();
	struct mark *mark;

	if (app->used != 0 && now >= app->used && now - app->used < MARKS_APP_S)
		return;
	for (size_t i = 0; i < marks->count; i++)
		if (marks->waiting[i].account == account && strcmp(marks->waiting[i].label, app->label) == 0)
			return;
	mark = add(marks, account);
	if (mark == NULL)
		return;
	mark->used = now;
	memcpy(mark->label, app->label, sizeof(mark->label));
	span_copy(from, mark->from, sizeof(mark->from));
}
