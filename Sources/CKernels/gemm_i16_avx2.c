// Products of int16 pairs, without and with AVX-VNNI (Intel's processors without AVX-512 since 2021): blocks of 6 rows by 16 columns,
// which take 12 of the 16 registers, as in gemm_f32_blocks_avx2.c.
#include "avx2.h"
#include "gemm_i16_blocks.h"
#include "kernels.h"
#include "weights_avx2.h"

#if defined(__x86_64__)

enum { WIDTH = QK_F32_PANEL, ROWS = 6 };

/// The next pair of columns. Rows of a come in threes, so that every address is a pointer plus nothing, `lda` or twice `lda`.
/// With intrinsics the compiler first adds up the products of several steps, and runs out of registers.
QK_INLINE_AVX2 void step(
    __m256i *sum, const uint32_t *const *three, long lda, const int rows, const int has_vnni, const uint32_t *b, int k) {
    const __m256i left = _mm256_loadu_si256((const __m256i *)b), right = _mm256_loadu_si256((const __m256i *)(b + 8));
    QK_UNROLL
    for (int r = 0; r < rows; r++) {
        const uint32_t *from = three[r / 3] + r % 3 * lda + k;
        __m256i x, product;
        if (has_vnni)
            __asm__ volatile(
                "vpbroadcastd %3, %2\n\t"
                "%{vex%} vpdpwssd %4, %2, %0\n\t"
                "%{vex%} vpdpwssd %5, %2, %1"
                : "+x"(sum[2 * r]), "+x"(sum[2 * r + 1]), "=&x"(x)
                : "m"(*from), "x"(left), "x"(right));
        else
            __asm__ volatile(
                "vpbroadcastd %4, %2\n\t"
                "vpmaddwd %5, %2, %3\n\t"
                "vpmaddwd %6, %2, %2\n\t"
                "vpaddd %3, %0, %0\n\t"
                "vpaddd %2, %1, %1"
                : "+x"(sum[2 * r]), "+x"(sum[2 * r + 1]), "=&x"(x), "=&x"(product)
                : "m"(*from), "x"(left), "x"(right));
    }
}

/// c[rows][16] = or += a · panel; `rows` and `has_vnni` are constants.
QK_INLINE_AVX2 void block(
    float *c, long ldc, const uint32_t *a, long lda, const uint32_t *b, const int rows, const int has_vnni, long group,
    long groups, int accumulate) {
    __m256 total[2 * ROWS]; // does not fit beside the sums of a group
    QK_UNROLL
    for (int i = 0; i < 2 * rows; i++)
        total[i] = accumulate ? _mm256_loadu_ps(c + i / 2 * ldc + i % 2 * 8) : _mm256_setzero_ps();
    const uint32_t *three[2] = {a, a + 3 * lda};
    for (; groups > 0; groups--) {
        __m256i sum[2 * ROWS];
        QK_UNROLL
        for (int i = 0; i < 2 * rows; i++) sum[i] = _mm256_setzero_si256();
        for (long k = 0; k < group / 2; k += 4, b += 4 * WIDTH) {
            QK_UNROLL
            for (int i = 0; i < 4; i++) step(sum, three, lda, rows, has_vnni, b + i * WIDTH, i);
            three[0] += 4, three[1] += 4;
        }
        const __m256 left = _mm256_loadu_ps((const float *)b), right = _mm256_loadu_ps((const float *)b + 8);
        QK_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256 scale = _mm256_broadcast_ss((const float *)three[r / 3] + r % 3 * lda);
            total[2 * r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[2 * r]), _mm256_mul_ps(scale, left), total[2 * r]);
            total[2 * r + 1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[2 * r + 1]), _mm256_mul_ps(scale, right), total[2 * r + 1]);
        }
        three[0]++, three[1]++, b += WIDTH;
    }
    QK_UNROLL
    for (int i = 0; i < 2 * rows; i++) _mm256_storeu_ps(c + i / 2 * ldc + i % 2 * 8, total[i]);
}

#define AVX_VNNI __attribute__((target("avx2,fma,f16c,avxvnni")))
#define BLOCK(variant, rows, target, has_vnni)                                                                          \
    static target void variant##_##rows(                                                                                \
        float *c, long ldc, const uint32_t *a, long lda, const uint32_t *b, long stride, long group, long groups,       \
        int accumulate) {                                                                                               \
        (void)stride;                                                                                                   \
        block(c, ldc, a, lda, b, rows, has_vnni, group, groups, accumulate);                                            \
    }
#define MULTIPLY(variant, target, has_vnni)                                                                             \
    BLOCK(variant, 1, target, has_vnni)                                                                                 \
    BLOCK(variant, 2, target, has_vnni)                                                                                 \
    BLOCK(variant, 3, target, has_vnni)                                                                                 \
    BLOCK(variant, 4, target, has_vnni)                                                                                 \
    BLOCK(variant, 5, target, has_vnni)                                                                                 \
    BLOCK(variant, 6, target, has_vnni)                                                                                 \
    void qk_i16_multiply_##variant(                                                                                     \
        float *c, long ldc, const uint32_t *a, long lda, long rows, const uint32_t *panels, long stride, long columns,  \
        long group, long groups, int accumulate, const qk_f32_fetch *fetch) {                                           \
        static qk_i16_block *const blocks[] = {variant##_1, variant##_2, variant##_3, variant##_4, variant##_5, variant##_6}; \
        qk_i16_multiply_by(                                                                                             \
            blocks, ROWS, WIDTH, c, ldc, a, lda, rows, panels, stride, columns, group, groups, accumulate, fetch);      \
    }
MULTIPLY(avx2, QK_AVX2, 0)
MULTIPLY(avxvnni, AVX_VNNI, 1)

QK_AVX2 void qk_i16_pack_avx2(
    uint32_t *panel, const float *x, long ldx, long rows, long columns, long group, long first, long last) {
    qk_i16_pack_by(qk_f32_pack_avx2, panel, x, ldx, rows, columns, group, first, last);
}

/// 64 weights as pairs, and behind every `group` of them its scale.
#define WORDS(name, type, scale_type, scale_bits, block_bytes, group)                                                   \
    QK_AVX2 void qk_i16_from_##name##_avx2(uint32_t *out, const type *w, const scale_type *scales, long columns) {      \
        const uint8_t *block = (const uint8_t *)w;                                                                      \
        for (; columns > 0; columns -= 64, block += block_bytes)                                                        \
            QK_UNROLL for (int quarter = 0; quarter < 4; quarter++, out += 8) {                                         \
                _mm256_storeu_si256((__m256i *)out, qk_##name##_weights(block, quarter));                               \
                if ((quarter + 1) * 16 % group == 0) out[8] = scale_bits(*scales++), out++;                             \
            }                                                                                                           \
    }
#define BITS_OF_BF16(x) ((uint32_t)(x) << 16)

WORDS(int8, int8_t, float, qk_f32_bits, QK_QUANT_BLOCK, 64)
WORDS(int6, uint8_t, uint16_t, BITS_OF_BF16, QK_INT6_BYTES, 64)
WORDS(int4, uint8_t, uint16_t, BITS_OF_BF16, QK_INT4_BYTES, 32)

#endif
