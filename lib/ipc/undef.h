/* Ends one reading of the .def files. Included many times: no guard. */
#undef IPC_MESSAGE
#undef IPC_BOOL
#undef IPC_U32
#undef IPC_I32
#undef IPC_U64
#undef IPC_I64
#undef IPC_STR
#undef IPC_BYTES
#undef IPC_SECRET
#undef IPC_END
