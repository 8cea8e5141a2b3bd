/* libcurl on the event loop: its sockets are events, and its timer is one. */
#include "fetch/fetch.h"

#include <event2/event.h>

/* What has come to its end since curl was last called. */
static void take_finished(struct fetch *fetch)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(fetch->multi, &left)) != NULL) {
		CURLcode result = message->data.result;
		char *transfer = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		transfer_finished((struct transfer *)(void *)transfer, result); /* the message is gone with its handle */
	}
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct fetch *fetch = arg;
	int action = ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0), running;

	curl_multi_socket_action(fetch->multi, fd, action, &running);
	take_finished(fetch);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct fetch *fetch = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(fetch->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished(fetch);
}

/* curl says which socket it waits for; event: what we gave it for that socket, NULL at first. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *event)
{
	struct fetch *fetch = arg;
	short events = (short)(EV_PERSIST | ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) | ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0));

	(void)easy;
	if (event != NULL)
		event_free(event);
	event = NULL;
	if (what != CURL_POLL_REMOVE)
		event = event_new(daemon_base(fetch->daemon), fd, events, on_socket, fetch);
	if (event != NULL)
		event_add(event, NULL);
	curl_multi_assign(fetch->multi, fd, event);
	return 0;
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct fetch *fetch = arg;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)multi;
	if (ms < 0)
		evtimer_del(fetch->timer);
	else
		evtimer_add(fetch->timer, &tv);
	return 0;
}

int loop_init(struct fetch *fetch, struct err *err)
{
	fetch->multi = curl_multi_init();
	fetch->timer = evtimer_new(daemon_base(fetch->daemon), on_timer, fetch);
	if (fetch->multi == NULL || fetch->timer == NULL)
		return err_set(err, E_NOMEM, "no memory for curl");
	curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETDATA, fetch);
	curl_multi_setopt(fetch->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(fetch->multi, CURLMOPT_TIMERDATA, fetch);
	curl_multi_setopt(fetch->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS, (long)FETCH_CONNECTIONS_KEPT);
	return 0;
}
