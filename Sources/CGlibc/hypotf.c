#include <math.h>

/// Swift's Glibc overlay refers to hypotf, whose symbol is of glibc 2.35; everything else needs 2.34. Defined here, the library
/// runs on the older one too. Exact to rounding: the squares and their sum fit a double.
#if defined(__GLIBC__)
float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    return (float)sqrt((double)x * x + (double)y * y);
}
#endif
