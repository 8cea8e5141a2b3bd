/* Who waits for a check of a password, in turns, and when those may begin who guess. All of it under the pool's lock. */
#include "auth/password_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

bool password_is_guessing(const struct password_pool *pool, int64_t now)
{
	return now < pool->from_us[PACE_STRANGERS] + PASSWORD_ALARM_US;
}

/*
 * Both kinds of those who guess together leave half of the threads to who belongs here. Of what auth-pam is asked each has a part of its own, as
 * its modules may hang: strangers never keep suspects waiting.
 */
static bool has_room(const struct password_pool *pool, enum lane_name name, enum password_pace pace, int64_t now)
{
	const struct lane *lane = &pool->lanes[name];
	unsigned half = (lane->most + 1) / 2, guesses = lane->at_pace[PACE_SUSPECTS] + lane->at_pace[PACE_STRANGERS];

	if (lane->running == lane->most)
		return false;
	if (pace == PACE_NONE)
		return true;
	if (name == OUTSIDE)
		return lane->at_pace[pace] < (pace == PACE_SUSPECTS ? half / 2 : half);
	return guesses < half || (pace == PACE_STRANGERS && !password_is_guessing(pool, now));
}

int64_t password_next_us(const struct password_pool *pool, enum lane_name name, int64_t now)
{
	int64_t next = 0;

	for (unsigned i = 0; i < pool->waiting_count; i++) {
		int64_t from = pool->waiting[i]->lane == name ? pool->from_us[pool->waiting[i]->pace] : 0;

		if (from > now && (next == 0 || from < next))
			next = from;
	}
	return next;
}

static bool may_run(const struct password_pool *pool, const struct job *job, enum lane_name lane, const bool may[PASSWORD_PACES])
{
	return job->lane == lane && may[job->pace] && !(job->is_dear && pool->dear_runs);
}

unsigned password_job_find(const struct password_pool *pool, enum lane_name name, int64_t now)
{
	bool may[PASSWORD_PACES];
	unsigned at = 0;

	for (enum password_pace pace = 0; pace < PASSWORD_PACES; pace++)
		may[pace] = now >= pool->from_us[pace] && has_room(pool, name, pace, now);
	while (at < pool->waiting_count && !may_run(pool, pool->waiting[at], name, may))
		at++;
	return at;
}

/* The next of its pace begins so much later than this one did. */
static void pace_after(struct password_pool *pool, const struct job *job, int64_t price_us)
{
	int64_t *from = &pool->from_us[job->pace];

	*from = (*from > job->begun_us ? *from : job->begun_us) + PASSWORD_PACE * price_us;
}

/*
 * Of those that auth-pam checks many may be under way: while there is guessing none of them waits for its end to count. Nor does a suspect's anywhere, so that
 * one begins behind the other, and somebody who belongs there waits for one guess at most.
 */
static int64_t price_ahead(const struct password_pool *pool, const struct job *job, int64_t now)
{
	if (job->pace == PACE_SUSPECTS || (job->pace == PACE_STRANGERS && job->lane == OUTSIDE && password_is_guessing(pool, now)))
		return job->lane == HERE ? pool->usual_us : PASSWORD_OUTSIDE_US;
	return 0;
}

struct job *password_job_begin(struct password_pool *pool, unsigned at, int64_t now)
{
	struct job *job = pool->waiting[at];
	unsigned slot = 0;

	memmove(&pool->waiting[at], &pool->waiting[at + 1], (--pool->waiting_count - at) * sizeof(struct job *));
	while (pool->running[slot] != NULL)
		slot++;
	pool->running[slot] = job;
	pool->lanes[job->lane].running++;
	pool->lanes[job->lane].at_pace[job->pace]++;
	pool->dear_runs |= job->is_dear;
	job->begun_us = now;
	job->paid_us = price_ahead(pool, job, now);
	if (job->paid_us > 0)
		pace_after(pool, job, job->paid_us);
	return job;
}

void password_job_end(struct password_pool *pool, struct job *job)
{
	job->next = pool->finished;
	pool->finished = job;
}

/*
 * What a wrong guess counts for: the usual cost, which follows what they cost in steps of a sixteenth, so that an imported hash, which is
 * made up for, cannot be seen by how long the next guess waits. What costs twice as much is seen anyway, and counts in full.
 */
static int64_t price_of(struct password_pool *pool, int64_t spent_us)
{
	if (pool->usual_us == 0)
		pool->usual_us = spent_us;
	pool->usual_us += (spent_us > pool->usual_us ? 1 : -1) * pool->usual_us / 16;
	return spent_us >= 2 * pool->usual_us ? spent_us : pool->usual_us;
}

bool password_job_is_wrong(const struct job *job)
{
	return job->code == E_AUTHFAILED || job->code == E_NOTFOUND;
}

/* By the thread itself: the event loop would say too late that a guess was wrong. */
void password_job_ran(struct password_pool *pool, const struct job *job)
{
	int64_t price_us;
	unsigned slot = 0;

	while (pool->running[slot] != job)
		slot++;
	pool->running[slot] = NULL;
	pool->lanes[job->lane].running--;
	pool->lanes[job->lane].at_pace[job->pace]--;
	if (job->is_dear) {
		pool->dear_runs = false;
		pthread_cond_signal(&pool->work);
	}
	if (job->pace == PACE_NONE)
		return;
	price_us = !password_job_is_wrong(job) ? 0 : job->lane == HERE ? price_of(pool, job->spent_us) : PASSWORD_OUTSIDE_US;
	if (job->paid_us > 0)
		pool->from_us[job->pace] += PASSWORD_PACE * (price_us - job->paid_us);
	else if (price_us > 0)
		pace_after(pool, job, price_us);
}

void password_job_end_later(struct password_pool *pool, struct job *job, int code)
{
	uint64_t one = 1;

	job->code = code;
	password_job_end(pool, job);
	if (write(pool->wake_fd, &one, sizeof(one)) < 0)
		abort();
}

static unsigned turn_of(const struct password_pool *pool, uint64_t source)
{
	unsigned turn = 0;

	for (unsigned i = 0; i < pool->waiting_count; i++)
		turn += pool->waiting[i]->source == source;
	for (unsigned i = 0; i < PASSWORD_RUNNING_MAX; i++)
		turn += pool->running[i] != NULL && pool->running[i]->source == source;
	return turn;
}

bool password_job_place(struct password_pool *pool, struct job *job)
{
	unsigned at;

	job->turn = turn_of(pool, job->source) + job->rank;
	if (pool->waiting_count == PASSWORD_WAITING_MAX) {
		struct job *last = pool->waiting[PASSWORD_WAITING_MAX - 1];

		if (last->turn <= job->turn)
			return false;
		pool->waiting_count--;
		password_job_end_later(pool, last, E_UNAVAILABLE);
	}
	for (at = pool->waiting_count; at > 0 && pool->waiting[at - 1]->turn > job->turn; at--)
		pool->waiting[at] = pool->waiting[at - 1];
	pool->waiting[at] = job;
	pool->waiting_count++;
	return true;
}

bool password_job_is_same(const struct job *leader, const struct job *job)
{
	return leader != NULL && !leader->make && sodium_memcmp(leader->digest, job->digest, PASSWORD_DIGEST) == 0;
}

/* One that waits longer than this one would is not followed. */
bool password_job_follow(struct password_pool *pool, struct job *job)
{
	unsigned turn = turn_of(pool, job->source) + job->rank;
	struct job *leader = NULL;

	if (job->make)
		return false;
	for (unsigned i = 0; i < PASSWORD_RUNNING_MAX && leader == NULL; i++)
		if (password_job_is_same(pool->running[i], job))
			leader = pool->running[i];
	for (unsigned i = 0; i < pool->waiting_count && leader == NULL && pool->waiting[i]->turn <= turn; i++)
		if (password_job_is_same(pool->waiting[i], job))
			leader = pool->waiting[i];
	if (leader == NULL)
		return false;
	secret_wipe(&job->password);
	job->next = leader->followers;
	leader->followers = job;
	return true;
}
