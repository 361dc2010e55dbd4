// Products of matrices.
#include "material.h"

void row_products(result *r) {
    EACH_LENGTH(k) for (long m = 1; m <= 6; m += m == 2 ? 3 : 1) {
        const long rows = 9, filled = (k + 31) / 32 * 32;
        float *x = floats(m * k), *wf = floats(rows * k), *y = floats(m * rows);
        uint16_t *wb = halves(rows * k), *xb = memory((size_t)(m * filled) * 2);
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            qk_gemv_f32(y, rows, wf, x, k, m, rows, k, accumulate);
            give_numbers(r, y, m * rows, sqrt((double)k));
            qk_gemv_bf16(y, rows, wb, x, k, m, rows, k, accumulate);
            give_numbers(r, y, m * rows, sqrt((double)k));
            if (!qk_multiplies_bf16()) continue;
            // The plain definition multiplies what was rounded without rounding it again.
            qk_round_rows(xb, filled, x, k, m, k, filled);
            float *rounded = memory((size_t)(m * k) * 4), *got = memory((size_t)(m * rows) * 4), *expected = memory((size_t)(m * rows) * 4);
            for (long i = 0; i < m * k; i++) rounded[i] = qk_f32_from_bf16(qk_bf16_from_f32(x[i]));
            memcpy(got, y, (size_t)(m * rows) * 4), memcpy(expected, y, (size_t)(m * rows) * 4);
            qk_gemv_bf16_bf16(got, rows, wb, xb, filled, m, rows, k, accumulate);
            qk_limit_capabilities(QK_NO_CAPABILITIES);
            qk_gemv_bf16(expected, rows, wb, rounded, k, m, rows, k, accumulate);
            qk_limit_capabilities(~0u);
            for (long i = 0; i < m * rows; i++)
                if (fabsf(got[i] - expected[i]) > 1e-6f * (sqrtf((float)k) + fabsf(expected[i]))) {
                    printf("qk_gemv_bf16_bf16: %ld x %ld\n", m, k);
                    exit(1);
                }
            free(rounded), free(got), free(expected);
        }
        free(x), free(wf), free(y), free(wb), free(xb);
    }
}

void quantized(result *r) {
    EACH_LENGTH(k) {
        const long rows = 5, most = 5, filled = (k + 63) / 64 * 64, blocks = filled / 64;
        int8_t *w8 = memory((size_t)(rows * filled));
        uint8_t *w6 = memory((size_t)(rows * blocks * QK_INT6_BYTES));
        uint8_t *w4 = memory((size_t)(rows * blocks * QK_INT4_BYTES));
        uint16_t *scales4 = memory((size_t)(rows * blocks) * 4);
        float *scales = memory((size_t)(rows * blocks) * 4), *xscales = memory((size_t)(most * blocks) * 4);
        uint16_t *scales6 = memory((size_t)(rows * blocks) * 2), *rounded = memory((size_t)(filled + 64) * 2);
        int16_t *x = memory((size_t)(most * filled) * 2);
        float *wide = memory((size_t)filled * 4), *y = floats(most * rows);
        // Which of two scales is better can hang on the last bit of a sum: all variants multiply what the plain one chose.
        const unsigned capabilities = qk_capabilities();
        for (long row = 0; row < rows; row++) {
            float *source = row == rows - 1 ? all_floats(k) : floats(k);
            qk_limit_capabilities(QK_NO_CAPABILITIES);
            qk_quantize_int8(w8 + row * filled, scales + row * blocks, source, k);
            qk_quantize_int6(w6 + row * blocks * QK_INT6_BYTES, scales6 + row * blocks, source, k);
            qk_quantize_int4(w4 + row * blocks * QK_INT4_BYTES, scales4 + 2 * row * blocks, source, k);
            free(source);
            qk_limit_capabilities(capabilities);
            for (long part = (k + 1) / 2; part <= k; part += k - part ? k - part : 1) {
                qk_bf16_from_int8(rounded, w8 + row * filled, scales + row * blocks, part, filled + 32);
                give_bytes(r, rounded, (size_t)(filled + 32) * 2);
                qk_bf16_from_int6(rounded, w6 + row * blocks * QK_INT6_BYTES, scales6 + row * blocks, part, filled + 32);
                give_bytes(r, rounded, (size_t)(filled + 32) * 2);
                qk_f32_from_int8(wide, w8 + row * filled, scales + row * blocks, part);
                give_bytes(r, wide, (size_t)part * 4);
                qk_f32_from_int6(wide, w6 + row * blocks * QK_INT6_BYTES, scales6 + row * blocks, part);
                give_bytes(r, wide, (size_t)part * 4);
                qk_bf16_from_int4(rounded, w4 + row * blocks * QK_INT4_BYTES, scales4 + 2 * row * blocks, part, filled + 32);
                give_bytes(r, rounded, (size_t)(filled + 32) * 2);
                qk_f32_from_int4(wide, w4 + row * blocks * QK_INT4_BYTES, scales4 + 2 * row * blocks, part);
                give_bytes(r, wide, (size_t)part * 4);
            }
        }
        for (long row = 0; row < most; row++) {
            float *source = floats(k);
            qk_quantize_int16(x + row * filled, xscales + row * blocks, source, k);
            free(source);
        }
        give_bytes(r, w8, (size_t)(rows * filled));
        give_bytes(r, w6, (size_t)(rows * blocks * QK_INT6_BYTES));
        give_bytes(r, scales6, (size_t)(rows * blocks) * 2);
        give_bytes(r, x, (size_t)(most * filled) * 2);
        for (int accumulate = 0; accumulate < 2; accumulate++)
            for (long m = 1; m <= most; m += 4) { // the last row of w has no numbers to compare
                qk_gemv_int8(y, rows, w8, scales, x, xscales, filled, m, rows - 1, filled, accumulate);
                give_numbers(r, y, m * rows, sqrt((double)k));
                qk_gemv_int6(y, rows, w6, scales6, x, xscales, filled, m, rows - 1, filled, accumulate);
                give_numbers(r, y, m * rows, sqrt((double)k));
                qk_gemv_int4(y, rows, w4, scales4, x, xscales, filled, m, rows - 1, filled, accumulate);
                give_numbers(r, y, m * rows, sqrt((double)k));
            }
        free(w4), free(scales4), free(w8), free(w6), free(scales), free(xscales), free(scales6), free(rounded), free(x), free(wide), free(y);
    }
}

void packed(result *r) {
    EACH_LENGTH(k) {
        const long rows = 4, filled = (k + 127) / 128 * 128, bytes = filled / 128 * 192;
        uint8_t codes[256] = {0}, uppers[16] = {0}, *w = memory((size_t)(rows * bytes));
        for (int i = 1; i < 16; i++) uppers[i] = (uint8_t)(i < 8 ? 0x38 + i : 0xb0 + i), codes[uppers[i]] = (uint8_t)i;
        qk_exception *exceptions = memory((size_t)(rows * k) * sizeof *exceptions);
        uint32_t starts[5] = {0};
        uint16_t *unpacked = memory((size_t)(filled + 64) * 2), *x = halves(filled);
        float *y = floats(rows);
        for (long row = 0; row < rows; row++) {
            uint16_t *source = halves(k);
            const long count = qk_pack_bf16(w + row * bytes, exceptions + starts[row], source, k, codes);
            starts[row + 1] = starts[row] + (uint32_t)count;
            free(source);
            for (long part = (k + 1) / 2; part <= k; part += k - part ? k - part : 1) { /* half of a row, and all of it */
                qk_unpack_bf16(unpacked, w + row * bytes, uppers, part, filled + 40);
                give_bytes(r, unpacked, (size_t)(filled + 40) * 2);
            }
        }
        give_bytes(r, w, (size_t)(rows * bytes));
        for (uint32_t i = 0; i < starts[rows]; i++) {
            give_bytes(r, &exceptions[i].column, 4);
            give_bytes(r, &exceptions[i].value, 2);
        }
        for (long i = k; i < filled; i++) x[i] = 0;
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            qk_gemv_packed_bf16(y, w, uppers, starts, exceptions, x, rows, filled, accumulate);
            give_numbers(r, y, rows, sqrt((double)k));
        }
        free(w), free(exceptions), free(unpacked), free(x), free(y);
    }
}

void blocks(result *r) {
    for (int n = 0; n < 40; n++) {
        const long width = 16 * (1 + below(4)), columns = 1 + below(90), rows = 1 + below(width), filled = (columns + 1) / 2 * 2;
        const long m = 1 + below(60);
        float *x = all_floats(rows * columns), *c = floats(m * width), *y = floats(width * m);
        uint16_t *panel = memory((size_t)(filled * width) * 2), *out = memory((size_t)(columns * (width + 2)) * 2);
        uint16_t *a = halves(m * filled), *b = halves(columns * width);
        for (long i = 0; i < rows * columns; i++) // the plain definition does not flush subnormals as the processor does
            if (fabsf(x[i]) < 0x1p-126f) x[i] = 0;
        qk_pack_transposed(panel, width, x, columns, rows, columns);
        give_bytes(r, panel, (size_t)(filled * width) * 2);
        qk_round_transposed(out, width + 2, x, columns, rows, columns);
        for (long i = 0; i < columns; i++) give_bytes(r, out + i * (width + 2), (size_t)((rows + 1) / 2 * 2) * 2);
        const long used = 1 + below(width);
        float *z = floats(columns * used);
        qk_pack_interleaved_f32(panel, width, z, used, columns, used);
        give_bytes(r, panel, (size_t)(filled * width) * 2);
        free(z);
        qk_pack_interleaved_bf16(panel, width, b, width, columns, n % 3 ? used : width);
        give_bytes(r, panel, (size_t)(filled * width) * 2);
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            qk_gemm_stream(c, width, a, filled, m, panel, width, filled / 2, accumulate, n % 2, 0);
            give_numbers(r, c, m * width, sqrt((double)columns));
            qk_gemm_panel(c, width, a, filled, m, panel, width, filled / 2, accumulate, 0, 0);
            give_numbers(r, c, m * width, sqrt((double)columns));
            qk_store_transposed(y, m, c, width, width, m, accumulate);
            give_numbers(r, y, m * width, sqrt((double)columns));
        }
        free(x), free(c), free(y), free(panel), free(out), free(a), free(b);
    }
}

void gradients(result *r) {
    for (int n = 0; n < 60; n++) {
        const long columns = 1 + below(200), rows = 1 + below(QK_GRADIENT_ROWS), pairs = n < 6 ? 1500 : 1 + below(40);
        const long total = rows + 3, panels = (columns + 15) / 16 * 16;
        uint16_t *a = halves(rows * 2 * pairs), *panel = halves((columns + 63) / 64 * 64 * pairs * 2);
        for (int bf16 = 0; bf16 < 2; bf16++) {
            float *wide = floats(total * columns);
            uint16_t *narrow = halves(total * columns);
            qk_gradient g = {bf16 ? (void *)narrow : (void *)wide, columns, 0.5f, n % 3 ? 0.75f : 0, bf16, n % 2, {3, 5}};
            float *tile = floats(rows * (panels + 32));
            qk_store_gradient(&g, 2, 0, tile, panels + 32, rows, columns);
            give_bytes(r, g.target, (size_t)(total * columns) * (bf16 ? 2 : 4));
            qk_gemm_gradient(&g, 1, 0, rows, columns, a, 2 * pairs, panel, pairs);
            if (bf16) give_halves(r, narrow, total * columns);
            else give_numbers(r, wide, total * columns, sqrt(2.0 * (double)pairs));
            free(wide), free(narrow), free(tile);
        }
        free(a), free(panel);
    }
}

void few_rows(result *r) {
    for (int n = 0; n < 20; n++) {
        const long rows = 1 + below(QK_F32_ROWS), outputs = 1 + below(200), inputs = 1 + below(600), width = (rows + 15) / 16 * 16;
        float *x = floats(rows * inputs), *w = floats(outputs * inputs), *panel = memory((size_t)(width * inputs) * 4);
        float *y = floats(rows * outputs), *dy = floats(rows * outputs), *dx = floats(rows * inputs);
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            qk_f32_pack(panel, width, x, inputs, rows, 0, inputs);
            give_bytes(r, panel, (size_t)(width * inputs) * 4);
            qk_f32_forward(y, outputs, panel, width, rows, w, inputs, outputs, inputs, accumulate);
            give_numbers(r, y, rows * outputs, sqrt((double)inputs));
            qk_f32_input_gradient(dx, inputs, dy, outputs, rows, w, inputs, outputs, inputs, accumulate);
            give_numbers(r, dx, rows * inputs, sqrt((double)outputs));
        }
        free(x), free(w), free(panel), free(y), free(dy), free(dx);
    }
}

void panels(result *r) {
    for (int n = 0; n < 60; n++) {
        const long rows = 1 + below(n % 3 ? 20 : 60), columns = 1 + below(90), depth = n % 7 ? 1 + below(70) : 300 + below(400);
        const long count = (columns + QK_F32_PANEL - 1) / QK_F32_PANEL, stride = (depth + below(3)) * QK_F32_PANEL, ldc = columns + below(5);
        float *b = floats(depth * (columns + 3)), *a = floats(rows * (depth + 2)), *c = floats(rows * ldc);
        float *packed = memory((size_t)(count * stride) * 4), *y = floats(columns * (rows + 1)), *turned = memory((size_t)(depth * (rows + 16)) * 4);
        uint16_t *narrow = halves(depth * (columns + 3));
        const qk_f32_fetch fetch = {(const char *)a, rows * 4, 1 + below(4), depth};
        // A float32 and a bfloat16 matrix; products of both, of which every column is one of the last panel's sometimes.
        for (int bf16 = 0; bf16 < 2; bf16++) {
            if (bf16) qk_f32_panels_bf16(packed, stride, narrow, columns + 3, depth, columns);
            else qk_f32_panels(packed, stride, b, columns + 3, depth, columns);
            for (long i = 0; i < count; i++) give_bytes(r, packed + i * stride, (size_t)(depth * QK_F32_PANEL) * 4);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                qk_f32_multiply(c, ldc, a, depth + 2, rows, packed, stride, columns, depth, accumulate, n % 2 ? &fetch : 0);
                give_numbers(r, c, rows * ldc, sqrt((double)depth));
            }
            // Beside the sum itself.
            for (long i = 0; i < rows && qk_capabilities() == QK_NO_CAPABILITIES; i++)
                for (long j = 0; j < columns; j++) {
                    double sum = 0;
                    for (long k = 0; k < depth; k++)
                        sum += (double)a[i * (depth + 2) + k] *
                            (bf16 ? qk_f32_from_bf16(narrow[k * (columns + 3) + j]) : b[k * (columns + 3) + j]);
                    if (fabs(2 * sum - c[i * ldc + j]) > 2e-6 * (sqrt((double)depth) + fabs(sum))) {
                        printf("qk_f32_multiply: %ld x %ld x %ld\n", rows, columns, depth);
                        exit(1);
                    }
                }
        }
        qk_store_transposed(y, rows + 1, c, ldc, columns, rows, n % 2);
        give_numbers(r, y, columns * (rows + 1), sqrt((double)depth));
        const long wide = (rows + 15) / 16 * 16;
        qk_f32_pack(turned, wide, a, depth + 2, rows, 0, depth);
        give_bytes(r, turned, (size_t)(depth * wide) * 4);
        free(b), free(a), free(c), free(packed), free(y), free(turned), free(narrow);
    }
}

/// Weights of few bits times rows of x, by the sum itself too.
void integer_panels(result *r) {
    for (int n = 0; n < 60; n++) {
        const long group = n % 3 == 2 ? 32 : 64, rows = 1 + below(n % 4 ? 20 : 60), count = 1 + below(40);
        const long columns = 64 * (n % 7 ? 1 + below(4) : 5 + below(20)), used = columns - below(64), groups = columns / group;
        const long words = group / 2 + 1, lda = groups * words, stride = lda * QK_F32_PANEL;
        const long whole = (count + 15) / 16 * 16, ldc = whole + below(5);
        int8_t *w8 = memory((size_t)columns);
        uint8_t *w6 = memory((size_t)columns / 64 * QK_INT6_BYTES), *w4 = memory((size_t)columns / 64 * QK_INT4_BYTES);
        float *scales = memory((size_t)columns / 64 * 4), *wide = floats(rows * columns), *x = floats(count * (used + 3));
        uint16_t *narrow = memory((size_t)columns / 32 * 2);
        uint32_t *a = memory((size_t)(rows * lda) * 4), *panels = memory((size_t)(whole / 16 * stride) * 4);
        float *c = floats(rows * ldc);
        const unsigned capabilities = qk_capabilities();
        for (long row = 0; row < rows; row++) {
            float *source = floats(columns), *meaning = wide + row * columns;
            uint32_t *pairs = a + row * lda;
            qk_limit_capabilities(QK_NO_CAPABILITIES); // so that every variant gets the same weights
            if (n % 3 == 0) qk_quantize_int8(w8, scales, source, columns);
            if (n % 3 == 1) qk_quantize_int6(w6, narrow, source, columns);
            if (n % 3 == 2) qk_quantize_int4(w4, narrow, source, columns);
            qk_limit_capabilities(capabilities);
            if (n % 3 == 0) qk_i16_from_int8(pairs, w8, scales, columns), qk_f32_from_int8(meaning, w8, scales, columns);
            if (n % 3 == 1) qk_i16_from_int6(pairs, w6, narrow, columns), qk_f32_from_int6(meaning, w6, narrow, columns);
            if (n % 3 == 2) qk_i16_from_int4(pairs, w4, narrow, columns), qk_f32_from_int4(meaning, w4, narrow, columns);
            free(source);
        }
        if (n % 5 == 0) x[below(used)] = n % 2 ? INFINITY : NAN;
        for (long row = 0; row < count; row += QK_F32_PANEL)
            for (long half = 0; half < 2; half++)
                qk_i16_pack(
                    panels + row / QK_F32_PANEL * stride, x + row * (used + 3), used + 3, count - row < 16 ? count - row : 16, used,
                    group, half * (groups / 2), half ? groups : groups / 2);
        give_bytes(r, a, (size_t)(rows * lda) * 4);
        give_bytes(r, panels, (size_t)(whole / 16 * stride) * 4);
        const qk_f32_fetch fetch = {(const char *)a, rows * 4, 1 + below(4), 5};
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            qk_i16_multiply(
                c, ldc, a, lda, rows, panels, stride, whole, group, groups, accumulate, n % 2 ? &fetch : 0);
            for (long row = 0; row < rows; row++) {
                give_numbers(r, c + row * ldc, count, sqrt((double)columns));
                give_bytes(r, c + row * ldc + whole, (size_t)(ldc - whole) * 4); // is left alone
            }
        }
        for (long i = 0; i < rows && capabilities == QK_NO_CAPABILITIES; i++)
            for (long j = 0; j < count; j++) {
                double sum = 0, size = 0;
                for (long k = 0; k < used; k++)
                    sum += (double)wide[i * columns + k] * x[j * (used + 3) + k], size += fabs((double)wide[i * columns + k]);
                // x is off by at most half of 1/32767 of a magnitude below 1 (measured: a fifth of that all together).
                if (!(fabs(2 * sum - c[i * ldc + j]) <= 2 * size * 0x1p-16 + 1e-5) && isfinite(sum)) {
                    printf("qk_i16_multiply: %ld x %ld x %ld\n", rows, count, columns);
                    exit(1);
                }
                if (!isfinite(sum) && !isnan(c[i * ldc + j])) {
                    printf("qk_i16_multiply: a number where x is none\n");
                    exit(1);
                }
            }
        free(w8), free(w6), free(w4), free(scales), free(wide), free(x), free(narrow), free(a), free(panels), free(c);
    }
}
