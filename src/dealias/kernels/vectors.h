/* Vectors of the processor, of float or double, as wide as SIMD bytes. */

#include <immintrin.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

typedef REAL real;
typedef real vec __attribute__((vector_size(SIMD)));
/* as it lies in tensors, whose numbers are aligned to themselves alone */
typedef real loose __attribute__((vector_size(SIMD), aligned(sizeof(real)), may_alias));
#define LANES ((long)(SIMD / sizeof(real)))
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 32") for

INLINE long whole(long count) { return (count + LANES - 1) / LANES * LANES; }
INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE vec load(const real *from) { return (vec)*(const loose *)from; }
INLINE void store(real *to, vec v) { *(loose *)to = (loose)v; }
INLINE vec all(real x) { return x - (vec){}; }

/* a where v is above 0, else b */
INLINE vec where_above(vec v, vec a, vec b) {
  __typeof__(v > v) above = v > (vec){};
  return (vec)((above & (__typeof__(above))a) | (~above & (__typeof__(above))b));
}

INLINE int thread(void) {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/* The first `count` numbers alone are read or written; of others 0 is read. */
#if SIMD == 64
INLINE vec load_some(const real *from, long count) {
  unsigned mask = (1u << count) - 1;
  return sizeof(real) == 4 ? (vec)_mm512_maskz_loadu_ps((__mmask16)mask, from)
                           : (vec)_mm512_maskz_loadu_pd((__mmask8)mask, from);
}
INLINE void store_some(real *to, vec v, long count) {
  unsigned mask = (1u << count) - 1;
  if (sizeof(real) == 4) _mm512_mask_storeu_ps(to, (__mmask16)mask, (__m512)v);
  else _mm512_mask_storeu_pd(to, (__mmask8)mask, (__m512d)v);
}
#else
INLINE __m256i first(long count) {
  static const int ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  long numbers = count * (long)(sizeof(real) / 4);
  return _mm256_loadu_si256((const __m256i *)(ones + 8 - numbers));
}
INLINE vec load_some(const real *from, long count) {
  __m256i mask = first(count);
  return sizeof(real) == 4 ? (vec)_mm256_maskload_ps((const float *)from, mask)
                           : (vec)_mm256_maskload_pd((const double *)from, mask);
}
INLINE void store_some(real *to, vec v, long count) {
  __m256i mask = first(count);
  if (sizeof(real) == 4) _mm256_maskstore_ps((float *)to, mask, (__m256)v);
  else _mm256_maskstore_pd((double *)to, mask, (__m256d)v);
}
#endif
INLINE vec load_up_to(const real *from, long count) {
  return count >= LANES ? load(from) : load_some(from, count);
}
INLINE void store_up_to(real *to, vec v, long count) {
  if (count >= LANES) store(to, v);
  else store_some(to, v, count);
}
