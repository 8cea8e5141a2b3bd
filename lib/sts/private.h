/* What the files of this folder share. */
#ifndef MW_STS_PRIVATE_H
#define MW_STS_PRIVATE_H

#include "sts/sts.h"

/* sts-ext-name = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / "."): of a field that is known as well. */
bool sts_is_field_name(struct span name);

#endif
