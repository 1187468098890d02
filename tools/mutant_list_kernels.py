"""The faults that `make mutants` plants in the kernels in C and in what hands over to them."""

from __future__ import annotations

from mutants import Mutant

KERNEL_MUTANTS = [
    Mutant(
        "a-point-of-winograds-elsewhere",
        "src/dealias/kernels/winograd.c",
        "to[3] = P * PP * odd + Q * QQ * odd2 + m[5];",
        "to[3] = P * PP * odd + Q * PP * odd2 + m[5];",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "tiles-without-a-border",
        "src/dealias/kernels/winograd.c",
        "long C = x.channels, border = side == 6;",
        "long C = x.channels, border = 0;",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "gradients-of-one-part-alone",
        "src/dealias/kernels/winograd.c",
        "for (long part = 1; part < parts; part++) u[i]",
        "for (long part = 1; part < 1; part++) u[i]",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "first-block-of-tiles-alone",
        "src/dealias/kernels/winograd.c",
        "given + p * T * whole(O), sum + p * C * whole(O), job > part);",
        "given + p * T * whole(O), sum + p * C * whole(O), 0);",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "threads-compute-in-one-place",
        "src/dealias/kernels/winograd.c",
        "room + thread() * POINTS * T",
        "room + 0 * POINTS * T",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "deviations-from-zero",
        "src/dealias/kernels/winograd.c",
        "own += (v[i][j] - sum) * (v[i][j] - sum);",
        "own += v[i][j] * v[i][j] - sum * sum;",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "parts-of-one-weight",
        "src/dealias/kernels/moments.h",
        "share = one.count / (all.count + one.count);",
        "share = .5;",
        "tests/kernels/test_norm.py",
    ),
    Mutant(
        "what-rounding-takes-from-a-mean",
        "src/dealias/kernels/norm.c",
        "load_up_to(x + at, rest) - load(mean + i) - load(left + i)",
        "load_up_to(x + at, rest) - load(mean + i)",
        "tests/kernels/test_norm.py",
    ),
    Mutant(
        "slope-forgotten-backward",
        "src/dealias/kernels/norm.c",
        "vec inner = where_above(v, g, g * below)",
        "vec inner = where_above(v, g, g)",
        "tests/kernels/test_norm.py",
    ),
    Mutant(
        "autograd-not-told-of-what-is-overwritten",
        "src/dealias/kernels/norm.py",
        "    torch.autograd.graph.increment_version(x)\n",
        "",
        "tests/kernels/test_norm.py",
    ),
    Mutant(
        "weights-not-turned",
        "src/dealias/kernels/convolution.py",
        "return c_void_p(last), (into, out, -down, -right)",
        "return c_void_p(weight.data_ptr()), (into, out, down, right)",
        "tests/kernels/test_convolution.py",
    ),
    Mutant(
        "kept-convolutions-of-torch-alone",
        "src/dealias/engine/recompute.py",
        "    torch.ops.dealias.conv3x3_moments.default,\n",
        "",
        "tests/kernels/test_networks.py",
    ),
    Mutant(
        "times-measured-with-other-kernels",
        "src/dealias/engine/workspace.py",
        'f"operations-{version()}"',
        '"operations-torch"',
        "tests/engine/test_workspace.py",
    ),
    Mutant(
        "calls-as-quick-among-much-data",
        "src/dealias/engine/ceilings.py",
        "return self.call if moved < OWN_CACHE else self.cold_call",
        "return self.call",
        "tests/engine/test_ceilings.py",
    ),
    Mutant(
        "plans-for-a-gpu-with-kernels-of-a-cpu",
        "src/dealias/kernels/build.py",
        'if device == "cpu" and "cpu" in _asked:',
        'if "cpu" in _asked:',
        "tests/kernels",
    ),
]
