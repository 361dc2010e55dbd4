// Products of int16 pairs on wide registers, without and with an instruction that multiplies and adds up.
#include "avx512.h"
#include "gemm_i16_blocks.h"
#include "kernels.h"

#if defined(__x86_64__)

enum { ROWS = 12 };

#define TARGET QK_AVX512
#define NAME(name) name##_avx512
#define ADD_PRODUCTS(sum, x, y) _mm512_add_epi32(sum, _mm512_madd_epi16(x, y))
#include "gemm_i16_avx512.inc"
#undef TARGET
#undef NAME
#undef ADD_PRODUCTS

#ifdef QK_EMULATES_AVX512
#define TARGET QK_AVX512
#define ADD_PRODUCTS _mm512_dpwssd_epi32
#else
#define TARGET __attribute__((target(QK_AVX512_TARGET ",avx512vnni")))
/// The compiler turns the intrinsic back into the two instructions above.
QK_INLINE TARGET __m512i add_products(__m512i sum, __m512i x, __m512i y) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}
#define ADD_PRODUCTS add_products
#endif
#define NAME(name) name##_vnni
#include "gemm_i16_avx512.inc"

#endif
