/* Instance normalisation with LeakyReLU of images (N, H, W, C), and its gradient.

   Channels repeat along memory, so `period` numbers, the least that whole vectors and whole pixels
   both divide, are worked on like one wide pixel. An image is cut into pieces that a core's cache
   holds; sums are of a piece in `real` and of all pieces in double, the same for any number of
   threads. */

#include "vectors.h"

#include "moments.h"

#define PIECE 8192 /* numbers, about */
#define SUMS 256   /* at least, side by side: each is of few numbers, which rounds little */

typedef struct {
  long channels, pixels, period, wide; /* of an image; `wide`: periods in a piece */
  long pieces;
} layout;

static layout lay_out(long pixels, long channels) {
  long period = channels;
  while (period % LANES) period += channels;
  while (period < SUMS) period *= 2;
  long wide = PIECE / period + 1, piece = wide * (period / channels);
  return (layout){channels, pixels, period, wide, (pixels + piece - 1) / piece};
}

/* Where a piece begins and how many numbers it has. */
INLINE long span(layout a, long piece, long *count) {
  long begin = piece * a.wide * a.period;
  *count = least(a.wide * a.period, a.pixels * a.channels - begin);
  return begin;
}

static void repeat(const real *from, layout a, real *to) {
  for (long i = 0; i < a.period; i++) to[i] = from[i % a.channels];
}

/* Sums over a piece to two sums for each channel, in double. */
static void fold(const real *first, const real *second, layout a, double *to) {
  for (long c = 0; c < 2 * a.channels; c++) to[c] = 0;
  for (long i = 0; i < a.period; i++) {
    to[2 * (i % a.channels)] += first[i];
    to[2 * (i % a.channels) + 1] += second[i];
  }
}

/* Each number of a piece, LANES at a time, the last of an image fewer. */
#define EACH(i, rest, count, period)                        \
  for (long line = 0; line < count; line += period)         \
    for (long i = 0, rest; i < period && (rest = count - line - i) > 0; i += LANES)

/* What `put_together` says; `room` for (N, pieces, C) moments. A piece is read twice, then
   from the cache: deviations are from its own mean, so that a large one does not drown them. */
void moments(const real *x, long N, long pixels, long C, double eps, long threads, moment *room,
             real *to) {
  layout a = lay_out(pixels, C);
#pragma omp parallel for num_threads(threads)
  for (long job = 0; job < N * a.pieces; job++) {
    long count, begin = span(a, job % a.pieces, &count);
    const real *from = x + job / a.pieces * pixels * C + begin;
    real origin[a.period], first[a.period], second[a.period];
    double sums[2 * C];
    memset(first, 0, sizeof first);
    memset(second, 0, sizeof second);
    EACH (i, rest, count, a.period)
      store(first + i, load(first + i) + load_up_to(from + line + i, rest));
    fold(first, second, a, sums);
    for (long i = 0; i < a.period; i++) origin[i] = (real)(sums[2 * (i % C)] / (double)(count / C));
    memset(first, 0, sizeof first);
    EACH (i, rest, count, a.period) {
      vec d = load_up_to(from + line + i, rest) - load_up_to(origin + i, rest);
      store(first + i, load(first + i) + d);
      store(second + i, load(second + i) + d * d);
    }
    fold(first, second, a, sums);
    for (long c = 0; c < C; c++)
      room[job * C + c] = moment_of((double)(count / C), origin[c], sums[2 * c], sums[2 * c + 1]);
  }
  put_together(room, N, a.pieces, C, eps, to);
}

/* y = LeakyReLU of x normalised; y may be x. The slope is at most 1. */
void activate(const real *x, const real *found, double slope, long N, long pixels, long C,
              long threads, real *y) {
  layout a = lay_out(pixels, C);
  vec below = all((real)slope);
#pragma omp parallel for num_threads(threads)
  for (long job = 0; job < N * a.pieces; job++) {
    long n = job / a.pieces, count, begin = span(a, job % a.pieces, &count) + n * pixels * C;
    real mean[a.period], left[a.period], scale[a.period];
    repeat(found + n * C, a, mean);
    repeat(found + (N + n) * C, a, left);
    repeat(found + (2 * N + n) * C, a, scale);
    EACH (i, rest, count, a.period) {
      const long at = begin + line + i;
      vec v = (load_up_to(x + at, rest) - load(mean + i) - load(left + i)) * load(scale + i);
      store_up_to(y + at, where_above(v, v, v * below), rest);
    }
  }
}

/* What `activate` gave, y, and its gradient to that of its input; the slope is not 0. `room` for
   (N, pieces, C, 2) doubles. */
void activate_gradient(const real *gradient, const real *y, const real *found, double slope, long N,
                       long pixels, long C, long threads, double *room, real *to) {
  layout a = lay_out(pixels, C);
  vec below = all((real)slope), above = all((real)(1 / slope));
#pragma omp parallel for num_threads(threads)
  for (long job = 0; job < N * a.pieces; job++) {
    long count, begin = span(a, job % a.pieces, &count) + job / a.pieces * pixels * C;
    real level[a.period], along[a.period];
    memset(level, 0, sizeof level);
    memset(along, 0, sizeof along);
    EACH (i, rest, count, a.period) {
      const long at = begin + line + i;
      vec g = load_up_to(gradient + at, rest), v = load_up_to(y + at, rest);
      /* on both sides of 0 this is the gradient of the normalised times the normalised */
      store(along + i, load(along + i) + g * v);
      store(level + i, load(level + i) + where_above(v, g, g * below));
    }
    fold(level, along, a, room + job * C * 2);
  }
  for (long n = 0; n < N; n++)
    for (long piece = 1; piece < a.pieces; piece++)
      for (long c = 0; c < 2 * C; c++)
        room[n * a.pieces * C * 2 + c] += room[(n * a.pieces + piece) * C * 2 + c];
#pragma omp parallel for num_threads(threads)
  for (long job = 0; job < N * a.pieces; job++) {
    long n = job / a.pieces, count, begin = span(a, job % a.pieces, &count) + n * pixels * C;
    const double *sums = room + n * a.pieces * C * 2;
    real level[a.period], along[a.period], scale[a.period];
    repeat(found + (2 * N + n) * C, a, scale);
    for (long i = 0; i < a.period; i++) {
      level[i] = (real)(sums[2 * (i % C)] / (double)pixels);
      along[i] = (real)(sums[2 * (i % C) + 1] / (double)pixels);
    }
    EACH (i, rest, count, a.period) {
      const long at = begin + line + i;
      vec g = load_up_to(gradient + at, rest), v = load_up_to(y + at, rest);
      vec inner = where_above(v, g, g * below), normal = where_above(v, v, v * above);
      vec left = inner - load(level + i) - normal * load(along + i);
      store_up_to(to + at, left * load(scale + i), rest);
    }
  }
}
