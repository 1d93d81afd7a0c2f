// link: fs/frame.c
/* The guest's side of the frames: the same frames come out however the stream is cut, and garbage does no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/frame.h"

struct got {
    uint8_t input[200000];
    size_t input_len;
    struct {
        uint8_t type, data[FRAME_CONTROL_MAX];
        size_t n, input_before; /* where in the input it came */
    } controls[512];
    size_t count;
    uint8_t session; /* of the last frame */
};

static void on_input(void *arg, uint8_t session, uint8_t type, const uint8_t *data, size_t n) {
    struct got *g = arg;
    assert_true(type == 'I' || type == 'R');
    g->session = session;
    assert_true(g->input_len + n <= sizeof(g->input));
    memcpy(g->input + g->input_len, data, n);
    g->input_len += n;
}
static void on_control(void *arg, uint8_t session, uint8_t type, const uint8_t *data, size_t n) {
    struct got *g = arg;
    g->session = session;
    assert_true(g->count < 512 && n <= FRAME_CONTROL_MAX);
    g->controls[g->count].type = type;
    memcpy(g->controls[g->count].data, data, n);
    g->controls[g->count].n = n;
    g->controls[g->count++].input_before = g->input_len;
}
static const struct frame_sink sink = {on_input, on_control};

static size_t add(uint8_t *out, uint8_t type, const void *data, size_t n) {
    frame_put_header(out, type, (uint16_t)n);
    if (n)
        memcpy(out + FRAME_HEADER_SIZE, data, n);
    return FRAME_HEADER_SIZE + n;
}

static void any_cut_gives_the_same(void **state) {
    static uint8_t stream[200000], bytes[65535];
    struct got *whole = calloc(1, sizeof(*whole)), *cut = calloc(1, sizeof(*cut));
    size_t size = 0;
    srand(1);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand();
    size += add(stream + size, 'I', bytes, 65535);
    for (int i = 0; i < 150; i++) {
        static const char types[] = "IISKZ?I";
        uint8_t type = (uint8_t)types[rand() % 7];
        size += add(stream + size, type, bytes + rand() % 1000, (size_t)(type == 'I' ? rand() % 700 : rand() % 20));
    }
    struct frame_reader r = {0};
    assert_true(frame_read(&r, stream, size, &sink, whole));
    assert_true(whole->count > 20 && whole->input_len > 65535);
    for (int round = 0; round < 50; round++) {
        memset(cut, 0, sizeof(*cut));
        memset(&r, 0, sizeof(r));
        int largest = 1 + rand() % (round % 2 ? 10 : 3000);
        for (size_t at = 0; at < size;) {
            size_t n = (size_t)(rand() % largest) + (largest < 3);
            n = n < size - at ? n : size - at;
            assert_true(frame_read(&r, stream + at, n, &sink, cut));
            at += n;
        }
        assert_int_equal(cut->input_len, whole->input_len);
        assert_memory_equal(cut->input, whole->input, whole->input_len);
        assert_int_equal(cut->count, whole->count);
        for (size_t i = 0; i < cut->count; i++) {
            assert_int_equal(cut->controls[i].type, whole->controls[i].type);
            assert_int_equal(cut->controls[i].n, whole->controls[i].n);
            assert_int_equal(cut->controls[i].input_before, whole->controls[i].input_before);
            assert_memory_equal(cut->controls[i].data, whole->controls[i].data, cut->controls[i].n);
        }
    }
    free(whole);
    free(cut);
}

static void a_frame_without_payload_is_a_frame(void **state) {
    struct got *g = calloc(1, sizeof(*g));
    struct frame_reader r = {0};
    assert_true(frame_read(&r, (const uint8_t *)"I\0\0\0Z\0\0\0I\0\1\0x", 13, &sink, g));
    assert_int_equal(g->count, 1);
    assert_int_equal(g->controls[0].type, 'Z');
    assert_int_equal(g->input_len, 1);
    free(g);
}

static void sessions_are_told(void **state) {
    struct got *g = calloc(1, sizeof(*g));
    struct frame_reader r = {0};
    assert_true(frame_read(&r, (const uint8_t *)"R\x07\5\0arg=x", 9, &sink, g));
    assert_int_equal(g->session, 7);
    assert_int_equal(g->input_len, 5);
    assert_int_equal(g->count, 0);
    assert_true(frame_read(&r, (const uint8_t *)"R\xff\0\0V\2\4\0\1\2\3\4Z\0\0\0", 16, &sink, g));
    assert_int_equal(g->count, 3); /* an R frame without bytes is one, too */
    assert_int_equal(g->controls[0].type, 'R');
    assert_int_equal(g->controls[1].n, 4);
    assert_int_equal(g->session, 0);
    assert_false(frame_read(&r, (const uint8_t *)"O\1\0\0", 4, &sink, g)); /* the guest's own */
    free(g);
}

static void what_is_no_frame_is_ignored_for_good(void **state) {
    struct got *g = calloc(1, sizeof(*g));
    struct frame_reader r = {0};
    assert_true(frame_read(&r, (const uint8_t *)"I\0\1\0a", 5, &sink, g));
    assert_false(frame_read(&r, (const uint8_t *)"hello", 5, &sink, g));
    assert_true(frame_read(&r, (const uint8_t *)"I\0\1\0b", 5, &sink, g));
    assert_int_equal(g->input_len, 1);
    assert_int_equal(g->count, 0);
    free(g);
}

static void random_bytes_do_no_harm(void **state) {
    struct got *g = calloc(1, sizeof(*g));
    for (int round = 0; round < 2000; round++) {
        struct frame_reader r = {0};
        uint8_t noise[300];
        g->count = g->input_len = 0;
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = rand() % 3 ? (uint8_t)rand() : 0;
        uint8_t *exact = malloc(sizeof(noise)); /* so that a read behind the end is seen */
        memcpy(exact, noise, sizeof(noise));
        for (size_t at = 0; at < sizeof(noise); at += 100)
            frame_read(&r, exact + at, 100, &sink, g);
        free(exact);
    }
    free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_gives_the_same),
        cmocka_unit_test(a_frame_without_payload_is_a_frame),
        cmocka_unit_test(sessions_are_told),
        cmocka_unit_test(what_is_no_frame_is_ignored_for_good),
        cmocka_unit_test(random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
