#include "queue/lanes.h"

#include "queue/destination.h"

#include <stdlib.h>

static struct lane *find(const struct lanes *lanes, uint64_t sender)
{
	struct lane *lane = lanes->first;

	while (lane != NULL && lane->sender != sender)
		lane = lane->next;
	return lane;
}

static struct lane *longest(const struct lanes *lanes)
{
	struct lane *most = lanes->first;

	for (struct lane *lane = most; lane != NULL; lane = lane->next)
		if (lane->count > most->count)
			most = lane;
	return most;
}

static bool have_room(const struct lanes *lanes, unsigned mine, unsigned most)
{
	if (lanes->count < most)
		return true;
	return longest(lanes)->count > mine + 1 || (mine == 0 && lanes->count < 2 * most);
}

bool lanes_have_room(const struct lanes *lanes, uint64_t sender, unsigned most)
{
	const struct lane *lane = lanes->count < most ? NULL : find(lanes, sender);

	return have_room(lanes, lane != NULL ? lane->count : 0, most);
}

bool lanes_have_room_for_share(const struct lanes *lanes, uint32_t share, unsigned most)
{
	const struct lane *lane = lanes->count < most ? NULL : lanes->first;

	while (lane != NULL && lane->share != share)
		lane = lane->next;
	return have_room(lanes, lane != NULL ? lane->count : 0, most);
}

static void append(struct lanes *lanes, struct lane *lane)
{
	lane->next = NULL;
	if (lanes->last != NULL)
		lanes->last->next = lane;
	else
		lanes->first = lane;
	lanes->last = lane;
}

static struct lane *lane_of(struct lanes *lanes, uint64_t sender, uint32_t share)
{
	struct lane *lane = find(lanes, sender);

	if (lane != NULL)
		return lane;
	lane = calloc(1, sizeof(*lane));
	if (lane == NULL)
		return NULL;
	lane->sender = sender;
	lane->share = share;
	lane->jobs_tail = &lane->jobs;
	append(lanes, lane);
	return lane;
}

bool lanes_put(struct lanes *lanes, uint64_t sender, uint32_t share, struct job *job)
{
	struct lane *lane = lane_of(lanes, sender, share);
	struct job **link;

	if (lane == NULL)
		return false;
	/* A message that was tried before goes behind those that were not. */
	link = job->tried_before ? lane->jobs_tail : &lane->jobs;
	while (*link != NULL && !(*link)->tried_before)
		link = &(*link)->next;
	job->next = *link;
	*link = job;
	if (job->next == NULL)
		lane->jobs_tail = &job->next;
	lane->count++;
	lanes->count++;
	return true;
}

/* The lane behind `before` (NULL: the first) goes. */
static void unlink_lane(struct lanes *lanes, struct lane *before, struct lane *lane)
{
	if (before != NULL)
		before->next = lane->next;
	else
		lanes->first = lane->next;
	if (lanes->last == lane)
		lanes->last = before;
}

struct job *lanes_take(struct lanes *lanes)
{
	struct lane *lane = lanes->first;
	struct job *job = lane->jobs;

	lane->jobs = job->next;
	if (lane->jobs == NULL)
		lane->jobs_tail = &lane->jobs;
	lane->count--;
	lanes->count--;
	unlink_lane(lanes, NULL, lane);
	if (lane->count > 0)
		append(lanes, lane);
	else
		free(lane);
	return job;
}

struct job *lanes_crowd_out(struct lanes *lanes, unsigned most)
{
	struct lane *lane = lanes->count > most ? longest(lanes) : NULL;
	struct job **link, *job;

	if (lane == NULL || lane->count < 2)
		return NULL;
	link = &lane->jobs;
	while ((*link)->next != NULL)
		link = &(*link)->next;
	job = *link;
	*link = NULL;
	lane->jobs_tail = link;
	lane->count--;
	lanes->count--;
	return job;
}

/* Moves the message's jobs of a lane into a list. */
static void withdraw_from(struct lane *lane, const struct message *m, struct job **list)
{
	struct job **link = &lane->jobs;

	while (*link != NULL) {
		struct job *job = *link;

		if (job->message != m) {
			link = &job->next;
			continue;
		}
		*link = job->next;
		job->next = *list;
		*list = job;
		lane->count--;
	}
	lane->jobs_tail = link;
}

struct job *lanes_withdraw(struct lanes *lanes, const struct message *m)
{
	struct lane *before = NULL;
	struct job *list = NULL;

	for (struct lane *lane = lanes->first, *next; lane != NULL; lane = next) {
		unsigned count = lane->count;

		next = lane->next;
		withdraw_from(lane, m, &list);
		lanes->count -= count - lane->count;
		if (lane->count > 0) {
			before = lane;
			continue;
		}
		unlink_lane(lanes, before, lane);
		free(lane);
	}
	return list;
}
