/* JSON rows as a table for people: the first row's keys are the columns. */
#ifndef MW_CONTROL_TABLE_H
#define MW_CONTROL_TABLE_H

#include "base/span.h"

#include <stdio.h>

struct table;

struct table *table_new(void);
void table_free(struct table **table);
/*
 * row: one JSON object; strings from outside are shown with control characters replaced. Objects in it, and lists of objects, are rows of further tables, one
 * for each key, below the first.
 */
void table_add(struct table *table, struct span row);
void table_print(const struct table *table, FILE *out);

#endif
