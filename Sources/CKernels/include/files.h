// System calls that Swift's Glibc module does not show.
#ifndef QWENSFT_CKERNELS_FILES_H
#define QWENSFT_CKERNELS_FILES_H

/// Exchanges two files or directories in one step; -1 and errno where that fails or the file system cannot.
int qk_exchange_files(const char *a, const char *b);

#endif
