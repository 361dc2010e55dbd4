// What libz and libzstd read and write in their callers' memory. Both are loaded at run time, where the system has them: their
// headers need not be there to build, nor the libraries to run.
#ifndef QWENSFT_CKERNELS_COMPRESSION_H
#define QWENSFT_CKERNELS_COMPRESSION_H

#include <stddef.h>

/// z_stream of zlib 1.
typedef struct {
    const unsigned char *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *msg;
    void *state, *zalloc, *zfree, *opaque;
    int data_type;
    unsigned long adler, reserved;
} qk_z_stream;

/// ZSTD_inBuffer and ZSTD_outBuffer.
typedef struct {
    const void *src;
    size_t size, pos;
} qk_zstd_input;

typedef struct {
    void *dst;
    size_t size, pos;
} qk_zstd_output;

#endif
