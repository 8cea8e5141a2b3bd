/* The tables behind ipc.h: made from the .def files, nothing written twice. */
#include "ipc/ipc.h"

#define IPC_FIELD(msg, name, kind, max) {#name, kind, offsetof(struct msg, name), max},

#define IPC_MESSAGE(msg, number, direction, fd)                                                    \
	_Static_assert(sizeof(struct msg) <= IPC_BODY_MAX, #msg);                                  \
	static const struct ipc_field msg##_fields[] = {
#define IPC_BOOL(msg, name)	   IPC_FIELD(msg, name, IPC_KIND_BOOL, 0)
#define IPC_U32(msg, name)	   IPC_FIELD(msg, name, IPC_KIND_U32, 0)
#define IPC_I32(msg, name)	   IPC_FIELD(msg, name, IPC_KIND_I32, 0)
#define IPC_U64(msg, name)	   IPC_FIELD(msg, name, IPC_KIND_U64, 0)
#define IPC_I64(msg, name)	   IPC_FIELD(msg, name, IPC_KIND_I64, 0)
#define IPC_STR(msg, name, max)	   IPC_FIELD(msg, name, IPC_KIND_STR, max)
#define IPC_BYTES(msg, name, max)  IPC_FIELD(msg, name, IPC_KIND_BYTES, max)
#define IPC_SECRET(msg, name, max) IPC_FIELD(msg, name, IPC_KIND_SECRET, max)
#define IPC_END(msg)                                                                               \
	{                                                                                          \
		NULL, IPC_KIND_END, 0, 0                                                           \
	}                                                                                          \
	}                                                                                          \
	;
#include "ipc/services.def"
#include "ipc/undef.h"

#define IPC_MESSAGE(msg, num, dir, desc)                                                           \
	const struct ipc_type ipc_##msg = {.name = #msg,                                           \
	    .number = num,                                                                         \
	    .direction = dir,                                                                      \
	    .fd = desc,                                                                            \
	    .fields = msg##_fields,                                                                \
	    .size = sizeof(struct msg)};
#include "ipc/undef_fields.h"
#include "ipc/services.def"
#include "ipc/undef.h"

#define IPC_MESSAGE(msg, number, direction, fd) &ipc_##msg,
#include "ipc/undef_fields.h"

static const struct ipc_type *const master_types[] = {
#include "ipc/master.def"
    NULL};
static const struct ipc_type *const auth_types[] = {
#include "ipc/auth.def"
    NULL};
static const struct ipc_type *const queue_types[] = {
#include "ipc/queue.def"
    NULL};
static const struct ipc_type *const deliver_types[] = {
#include "ipc/deliver.def"
    NULL};
static const struct ipc_type *const session_types[] = {
#include "ipc/session.def"
    NULL};
static const struct ipc_type *const wake_types[] = {
#include "ipc/wake.def"
    NULL};
static const struct ipc_type *const keep_types[] = {
#include "ipc/keep.def"
    NULL};
static const struct ipc_type *const keys_types[] = {
#include "ipc/keys.def"
    NULL};
static const struct ipc_type *const control_types[] = {
#include "ipc/control.def"
    NULL};
static const struct ipc_type *const dns_types[] = {
#include "ipc/dns.def"
    NULL};
static const struct ipc_type *const fetch_types[] = {
#include "ipc/fetch.def"
    NULL};
static const struct ipc_type *const pickup_types[] = {
#include "ipc/pickup.def"
    NULL};
static const struct ipc_type *const pam_types[] = {
#include "ipc/pam.def"
    NULL};
static const struct ipc_type *const agent_types[] = {
#include "ipc/agent.def"
    NULL};
static const struct ipc_type *const relay_types[] = {
#include "ipc/relay.def"
    NULL};
#include "ipc/undef.h"

const struct ipc_service ipc_service_master = {"master", master_types};
const struct ipc_service ipc_service_auth = {"auth", auth_types};
const struct ipc_service ipc_service_queue = {"queue", queue_types};
const struct ipc_service ipc_service_deliver = {"deliver", deliver_types};
const struct ipc_service ipc_service_session = {"session", session_types};
const struct ipc_service ipc_service_wake = {"wake", wake_types};
const struct ipc_service ipc_service_keep = {"keep", keep_types};
const struct ipc_service ipc_service_keys = {"keys", keys_types};
const struct ipc_service ipc_service_control = {"control", control_types};
const struct ipc_service ipc_service_dns = {"dns", dns_types};
const struct ipc_service ipc_service_fetch = {"fetch", fetch_types};
const struct ipc_service ipc_service_pickup = {"pickup", pickup_types};
const struct ipc_service ipc_service_pam = {"pam", pam_types};
const struct ipc_service ipc_service_agent = {"agent", agent_types};
const struct ipc_service ipc_service_relay = {"relay", relay_types};

const struct ipc_service *const ipc_services[] = {&ipc_service_master, &ipc_service_auth,
    &ipc_service_queue, &ipc_service_deliver, &ipc_service_session, &ipc_service_wake,
    &ipc_service_keep, &ipc_service_keys, &ipc_service_control, &ipc_service_dns, &ipc_service_fetch,
    &ipc_service_pickup, &ipc_service_pam, &ipc_service_agent, &ipc_service_relay, NULL};
