// All kernels, and the table of their variants: the one place that says which one runs where.
#ifndef QWENSFT_CKERNELS_KERNELS_H
#define QWENSFT_CKERNELS_KERNELS_H

#include "convert.h"
#include "cpu.h"
#include "elementwise.h"
#include "gemm_bf16.h"
#include "gemm_f32.h"
#include "gemm_i16.h"
#include "gemv.h"
#include "int4.h"
#include "merge.h"
#include "packed_bf16.h"
#include "softmax_bf16.h"
#include "text.h"

#define QK_KERNELS(X)                                                                                                   \
    QK_CONVERT_KERNELS(X)                                                                                               \
    QK_ELEMENTWISE_KERNELS(X)                                                                                           \
    QK_GEMV_KERNELS(X)                                                                                                  \
    QK_INT4_KERNELS(X)                                                                                                  \
    QK_PACKED_BF16_KERNELS(X)                                                                                           \
    QK_GEMM_BF16_KERNELS(X)                                                                                             \
    QK_GEMM_F32_KERNELS(X)                                                                                              \
    QK_GEMM_I16_KERNELS(X)                                                                                              \
    QK_SOFTMAX_BF16_KERNELS(X)                                                                                          \
    QK_TEXT_KERNELS(X)                                                                                                  \
    QK_MERGE_KERNELS(X)

// What QK_TABLE is made of; whoever uses it says what QK_VARIANT_ROW(kernel, variant, capabilities) is.
#if defined(__x86_64__)
#define QK_COMPILED_ROW(type, name, parameters, arguments)                                                              \
    QK_VARIANT_ROW(name, avx2, QK_SET_AVX2)                                                                             \
    QK_VARIANT_ROW(name, avx512, QK_SET_AVX512)

/// Every variant with the capabilities that it needs. Of a kernel's variants that may run here the last one does; where none
/// may, its plain definition (`qk_…_plain`).
#define QK_TABLE                                                                                                        \
    QK_ELEMENTWISE_KERNELS(QK_COMPILED_ROW)                                                                             \
    QK_VARIANT_ROW(f32_from_bf16_run, avx2, QK_SET_AVX2)                                                                \
    QK_VARIANT_ROW(f32_from_bf16_run, avx512, QK_SET_AVX512)                                                            \
    QK_VARIANT_ROW(f32_from_f16_run, avx2, QK_SET_AVX2)                                                                 \
    QK_VARIANT_ROW(f32_from_f16_run, avx512, QK_SET_AVX512)                                                             \
    QK_VARIANT_ROW(bf16_from_f32_run, avx2, QK_SET_AVX2)                                                                \
    QK_VARIANT_ROW(bf16_from_f32_run, avx512, QK_SET_AVX512)                                                            \
    QK_VARIANT_ROW(bf16_from_f32_stochastic_run, avx2, QK_SET_AVX2)                                                     \
    QK_VARIANT_ROW(bf16_from_f32_stochastic_run, avx512, QK_SET_AVX512)                                                 \
    QK_VARIANT_ROW(gemv_f32, avx2, QK_SET_AVX2)                                                                         \
    QK_VARIANT_ROW(gemv_f32, avx512, QK_SET_AVX512)                                                                     \
    QK_VARIANT_ROW(gemv_bf16, avx2, QK_SET_AVX2)                                                                        \
    QK_VARIANT_ROW(gemv_bf16, avx512, QK_SET_AVX512)                                                                    \
    QK_VARIANT_ROW(gemv_bf16_bf16, avx512, QK_SET_AVX512 | QK_HAS_AVX512_BF16)                                          \
    QK_VARIANT_ROW(gemv_int8, avx2, QK_SET_AVX2)                                                                        \
    QK_VARIANT_ROW(gemv_int8, avx512, QK_SET_AVX512)                                                                    \
    QK_VARIANT_ROW(gemv_int6, avx2, QK_SET_AVX2)                                                                        \
    QK_VARIANT_ROW(gemv_int6, vbmi, QK_SET_AVX512_BF16)                                                                 \
    QK_VARIANT_ROW(quantize_int6, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(quantize_int6, avx512, QK_SET_AVX512)                                                                \
    QK_VARIANT_ROW(bf16_from_int8, avx512, QK_SET_AVX512_BF16)                                                          \
    QK_VARIANT_ROW(bf16_from_int6, avx512, QK_SET_AVX512_BF16)                                                          \
    QK_VARIANT_ROW(f32_from_int8, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(f32_from_int6, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(quantize_int4, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(f32_from_int4, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(bf16_from_int4, avx2, QK_SET_AVX2)                                                                   \
    QK_VARIANT_ROW(gemv_int4, avx2, QK_SET_AVX2)                                                                        \
    QK_VARIANT_ROW(pack_bf16, avx512, QK_SET_AVX512_BF16)                                                               \
    QK_VARIANT_ROW(unpack_bf16, avx2, QK_SET_AVX2)                                                                      \
    QK_VARIANT_ROW(unpack_bf16, avx512, QK_SET_AVX512_BF16)                                                             \
    QK_VARIANT_ROW(gemv_packed_bf16, avx2, QK_SET_AVX2)                                                                 \
    QK_VARIANT_ROW(gemv_packed_bf16, avx512, QK_SET_AVX512_BF16)                                                        \
    QK_VARIANT_ROW(pack_transposed, avx512, QK_SET_AVX512_BF16)                                                         \
    QK_VARIANT_ROW(round_transposed, avx512, QK_SET_AVX512_BF16)                                                        \
    QK_VARIANT_ROW(pack_interleaved_f32, avx512, QK_SET_AVX512_BF16)                                                    \
    QK_VARIANT_ROW(pack_interleaved_bf16, avx512, QK_SET_AVX512)                                                        \
    QK_VARIANT_ROW(gemm_stream, avx512, QK_SET_AVX512_BF16)                                                             \
    QK_VARIANT_ROW(gemm_panel, avx512, QK_SET_AVX512_BF16)                                                              \
    QK_VARIANT_ROW(store_transposed, avx2, QK_SET_AVX2)                                                                 \
    QK_VARIANT_ROW(store_transposed, avx512, QK_SET_AVX512)                                                             \
    QK_VARIANT_ROW(store_gradient, avx2, QK_SET_AVX2)                                                                   \
    QK_VARIANT_ROW(store_gradient, avx512, QK_SET_AVX512)                                                               \
    QK_VARIANT_ROW(gemm_gradient, avx512, QK_SET_AVX512_BF16)                                                           \
    QK_VARIANT_ROW(f32_pack, avx2, QK_SET_AVX2)                                                                         \
    QK_VARIANT_ROW(f32_panels, avx2, QK_SET_AVX2)                                                                       \
    QK_VARIANT_ROW(f32_panels_bf16, avx2, QK_SET_AVX2)                                                                  \
    QK_VARIANT_ROW(f32_multiply, avx2, QK_SET_AVX2)                                                                     \
    QK_VARIANT_ROW(f32_multiply, avx512, QK_SET_AVX512)                                                                 \
    QK_VARIANT_ROW(f32_pack, avx512, QK_SET_AVX512)                                                                     \
    QK_VARIANT_ROW(f32_forward, avx512, QK_SET_AVX512)                                                                  \
    QK_VARIANT_ROW(f32_input_gradient, avx512, QK_SET_AVX512)                                                           \
    QK_VARIANT_ROW(i16_from_int8, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(i16_from_int6, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(i16_from_int4, avx2, QK_SET_AVX2)                                                                    \
    QK_VARIANT_ROW(i16_pack, avx2, QK_SET_AVX2)                                                                         \
    QK_VARIANT_ROW(i16_multiply, avx2, QK_SET_AVX2)                                                                     \
    QK_VARIANT_ROW(i16_multiply, avxvnni, QK_SET_AVX2 | QK_HAS_AVX_VNNI)                                                \
    QK_VARIANT_ROW(i16_multiply, avx512, QK_SET_AVX512)                                                                 \
    QK_VARIANT_ROW(i16_multiply, vnni, QK_SET_AVX512 | QK_HAS_AVX512_VNNI)                                              \
    QK_VARIANT_ROW(softmax_block_bf16, avx512, QK_SET_AVX512_BF16)                                                      \
    QK_VARIANT_ROW(softmax_columns, avx512, QK_SET_AVX512_BF16)                                                         \
    QK_VARIANT_ROW(softmax_columns_backward, avx512, QK_SET_AVX512_BF16)                                                \
    QK_VARIANT_ROW(utf8_prefix, avx2, QK_SET_AVX2)                                                                      \
    QK_VARIANT_ROW(utf8_prefix, avx512, QK_SET_AVX512_BF16)                                                             \
    QK_VARIANT_ROW(settled_prefix, avx2, QK_SET_AVX2)                                                                   \
    QK_VARIANT_ROW(settled_prefix, avx512, QK_SET_AVX512_BF16)                                                          \
    QK_VARIANT_ROW(word_starts, avx2, QK_SET_AVX2)                                                                      \
    QK_VARIANT_ROW(word_starts, avx512, QK_SET_AVX512_BF16)                                                             \
    QK_VARIANT_ROW(merge_words, avx512, QK_SET_AVX512)
#elif defined(__aarch64__)
// What has no row here is written in vectors already, or in loops that the compiler makes into vectors: NEON is the base.
#define QK_TABLE                                                                                                        \
    QK_VARIANT_ROW(f32_from_f16_run, neon, QK_SET_NEON)                                                                 \
    QK_VARIANT_ROW(bf16_from_f32_run, neon, QK_SET_NEON)                                                                \
    QK_VARIANT_ROW(bf16_from_f32_stochastic_run, neon, QK_SET_NEON)                                                     \
    QK_VARIANT_ROW(gemv_f32, neon, QK_SET_NEON)                                                                         \
    QK_VARIANT_ROW(gemv_bf16, neon, QK_SET_NEON)                                                                        \
    QK_VARIANT_ROW(gemv_int8, neon, QK_SET_NEON)                                                                        \
    QK_VARIANT_ROW(gemv_int8, dotprod, QK_SET_NEON_DOTPROD)                                                             \
    QK_VARIANT_ROW(gemv_int8, i8mm, QK_SET_NEON_I8MM)                                                                   \
    QK_VARIANT_ROW(gemv_int6, neon, QK_SET_NEON)                                                                        \
    QK_VARIANT_ROW(gemv_int6, dotprod, QK_SET_NEON_DOTPROD)                                                             \
    QK_VARIANT_ROW(gemv_int6, i8mm, QK_SET_NEON_I8MM)                                                                   \
    QK_VARIANT_ROW(gemv_int4, neon, QK_SET_NEON)                                                                        \
    QK_VARIANT_ROW(gemv_int4, dotprod, QK_SET_NEON_DOTPROD)                                                             \
    QK_VARIANT_ROW(gemv_int4, i8mm, QK_SET_NEON_I8MM)                                                                   \
    QK_VARIANT_ROW(quantize_int6, neon, QK_SET_NEON)                                                                    \
    QK_VARIANT_ROW(f32_from_int8, neon, QK_SET_NEON)                                                                    \
    QK_VARIANT_ROW(f32_from_int6, neon, QK_SET_NEON)                                                                    \
    QK_VARIANT_ROW(f32_from_int4, neon, QK_SET_NEON)                                                                    \
    QK_VARIANT_ROW(unpack_bf16, neon, QK_SET_NEON)                                                                      \
    QK_VARIANT_ROW(gemv_packed_bf16, neon, QK_SET_NEON)                                                                 \
    QK_VARIANT_ROW(store_transposed, neon, QK_SET_NEON)                                                                 \
    QK_VARIANT_ROW(store_gradient, neon, QK_SET_NEON)                                                                   \
    QK_VARIANT_ROW(f32_pack, neon, QK_SET_NEON)                                                                         \
    QK_VARIANT_ROW(f32_panels, neon, QK_SET_NEON)                                                                       \
    QK_VARIANT_ROW(f32_panels_bf16, neon, QK_SET_NEON)                                                                  \
    QK_VARIANT_ROW(f32_multiply, neon, QK_SET_NEON)                                                                     \
    QK_VARIANT_ROW(utf8_prefix, neon, QK_SET_NEON)                                                                      \
    QK_VARIANT_ROW(settled_prefix, neon, QK_SET_NEON)                                                                   \
    QK_VARIANT_ROW(word_starts, neon, QK_SET_NEON)
#else
#define QK_TABLE
#endif

// Their declarations.
#define QK_DECLARE_PLAIN(type, name, parameters, arguments) type qk_##name##_plain parameters;
QK_KERNELS(QK_DECLARE_PLAIN)
#undef QK_DECLARE_PLAIN
#define QK_VARIANT_ROW(name, variant, needs) __typeof__(qk_##name) qk_##name##_##variant;
QK_TABLE
#undef QK_VARIANT_ROW

#endif
