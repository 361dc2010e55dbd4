// The inner loops that need the processor's vector units. Everything else is Swift.
#ifndef QWENSFT_CKERNELS_H
#define QWENSFT_CKERNELS_H

#include "bf16.h"
#include "convert.h"
#include "cpu.h"
#include "elementwise.h"
#include "files.h"
#include "gemm_bf16.h"
#include "gemm_f32.h"
#include "host.h"
#include "int4.h"
#include "merge.h"
#include "text.h"
#include "packed_bf16.h"
#include "softmax_bf16.h"
#include "unicode_tables.h"
#include "gemv.h"

#endif
