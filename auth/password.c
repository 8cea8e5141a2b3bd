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
 * that who belongs here waits for none of them.
 *
 * Passwords of this machine's users are checked by auth-pam; who asks for one, and what is remembered, is the same.
 */
#include "auth/auth.h"

#include "auth/defence.h"
#include "auth/hash.h"
#include "auth/system.h"
#include "base/clock.h"
#include "base/secret.h"

#include <event2/event.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	PASSWORD_WAITING_MAX = 100, /* more than this is shed before anything is hashed */
	PASSWORD_THREADS_MAX = 16,  /* the most that the setting may be */
	PASSWORD_ALARM_US = 10 * 1000 * 1000, /* for so long behind a stranger's wrong guess they have half of the threads */
	PASSWORD_PACE = 4, /* from one stranger's wrong guess to the next one: so many times what it took */
	PASSWORD_CACHE = 4096, /* rows */
	PASSWORD_ROW = 4,
	PASSWORD_DIGEST = 16,
	PASSWORD_STACK = 256 * 1024,
};

struct job {
	struct job *next;
	struct password_pool *pool;
	struct job *followers; /* under lock; they ask the same and get its answer */
	uint64_t source; /* 0: an administrator */
	unsigned turn;	 /* how many of its source were there before it, and its rank */
	unsigned rank;
	bool make, is_stranger, may_keep;
	int64_t spent_us, begun_us;
	struct credentials have; /* to check against, and then those to have from now on */
	bool renewed;
	struct secret password;
	unsigned char digest[PASSWORD_DIGEST];
	password_done *done;
	void *arg;
	int code;
};

/* A hash of nothing in particular, with today's costs: what an unknown account is checked against. */
static const char password_dummy[] = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b7dWRWJTmaaJObG4Xm0q0mXqXE";

struct remembered {
	unsigned char digest[PASSWORD_DIGEST];
	int64_t until_ms;
};

struct password_pool {
	struct auth *auth;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job *waiting[PASSWORD_WAITING_MAX]; /* under lock; by turn, then by arrival */
	struct job *running[PASSWORD_THREADS_MAX]; /* under lock */
	struct job *finished;			   /* under lock */
	struct job *outside;			   /* that auth-pam is at; of the event loop alone */
	unsigned waiting_count;
	unsigned strangers;	  /* that run; under lock */
	int64_t strangers_from_us; /* the next may begin; under lock */
	int64_t usual_us;	  /* what a stranger's wrong guess costs; under lock */
	unsigned threads; /* under lock */
	int wake_fd;
	struct event *event;
	unsigned char key[crypto_generichash_KEYBYTES];
	struct remembered cache[PASSWORD_CACHE][PASSWORD_ROW];
};

/* What is no hash of today's costs, or none, is made up for, so that nobody learns of it. */
static int verify(const struct job *job, struct span password)
{
	int r = job->have.hash[0] != '\0' ? hash_verify(job->have.hash, password) : E_AUTHFAILED, dummy = 0;

	if (r == E_AUTHFAILED && !hash_is_todays(job->have.hash))
		dummy = hash_verify(password_dummy, password);
	return dummy != 0 && dummy != E_AUTHFAILED ? dummy : r;
}

static int64_t thread_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void job_run(struct job *job)
{
	struct span password = secret_span(&job->password);

	job->spent_us = thread_us();
	if (job->make) {
		job->code = credentials_complete(&job->have, password, &job->renewed);
	} else {
		job->code = verify(job, password);
		if (job->code == 0 && credentials_complete(&job->have, password, &job->renewed) != 0)
			job->renewed = false; /* another time */
	}
	job->spent_us = thread_us() - job->spent_us;
	secret_wipe(&job->password);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Under lock. The first that waits and may run now: its place among them, or their count. */
static unsigned find_runnable(const struct password_pool *pool, int64_t now)
{
	bool guessing = now < pool->strangers_from_us + PASSWORD_ALARM_US;
	unsigned most = guessing ? (pool->threads + 1) / 2 : pool->threads, at = 0;
	bool strangers_may = pool->strangers < most && now >= pool->strangers_from_us;

	while (at < pool->waiting_count && pool->waiting[at]->is_stranger && !strangers_may)
		at++;
	return at;
}

/* Under lock. Until there is a job or, when only strangers wait, until it is time for one. */
static void wait_for_work(struct password_pool *pool, int64_t now)
{
	struct timespec until = {.tv_sec = pool->strangers_from_us / 1000000, .tv_nsec = pool->strangers_from_us % 1000000 * 1000};

	if (pool->waiting_count > 0 && now < pool->strangers_from_us)
		pthread_cond_timedwait(&pool->work, &pool->lock, &until);
	else
		pthread_cond_wait(&pool->work, &pool->lock);
}

/* Under lock. Taken by the thread that is going to run it. */
static struct job *job_begin(struct password_pool *pool, unsigned *place)
{
	int64_t now = now_us();
	unsigned at;
	struct job *job;

	while ((at = find_runnable(pool, now)) == pool->waiting_count) {
		wait_for_work(pool, now);
		now = now_us();
	}
	job = pool->waiting[at];
	memmove(&pool->waiting[at], &pool->waiting[at + 1], (--pool->waiting_count - at) * sizeof(struct job *));
	for (*place = 0; pool->running[*place] != NULL; ++*place)
		;
	pool->running[*place] = job;
	pool->strangers += job->is_stranger;
	job->begun_us = now;
	return job;
}

static void job_end(struct password_pool *pool, struct job *job)
{
	job->next = pool->finished;
	pool->finished = job;
}

/*
 * Under lock. What a wrong guess counts for: the usual cost, which follows what they cost in steps of a sixteenth, so that an imported hash, which is
 * made up for, cannot be seen by how long the next guess waits. What costs twice as much is seen anyway, and counts in full.
 */
static int64_t price_of(struct password_pool *pool, int64_t spent_us)
{
	if (pool->usual_us == 0)
		pool->usual_us = spent_us;
	pool->usual_us += (spent_us > pool->usual_us ? 1 : -1) * pool->usual_us / 16;
	return spent_us >= 2 * pool->usual_us ? spent_us : pool->usual_us;
}

/* Under lock, by the thread itself: the event loop would say too late that a guess was wrong. */
static void stranger_ended(struct password_pool *pool, const struct job *job)
{
	int64_t from = pool->strangers_from_us > job->begun_us ? pool->strangers_from_us : job->begun_us;

	pool->strangers--;
	if (job->code == E_AUTHFAILED)
		pool->strangers_from_us = from + PASSWORD_PACE * price_of(pool, job->spent_us);
}

static void *thread_main(void *arg)
{
	struct password_pool *pool = arg;
	uint64_t one = 1;

	for (;;) {
		struct job *job;
		unsigned place;

		pthread_mutex_lock(&pool->lock);
		job = job_begin(pool, &place);
		pthread_mutex_unlock(&pool->lock);

		job_run(job);

		pthread_mutex_lock(&pool->lock);
		pool->running[place] = NULL;
		if (job->is_stranger)
			stranger_ended(pool, job);
		job_end(pool, job);
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

/* The key is the whole tuple: account, its present hash, the password. Of users of this machine their stamp is the hash. */
static void digest_of(struct password_pool *pool, const struct password_ask *ask, struct span password,
    unsigned char out[PASSWORD_DIGEST])
{
	crypto_generichash_state state;
	const char *hash = ask->have != NULL ? ask->have->hash : ask->outside != NULL ? "outside" : "";

	crypto_generichash_init(&state, pool->key, sizeof(pool->key), PASSWORD_DIGEST);
	crypto_generichash_update(&state, (const unsigned char *)&ask->account, sizeof(ask->account));
	crypto_generichash_update(&state, (const unsigned char *)hash, strlen(hash) + 1);
	if (ask->outside != NULL)
		crypto_generichash_update(&state, (const unsigned char *)ask->stamp.ptr, ask->stamp.len);
	crypto_generichash_update(&state, (const unsigned char *)password.ptr, password.len);
	crypto_generichash_final(&state, out, PASSWORD_DIGEST);
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

/* On the event loop: all who asked are told. */
static void job_tell(struct password_pool *pool, struct job *job)
{
	int64_t keep = conf_ms(daemon_conf(pool->auth->daemon), CONF_password_cache, NULL);

	if (!job->make && job->code == 0 && keep > 0 && job->may_keep) {
		struct remembered *slot = cache_slot(pool, job->digest);

		memcpy(slot->digest, job->digest, PASSWORD_DIGEST);
		slot->until_ms = clock_monotonic_ms() + keep;
	}
	if (job->is_stranger && job->code == E_AUTHFAILED)
		defence_spent(pool->auth->defence, job->spent_us, clock_monotonic_ms());
	while (job->followers != NULL) {
		struct job *follower = job->followers;

		job->followers = follower->next;
		follower->done(follower->arg, job->code, NULL);
		job_free(follower);
	}
	job->done(job->arg, job->code, made_by(job));
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
		job_tell(pool, job);
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
	while (pool->threads < want) {
		pthread_t thread;

		if (pthread_create(&thread, &attr, thread_main, pool) != 0)
			break;
		pthread_detach(thread);
		pool->threads++;
	}
	pthread_attr_destroy(&attr);
	return pool->threads > 0 ? 0 : E_NOMEM;
}

int password_pool_new(struct auth *auth, struct password_pool **out, struct err *err)
{
	struct password_pool *pool = calloc(1, sizeof(*pool));
	pthread_condattr_t by_clock;

	if (pool == NULL)
		return err_set(err, E_NOMEM, "no memory for password checks");
	pool->auth = auth;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&by_clock);
	pthread_condattr_setclock(&by_clock, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->work, &by_clock);
	pthread_condattr_destroy(&by_clock);
	randombytes_buf(pool->key, sizeof(pool->key));
	pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->wake_fd >= 0)
		pool->event = event_new(daemon_base(auth->daemon), pool->wake_fd, EV_READ | EV_PERSIST, on_finished, pool);
	if (pool->event == NULL || event_add(pool->event, NULL) != 0) {
		free(pool);
		return err_set(err, E_NOMEM, "no memory for password checks");
	}
	*out = pool;
	return 0;
}

static unsigned turn_of(const struct password_pool *pool, uint64_t source)
{
	unsigned turn = 0;

	for (unsigned i = 0; i < pool->waiting_count; i++)
		turn += pool->waiting[i]->source == source;
	for (unsigned i = 0; i < PASSWORD_THREADS_MAX; i++)
		turn += pool->running[i] != NULL && pool->running[i]->source == source;
	return turn;
}

/* Under lock. False: there is no place for it. */
static bool job_place(struct password_pool *pool, struct job *job)
{
	uint64_t one = 1;
	unsigned at;

	job->turn = turn_of(pool, job->source) + job->rank;
	if (pool->waiting_count == PASSWORD_WAITING_MAX) {
		struct job *last = pool->waiting[PASSWORD_WAITING_MAX - 1];

		if (last->turn <= job->turn)
			return false;
		pool->waiting_count--;
		last->code = E_UNAVAILABLE;
		job_end(pool, last);
		if (write(pool->wake_fd, &one, sizeof(one)) < 0)
			abort();
	}
	for (at = pool->waiting_count; at > 0 && pool->waiting[at - 1]->turn > job->turn; at--)
		pool->waiting[at] = pool->waiting[at - 1];
	pool->waiting[at] = job;
	pool->waiting_count++;
	return true;
}

static bool job_is_same(const struct job *leader, const struct job *job)
{
	return leader != NULL && !leader->make && sodium_memcmp(leader->digest, job->digest, PASSWORD_DIGEST) == 0;
}

/* Under lock. One that waits longer than this one would is not followed. False: there is none. */
static bool job_follow(struct password_pool *pool, struct job *job)
{
	unsigned turn = turn_of(pool, job->source) + job->rank;
	struct job *leader = NULL;

	if (job->make)
		return false;
	for (unsigned i = 0; i < PASSWORD_THREADS_MAX && leader == NULL; i++)
		if (job_is_same(pool->running[i], job))
			leader = pool->running[i];
	for (unsigned i = 0; i < pool->waiting_count && leader == NULL && pool->waiting[i]->turn <= turn; i++)
		if (job_is_same(pool->waiting[i], job))
			leader = pool->waiting[i];
	if (leader == NULL)
		return false;
	secret_wipe(&job->password);
	job->next = leader->followers;
	leader->followers = job;
	return true;
}

static int job_add(struct password_pool *pool, struct job *job)
{
	bool placed;

	pthread_mutex_lock(&pool->lock);
	placed = start_threads(pool) == 0 && (job_follow(pool, job) || job_place(pool, job));
	if (placed)
		pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	if (placed)
		return 0;
	job_free(job);
	return E_UNAVAILABLE;
}

/* ---- checks that are auth-pam's ---- */

static void on_outside(void *arg, int code, int64_t spent_us)
{
	struct job *job = arg, **link = &job->pool->outside;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	job->code = code;
	job->spent_us = spent_us;
	job_tell(job->pool, job);
}

static int job_outside(struct password_pool *pool, struct job *job, const struct password_ask *ask)
{
	int r;

	for (struct job *leader = pool->outside; leader != NULL; leader = leader->next)
		if (job_is_same(leader, job)) {
			secret_wipe(&job->password);
			job->next = leader->followers;
			leader->followers = job;
			return 0;
		}
	r = system_login(pool->auth->system, ask->outside, secret_span(&job->password), on_outside, job);
	if (r != 0) {
		job_free(job);
		return r;
	}
	secret_wipe(&job->password);
	job->next = pool->outside;
	pool->outside = job;
	return 0;
}

/* ---- what is asked ---- */

static bool is_asked_by(const struct job *job, const struct job *same, uint64_t source)
{
	bool found = job_is_same(job, same) && job->source == source;

	for (const struct job *f = job_is_same(job, same) ? job->followers : NULL; f != NULL && !found; f = f->next)
		found = f->source == source;
	return found;
}

bool password_is_asked(struct password_pool *pool, const struct password_ask *ask, struct span password)
{
	struct job same = {0};
	bool found = false;

	digest_of(pool, ask, password, same.digest);
	for (const struct job *job = pool->outside; job != NULL && !found; job = job->next)
		found = is_asked_by(job, &same, ask->source);
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < PASSWORD_THREADS_MAX && !found; i++)
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
	struct remembered *slot;
	struct job *job;

	digest_of(pool, ask, password, digest);
	slot = cache_slot(pool, digest);
	if (may_keep && slot->until_ms > clock_monotonic_ms() &&
	    sodium_memcmp(slot->digest, digest, PASSWORD_DIGEST) == 0) {
		done(arg, 0, NULL);
		return 0;
	}
	job = calloc(1, sizeof(*job));
	if (job == NULL || !secret_set(&job->password, password)) {
		free(job);
		return E_NOMEM;
	}
	job->pool = pool;
	job->may_keep = may_keep;
	job->source = ask->source;
	job->rank = ask->rank;
	job->is_stranger = ask->is_stranger;
	if (ask->have != NULL)
		job->have = *ask->have;
	memcpy(job->digest, digest, sizeof(digest));
	job->done = done;
	job->arg = arg;
	return ask->outside != NULL ? job_outside(pool, job, ask) : job_add(pool, job);
}

void password_forgive(struct password_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->strangers_from_us = 0;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
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
