/* Where an instance has its things. */
#ifndef MW_CONTROL_PATHS_H
#define MW_CONTROL_PATHS_H

#include "base/err.h"

enum { INSTANCE_PATH = 3072 };

struct instance {
	char root[INSTANCE_PATH]; /* "" when it is the machine itself */
	char conf[INSTANCE_PATH + 64];
	char run[INSTANCE_PATH + 64];
	char data[INSTANCE_PATH + 64];
	char spool[INSTANCE_PATH + 64];
	char libexec[INSTANCE_PATH]; /* the daemons' binaries */
	char bin[INSTANCE_PATH];     /* the control commands */
};

/*
 * root: from --root, or NULL: then MAILWAIN_ROOT, then the machine itself. Made
 * absolute. E_SYNTAX when it is empty. libexec and bin: beside the running command when it was built in a
 * tree (build/bin, build/libexec), else the installed ones. E_TOOBIG, E_IO.
 */
int instance_find(struct instance *instance, const char *root, struct err *err);

#endif
