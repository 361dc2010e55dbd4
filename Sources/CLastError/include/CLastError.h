#ifndef QWENSFT_CLASTERROR_H
#define QWENSFT_CLASTERROR_H

enum { QWENSFT_LAST_ERROR_SIZE = 1024 };

/// This thread's buffer for the message of its last failed call, QWENSFT_LAST_ERROR_SIZE bytes, zeroed at first.
/// In C because Swift has no thread-local storage; in a fixed buffer because that needs no memory when memory is short
/// and nothing at the end of a thread.
char *qwensft_last_error_buffer(void);

#endif
