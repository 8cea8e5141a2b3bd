/* A libunbound context by the settings, on our event loop. */
#ifndef MW_RESOLVE_CONTEXT_H
#define MW_RESOLVE_CONTEXT_H

#include "base/err.h"

struct event_base;
struct settings;
struct ub_ctx;

/* Complete: what libunbound finds wrong with a setting or a trust anchor is found here. ub_ctx_delete ends it. */
int context_new(struct event_base *base, const struct settings *settings, struct ub_ctx **out, struct err *err);

#endif
