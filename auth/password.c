/*
 * Passwords beside the event loop: a few threads, because each check takes 64 MiB
 * and a tenth of a second, and a short memory of successes, because mail clients
 * log in again and again. The memory holds keyed hashes, never passwords.
 *
 * Who waits is served in turns: the first check of every source comes before the
 * second of any. So one that guesses waits for itself, and when there is no more
 * room it is its last one that is shed. Who asks the same of the same account
 * while that is being hashed waits for its end: clients come back all at once.
 *
 * When a stranger has guessed wrong the next one begins so much later that all
 * their guesses take a quarter of a processor, from the first one on. How much
 * later tells nothing of the account that was guessed at: it is by what a guess
 * usually costs. For a while strangers then have half of the threads at most, so
 * that who belongs here waits for none of them. Those who belong here, and guess, or come from where somebody does, are suspects: they have
 * a pace of their own, so that no stranger's guess counts for them, and they come before strangers; both together have half of the threads.
 *
 * A hash from elsewhere may cost as much as ten of ours. Of those one is computed at a time, and who asks for it waits behind so many of others.
 *
 * Passwords of this machine's users are checked by auth-pam; who asks for one, who waits for whom, and what is remembered, is the same. As a module
 * may wait for another machine, strangers never have more than half of those checks.
 */
#include "auth/password_private.h"

#include "auth/defence.h"
#include "auth/hash.h"
#include "base/clock.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A hash of nothing in particular, with today's costs: what an unknown account is checked against. */
static const char password_dummy[] = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b7dWRWJTmaaJObG4Xm0q0mXqXE";

/* What is no hash of today's costs, or none, is made up for, so that nobody learns of it. */
static int verify(const struct job *job, struct span password, bool *is_stale)
{
	int r = job->have.hash[0] != '\0' ? hash_verify(job->have.hash, password, is_stale) : E_AUTHFAILED, dummy = 0;

	if (r == E_AUTHFAILED && !hash_is_todays(job->have.hash))
		dummy = hash_verify(password_dummy, password, is_stale);
	return dummy != 0 && dummy != E_AUTHFAILED ? dummy : r;
}

static int64_t thread_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* The key is the whole tuple: account, its present hash, the password. Of users of this machine their stamp is the hash. */
static void make_digest(struct password_pool *pool, uint64_t account, const char *hash, struct span stamp, struct span password,
    unsigned char out[PASSWORD_DIGEST])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, pool->key, sizeof(pool->key), PASSWORD_DIGEST);
	crypto_generichash_update(&state, (const unsigned char *)&account, sizeof(account));
	crypto_generichash_update(&state, (const unsigned char *)hash, strlen(hash) + 1);
	crypto_generichash_update(&state, (const unsigned char *)stamp.ptr, stamp.len);
	crypto_generichash_update(&state, (const unsigned char *)password.ptr, password.len);
	crypto_generichash_final(&state, out, PASSWORD_DIGEST);
}

static void digest_of(struct password_pool *pool, const struct password_ask *ask, struct span password, unsigned char out[PASSWORD_DIGEST])
{
	const char *hash = ask->have != NULL ? ask->have->hash : ask->outside != NULL ? "outside" : "";

	make_digest(pool, ask->account, hash, ask->outside != NULL ? ask->stamp : span_str(""), password, out);
}

/* Whose hash is a new one now must not be hashed again at the next login. */
static void renew(struct job *job, struct span password, bool is_stale)
{
	if (is_stale)
		job->have.hash[0] = '\0';
	if (credentials_complete(&job->have, password, &job->renewed) != 0)
		job->renewed = false; /* another time */
	else if (job->renewed)
		make_digest(job->pool, job->account, job->have.hash, span_str(""), password, job->remembered);
}

static void job_run(struct job *job)
{
	struct span password = secret_span(&job->password);
	bool is_stale = false;

	job->spent_us = thread_us();
	if (job->make) {
		job->code = credentials_complete(&job->have, password, &job->renewed);
	} else {
		job->code = verify(job, password, &is_stale);
		if (job->code == 0)
			renew(job, password, is_stale);
	}
	job->spent_us = thread_us() - job->spent_us;
	secret_wipe(&job->password);
}

int64_t password_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Under lock. Until there is a job or, when only those wait who have a pace, until it is time for one. */
static void wait_for_work(struct password_pool *pool, int64_t now)
{
	int64_t next = password_next_us(pool, HERE, now);
	struct timespec until = {.tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000};

	if (next > 0)
		pthread_cond_timedwait(&pool->work, &pool->lock, &until);
	else
		pthread_cond_wait(&pool->work, &pool->lock);
}

/* Under lock. Taken by the thread that is going to run it. */
static struct job *job_wait(struct password_pool *pool)
{
	int64_t now = password_now_us();
	unsigned at;

	while ((at = password_job_find(pool, HERE, now)) == pool->waiting_count) {
		wait_for_work(pool, now);
		now = password_now_us();
	}
	return password_job_begin(pool, at, now);
}

static void *thread_main(void *arg)
{
	struct password_pool *pool = arg;
	uint64_t one = 1;

	for (;;) {
		struct job *job;

		pthread_mutex_lock(&pool->lock);
		job = job_wait(pool);
		pthread_mutex_unlock(&pool->lock);

		job_run(job);

		pthread_mutex_lock(&pool->lock);
		password_job_ran(pool, job);
		password_job_end(pool, job);
		pthread_mutex_unlock(&pool->lock);
		if (write(pool->wake_fd, &one, sizeof(one)) < 0)
			abort(); /* an eventfd of ours cannot fail */
	}
	return NULL;
}

/* The one of this digest, or else the one of its row that is forgotten first. */
static struct remembered *cache_slot(struct password_pool *pool, const unsigned char *digest)
{
	struct remembered *row, *oldest;
	uint32_t index;

	memcpy(&index, digest, sizeof(index));
	row = oldest = pool->cache[index % PASSWORD_CACHE];
	for (unsigned i = 0; i < PASSWORD_ROW; i++) {
		if (sodium_memcmp(row[i].digest, digest, PASSWORD_DIGEST) == 0)
			return &row[i];
		if (row[i].until_ms < oldest->until_ms)
			oldest = &row[i];
	}
	return oldest;
}

static const struct credentials *made_by(const struct job *job)
{
	return job->code == 0 && (job->make || job->renewed) ? &job->have : NULL;
}

static void job_free(struct job *job)
{
	explicit_bzero(job, sizeof(*job));
	free(job);
}

static void job_answer(const struct job *job, struct job *asker, const struct credentials *made)
{
	if (asker->began_ms != NULL && job->begun_us != 0)
		*asker->began_ms = job->begun_us / 1000;
	asker->done(asker->arg, job->code == E_AUTHFAILED && job->is_unbearable ? E_TOOBIG : job->code, made);
}

/* On the event loop: all who asked are told. */
void password_job_tell(struct password_pool *pool, struct job *job)
{
	int64_t keep = conf_ms(daemon_conf(pool->auth->daemon), CONF_password_cache, NULL);

	if (!job->make && job->code == 0 && keep > 0 && job->may_keep) {
		struct remembered *slot = cache_slot(pool, job->remembered);

		memcpy(slot->digest, job->remembered, PASSWORD_DIGEST);
		slot->until_ms = clock_monotonic_ms() + keep;
	}
	if (job->pace == PACE_STRANGERS && password_job_is_wrong(job))
		defence_spent(pool->auth->defence, job->spent_us, clock_monotonic_ms());
	while (job->followers != NULL) {
		struct job *follower = job->followers;

		job->followers = follower->next;
		job_answer(job, follower, NULL);
		job_free(follower);
	}
	job_answer(job, job, made_by(job));
	job_free(job);
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
	struct password_pool *pool = arg;
	struct job *list;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&pool->lock);
	list = pool->finished;
	pool->finished = NULL;
	pthread_mutex_unlock(&pool->lock);
	while (list != NULL) {
		struct job *job = list;

		list = job->next;
		password_job_tell(pool, job);
	}
}

/* Under lock, for their count. */
static int start_threads(struct password_pool *pool)
{
	uint64_t want = conf_u64(daemon_conf(pool->auth->daemon), CONF_password_hashes, NULL);
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PASSWORD_STACK);
	if (want > PASSWORD_THREADS_MAX)
		want = PASSWORD_THREADS_MAX;
	while (pool->lanes[HERE].most < want) {
		pthread_t thread;

		if (pthread_create(&thread, &attr, thread_main, pool) != 0)
			break;
		pthread_detach(thread);
		pool->lanes[HERE].most++;
	}
	pthread_attr_destroy(&attr);
	return pool->lanes[HERE].most > 0 ? 0 : E_NOMEM;
}

int password_pool_new(struct auth *auth, struct password_pool **out, struct err *err)
{
	struct password_pool *pool = calloc(1, sizeof(*pool));
	pthread_condattr_t by_clock;

	if (pool == NULL)
		return err_set(err, E_NOMEM, "no memory for password checks");
	pool->auth = auth;
	pool->lanes[OUTSIDE].most = PASSWORD_OUTSIDE_MAX;
	pool->outside_timer = evtimer_new(daemon_base(auth->daemon), password_outside_time, pool);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&by_clock);
	pthread_condattr_setclock(&by_clock, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->work, &by_clock);
	pthread_condattr_destroy(&by_clock);
	randombytes_buf(pool->key, sizeof(pool->key));
	pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->wake_fd >= 0 && pool->outside_timer != NULL)
		pool->event = event_new(daemon_base(auth->daemon), pool->wake_fd, EV_READ | EV_PERSIST, on_finished, pool);
	if (pool->event == NULL || event_add(pool->event, NULL) != 0) {
		free(pool);
		return err_set(err, E_NOMEM, "no memory for password checks");
	}
	*out = pool;
	return 0;
}

static int job_add(struct password_pool *pool, struct job *job)
{
	bool outside = job->lane == OUTSIDE, placed;

	pthread_mutex_lock(&pool->lock);
	placed = (outside || start_threads(pool) == 0) && (password_job_follow(pool, job) || password_job_place(pool, job));
	if (placed && !outside)
		pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	if (placed && outside)
		password_outside_go_on(pool);
	if (placed)
		return 0;
	job_free(job);
	return E_UNAVAILABLE;
}

/* ---- what is asked ---- */

static bool is_asked_by(const struct job *job, const struct job *same, uint64_t source)
{
	bool found = password_job_is_same(job, same) && job->source == source;

	for (const struct job *f = password_job_is_same(job, same) ? job->followers : NULL; f != NULL && !found; f = f->next)
		found = f->source == source;
	return found;
}

bool password_is_asked(struct password_pool *pool, const struct password_ask *ask, struct span password)
{
	struct job same = {0};
	bool found = false;

	digest_of(pool, ask, password, same.digest);
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < PASSWORD_RUNNING_MAX && !found; i++)
		found = is_asked_by(pool->running[i], &same, ask->source);
	for (unsigned i = 0; i < pool->waiting_count && !found; i++)
		found = is_asked_by(pool->waiting[i], &same, ask->source);
	pthread_mutex_unlock(&pool->lock);
	return found;
}

int password_check(struct password_pool *pool, const struct password_ask *ask, struct span password, password_done *done, void *arg)
{
	bool may_keep = ask->have != NULL || (ask->outside != NULL && ask->stamp.len > 0);
	unsigned char digest[PASSWORD_DIGEST];
	struct hash_cost cost = {HASH_MS_TODAYS, 0};
	struct remembered *slot;
	struct job *job;

	digest_of(pool, ask, password, digest);
	slot = cache_slot(pool, digest);
	if (may_keep && slot->until_ms > clock_monotonic_ms() &&
	    sodium_memcmp(slot->digest, digest, PASSWORD_DIGEST) == 0) {
		done(arg, 0, NULL);
		return 0;
	}
	if (ask->have != NULL)
		cost = hash_cost(ask->have->hash, password.len);
	job = calloc(1, sizeof(*job));
	if (job == NULL || !secret_set(&job->password, password)) {
		free(job);
		return E_NOMEM;
	}
	job->pool = pool;
	/* As if it were nobody's: a refusal that came at once would tell whoever knows no password that there is such an account. */
	job->is_unbearable = !hash_is_bearable(&cost);
	job->is_dear = !job->is_unbearable && hash_is_dear(&cost);
	job->may_keep = may_keep;
	job->source = ask->source;
	job->rank = ask->rank + (job->is_dear ? (unsigned)cost.ms / HASH_MS_TODAYS : 0);
	job->pace = ask->pace;
	job->began_ms = ask->began_ms;
	if (ask->have != NULL && !job->is_unbearable)
		job->have = *ask->have;
	if (ask->outside != NULL) {
		job->lane = OUTSIDE;
		job->outside = *ask->outside;
	}
	job->account = ask->account;
	memcpy(job->digest, digest, sizeof(digest));
	memcpy(job->remembered, digest, sizeof(digest));
	job->done = done;
	job->arg = arg;
	return job_add(pool, job);
}

uint64_t password_question(struct password_pool *pool, const struct password_ask *ask, struct span password)
{
	unsigned char digest[PASSWORD_DIGEST];
	uint64_t question;

	digest_of(pool, ask, password, digest);
	memcpy(&question, digest, sizeof(question));
	return question != 0 ? question : 1;
}

bool password_is_calm(struct password_pool *pool)
{
	bool calm;

	pthread_mutex_lock(&pool->lock);
	calm = !password_is_guessing(pool, password_now_us());
	pthread_mutex_unlock(&pool->lock);
	return calm;
}

void password_forgive(struct password_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	memset(pool->from_us, 0, sizeof(pool->from_us));
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	password_outside_go_on(pool);
}

int password_make(struct password_pool *pool, struct span password, password_done *done, void *arg)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL || !secret_set(&job->password, password)) {
		free(job);
		return E_NOMEM;
	}
	job->make = true;
	job->done = done;
	job->arg = arg;
	return job_add(pool, job);
}
