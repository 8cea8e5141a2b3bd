/* JSON rows as a table for people: the first row's keys are the columns. */
#ifndef MW_CONTROL_TABLE_H
#define MW_CONTROL_TABLE_H

#include "base/span.h"

#include <stdio.h>

struct table;

struct table *table_new(void);
void table_free(struct table **table);
/* row: one flat JSON object; strings from outside are shown with control characters replaced. */
void table_add(struct table *table, struct span row);
void table_print(const struct table *table, FILE *out);

#endif
