/* Where an account's store lies: <2 hex digits of id & 255>/<id>, below the store's directory. */
#ifndef MW_STORE_ACCOUNT_H
#define MW_STORE_ACCOUNT_H

#include "base/err.h"

#include <stdint.h>

/* A descriptor of the directory, which is made when it is missing; the current directory is the store's. Or an E_. */
int store_account_open(uint64_t account, struct err *err);
/* The same, but one that is missing stays so: E_NOTFOUND. */
int store_account_find(uint64_t account, struct err *err);

#endif
