/* Means and variances of channels, found part by part and put together in double. */

#include <math.h>

typedef struct {
  double count, mean, squares; /* `squares`: of deviations from the mean, summed */
} moment;

/* Of `count` numbers, by sums of their deviations from `origin` and of their squares. */
static inline moment moment_of(double count, double origin, double sum, double squares) {
  return (moment){count, origin + sum / count, squares - sum * sum / count};
}

/* (N, parts, C) to (3, N, C): the mean, what of it is lost in rounding, 1 / sqrt(variance + eps)
   (Chan, Golub and LeVeque 1979). In the order of the parts, for any number of threads. */
static inline void put_together(const moment *parts, long N, long count, long C, double eps,
                                real *to) {
  for (long n = 0; n < N; n++)
    for (long c = 0; c < C; c++) {
      moment all = {0, 0, 0};
      for (long part = 0; part < count; part++) {
        moment one = parts[(n * count + part) * C + c];
        double apart = one.mean - all.mean, share = one.count / (all.count + one.count);
        all.squares += one.squares + apart * apart * all.count * share;
        all.mean += apart * share;
        all.count += one.count;
      }
      to[n * C + c] = (real)all.mean;
      to[(N + n) * C + c] = (real)(all.mean - (real)all.mean);
      to[(2 * N + n) * C + c] = (real)(1 / sqrt(fmax(all.squares, 0) / all.count + eps));
    }
}
