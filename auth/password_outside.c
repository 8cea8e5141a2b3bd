/* Checks of passwords of this machine's users: auth-pam makes them, as many at once as it has room for. On the event loop. */
#include "auth/password_private.h"

#include <event2/event.h>

static void on_outside(void *arg, int code, int64_t spent_us)
{
	struct job *job = arg;
	struct password_pool *pool = job->pool;

	job->code = code;
	job->spent_us = spent_us;
	pthread_mutex_lock(&pool->lock);
	password_job_ran(pool, job);
	pthread_mutex_unlock(&pool->lock);
	password_job_tell(pool, job);
	password_outside_go_on(pool);
}

/* The next one that auth-pam may be asked now; NULL: none, and if all that is missing is time, there will be a timer. */
static struct job *outside_take(struct password_pool *pool)
{
	int64_t now = password_now_us(), next, left;
	struct job *job = NULL;
	struct timeval tv;
	unsigned at;

	pthread_mutex_lock(&pool->lock);
	at = password_job_find(pool, OUTSIDE, now);
	if (at < pool->waiting_count)
		job = password_job_begin(pool, at, now);
	next = job == NULL ? password_next_us(pool, OUTSIDE, now) : 0;
	pthread_mutex_unlock(&pool->lock);
	left = next > 0 ? next - now : 0;
	tv = (struct timeval){.tv_sec = left / 1000000, .tv_usec = left % 1000000};
	if (left > 0)
		evtimer_add(pool->outside_timer, &tv);
	return job;
}

static void outside_begin(struct password_pool *pool, struct job *job)
{
	int r = system_login(pool->auth->system, &job->outside, secret_span(&job->password), on_outside, job);

	secret_wipe(&job->password);
	if (r == 0)
		return;
	pthread_mutex_lock(&pool->lock);
	job->code = r;
	password_job_ran(pool, job);
	password_job_end_later(pool, job, r);
	pthread_mutex_unlock(&pool->lock);
}

void password_outside_go_on(struct password_pool *pool)
{
	struct job *job;

	while ((job = outside_take(pool)) != NULL)
		outside_begin(pool, job);
}

void password_outside_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	password_outside_go_on(arg);
}
