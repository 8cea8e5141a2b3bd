/*
 * Writing all of a span: the kernel may take less of it at once, and a signal may come in between.
 *
 * False: errno says why, and some of it may have been written.
 */
#ifndef MW_BASE_WHOLE_H
#define MW_BASE_WHOLE_H

#include "base/span.h"

#include <stdint.h>

struct iovec;

/* At the descriptor's own place. */
bool write_whole(int fd, struct span bytes);
/* From offset on. */
bool pwrite_whole(int fd, struct span bytes, uint64_t offset);
/* The same of several, which are used up. */
bool writev_whole(int fd, struct iovec *iov, int count);
bool pwritev_whole(int fd, struct iovec *iov, int count, uint64_t offset);

#endif
