/* Who waits for a check of a password, in turns, and when strangers may begin. All of it under the pool's lock. */
#include "auth/password_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

bool password_is_guessing(const struct password_pool *pool, int64_t now)
{
	return now < pool->strangers_from_us + PASSWORD_ALARM_US;
}

static bool may_run(const struct password_pool *pool, const struct job *job, enum lane_name lane, bool strangers_may)
{
	return job->lane == lane && (strangers_may || !job->is_stranger) && !(job->is_dear && pool->dear_runs);
}

unsigned password_job_find(const struct password_pool *pool, enum lane_name name, int64_t now)
{
	const struct lane *lane = &pool->lanes[name];
	unsigned most = name == OUTSIDE || password_is_guessing(pool, now) ? (lane->most + 1) / 2 : lane->most, at = 0;
	bool strangers_may = lane->strangers < most && now >= pool->strangers_from_us;

	if (lane->running == lane->most)
		return pool->waiting_count;
	while (at < pool->waiting_count && !may_run(pool, pool->waiting[at], name, strangers_may))
		at++;
	return at;
}

/* The next stranger begins so much later than this one did. */
static void pace_after(struct password_pool *pool, const struct job *job, int64_t price_us)
{
	int64_t from = pool->strangers_from_us > job->begun_us ? pool->strangers_from_us : job->begun_us;

	pool->strangers_from_us = from + PASSWORD_PACE * price_us;
}

/* Of those that auth-pam checks many may be under way: while there is guessing none of them waits for its end to count. */
struct job *password_job_begin(struct password_pool *pool, unsigned at, int64_t now)
{
	struct job *job = pool->waiting[at];
	unsigned slot = 0;

	memmove(&pool->waiting[at], &pool->waiting[at + 1], (--pool->waiting_count - at) * sizeof(struct job *));
	while (pool->running[slot] != NULL)
		slot++;
	pool->running[slot] = job;
	pool->lanes[job->lane].running++;
	pool->lanes[job->lane].strangers += job->is_stranger;
	pool->dear_runs |= job->is_dear;
	job->begun_us = now;
	job->is_paid = job->lane == OUTSIDE && job->is_stranger && password_is_guessing(pool, now);
	if (job->is_paid)
		pace_after(pool, job, PASSWORD_OUTSIDE_US);
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
	bool counts = job->is_stranger && password_job_is_wrong(job);
	unsigned slot = 0;

	while (pool->running[slot] != job)
		slot++;
	pool->running[slot] = NULL;
	pool->lanes[job->lane].running--;
	pool->lanes[job->lane].strangers -= job->is_stranger;
	if (job->is_dear) {
		pool->dear_runs = false;
		pthread_cond_signal(&pool->work);
	}
	if (counts && !job->is_paid)
		pace_after(pool, job, job->lane == HERE ? price_of(pool, job->spent_us) : PASSWORD_OUTSIDE_US);
	else if (!counts && job->is_paid)
		pool->strangers_from_us -= PASSWORD_PACE * PASSWORD_OUTSIDE_US;
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
