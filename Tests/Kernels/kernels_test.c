// Every kernel in every variant that this processor has, beside its plain definition, on the same numbers. With
// -DQK_EMULATES_AVX512 the AVX-512 variants run wherever there is AVX2.
#include "material.h"

static void conversions(result *r) {
    EACH_LENGTH(n) {
        float *x = all_floats(n), *wide = memory((size_t)n * 4);
        uint16_t *narrow = memory((size_t)n * 2), *f16 = memory((size_t)n * 2);
        qk_bf16_from_f32_run(narrow, x, n);
        give_bytes(r, narrow, (size_t)n * 2);
        qk_f32_from_bf16_run(wide, narrow, n);
        give_bytes(r, wide, (size_t)n * 4);
        for (long i = 0; i < n; i++) f16[i] = (uint16_t)bits();
        qk_f32_from_f16_run(wide, f16, n);
        give_bytes(r, wide, (size_t)n * 4);
        for (long i = 0; i < n; i++)
            if (isnan(x[i])) x[i] = 1;
        qk_bf16_from_f32_stochastic_run(narrow, x, n, 13, (qk_round_key){17, 19});
        give_bytes(r, narrow, (size_t)n * 2);
        free(x), free(wide), free(narrow), free(f16);
    }
}

static void softmaxes(result *r) {
    for (int n = 0; n < 40; n++) {
        const long keys = 1 + below(70), width = 16 * (1 + below(3)), filled = (keys + 1) / 2 * 2, first = below(90) - 20;
        float *s = floats(filled * width), *dp = floats(filled * width), max[48], sum[48], rescale[48], lse[48], delta[48];
        uint16_t *panel = memory((size_t)(filled * width) * 2), *p = memory((size_t)(filled * width) * 2);
        uint16_t *ds = memory((size_t)(filled * width) * 2), *out = memory((size_t)(width * filled) * 2);
        for (int i = 0; i < 48; i++) max[i] = -3 + number(), sum[i] = 2 + number(), lse[i] = 1 + number(), delta[i] = number();
        for (long i = 0; i < filled * width; i++) s[i] *= 5;
        qk_softmax_columns(panel, s, width, keys, width, first, 0.5f, max, sum, rescale);
        give_halves(r, panel, filled * width);
        give_numbers(r, max, width, 1), give_numbers(r, sum, width, 1), give_numbers(r, rescale, width, 1);
        qk_softmax_columns_backward(p, ds, width, panel, s, dp, width, keys, width, first, 0.5f, lse, delta);
        give_halves(r, panel, filled * width);
        give_halves(r, p, keys * width);
        give_halves(r, ds, keys * width);
        qk_softmax_block_bf16(out, filled, s, keys, width, keys, first, 0.5f, max, sum, rescale);
        give_halves(r, out, width * filled);
        give_numbers(r, max, width, 1), give_numbers(r, sum, width, 1), give_numbers(r, rescale, width, 1);
        free(s), free(dp), free(panel), free(p), free(ds), free(out);
    }
}

/// So many bytes from the start are whole characters of well-formed UTF-8.
static size_t well_formed(const uint8_t *p, size_t size) {
    size_t i = 0;
    while (i < size) {
        const uint8_t c = p[i], least = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, most = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        const size_t length = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
        if (length == 0 || i + length > size || (length > 1 && (p[i + 1] < least || p[i + 1] > most))) break;
        size_t after = 2;
        while (after < length && (p[i + after] & 0xC0) == 0x80) after++;
        if (after < length) break;
        i += length;
    }
    return i;
}

static void text(result *r) {
    static const char *const pieces[] = {
        "the ", "I'll", " 2024", "\n\n", "  ", "\t", "été", "你好", "。", "🙂", "(", ")", "= ", "'s", "ſ", "\u00a0", "एक", "e\u0301", "\r\n", "한",
        // The first and last of each class, and what stands beside them.
        "09", "/", ":", "AZ", "az", "@", "[", "`", "{", "\v\f", "\x0e", "\x08", "\x7f", "À", "ÿ", "×", "÷", "䷿", "一", "俿", "倀", "\U0010FFFF"};
    const uint32_t count = sizeof pieces / sizeof *pieces;
    for (int n = 0; n < 400; n++) {
        char line[400] = {0};
        size_t size = 0;
        while (size < 64 + bits() % 200) {
            const char *piece = pieces[bits() % (n % 2 ? count : 12)];
            memcpy(line + size, piece, strlen(piece));
            size += strlen(piece);
        }
        if (n % 5 == 0) line[bits() % size] = (char)bits(); // no UTF-8, perhaps
        if (n % 7 == 0) size -= bits() % 4;                 // cut off within a character, perhaps
        const size_t right = well_formed((const uint8_t *)line, size), prefix = qk_utf8_prefix((const uint8_t *)line, size);
        // Certain bytes are right, and all of a text that is; the plain definition leaves what is not ASCII to its caller.
        if (prefix > right || (right == size && prefix < size && qk_capabilities() != QK_NO_CAPABILITIES)) {
            printf("qk_utf8_prefix: %zu of %zu\n", prefix, right);
            exit(1);
        }
        const size_t settled = qk_settled_prefix((const uint8_t *)line, size);
        give_bytes(r, &settled, sizeof settled);
        for (size_t at = 0; at < size; at += 1 + bits() % 20) {
            const uint64_t words = qk_word_starts((const uint8_t *)line + at, size - at);
            give_bytes(r, &words, sizeof words);
        }
    }
}

typedef struct {
    const char *name;
    void (*run)(result *);
    double tolerance;
} kernel_case;

// Measured are at most 1.2e-6 of packed rows, where the plain definition adds 17,000 products one after the other.
static const kernel_case cases[] = {
    {"conversions", conversions, 0}, {"row products", row_products, 1e-6}, {"quantized", quantized, 1e-6},
    {"packed", packed, 3e-6},        {"blocks", blocks, 1e-6},             {"gradients", gradients, 1e-5},
    {"softmaxes", softmaxes, 1e-5},  {"few rows", few_rows, 2e-6},          {"panels", panels, 2e-6},
    {"int panels", integer_panels, 1e-6}, {"text", text, 0},
};

static const struct {
    const char *name;
    unsigned capabilities;
} sets[] = {
    {"AVX2", QK_SET_AVX2},
    {"AVX-VNNI", QK_SET_AVX2 | QK_HAS_AVX_VNNI},
    {"AVX-512", QK_SET_AVX512},
    {"AVX-512 VNNI", QK_SET_AVX512 | QK_HAS_AVX512_VNNI},
    {"AVX-512 BF16", QK_SET_AVX512_BF16},
    {"NEON", QK_SET_NEON},
    {"NEON, dotprod", QK_SET_NEON_DOTPROD},
    {"NEON, i8mm", QK_SET_NEON_I8MM},
};

static result run(const kernel_case *c, unsigned capabilities) {
    result r = {0};
    qk_limit_capabilities(capabilities);
    restart();
    c->run(&r);
    return r;
}

int main(void) {
    int failures = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result plain = run(cases + i, QK_NO_CAPABILITIES);
        // By which two architectures are compared: FNV-1a of what has to be equal to the last bit.
        uint64_t digest = 0xcbf29ce484222325u;
        for (size_t j = 0; j < plain.byte_count; j++) digest = (digest ^ plain.bytes[j]) * 0x100000001b3u;
        printf("%-12s plain       : %zu bytes, digest %016llx, %zu numbers\n", cases[i].name, plain.byte_count,
               (unsigned long long)digest, plain.number_count);
        for (size_t set = 0; set < sizeof sets / sizeof *sets; set++) {
            if ((qk_processor_capabilities() & sets[set].capabilities) != sets[set].capabilities) continue;
            result got = run(cases + i, sets[set].capabilities);
            double worst = 0;
            for (size_t j = 0; j < got.number_count && j < plain.number_count; j++) {
                const double a = got.numbers[j], b = plain.numbers[j], error = fabs(a - b) / plain.sizes[j];
                if (!(error <= worst) && !(isnan(a) && isnan(b)) && a != b) worst = isnan(error) ? INFINITY : error;
            }
            size_t place = 0;
            while (place < got.byte_count && place < plain.byte_count && got.bytes[place] == plain.bytes[place]) place++;
            const int same = got.byte_count == plain.byte_count && place == got.byte_count && got.number_count == plain.number_count;
            printf("%-12s %-12s: %zu bytes %s, %zu numbers, worst %.1e\n", cases[i].name, sets[set].name, got.byte_count,
                   same ? "equal" : "DIFFER", got.number_count, worst);
            if (!same || worst > cases[i].tolerance) {
                failures++;
                printf("  FAILED: bytes from %zu on of %zu and %zu, tolerance %.1e\n", place, got.byte_count, plain.byte_count, cases[i].tolerance);
            }
            free(got.bytes), free(got.numbers), free(got.sizes);
        }
        free(plain.bytes), free(plain.numbers), free(plain.sizes);
    }
    printf("%s\n", failures ? "FAILED" : "all kernels agree with their plain definitions");
    return failures != 0;
}
