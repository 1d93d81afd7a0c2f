// link: tools/frame.c
/* The frames between knarr and the guest: any portions, all lengths, and streams that are not frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/frame.h"

static struct frame_decoder *feed(struct frame_decoder *decoder, const void *bytes, size_t count) {
    size_t space;
    uint8_t *to = frame_space(decoder, &space);
    assert_true(space >= count);
    memcpy(to, bytes, count);
    decoder->end += count;
    return decoder;
}

static void decodes_byte_by_byte(void **state) {
    struct frame_decoder *decoder = calloc(1, sizeof(*decoder));
    uint8_t stream[64];
    struct frame frame;
    size_t size = frame_put(stream, 'O', 0, "hello", 5);

    size += frame_put(stream + size, 'E', 0, NULL, 0);
    for (size_t i = 0; i < size; i++) {
        int got = frame_next(feed(decoder, stream + i, 1), &frame);
        if (i == 8) {
            assert_int_equal(got, 1);
            assert_int_equal(frame.type, 'O');
            assert_int_equal(frame.length, 5);
            assert_memory_equal(frame.payload, "hello", 5);
        } else if (i == size - 1) {
            assert_int_equal(got, 1);
            assert_int_equal(frame.type, 'E');
            assert_int_equal(frame.length, 0);
        } else {
            assert_int_equal(got, 0);
        }
    }
    free(decoder);
}

static void decodes_many_of_the_largest(void **state) {
    struct frame_decoder *decoder = calloc(1, sizeof(*decoder));
    uint8_t *one = malloc(FRAME_HEADER + FRAME_PAYLOAD_MAX);
    struct frame frame;

    memset(one, 'x', FRAME_HEADER + FRAME_PAYLOAD_MAX);
    size_t size = frame_put(one, 'O', 0, one + FRAME_HEADER, FRAME_PAYLOAD_MAX);
    assert_int_equal(size, FRAME_HEADER + FRAME_PAYLOAD_MAX);
    size_t fed = 0, frames = 0;
    while (frames < 50) {
        size_t portion = 10007 < size - fed ? 10007 : size - fed;
        feed(decoder, one + fed, portion);
        fed = (fed + portion) % size;
        while (frame_next(decoder, &frame) == 1) {
            assert_int_equal(frame.length, FRAME_PAYLOAD_MAX);
            assert_int_equal(frame.payload[FRAME_PAYLOAD_MAX - 1], 'x');
            frames++;
        }
    }
    free(one);
    free(decoder);
}

static void refuses_what_is_not_a_frame(void **state) {
    static const char *const bad[] = {"SeaBIOS", "I\0\1\0x", "O\1\1\0x", "\0\0\0\0"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct frame_decoder *decoder = calloc(1, sizeof(*decoder));
        struct frame frame;
        assert_int_equal(frame_next(feed(decoder, bad[i], 4), &frame), -1);
        free(decoder);
    }
}

static void knows_the_exit_statuses(void **state) {
    static const struct {
        uint8_t payload[8];
        uint16_t length;
        int status;
    } cases[] = {
        {{0, 0, 0, 0, 0, 0, 0, 0}, 8, 0},           {{0, 0, 0, 0, 42, 0, 0, 0}, 8, 42},
        {{0, 0, 0, 0, 0, 1, 0, 0}, 8, 0},           {{1, 0, 0, 0, 9, 0, 0, 0}, 8, 137},
        {{1, 0, 0, 0, 0, 0, 0, 0}, 8, -1},          {{1, 0, 0, 0, 65, 0, 0, 0}, 8, -1},
        {{2, 0, 0, 0, 121, 0, 0, 0}, 8, 121},       {{2, 0, 0, 0, 122, 0, 0, 0}, 8, -1},
        {{2, 0, 0, 0, 125, 0, 0, 0}, 8, 125},       {{2, 0, 0, 0, 127, 0, 0, 0}, 8, 127},
        {{2, 0, 0, 0, 0, 0, 0, 0}, 8, 0},           {{2, 0, 0, 0, 3, 0, 0, 0}, 8, -1},
        {{3, 0, 0, 0, 0, 0, 0, 0}, 8, -1},          {{0, 0, 0, 0, 42, 0, 0, 0}, 7, -1},
        {{0, 0, 0, 0, 255, 255, 255, 255}, 8, 255},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame frame = {'X', 0, cases[i].length, cases[i].payload};
        assert_int_equal(frame_exit_status(&frame), cases[i].status);
    }
}

static void reads_the_window(void **state) {
    struct frame frame = {'W', 0, 4, (const uint8_t *)"\x01\x02\x00\x80"};
    assert_int_equal(frame_number(&frame), 0x80000201);
    frame.length = 3;
    assert_int_equal(frame_number(&frame), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_byte_by_byte),
        cmocka_unit_test(decodes_many_of_the_largest),
        cmocka_unit_test(refuses_what_is_not_a_frame),
        cmocka_unit_test(knows_the_exit_statuses),
        cmocka_unit_test(reads_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
