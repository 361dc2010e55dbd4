#include "CLastError.h"

static _Thread_local char buffer[QWENSFT_LAST_ERROR_SIZE];

char *qwensft_last_error_buffer(void) {
    return buffer;
}
