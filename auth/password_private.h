/* The checks of passwords that wait, run or have ended, for password*.c alone; what they are for is in auth.h and in password.c. */
#ifndef MW_AUTH_PASSWORD_PRIVATE_H
#define MW_AUTH_PASSWORD_PRIVATE_H

#include "auth/auth.h"
#include "auth/system.h"
#include "base/secret.h"

#include <event2/util.h>
#include <pthread.h>
#include <sodium.h>

enum {
	PASSWORD_WAITING_MAX = 100, /* more than this is shed before anything is hashed */
	PASSWORD_THREADS_MAX = 16,  /* the most that the setting may be */
	PASSWORD_OUTSIDE_MAX = 24,  /* that auth-pam is at; it has room beside them for those who have proved who they are in another way */
	PASSWORD_ALARM_US = 10 * 1000 * 1000, /* for so long behind a stranger's wrong guess they have half of the threads */
	PASSWORD_PACE = 4, /* from one wrong guess to the next one of the same pace: so many times what it took */
	PASSWORD_OUTSIDE_US = 100 * 1000, /* what one counts for that auth-pam checked: what it took tells whether there is such a user */
	PASSWORD_CACHE = 4096, /* rows */
	PASSWORD_ROW = 4,
	PASSWORD_DIGEST = 16,
	PASSWORD_STACK = 256 * 1024,
	PASSWORD_RUNNING_MAX = PASSWORD_THREADS_MAX + PASSWORD_OUTSIDE_MAX,
};

/* Where a check is made. */
enum lane_name { HERE, OUTSIDE, LANES };

struct job {
	struct job *next;
	struct password_pool *pool;
	struct job *followers; /* under lock; they ask the same and get its answer */
	uint64_t source; /* 0: an administrator */
	unsigned turn;	 /* how many of its source were there before it, and its rank, and what it costs beyond one of today's */
	unsigned rank; /* and that cost */
	enum lane_name lane;
	struct system_login outside; /* of OUTSIDE; what it points to is the asker's */
	bool make, may_keep;
	enum password_pace pace;
	bool is_dear;
	bool is_unbearable; /* nothing of it is computed */
	int64_t paid_us; /* for its place in the pace, when it began */
	int64_t spent_us, begun_us;
	struct credentials have; /* to check against, and then those to have from now on */
	bool renewed;
	struct secret password;
	uint64_t account;
	unsigned char digest[PASSWORD_DIGEST];
	unsigned char remembered[PASSWORD_DIGEST]; /* what will be asked from now on: another when its hash was renewed */
	password_done *done;
	void *arg;
	int64_t *began_ms;
	int code;
};

struct remembered {
	unsigned char digest[PASSWORD_DIGEST];
	int64_t until_ms;
};

struct lane {
	unsigned most;	    /* at once */
	unsigned running;
	unsigned at_pace[PASSWORD_PACES]; /* of those that run */
};

struct password_pool {
	struct auth *auth;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job *waiting[PASSWORD_WAITING_MAX]; /* under lock; by turn, then by arrival */
	struct job *running[PASSWORD_RUNNING_MAX]; /* under lock */
	struct job *finished;			   /* under lock */
	struct lane lanes[LANES];		   /* under lock */
	unsigned waiting_count;
	bool dear_runs;	 /* under lock; so another such waits */
	int64_t from_us[PASSWORD_PACES]; /* the next of them may begin; PACE_NONE's stays 0; under lock */
	int64_t usual_us;	  /* what a wrong guess costs; under lock */
	int wake_fd;
	struct event *event, *outside_timer;
	unsigned char key[crypto_generichash_KEYBYTES];
	struct remembered cache[PASSWORD_CACHE][PASSWORD_ROW];
};

int64_t password_now_us(void);

/* ---- password_queue.c: all of these under lock ---- */

/* A stranger has guessed wrong not long ago. */
bool password_is_guessing(const struct password_pool *pool, int64_t now);
/* False: there is no place for it. */
bool password_job_place(struct password_pool *pool, struct job *job);
/* It waits for the end of another that asks the same. False: there is none. */
bool password_job_follow(struct password_pool *pool, struct job *job);
bool password_job_is_same(const struct job *leader, const struct job *job);
/* The first time at which one that waits in this lane may begin by its pace; 0: none waits for that alone. */
int64_t password_next_us(const struct password_pool *pool, enum lane_name name, int64_t now);
/* The first that waits and may run now in this lane: where it stands, or the count of all. */
unsigned password_job_find(const struct password_pool *pool, enum lane_name name, int64_t now);
/* The one that stands there runs from now on. */
struct job *password_job_begin(struct password_pool *pool, unsigned at, int64_t now);
/* It runs no more: its code and what it has spent say when the next stranger may. */
void password_job_ran(struct password_pool *pool, const struct job *job);
bool password_job_is_wrong(const struct job *job);
/* The event loop tells who asked; the caller wakes it. */
void password_job_end(struct password_pool *pool, struct job *job);
/* The same with this code, and it is woken. */
void password_job_end_later(struct password_pool *pool, struct job *job, int code);

/* ---- on the event loop, without the lock ---- */

/* All who asked are told, and it is gone. */
void password_job_tell(struct password_pool *pool, struct job *job);
/* password_outside.c: auth-pam is asked what it may be asked now. */
void password_outside_go_on(struct password_pool *pool);
void password_outside_time(evutil_socket_t fd, short what, void *arg);

#endif
