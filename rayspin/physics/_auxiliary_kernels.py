"""Compiled draws of the auxiliary Gaussian field phi = M S + sqrt(T) L g (its purpose: `auxiliary`).

With a dipole term, M and L (L L^T = M) are convolutions, which are applied in Fourier space; the white noise g is drawn
there.

Transform of a packed checkerboard: in row y the even columns belong to color y % 2, the odd ones to the other; both
are contiguous. As real and imaginary part of one number they are transformed along y together. The symmetric and
antisymmetric parts under k_y -> -k_y are their spectra, of which k_y = 0 .. rows / 2 is stored. After a transpose both
are transformed along x, with k_y in the vector lanes. The last step, which joins even and odd columns, is done together
with the product by M. The inverse transform reverses these steps. No step reverses or interleaves numbers within a
vector.
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
    """Fill a flat array with independent normal numbers by the Box-Muller method, up to 6.5 standard deviations.

    Args:
        states: (4, width) uint32, the states of `width` random streams.
        out: float32; its size is a multiple of 2 width.
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
    """Return two normal numbers from two random 32-bit words."""
    half_radius = sqrt(exponential(one) * _HALF_LN2)
    cosine, sine = circle(two)
    return half_radius * cosine, half_radius * sine


@kernel
def draw_local(spins, external, site, noise, matrix, factor, deviation):
    """Write site fields external + M S + deviation L g, where M and L are the same 3x3 matrices at each site.

    Args:
        spins: (2, 3, n) float32, packed.
        external: (3,) float32.
        site: (2, 3, n) float32, output.
        noise: (2, 3, n) float32, normal numbers.
        matrix: (6,) float32: xx, xy, xz, yy, yz, zz of M.
        factor: (6,) float32: xx, yx, zx, yy, zy, zz of L.
        deviation: sqrt(T).
    """
    for color in range(2):
        sx, sy, sz = spins[color]
        gx, gy, gz = noise[color]
        hx, hy, hz = site[color]
        for k in range(spins.shape[2]):
            x, y, z = sx[k], sy[k], sz[k]
            u, v, w = deviation * gx[k], deviation * gy[k], deviation * gz[k]
            hx[k], hy[k], hz[k] = coupled_here(x, y, z, u, v, w, external, matrix, factor)


@inlined
def coupled_here(x, y, z, u, v, w, external, matrix, factor):
    """Return the field external + M (x, y, z) + L (u, v, w) at one site; matrices as in `draw_local`."""
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
    """Write site fields external + M S + deviation L g, where M and L act in Fourier space.

    Args:
        spins: (2, 3, n) float32, packed.
        external: (3,) float32.
        site: (2, 3, n) float32, output.
        noise: (half, 12, lanes) float32, normal numbers; half = columns / 2, lanes >= rows / 2 + 1.
        operators: (half, 24, lanes) float32: the six numbers of M (as in `draw_local`) at k_x = 2 pi j / columns, those
            at k_x + pi, then the same of L; normalized (`auxiliary`).
        deviation: sqrt(T).
        lattice: number of rows, and packed sites of one color per row.
        spectra: (3, 2, half * 2 * lanes) float32, scratch for the spectra of three components.
        buffers: (4, max(rows * padded, half * 2 * lanes)) float32, scratch.
        along_y: `twiddles` of the number of rows.
        along_x: `twiddles` of half the number of columns.
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
    """Write the even and the odd columns of one component: colors 0 and 1 in even rows, 1 and 0 in odd ones."""
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
    """Write twice the spectra along y of the even columns, followed by those of the odd ones, with k_y in the lanes."""
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
    """Reverse `_split`. Where k_y equals its mirror image, the imaginary parts of the spectra are set to 0."""
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
    """Join even and odd columns to the spectra at k_x and k_x + pi, apply M, add noise, and separate them again."""
    restrict()
    for k in range(here, here + lanes):
        couple(xr, xi, yr, yi, zr, zi, k, noise, operators, k - here, lanes, deviation, c, s)


@inlined
def couple(xr, xi, yr, yi, zr, zi, even, noise, operators, n, lanes, deviation, c, s):
    """Perform `_couple` for the n-th k_y of one k_x; `even` is the index of the even columns' spectrum."""
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
    """Return M (x, y, z) + deviation L (noise). The six numbers of M are `lanes` apart; L follows 12 lanes after M."""
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
