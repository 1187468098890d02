/* 3x3 convolutions with zero padding 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray
   2016, from Cook and Toom): an output tile of 4x4 takes 36 products instead of 144. Polynomials
   are evaluated at 0, +-P, +-Q and infinity, which were found to round least.

   Images are (N, H, W, C): channels last, each tile a column of channels. Tiles are counted along
   rows; T of them make a block, which stays in a core's cache from the first step to the last:
   what is taken from the image is (36, T, whole(C)), what weights make of it (36, T, whole(O)). */

#include "vectors.h"

#include "moments.h"

#define P ((real)0.6)
#define Q ((real)1.6)
#define PP (P * P)
#define QQ (Q * Q)
#define POINTS 36

INLINE void evaluate_image(const vec d[6], vec to[6]) {
  vec even = d[4] - QQ * d[2], odd = P * (d[3] - QQ * d[1]);
  vec even2 = d[4] - PP * d[2], odd2 = Q * (d[3] - PP * d[1]);
  to[0] = PP * QQ * d[0] - (PP + QQ) * d[2] + d[4];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even2 + odd2;
  to[4] = even2 - odd2;
  to[5] = PP * QQ * d[1] - (PP + QQ) * d[3] + d[5];
}

INLINE void interpolate(const vec m[6], vec to[4]) {
  vec even = m[1] + m[2], odd = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
  to[0] = m[0] + even + even2;
  to[1] = P * odd + Q * odd2;
  to[2] = PP * even + QQ * even2;
  to[3] = P * PP * odd + Q * QQ * odd2 + m[5];
}

/* the transpose of `interpolate` */
INLINE void evaluate_gradient(const vec y[4], vec to[6]) {
  vec even = y[0] + PP * y[2], odd = P * y[1] + P * PP * y[3];
  vec even2 = y[0] + QQ * y[2], odd2 = Q * y[1] + Q * QQ * y[3];
  to[0] = y[0];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even2 + odd2;
  to[4] = even2 - odd2;
  to[5] = y[3];
}

#define AT_0 ((real)1 / (PP * QQ))
#define AT_P ((real)1 / (2 * PP * (PP - QQ)))
#define AT_Q ((real)1 / (2 * QQ * (QQ - PP)))

INLINE void evaluate_weights(const vec g[3], vec to[6]) {
  vec even = g[0] + PP * g[2], even2 = g[0] + QQ * g[2];
  to[0] = AT_0 * g[0];
  to[1] = AT_P * (even + P * g[1]);
  to[2] = AT_P * (even - P * g[1]);
  to[3] = AT_Q * (even2 + Q * g[1]);
  to[4] = AT_Q * (even2 - Q * g[1]);
  to[5] = g[2];
}

/* the transpose of `evaluate_weights` */
INLINE void gather_weights(const vec u[6], vec to[3]) {
  vec even = AT_P * (u[1] + u[2]), even2 = AT_Q * (u[3] + u[4]);
  to[0] = AT_0 * u[0] + even + even2;
  to[1] = P * AT_P * (u[1] - u[2]) + Q * AT_Q * (u[3] - u[4]);
  to[2] = PP * even + QQ * even2 + u[5];
}

typedef struct {
  long height, width, channels, across; /* `across`: tiles in a row */
} image;

/* One tile of side 6 by `evaluate_image`, or of side 4, a gradient's, by `evaluate_gradient`;
   `down` and `right` are the strides of its pixels. */
INLINE void take_tile(const real *from, long down, long right, long channels, long side, long step,
                      real *to) {
  for (long c = 0; c < channels; c += LANES) {
    vec half[6][6];
    int full = channels - c >= LANES;
    for (long j = 0; j < side; j++) {
      const real *pixel = from + j * right + c;
      vec d[6], e[6];
      if (full) UNROLLED (long i = 0; i < side; i++) d[i] = load(pixel + i * down);
      else UNROLLED (long i = 0; i < side; i++) d[i] = load_some(pixel + i * down, channels - c);
      if (side == 6) evaluate_image(d, e);
      else evaluate_gradient(d, e);
      UNROLLED (long i = 0; i < 6; i++) half[i][j] = e[i];
    }
    UNROLLED (long i = 0; i < 6; i++) {
      vec e[6];
      if (side == 6) evaluate_image(half[i], e);
      else evaluate_gradient(half[i], e);
      UNROLLED (long j = 0; j < 6; j++) store(to + (i * 6 + j) * step + c, e[j]);
    }
  }
}

/* Tiles of an image with a border of 1 (side 6) or of a gradient (side 4), with zeros outside. */
INLINE void take(const real *from, image x, long side, long begin, long end, long T, real *to) {
  long C = x.channels, border = side == 6;
  real patch[36 * C];
  for (long t = begin; t < end; t++, to += whole(C)) {
    long top = t / x.across * 4 - border, left = t % x.across * 4 - border;
    const real *corner = from + (top * x.width + left) * C;
    if (top >= 0 && left >= 0 && top + side <= x.height && left + side <= x.width) {
      take_tile(corner, x.width * C, C, C, side, T * whole(C), to);
      continue;
    }
    for (long i = 0; i < side; i++)
      for (long j = 0; j < side; j++) {
        long row = top + i, column = left + j;
        int inside = row >= 0 && row < x.height && column >= 0 && column < x.width;
        real *pixel = patch + (i * 6 + j) * C;
        if (inside) memcpy(pixel, from + (row * x.width + column) * C, sizeof(real) * (size_t)C);
        else memset(pixel, 0, sizeof(real) * (size_t)C);
      }
    take_tile(patch, 6 * C, C, C, side, T * whole(C), to);
  }
}

/* `seen` numbers with `mean` and squared deviations `squares`, and `count` in v with another mean:
   both together (Chan, Golub and LeVeque 1979). */
INLINE void add_moments(const vec v[4][4], long rows, long columns, double seen, vec *mean,
                        vec *squares) {
  double count = (double)(rows * columns);
  vec sum = {}, own = {};
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < columns; j++) sum += v[i][j];
  sum *= (real)(1 / count);
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < columns; j++) own += (v[i][j] - sum) * (v[i][j] - sum);
  vec apart = sum - *mean;
  *squares += own + apart * apart * (real)(seen * count / (seen + count));
  *mean += apart * (real)(count / (seen + count));
}

/* Tiles of 4x4 from what the products gave, plus the bias if there is one; and, if there is a place
   for them, the moments of what these tiles have. */
static void give(const real *from, long T, const real *bias, image y, long begin, long end,
                 real *to, moment *found) {
  long C = y.channels, width = whole(C), step = T * width;
  real means[width], squares[width];
  double seen = 0;
  memset(means, 0, sizeof means);
  memset(squares, 0, sizeof squares);
  for (long t = begin; t < end; t++, from += width) {
    long top = t / y.across * 4, left = t % y.across * 4;
    long rows = least(4, y.height - top), columns = least(4, y.width - left);
    for (long c = 0; c < C; c += LANES) {
      long count = C - c;
      vec half[4][6], e[4][4], b = bias ? load_up_to(bias + c, count) : (vec){};
      for (long j = 0; j < 6; j++) {
        vec m[6], f[4];
        UNROLLED (long i = 0; i < 6; i++) m[i] = load(from + (i * 6 + j) * step + c);
        interpolate(m, f);
        UNROLLED (long i = 0; i < 4; i++) half[i][j] = f[i];
      }
      for (long i = 0; i < rows; i++) {
        interpolate(half[i], e[i]);
        real *pixel = to + ((top + i) * y.width + left) * C + c;
        UNROLLED (long j = 0; j < 4; j++) e[i][j] += b;
        if (columns == 4 && count >= LANES)
          UNROLLED (long j = 0; j < 4; j++) store(pixel + j * C, e[i][j]);
        else
          for (long j = 0; j < columns; j++) store_up_to(pixel + j * C, e[i][j], count);
      }
      if (found) {
        vec mean = load(means + c), square = load(squares + c);
        add_moments((const vec(*)[4])e, rows, columns, seen, &mean, &square);
        store(means + c, mean);
        store(squares + c, square);
      }
    }
    seen += (double)(rows * columns);
  }
  for (long c = 0; found && c < C; c++) found[c] = (moment){seen, means[c], squares[c]};
}

/* c[m][v] (+)= sum over k of a[m * rows + k * along] * b[k * ld + v], ROWS x VECTORS of them held
   in registers. */
#define PRODUCT(ROWS, VECTORS)                                                                     \
  static void product_##VECTORS##_##ROWS(long K, const real *a, long rows, long along,             \
                                         const real *b, real *c, long ld, int add) {               \
    vec sum[ROWS][VECTORS];                                                                        \
    UNROLLED (int m = 0; m < ROWS; m++)                                                            \
      UNROLLED (int v = 0; v < VECTORS; v++)                                                       \
        sum[m][v] = add ? load(c + m * ld + v * LANES) : (vec){};                                  \
    for (long k = 0; k < K; k++) {                                                                 \
      vec line[VECTORS];                                                                           \
      UNROLLED (int v = 0; v < VECTORS; v++) line[v] = load(b + k * ld + v * LANES);               \
      UNROLLED (int m = 0; m < ROWS; m++) {                                                        \
        vec factor = all(a[m * rows + k * along]);                                                 \
        UNROLLED (int v = 0; v < VECTORS; v++) sum[m][v] += factor * line[v];                      \
      }                                                                                            \
    }                                                                                              \
    UNROLLED (int m = 0; m < ROWS; m++)                                                            \
      UNROLLED (int v = 0; v < VECTORS; v++) store(c + m * ld + v * LANES, sum[m][v]);             \
  }
typedef void product(long, const real *, long, long, const real *, real *, long, int);
#if SIMD == 64 /* 32 registers */
#define WIDEST 5
PRODUCT(12, 1) PRODUCT(12, 2) PRODUCT(8, 3) PRODUCT(6, 4) PRODUCT(5, 5)
PRODUCT(1, 1) PRODUCT(1, 2) PRODUCT(1, 3) PRODUCT(1, 4) PRODUCT(1, 5)
static const long HEIGHTS[] = {12, 12, 8, 6, 5};
static product *const HIGH[] = {product_1_12, product_2_12, product_3_8, product_4_6, product_5_5};
static product *const LOW[] = {product_1_1, product_2_1, product_3_1, product_4_1, product_5_1};
#else /* 16 */
#define WIDEST 3
PRODUCT(12, 1) PRODUCT(6, 2) PRODUCT(4, 3)
PRODUCT(1, 1) PRODUCT(1, 2) PRODUCT(1, 3)
static const long HEIGHTS[] = {12, 6, 4};
static product *const HIGH[] = {product_1_12, product_2_6, product_3_4};
static product *const LOW[] = {product_1_1, product_2_1, product_3_1};
#endif

/* How many vectors of `left` are best done at once: few are left over in the end. */
static long wide(long left) {
  if (left <= WIDEST) return left;
  return WIDEST == 5 && left % 4 == 0 && left % 3 ? 4 : 3;
}

/* (M, K) times (K, width) to (M, width), or added; `rows` and `along` are the strides of a. */
static void multiply(long M, long K, long width, const real *a, long rows, long along,
                     const real *b, real *c, int add) {
  for (long v = 0, step; v < width; v += step * LANES) {
    step = wide((width - v) / LANES);
    long m = 0, height = HEIGHTS[step - 1];
    for (; m + height <= M; m += height)
      HIGH[step - 1](K, a + m * rows, rows, along, b + v, c + m * width + v, width, add);
    for (; m < M; m++)
      LOW[step - 1](K, a + m * rows, rows, along, b + v, c + m * width + v, width, add);
  }
}

/* Weights with strides (O, C, 3, 3) to (36, C, whole(O)). */
void spread_weights(const real *weight, const long *strides, long C, long O, long threads,
                    real *to) {
  long width = whole(O);
#pragma omp parallel for num_threads(threads)
  for (long c = 0; c < C; c++)
    for (long o = 0; o < O; o += LANES) {
      vec g[3][3], half[6][3];
      for (long i = 0; i < 3; i++)
        for (long j = 0; j < 3; j++) {
          const real *from = weight + c * strides[1] + i * strides[2] + j * strides[3];
          real some[LANES] = {0};
          for (long l = 0; l < least(LANES, O - o); l++) some[l] = from[(o + l) * strides[0]];
          g[i][j] = load(some);
        }
      for (long j = 0; j < 3; j++) {
        vec line[3] = {g[0][j], g[1][j], g[2][j]}, e[6];
        evaluate_weights(line, e);
        UNROLLED (long i = 0; i < 6; i++) half[i][j] = e[i];
      }
      for (long i = 0; i < 6; i++) {
        vec e[6];
        evaluate_weights(half[i], e);
        UNROLLED (long j = 0; j < 6; j++) store(to + ((i * 6 + j) * C + c) * width + o, e[j]);
      }
    }
}

/* The transpose of that: the sum of `parts` of (36, C, whole(O)) to weights (O, C, 3, 3). */
void gather(const real *from, long parts, long C, long O, long threads, real *weight) {
  long width = whole(O);
#pragma omp parallel for num_threads(threads)
  for (long c = 0; c < C; c++)
    for (long o = 0; o < O; o += LANES) {
      vec half[3][6];
      for (long j = 0; j < 6; j++) {
        vec u[6], e[3];
        for (long i = 0; i < 6; i++) {
          const real *one = from + ((i * 6 + j) * C + c) * width + o;
          u[i] = load(one);
          for (long part = 1; part < parts; part++) u[i] += load(one + part * POINTS * C * width);
        }
        gather_weights(u, e);
        UNROLLED (long i = 0; i < 3; i++) half[i][j] = e[i];
      }
      for (long i = 0; i < 3; i++) {
        vec e[3];
        gather_weights(half[i], e);
        for (long j = 0; j < 3; j++)
          for (long l = 0; l < least(LANES, O - o); l++)
            weight[((o + l) * C + c) * 9 + i * 3 + j] = e[j][l];
      }
    }
}

/* x (N, H, W, C) to y (N, H, W, O); `spread` as above; `room` for (threads, 36, T, whole(C) +
   whole(O)). If there are `parts`, for (N, blocks, O) moments, also what `put_together` says. */
void convolve(const real *x, const real *spread, const real *bias, real *y, const long *shape,
              long O, long T, long threads, real *room, double eps, moment *parts, real *found) {
  long N = shape[0], H = shape[1], W = shape[2], C = shape[3], across = (W + 3) / 4;
  long tiles = (H + 3) / 4 * across, blocks = (tiles + T - 1) / T;
  image in = {H, W, C, across}, out = {H, W, O, across};
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (long job = 0; job < N * blocks; job++) {
    long n = job / blocks, begin = job % blocks * T, end = least(begin + T, tiles);
    real *taken = room + thread() * POINTS * T * (whole(C) + whole(O));
    real *made = taken + POINTS * T * whole(C);
    take(x + n * H * W * C, in, 6, begin, end, T, taken);
    for (long p = 0; p < POINTS; p++)
      multiply(end - begin, C, whole(O), taken + p * T * whole(C), whole(C), 1,
               spread + p * C * whole(O), made + p * T * whole(O), 0);
    give(made, T, bias, out, begin, end, y + n * H * W * O, parts ? parts + job * O : NULL);
  }
  if (parts) put_together(parts, N, blocks, O, eps, found);
}

/* What x (N, H, W, C) and the gradient of y (N, H, W, O) give for `gather`, in `parts` that are
   made side by side; `room` as above, for each part. */
void correlate(const real *x, const real *gradient, real *to, const long *shape, long O, long T,
               long parts, real *room) {
  long N = shape[0], H = shape[1], W = shape[2], C = shape[3], across = (W + 3) / 4;
  long tiles = (H + 3) / 4 * across, blocks = (tiles + T - 1) / T;
  image in = {H, W, C, across}, out = {H, W, O, across};
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (long part = 0; part < parts; part++) {
    real *taken = room + part * POINTS * T * (whole(C) + whole(O));
    real *given = taken + POINTS * T * whole(C), *sum = to + part * POINTS * C * whole(O);
    if (part >= N * blocks) memset(sum, 0, sizeof(real) * (size_t)(POINTS * C * whole(O)));
    for (long job = part; job < N * blocks; job += parts) {
      long n = job / blocks, begin = job % blocks * T, end = least(begin + T, tiles);
      take(x + n * H * W * C, in, 6, begin, end, T, taken);
      take(gradient + n * H * W * O, out, 4, begin, end, T, given);
      for (long p = 0; p < POINTS; p++)
        multiply(C, end - begin, whole(O), taken + p * T * whole(C), 1, whole(C),
                 given + p * T * whole(O), sum + p * C * whole(O), job > part);
    }
  }
}
