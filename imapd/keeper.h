/*
 * The keeper: a process of imap-session that holds the clients of sessions that hibernate, and waits in their place. It is not
 * the one that forks: a fork costs more with each descriptor that is open, and shows the child whatever lies in memory.
 */
#ifndef MW_IMAPD_KEEPER_H
#define MW_IMAPD_KEEPER_H

/* The whole life of it. channel: speaks lib/ipc/keep.def; its end is the end of all clients, who are told BYE. */
_Noreturn void keeper_main(int channel);

#endif
