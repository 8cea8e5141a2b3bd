/* The process of one question: NSS and PAM are called here and nowhere else. What it says may be the last that is heard of it. */
#include "auth/pam_daemon.h"

#include "auth/machine_user.h"

#include <errno.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <shadow.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- users ---- */

/* What a change of the password, or of how long it holds, changes as well. Others' passwords than the machine's own are not seen. */
static void make_stamp(const struct passwd *pw, const unsigned char *key, unsigned char out[PAM_STAMP])
{
	const struct spwd *sp = getspnam(pw->pw_name);
	const char *hash = sp != NULL && sp->sp_pwdp != NULL ? sp->sp_pwdp : pw->pw_passwd != NULL ? pw->pw_passwd : "";
	long times[4] = {0};
	crypto_generichash_state state;

	if (sp != NULL) {
		times[0] = sp->sp_lstchg;
		times[1] = sp->sp_max;
		times[2] = sp->sp_inact;
		times[3] = sp->sp_expire;
	}
	crypto_generichash_init(&state, key, PAM_STAMP, PAM_STAMP);
	crypto_generichash_update(&state, (const unsigned char *)&pw->pw_uid, sizeof(pw->pw_uid));
	crypto_generichash_update(&state, (const unsigned char *)times, sizeof(times));
	crypto_generichash_update(&state, (const unsigned char *)hash, strlen(hash));
	crypto_generichash_final(&state, out, PAM_STAMP);
}

/* passwd(5): the full name ends at the first comma; '&' stands for the name of the user. */
static void copy_full_name(const struct passwd *pw, char *out, size_t size)
{
	size_t len = 0;

	for (const char *c = pw->pw_gecos != NULL ? pw->pw_gecos : ""; *c != '\0' && *c != ','; c++) {
		const char *from = *c == '&' ? pw->pw_name : c;
		size_t n = *c == '&' ? strlen(from) : 1;

		for (size_t i = 0; i < n && len + 1 < size; i++)
			out[len++] = from[i];
	}
	out[len] = '\0';
}

/* NULL: there is none of exactly this name, errno 0; or that is not known. */
static const struct passwd *find(const char *user)
{
	const struct passwd *pw;

	errno = 0;
	if (!machine_user_name_is_valid(span_str(user)))
		return NULL;
	pw = getpwnam(user);
	if (pw == NULL)
		return NULL;
	errno = 0;
	return strcmp(pw->pw_name, user) == 0 ? pw : NULL;
}

/* getpwnam(3) says "not found" in many ways. */
static bool is_absent(int number)
{
	return number == 0 || number == ENOENT || number == ESRCH || number == EBADF || number == EPERM;
}

static int answer_find(const struct pam_question *q, const struct pam_settings *settings, struct pam_result *out)
{
	const struct passwd *pw = find(q->user);

	if (pw == NULL && is_absent(errno))
		return E_NOTFOUND;
	if (pw == NULL) {
		span_copy(span_str(strerror(errno)), out->text, sizeof(out->text));
		return E_IO;
	}
	out->uid = pw->pw_uid;
	copy_full_name(pw, out->name, sizeof(out->name));
	make_stamp(pw, settings->stamp_key, out->stamp);
	return 0;
}

/* ---- logins ---- */

static void drop_responses(struct pam_response *responses, int count)
{
	for (int i = 0; i < count; i++)
		free(responses[i].resp);
	free(responses);
}

/* The only questions that can be answered are for the user's name, which is seen, and the password, which is not. */
static bool respond(const struct pam_question *q, const struct pam_message *message, struct pam_response *response)
{
	switch (message->msg_style) {
	case PAM_PROMPT_ECHO_OFF:
		if (q->proved)
			return false;
		response->resp = strndup((const char *)q->password.data, q->password.len);
		return response->resp != NULL;
	case PAM_PROMPT_ECHO_ON:
		response->resp = strdup(q->user);
		return response->resp != NULL;
	case PAM_ERROR_MSG:
	case PAM_TEXT_INFO:
		return true;
	default:
		return false;
	}
}

static int converse(int count, const struct pam_message **messages, struct pam_response **out, void *arg)
{
	struct pam_response *responses;

	if (count <= 0 || count > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	responses = calloc((size_t)count, sizeof(*responses));
	if (responses == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < count; i++)
		if (!respond(arg, messages[i], &responses[i])) {
			drop_responses(responses, count);
			return PAM_CONV_ERR;
		}
	*out = responses;
	return PAM_SUCCESS;
}

/* Delays are auth's, who knows whom they should meet. */
static void no_delay(int status, unsigned us, void *arg)
{
	(void)status;
	(void)us;
	(void)arg;
}

static int code_of(int status, bool account_phase)
{
	switch (status) {
	case PAM_SUCCESS:
		return 0;
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD: /* and it cannot be given here */
	case PAM_AUTHTOK_EXPIRED:
		return E_DISABLED;
	case PAM_AUTH_ERR:
	case PAM_PERM_DENIED:
	case PAM_USER_UNKNOWN:
	case PAM_MAXTRIES:
	case PAM_CRED_INSUFFICIENT:
		return account_phase ? E_DISABLED : E_AUTHFAILED;
	default:
		return E_IO;
	}
}

static int set_items(pam_handle_t *pam, const struct pam_question *q)
{
	void (*delay)(int, unsigned, void *) = no_delay;
	const void *item;
	int status;

	memcpy(&item, &delay, sizeof(item));
	status = pam_set_item(pam, PAM_FAIL_DELAY, item);
	if (status == PAM_SUCCESS && q->remote[0] != '\0')
		status = pam_set_item(pam, PAM_RHOST, q->remote);
	if (status == PAM_SUCCESS)
		status = pam_set_item(pam, PAM_TTY, q->service);
	return status;
}

/* A module may have made another user of this one. */
static bool is_same_user(pam_handle_t *pam, const char *user)
{
	const void *now = NULL;

	return pam_get_item(pam, PAM_USER, &now) == PAM_SUCCESS && now != NULL && strcmp(now, user) == 0;
}

static int talk(const struct pam_question *q, const char *service, char text[PAM_TEXT_MAX + 1])
{
	const struct pam_conv conversation = {converse, (void *)(uintptr_t)q};
	pam_handle_t *pam = NULL;
	bool account_phase = q->proved;
	int status = pam_start(service, q->user, &conversation, &pam);

	if (status == PAM_SUCCESS)
		status = set_items(pam, q);
	if (status == PAM_SUCCESS && !q->proved)
		status = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (status == PAM_SUCCESS) {
		account_phase = true;
		status = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	}
	if (status == PAM_SUCCESS && !is_same_user(pam, q->user))
		status = PAM_PERM_DENIED;
	if (status != PAM_SUCCESS)
		span_copy(span_str(pam_strerror(pam, status)), text, PAM_TEXT_MAX + 1);
	if (pam != NULL)
		pam_end(pam, status);
	return code_of(status, account_phase);
}

/* Who does not exist takes PAM as long as a wrong password does, as far as its modules care. */
static int answer_login(const struct pam_question *q, const struct pam_settings *settings, struct pam_result *out)
{
	const struct passwd *pw = find(q->user);
	bool may = pw != NULL && machine_user_has_mailbox(pw->pw_uid, settings->first_uid);
	int r;

	if (pw == NULL && !is_absent(errno))
		return E_IO;
	if (pw != NULL && !may)
		return E_NOTFOUND; /* whose names everybody knows */
	r = talk(q, settings->service, out->text);
	return (r == 0 || r == E_AUTHFAILED) && !may ? E_NOTFOUND : r;
}

static uint64_t spent_us(int who)
{
	struct rusage used;

	if (getrusage(who, &used) != 0)
		return 0;
	return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

void pam_answer(const struct pam_question *question, const struct pam_settings *settings, struct pam_result *out)
{
	out->code = question->find ? answer_find(question, settings, out) : answer_login(question, settings, out);
	out->spent_us = spent_us(RUSAGE_SELF) + spent_us(RUSAGE_CHILDREN);
}
