"""Compiled draws of the auxiliary Gaussian field phi = M S + sqrt(T) L g (what it is for: `auxiliary`).

With a dipole term M and L L^T = M are convolutions, applied in Fourier space; g is white noise, drawn there.

The transform of a packed checkerboard. In row y the even columns belong to colour y % 2, the odd ones to the other,
both contiguous. Taken as real and imaginary part of one number they are transformed along y together; the symmetric
and antisymmetric parts under k_y -> -k_y are their spectra, of which k_y = 0 .. rows / 2 is kept. After a transpose
both are transformed along x, k_y in the vector lanes; the last step that joins even and odd columns is taken
together with the product by M. Then all the way back. No step reverses or interleaves numbers within a vector.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._elementary_kernels import circle, exponential, two_words
from rayspin.physics._fourier_kernels import fourier
from rayspin.physics._lattice_kernels import LANES, START
from rayspin.physics._numba import fma, inlined, kernel, load, restrict, sqrt, start, store, times

_HALF_LN2 = np.float32(0.34657359027997264)


@kernel
def gaussians(states, out):
    """Fills a flat array with independent normal numbers, by Box and Muller's method, up to 6.5 deviations.

    Args:
        states: (4, width) uint32, width streams.
        out: float32, in size a multiple of 2 width.
    """
    width = states.shape[1]
    streams = start(states[0]), start(states[1]), start(states[2]), start(states[3])
    for first in range(0, out.size, 2 * width):
        _gaussian_pairs(streams, start(out[first:]), start(out[first + width :]), width)


@kernel
def _gaussian_pairs(streams, cosines, sines, width):
    restrict()
    a, b, c, d = streams
    for k in range(width):
        one, two, na, nb, nc, nd = two_words(load(a, k), load(b, k), load(c, k), load(d, k))
        store(a, k, na)
        store(b, k, nb)
        store(c, k, nc)
        store(d, k, nd)
        cosine, sine = gaussian_pair(one, two)
        store(cosines, k, cosine)
        store(sines, k, sine)


@inlined
def gaussian_pair(one, two):
    """Two normal numbers from two times 32 random bits."""
    half_radius = sqrt(exponential(one) * _HALF_LN2)
    cosine, sine = circle(two)
    return half_radius * cosine, half_radius * sine


@kernel
def draw_local(spins, external, site, noise, matrix, factor, deviation):
    """Site fields external + M S + deviation L g where M and L are the same 3x3 matrices at each site.

    Args:
        spins: (2, 3, n) float32, packed.
        external: (3,) float32.
        site: (2, 3, n) float32, written.
        noise: (2, 3, n) float32, normal numbers.
        matrix: (6,) float32: xx, xy, xz, yy, yz, zz of M.
        factor: (6,) float32: xx, yx, zx, yy, zy, zz of L.
        deviation: sqrt(T).
    """
    for colour in range(2):
        sx, sy, sz = spins[colour]
        gx, gy, gz = noise[colour]
        hx, hy, hz = site[colour]
        for k in range(spins.shape[2]):
            x, y, z = sx[k], sy[k], sz[k]
            u, v, w = deviation * gx[k], deviation * gy[k], deviation * gz[k]
            hx[k], hy[k], hz[k] = coupled_here(x, y, z, u, v, w, external, matrix, factor)


@inlined
def coupled_here(x, y, z, u, v, w, external, matrix, factor):
    """Field external + M (x, y, z) + L (u, v, w) at one site; matrices as in `draw_local`."""
    xx, xy, xz, yy, yz, zz = matrix
    lxx, lyx, lzx, lyy, lzy, lzz = factor
    hx = external[0] + times(xx, x) + times(xy, y) + times(xz, z) + times(lxx, u)
    hy = external[1] + times(xy, x) + times(yy, y) + times(yz, z) + times(lyx, u) + times(lyy, v)
    hz = external[2] + times(xz, x) + times(yz, y) + times(zz, z) + times(lzx, u) + times(lzy, v) + times(lzz, w)
    return hx, hy, hz


@kernel
def draw_convolved(
    spins, external, site, noise, operators, deviation, lattice, spectra, buffers, along_y, along_x, joins
):
    """Site fields external + M S + deviation L g where M and L act in Fourier space.

    Args:
        spins: (2, 3, n) float32, packed.
        external: (3,) float32.
        site: (2, 3, n) float32, written.
        noise: (half, 12, lanes) float32, normal numbers; half = columns / 2, lanes >= rows / 2 + 1.
        operators: (half, 24, lanes) float32: at k_x = 2 pi j / columns the six numbers of M as in `draw_local`, at
            k_x + pi the same, then those of L; normalized (`auxiliary`).
        deviation: sqrt(T).
        lattice: rows, padded.
        spectra: (3, 2, half * 2 * lanes) float32, space for the spectra of three components.
        buffers: (4, max(rows * padded, half * 2 * lanes)) float32.
        along_y: what `twiddles` gives for the number of rows.
        along_x: for half the number of columns.
        joins: cos and -sin of 2 pi j / columns.
    """
    rows, padded = lattice
    half, lanes = noise.shape[0], noise.shape[2]
    a, b, c, d = start(buffers[0]), start(buffers[1]), start(buffers[2]), start(buffers[3])
    for component in range(3):
        _gather(start(spins[0, component]), start(spins[1, component]), a, b, rows, padded)
        wr, wi = fourier(a, b, c, d, padded, *along_y)
        er, ei = start(spectra[component, 0]), start(spectra[component, 1])
        _split(wr, wi, er, ei, rows, padded, half, lanes)
        _transform_in_place(er, ei, a, b, 2 * lanes, half, along_x)
    xr, xi = start(spectra[0, 0]), start(spectra[0, 1])
    yr, yi = start(spectra[1, 0]), start(spectra[1, 1])
    zr, zi = start(spectra[2, 0]), start(spectra[2, 1])
    for j in range(half):
        g, m = start(noise[j]), start(operators[j])
        _couple(xr, xi, yr, yi, zr, zi, 2 * lanes * j, g, m, lanes, deviation, joins[0][j], joins[1][j])
    for component in range(3):
        er, ei = start(spectra[component, 0]), start(spectra[component, 1])
        _transform_in_place(ei, er, a, b, 2 * lanes, half, along_x)
        _merge(er, ei, a, b, rows, padded, half, lanes)
        wi, wr = fourier(b, a, d, c, padded, *along_y)
        _scatter(wr, wi, start(site[0, component]), start(site[1, component]), rows, padded, external[component])


@kernel
def _transform_in_place(xr, xi, yr, yi, width, length, tables):
    zr, zi = fourier(xr, xi, yr, yi, width, *tables)
    if tables[0].size % 2:
        _copy(zr, xr, width * length)
        _copy(zi, xi, width * length)


@kernel
def _copy(source, target, size):
    restrict()
    for k in range(size):
        store(target, k, load(source, k))


@kernel
def _gather(first, second, even, odd, rows, padded):
    """The even and the odd columns of one component: colour 0 and 1 in even rows, 1 and 0 in odd ones."""
    restrict()
    for row in range(rows):
        here = START + row * (padded + LANES)
        for k in range(padded):
            zero, one = load(first, here + k), load(second, here + k)
            store(even, row * padded + k, one if row & 1 else zero)
            store(odd, row * padded + k, zero if row & 1 else one)


@kernel
def _scatter(even, odd, first, second, rows, padded, external):
    restrict()
    for row in range(rows):
        here = START + row * (padded + LANES)
        for k in range(padded):
            zero, one = load(even, row * padded + k), load(odd, row * padded + k)
            store(first, here + k, external + (one if row & 1 else zero))
            store(second, here + k, external + (zero if row & 1 else one))


@kernel
def _split(wr, wi, er, ei, rows, padded, half, lanes):
    """Twice the spectra along y of the even columns and, behind them, of the odd ones, with k_y in the lanes."""
    restrict()
    for ky in range(rows // 2 + 1):
        here, mirror = ky * padded, (rows - ky) % rows * padded
        for k in range(half):
            r, i, mr, mi = load(wr, here + k), load(wi, here + k), load(wr, mirror + k), load(wi, mirror + k)
            target = k * 2 * lanes + ky
            store(er, target, r + mr)
            store(ei, target, i - mi)
            store(er, target + lanes, i + mi)
            store(ei, target + lanes, mr - r)


@kernel
def _merge(er, ei, wr, wi, rows, padded, half, lanes):
    """The way back; where k_y equals its mirror image, the columns' fields are real parts."""
    restrict()
    for ky in range(rows // 2 + 1):
        here, mirror = ky * padded, (rows - ky) % rows * padded
        for k in range(half):
            source = k * 2 * lanes + ky
            r, i = load(er, source), load(ei, source)
            odd_r, odd_i = load(er, source + lanes), load(ei, source + lanes)
            if here == mirror:
                i, odd_i = np.float32(0), np.float32(0)
            store(wr, here + k, r - odd_i)
            store(wi, here + k, i + odd_r)
            store(wr, mirror + k, r + odd_i)
            store(wi, mirror + k, odd_r - i)


@kernel
def _couple(xr, xi, yr, yi, zr, zi, here, noise, operators, lanes, deviation, c, s):
    """Joins even and odd columns to the spectra at k_x and k_x + pi, applies M, adds noise, and parts them again."""
    restrict()
    for k in range(here, here + lanes):
        couple(xr, xi, yr, yi, zr, zi, k, noise, operators, k - here, lanes, deviation, c, s)


@inlined
def couple(xr, xi, yr, yi, zr, zi, even, noise, operators, n, lanes, deviation, c, s):
    """What `_couple` does to the n-th k_y of a k_x, whose even columns' spectrum lies at `even`."""
    odd = even + lanes
    px, qx, mx, nx = _joined(load(xr, even), load(xi, even), load(xr, odd), load(xi, odd), c, s)
    py, qy, my, ny = _joined(load(yr, even), load(yi, even), load(yr, odd), load(yi, odd), c, s)
    pz, qz, mz, nz = _joined(load(zr, even), load(zi, even), load(zr, odd), load(zi, odd), c, s)
    px, py, pz = _applied(px, py, pz, noise, n, operators, n, lanes, deviation)
    qx, qy, qz = _applied(qx, qy, qz, noise, n + 3 * lanes, operators, n, lanes, deviation)
    far = n + 6 * lanes
    mx, my, mz = _applied(mx, my, mz, noise, far, operators, far, lanes, deviation)
    nx, ny, nz = _applied(nx, ny, nz, noise, far + 3 * lanes, operators, far, lanes, deviation)
    _part(xr, xi, even, odd, px, qx, mx, nx, c, s)
    _part(yr, yi, even, odd, py, qy, my, ny, c, s)
    _part(zr, zi, even, odd, pz, qz, mz, nz, c, s)


@inlined
def _joined(er, ei, odd_r, odd_i, c, s):
    tr, ti = fma(odd_r, c, -(odd_i * s)), fma(odd_r, s, odd_i * c)
    return er + tr, ei + ti, er - tr, ei - ti


@inlined
def _part(r, i, even, odd, pr, pi, mr, mi, c, s):
    dr, di = pr - mr, pi - mi
    store(r, even, pr + mr)
    store(i, even, pi + mi)
    store(r, odd, fma(dr, c, di * s))
    store(i, odd, fma(di, c, -(dr * s)))


@inlined
def _applied(x, y, z, noise, at, operators, here, lanes, deviation):
    """M (x, y, z) + deviation L (noise): six numbers of M, and twelve further on of L, `lanes` apart."""
    u, v, w = load(noise, at), load(noise, at + lanes), load(noise, at + 2 * lanes)
    u, v, w = deviation * u, deviation * v, deviation * w
    xx, xy, xz = load(operators, here), load(operators, here + lanes), load(operators, here + 2 * lanes)
    yy, yz, zz = load(operators, here + 3 * lanes), load(operators, here + 4 * lanes), load(operators, here + 5 * lanes)
    there = here + 12 * lanes
    lxx, lyx, lzx = load(operators, there), load(operators, there + lanes), load(operators, there + 2 * lanes)
    lyy, lzy, lzz = (
        load(operators, there + 3 * lanes),
        load(operators, there + 4 * lanes),
        load(operators, there + 5 * lanes),
    )
    hx = fma(xx, x, fma(xy, y, fma(xz, z, lxx * u)))
    hy = fma(xy, x, fma(yy, y, fma(yz, z, fma(lyx, u, lyy * v))))
    hz = fma(xz, x, fma(yz, y, fma(zz, z, fma(lzx, u, fma(lzy, v, lzz * w)))))
    return hx, hy, hz
