"""The sweeps and draws of `_sweep_kernels` and `_auxiliary_kernels` on a GPU, with one block of threads per sample.

The layout, the random streams and the arithmetic of a spin are those of the CPU, so samples have the same bytes. A
thread follows one random stream through the rows, whereas a CPU follows a row through the streams. The first axis of
arrays is the sample.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics import _auxiliary_kernels, _elementary_kernels, _fourier_kernels, _lattice_kernels, _spin_kernels
from rayspin.physics._cuda import (
    THREADS,
    cuda,
    cuda_kernel,
    device,
    from_bits,
    load,
    on_gpu,
    sqrt,
    store,
    times,
    to_bits,
)
from rayspin.physics._lattice_kernels import LANES, START
from rayspin.physics._sweep_kernels import BLOCK, WEAK

two_words, circle, exponential = map(
    on_gpu, (_elementary_kernels.two_words, _elementary_kernels.circle, _elementary_kernels.exponential)
)
at, place, local_field = map(on_gpu, (_lattice_kernels.at, _lattice_kernels.place, _lattice_kernels.local_field))
reciprocals_of, drawn, drawn_in_weak_field = map(
    on_gpu, (_spin_kernels.reciprocals_of, _spin_kernels.drawn, _spin_kernels.drawn_in_weak_field)
)
square_of, reflected, aligned = map(on_gpu, (_spin_kernels.square_of, _spin_kernels.reflected, _spin_kernels.aligned))
gaussian_pair, couple, coupled_here = map(
    on_gpu, (_auxiliary_kernels.gaussian_pair, _auxiliary_kernels.couple, _auxiliary_kernels.coupled_here)
)
butterfly, accumulated = on_gpu(_fourier_kernels.butterfly), on_gpu(_fourier_kernels.accumulated)

_HALF_LN2 = np.float32(0.5) * np.float32(0.6931471805599453)
_ZERO = np.float32(0)


@device
def _padded(columns):
    """Return the sites of one color per row, rounded up to whole vectors of a CPU."""
    return (columns + 2 * LANES - 1) // (2 * LANES) * LANES


@device
def _field_of(other, site, here, left, below, above, k, step, couplings):
    """Return the field at the k-th site of a row; `step` is 0 if the site field is a single vector."""
    return local_field(other, site, (here + k) * step, left + k, below + k, above + k, couplings)


@device
def _put(own, here, k, count, periodic, sx, sy, sz):
    """Write the k-th spin of a row, and the sites that continue the row at its ends (`_lattice_kernels.close_row`)."""
    x, y, z = own
    if k != count:
        store(x, here + k, sx)
        store(y, here + k, sy)
        store(z, here + k, sz)
    if k == 0 or k == count - 1:
        if not periodic:
            sx, sy, sz = _ZERO, _ZERO, _ZERO
        if k == 0:
            store(x, here + count, sx)
            store(y, here + count, sy)
            store(z, here + count, sz)
        if k == count - 1:
            store(x, here - 1, sx)
            store(y, here - 1, sy)
            store(z, here - 1, sz)


@device
def _components(vectors, sample, color):
    return vectors[sample, color, 0], vectors[sample, color, 1], vectors[sample, color, 2]


@device
def _streams(states, sample, half):
    return states[sample, half, 0], states[sample, half, 1], states[sample, half, 2], states[sample, half, 3]


@device
def _heat_bath(own, other, site, old, new, weak_rows, stamp, color, lattice, couplings, step, beta):
    """Draw every spin of one color anew (`_sweep_kernels._heat_bath`).

    Random streams advance from `old` to `new`, because rows with a weak field are drawn again from the old states.
    """
    rows, columns, periodic = lattice
    padded = _padded(columns)
    together = max(1, BLOCK // padded)
    unit = _HALF_LN2 / beta
    weak = to_bits((WEAK / beta) * (WEAK / beta))
    any_weak = 0
    for stream in range(cuda.threadIdx.x, together * padded, THREADS):
        a, b, c, d = load(old[0], stream), load(old[1], stream), load(old[2], stream), load(old[3], stream)
        k, within = stream % padded, stream // padded
        for first in range(0, rows, together):
            one, two, a, b, c, d = two_words(a, b, c, d)
            row = first + within
            if row < rows:
                count, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
                hx, hy, hz = _field_of(other, site, here, left, below, above, k, step, couplings)
                square = square_of(hx, hy, hz)
                if to_bits(square) < weak:
                    any_weak = 1
                    weak_rows[row] = stamp
                cosine, sine = circle(two)
                inverse, reciprocal = reciprocals_of(square, hz)
                sx, sy, sz = drawn(hx, hy, hz, inverse, reciprocal, exponential(one), cosine, sine, unit)
                _put(own, here, k, count, periodic, sx, sy, sz)
        store(new[0], stream, a)
        store(new[1], stream, b)
        store(new[2], stream, c)
        store(new[3], stream, d)
    if cuda.syncthreads_or(any_weak):
        for stream in range(cuda.threadIdx.x, together * padded, THREADS):
            a, b, c, d = load(old[0], stream), load(old[1], stream), load(old[2], stream), load(old[3], stream)
            k, within = stream % padded, stream // padded
            for first in range(0, rows, together):
                one, two, a, b, c, d = two_words(a, b, c, d)
                row = first + within
                if row < rows and weak_rows[row] == stamp:
                    count, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
                    hx, hy, hz = _field_of(other, site, here, left, below, above, k, step, couplings)
                    cosine, sine = circle(two)
                    sx, sy, sz = drawn_in_weak_field(hx, hy, hz, exponential(one), cosine, sine, unit)
                    _put(own, here, k, count, periodic, sx, sy, sz)
        cuda.syncthreads()


@device
def _over_relax(own, other, site, color, lattice, couplings, step):
    """Reflect every spin of one color about its field."""
    rows, columns, periodic = lattice
    padded = _padded(columns)
    for i in range(cuda.threadIdx.x, rows * padded, THREADS):
        row, k = i // padded, i % padded
        count, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
        field = _field_of(other, site, here, left, below, above, k, step, couplings)
        sx, sy, sz = reflected(at(own, here + k), field)
        _put(own, here, k, count, periodic, sx, sy, sz)
    cuda.syncthreads()


@cuda_kernel
def heat_bath_sweeps(
    spins, site, states, weak_rows, half_sweeps, rows, columns, periodic, exchange, dmi, step, betas, over_relaxation
):
    """Perform `_sweep_kernels.heat_bath_sweeps` on many samples.

    Args:
        spins: (N, 2, 3, n) float32, packed.
        site: (N, 2, 3, n) site fields, or (N, 2, 3, 1) with one vector per color, for which `step` is 0.
        states: (N, 2, 4, streams) uint32; the first of the two is read and written, the second is scratch.
        weak_rows: (N, rows) int32, zeros before the first call.
        half_sweeps: number of half-sweeps done before.
        rows: rows of the lattice.
        columns: columns of the lattice.
        periodic: whether the lattice is periodic.
        exchange: strength of the exchange, J, float32.
        dmi: strength of the interfacial DMI, J, float32.
        step: 1, or 0 for a single site vector.
        betas: (sweeps,) float32, inverse temperatures.
        over_relaxation: reflections after each sweep.
    """
    sample = cuda.blockIdx.x
    lattice, couplings = (rows, columns, periodic), (exchange, dmi)
    for sweep in range(betas.size):
        for color in range(2):
            own, other = _components(spins, sample, color), _components(spins, sample, 1 - color)
            own_site = _components(site, sample, color)
            old, new = _streams(states, sample, color), _streams(states, sample, 1 - color)
            stamp = half_sweeps + 2 * sweep + color + 1
            _heat_bath(
                own, other, own_site, old, new, weak_rows[sample], stamp, color, lattice, couplings, step, betas[sweep]
            )
        for half_sweep in range(2 * over_relaxation):
            color = half_sweep & 1
            own, other = _components(spins, sample, color), _components(spins, sample, 1 - color)
            own_site = _components(site, sample, color)
            _over_relax(own, other, own_site, color, lattice, couplings, step)


@cuda_kernel
def quench_sweeps(
    spins, site, rows, columns, periodic, exchange, dmi, step, sweeps, tolerance, overshoot, done, torque
):
    """Perform `_sweep_kernels.quench_sweeps` on many samples; each sample stops independently.

    Args:
        spins: as in `heat_bath_sweeps`.
        site: as in `heat_bath_sweeps`.
        rows: as in `heat_bath_sweeps`.
        columns: as in `heat_bath_sweeps`.
        periodic: as in `heat_bath_sweeps`.
        exchange: as in `heat_bath_sweeps`.
        dmi: as in `heat_bath_sweeps`.
        step: as in `heat_bath_sweeps`.
        sweeps: (N,) int32, maximum number of sweeps; 0 leaves a sample unchanged.
        tolerance: torque at which a sample stops, J, float32.
        overshoot: how far spins turn beyond their fields, float32.
        done: (N,) int32, output: number of sweeps done.
        torque: (N,) float32, output unless `sweeps` is 0: the largest torque in the last sweep, J.
    """
    sample = cuda.blockIdx.x
    largest = cuda.shared.array(1, np.int32)
    couplings = exchange, dmi
    padded = _padded(columns)
    count_done = 0
    for sweep in range(sweeps[sample]):
        if cuda.threadIdx.x == 0:
            largest[0] = 0
        cuda.syncthreads()
        mine = np.int32(0)
        for color in range(2):
            own, other = _components(spins, sample, color), _components(spins, sample, 1 - color)
            own_site = _components(site, sample, color)
            for i in range(cuda.threadIdx.x, rows * padded, THREADS):
                row, k = i // padded, i % padded
                count, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
                hx, hy, hz = _field_of(other, own_site, here, left, below, above, k, step, couplings)
                sx, sy, sz = at(own, here + k)
                sx, sy, sz, square = aligned(sx, sy, sz, hx, hy, hz, overshoot)
                if k < count:
                    mine = max(mine, to_bits(square))
                _put(own, here, k, count, periodic, sx, sy, sz)
            cuda.syncthreads()
        cuda.atomic.max(largest, 0, mine)
        cuda.syncthreads()
        count_done = sweep + 1
        met = sqrt(from_bits(largest[0]))
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            torque[sample] = met
        if met <= tolerance:
            break
    if cuda.threadIdx.x == 0:
        done[sample] = count_done


@device
def _fill(states, sample, noise):
    """Fill the noise of a sample with normal numbers (`_auxiliary_kernels.gaussians`)."""
    a_s, b_s, c_s, d_s = states[sample, 0], states[sample, 1], states[sample, 2], states[sample, 3]
    width = a_s.size
    for k in range(cuda.threadIdx.x, width, THREADS):
        a, b, c, d = load(a_s, k), load(b_s, k), load(c_s, k), load(d_s, k)
        for first in range(0, noise.size, 2 * width):
            one, two, a, b, c, d = two_words(a, b, c, d)
            cosine, sine = gaussian_pair(one, two)
            store(noise, first + k, cosine)
            store(noise, first + width + k, sine)
        store(a_s, k, a)
        store(b_s, k, b)
        store(c_s, k, c)
        store(d_s, k, d)
    cuda.syncthreads()


@cuda_kernel
def draw_local(spins, external, site, states, noise, deviation, active, matrix, factor):
    """Perform `_auxiliary_kernels.draw_local` on the active samples, after `gaussians` unless the deviation is 0.

    Args:
        spins: (N, 2, 3, n) float32, packed.
        external: (3,) float32.
        site: (N, 2, 3, n), output.
        states: (N, 4, STREAMS) uint32.
        noise: (N, size) float32, scratch, size at least 6 n.
        deviation: sqrt(T).
        active: (N,) int32, 1 for active samples, else 0.
        matrix: (6,), as in `_auxiliary_kernels.draw_local`.
        factor: (6,), as in `_auxiliary_kernels.draw_local`.
    """
    sample = cuda.blockIdx.x
    if active[sample] == 0:
        return
    if deviation > 0:
        _fill(states, sample, noise[sample])
    m = matrix[0], matrix[1], matrix[2], matrix[3], matrix[4], matrix[5]
    l = factor[0], factor[1], factor[2], factor[3], factor[4], factor[5]  # noqa: E741
    n = spins.shape[3]
    for color in range(2):
        sx, sy, sz = _components(spins, sample, color)
        hx, hy, hz = _components(site, sample, color)
        g = noise[sample]
        for k in range(cuda.threadIdx.x, n, THREADS):
            at = 3 * n * color + k
            u, v, w = deviation * load(g, at), deviation * load(g, at + n), deviation * load(g, at + 2 * n)
            fx, fy, fz = coupled_here(load(sx, k), load(sy, k), load(sz, k), u, v, w, external, m, l)
            store(hx, k, fx)
            store(hy, k, fy)
            store(hz, k, fz)


@cuda_kernel
def extrapolate(site, before, overshoot, active):
    """Replace the site fields of the active samples by site + overshoot (site - before)."""
    sample = cuda.blockIdx.x
    if active[sample] == 0:
        return
    for color in range(2):
        for component in range(3):
            now, then = site[sample, color, component], before[sample, color, component]
            for k in range(cuda.threadIdx.x, now.size, THREADS):
                store(now, k, load(now, k) + times(overshoot, load(now, k) - load(then, k)))


@device
def _fourier(xr, xi, yr, yi, width, factors, cosines, sines):
    """Perform `_fourier_kernels.fourier`; the result is in x after an even number of factors, else in y."""
    length, across = cosines.size, width
    for stage in range(factors.size):
        factor = factors[stage]
        length //= factor
        if stage & 1:
            ar, ai, br, bi = yr, yi, xr, xi
        else:
            ar, ai, br, bi = xr, xi, yr, yi
        if factor == 4:
            _radix4(ar, ai, br, bi, length, across, cosines, sines)
        else:
            _radix(ar, ai, br, bi, factor, length, across, cosines, sines)
        cuda.syncthreads()
        across *= factor


@device
def _radix4(xr, xi, yr, yi, length, across, cosines, sines):
    step = cosines.size // (4 * length)
    for i in range(cuda.threadIdx.x, length * across, THREADS):
        q = i // across
        a, far = i, length * across
        ar, br, cr, dr = load(xr, a), load(xr, a + far), load(xr, a + 2 * far), load(xr, a + 3 * far)
        ai, bi, ci, di = load(xi, a), load(xi, a + far), load(xi, a + 2 * far), load(xi, a + 3 * far)
        c1, s1 = load(cosines, q * step), load(sines, q * step)
        c2, s2 = load(cosines, 2 * q * step), load(sines, 2 * q * step)
        c3, s3 = load(cosines, 3 * q * step), load(sines, 3 * q * step)
        ar, ai, br, bi, cr, ci, dr, di = butterfly(ar, ai, br, bi, cr, ci, dr, di, c1, s1, c2, s2, c3, s3)
        out = i + 3 * q * across
        store(yr, out, ar)
        store(yi, out, ai)
        store(yr, out + across, br)
        store(yi, out + across, bi)
        store(yr, out + 2 * across, cr)
        store(yi, out + 2 * across, ci)
        store(yr, out + 3 * across, dr)
        store(yi, out + 3 * across, di)


@device
def _radix(xr, xi, yr, yi, factor, length, across, cosines, sines):
    n = cosines.size
    step = n // (factor * length)
    for i in range(cuda.threadIdx.x, length * across * factor, THREADS):
        target, k = i // across, i % across
        q, j = target // factor, target % factor
        sum_r, sum_i = _ZERO, _ZERO
        for m in range(factor):
            turn = (m * j * (n // factor) + j * q * step) % n
            c, s = load(cosines, turn), load(sines, turn)
            source = (q + m * length) * across + k
            r, im = load(xr, source), load(xi, source)
            sum_r, sum_i = accumulated(r, im, c, s, sum_r, sum_i)
        store(yr, i, sum_r)
        store(yi, i, sum_i)


@cuda_kernel
def draw_convolved(
    spins, external, site, states, noise, deviation, active, operators, rows, padded, spectra, buffers,
    factors_y, cosines_y, sines_y, factors_x, cosines_x, sines_x, join_cosines, join_sines,
):  # fmt: skip
    """Perform `_auxiliary_kernels.draw_convolved` on the active samples, after `gaussians` unless the deviation is 0.

    Args:
        spins: (N, 2, 3, n) float32, packed.
        external: (3,) float32.
        site: (N, 2, 3, n), output.
        states: (N, 4, STREAMS) uint32.
        noise: (N, size) float32, scratch, size at least half * 12 * lanes.
        deviation: sqrt(T).
        active: (N,) int32, 1 for active samples, else 0.
        operators: (half, 24 * lanes) float32.
        rows: rows of the lattice.
        padded: packed sites of one color per row.
        spectra: (N, 3, 2, half * 2 * lanes) float32, scratch.
        buffers: (N, 4, max(rows * padded, half * 2 * lanes)) float32, scratch.
        factors_y: factors of the number of rows, from `twiddles`.
        cosines_y: cosines of the same `twiddles`.
        sines_y: sines of the same `twiddles`.
        factors_x: factors of half the number of columns, from `twiddles`.
        cosines_x: cosines of the same `twiddles`.
        sines_x: sines of the same `twiddles`.
        join_cosines: cosines of `twiddles` of the number of columns.
        join_sines: sines of the same `twiddles`.
    """
    sample = cuda.blockIdx.x
    if active[sample] == 0:
        return
    if deviation > 0:
        _fill(states, sample, noise[sample])
    half = operators.shape[0]
    lanes = operators.shape[1] // 24
    buffer = buffers[sample, 0], buffers[sample, 1], buffers[sample, 2], buffers[sample, 3]
    along_y, along_x = (factors_y, cosines_y, sines_y), (factors_x, cosines_x, sines_x)
    for component in range(3):
        colors = spins[sample, 0, component], spins[sample, 1, component]
        spectrum = spectra[sample, component, 0], spectra[sample, component, 1]
        _transform(colors, spectrum, buffer, rows, padded, half, lanes, along_y, along_x)
    xr, xi = spectra[sample, 0, 0], spectra[sample, 0, 1]
    yr, yi = spectra[sample, 1, 0], spectra[sample, 1, 1]
    zr, zi = spectra[sample, 2, 0], spectra[sample, 2, 1]
    for i in range(cuda.threadIdx.x, half * lanes, THREADS):
        j, n = i // lanes, i % lanes
        g, m = noise[sample, j * 12 * lanes : (j + 1) * 12 * lanes], operators[j]
        cosine, sine = load(join_cosines, j), load(join_sines, j)
        couple(xr, xi, yr, yi, zr, zi, 2 * lanes * j + n, g, m, n, lanes, deviation, cosine, sine)
    cuda.syncthreads()
    for component in range(3):
        colors = site[sample, 0, component], site[sample, 1, component]
        spectrum = spectra[sample, component, 0], spectra[sample, component, 1]
        _transform_back(colors, spectrum, buffer, rows, padded, half, lanes, along_y, along_x, external[component])


@device
def _transform(colors, spectrum, buffer, rows, padded, half, lanes, along_y, along_x):
    """Write twice the spectra of one component's even columns, followed by the odd ones, with k_y in the lanes."""
    first, second = colors
    er, ei = spectrum
    a, b, c, d = buffer
    # Even and odd columns: colors 0 and 1 in even rows, 1 and 0 in odd ones.
    for i in range(cuda.threadIdx.x, rows * padded, THREADS):
        row, k = i // padded, i % padded
        here = START + row * (padded + LANES) + k
        zero, one = load(first, here), load(second, here)
        store(a, i, one if row & 1 else zero)
        store(b, i, zero if row & 1 else one)
    cuda.syncthreads()
    factors, cosines, sines = along_y
    _fourier(a, b, c, d, padded, factors, cosines, sines)
    wr, wi = (c, d) if factors.size & 1 else (a, b)
    for i in range(cuda.threadIdx.x, (rows // 2 + 1) * half, THREADS):
        ky, k = i // half, i % half
        here, mirror = ky * padded + k, (rows - ky) % rows * padded + k
        r, im, mr, mi = load(wr, here), load(wi, here), load(wr, mirror), load(wi, mirror)
        target = k * 2 * lanes + ky
        store(er, target, r + mr)
        store(ei, target, im - mi)
        store(er, target + lanes, im + mi)
        store(ei, target + lanes, mr - r)
    cuda.syncthreads()
    _transform_in_place(er, ei, a, b, 2 * lanes, half, along_x)


@device
def _transform_back(colors, spectrum, buffer, rows, padded, half, lanes, along_y, along_x, external):
    """Reverse `_transform`, and add the external field."""
    first, second = colors
    er, ei = spectrum
    a, b, c, d = buffer
    # With real and imaginary parts exchanged, a transform is its inverse.
    _transform_in_place(ei, er, a, b, 2 * lanes, half, along_x)
    for i in range(cuda.threadIdx.x, (rows // 2 + 1) * half, THREADS):
        ky, k = i // half, i % half
        here, mirror = ky * padded + k, (rows - ky) % rows * padded + k
        source = k * 2 * lanes + ky
        r, im = load(er, source), load(ei, source)
        odd_r, odd_i = load(er, source + lanes), load(ei, source + lanes)
        if here == mirror:
            im, odd_i = _ZERO, _ZERO
        store(a, here, r - odd_i)
        store(b, here, im + odd_r)
        store(a, mirror, r + odd_i)
        store(b, mirror, odd_r - im)
    cuda.syncthreads()
    factors, cosines, sines = along_y
    _fourier(b, a, d, c, padded, factors, cosines, sines)
    wr, wi = (c, d) if factors.size & 1 else (a, b)
    for i in range(cuda.threadIdx.x, rows * padded, THREADS):
        row, k = i // padded, i % padded
        here = START + row * (padded + LANES) + k
        zero, one = load(wr, i), load(wi, i)
        store(first, here, external + (one if row & 1 else zero))
        store(second, here, external + (zero if row & 1 else one))
    cuda.syncthreads()


@device
def _transform_in_place(xr, xi, yr, yi, width, length, tables):
    factors, cosines, sines = tables
    _fourier(xr, xi, yr, yi, width, factors, cosines, sines)
    if factors.size & 1:
        for k in range(cuda.threadIdx.x, width * length, THREADS):
            store(xr, k, load(yr, k))
            store(xi, k, load(yi, k))
        cuda.syncthreads()
