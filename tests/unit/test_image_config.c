// link: tools/common.c tools/image/config.c tools/image/json.c tools/image/user.c
// libs: -ljansson
/* An image's configuration: options over what the image says, words, and users as docker finds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/image/config.h"
#include "tools/image/user.h"

static void splits_words(void **state) {
    static const struct {
        const char *text, *words[5];
    } good[] = {
        {"", {NULL}},
        {"  a  b\tc\n", {"a", "b", "c"}},
        {"'a b' \"c d\" e\\ f", {"a b", "c d", "e f"}},
        {"a'b'\"c\"d ''", {"abcd", ""}},
        {"\"a\\\"b\\n\" 'a\\b' \\'", {"a\"b\\n", "a\\b", "'"}},
        {"a\\", {"a\\"}},
    };
    struct strings words = {0};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(split_words(good[i].text, &words));
        for (size_t j = 0; j < words.count; j++)
            assert_string_equal(words.item[j], good[i].words[j]);
        assert_null(good[i].words[words.count]);
        strings_free(&words);
    }
    assert_false(split_words("a 'b", &words));
    strings_free(&words);
    assert_false(split_words("\"", &words));
    strings_free(&words);
}

static json_t *parse(const char *text) { return json_parse(text, strlen(text), "test"); }

static void expect(json_t *made, const char *text) {
    json_t *wanted = parse(text);

    if (!json_equal(made, wanted))
        fail_msg("%s", json_dumps(made, 0));
    json_decref(wanted);
    json_decref(made);
}

static void puts_options_over_an_image(void **state) {
    struct config_options none = {0},
                          some = {.entrypoint = "/x y", .directory = "/w", .user = "u", .memory = 5, .cpus = 2};

    unsetenv("SOURCE_DATE_EPOCH");
    expect(config_make(NULL, &none),
           "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"knarr\":{\"version\":1}}");
    strings_add(&some.environment, "B=3");
    strings_add(&some.environment, "C=4");
    strings_add(&some.expose, "10-12/udp");
    json_t *image = parse("{\"os\":\"linux\",\"created\":\"then\",\"other\":[1],\"config\":{\"Env\":[\"A=1\",\"B=2\"],"
                          "\"Entrypoint\":[\"e\"],"
                          "\"Cmd\":[\"c\"],\"ExposedPorts\":{\"80/tcp\":{}},\"Unknown\":7}}");
    expect(config_make(image, &some),
           "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"then\",\"other\":[1],\"config\":{\"Env\":[\"A="
           "1\",\"B=3\",\"C=4\"],"
           "\"Entrypoint\":[\"/x\",\"y\"],\"WorkingDir\":\"/w\",\"User\":\"u\",\"ExposedPorts\":{\"80/tcp\":{},\"10/"
           "udp\":{},"
           "\"11/udp\":{},\"12/udp\":{}},\"Unknown\":7},\"knarr\":{\"version\":1,\"memory\":5,\"cpus\":2}}");
    strings_free(&some.environment);
    strings_free(&some.expose);
    /* What is of a wrong type does not stay. */
    expect(config_make(parse("{\"config\":[7]}"), &none),
           "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"knarr\":{\"version\":1}}");
}

static void reads_what_running_needs(void **state) {
    json_t *json = parse(
        "{\"config\":{\"Env\":[\"A=1\",\"nonsense\",\"=x\",\"A=2\"],\"Entrypoint\":\"one\",\"Cmd\":null,\"User\":\"\","
        "\"WorkingDir\":\"rel\",\"Volumes\":{\"/v\":{}}},\"knarr\":{\"memory\":-1,\"cpus\":1000}}");
    struct image_config config = config_read(json, "test");

    assert_int_equal(config.environment.count, 1);
    assert_string_equal(config.environment.item[0], "A=2");
    assert_int_equal(config.entrypoint.count, 1);
    assert_int_equal(config.cmd.count, 0);
    assert_string_equal(config.directory, "/rel");
    assert_string_equal(config.volumes.item[0], "/v");
    assert_null(config.user);
    assert_true(config.memory == 0 && config.cpus == 0);
    json_decref(json);
    strings_free(&config.environment);
    strings_free(&config.entrypoint);
    strings_free(&config.volumes);
    free(config.directory);

    json = json_array();
    config = config_read(json, "test");
    assert_true(config.entrypoint.count == 0 && !config.directory);
    json_decref(json);
}

static const char passwd[] =
    "root:x:0:0:root:/root:/bin/sh\n\n# nobody\nbroken\nbad:x:many:0\nbob:x:1001:1002::/home/bob:/bin/sh\n"
    "7:x:1007:70:::\nlast:x:5:6";
static const char group[] =
    "root:x:0:\nbob:x:1002:\nextra:x:50:bob\nmore:x:51:eve,bob\nbobs:x:52:bobs,xbob\nbad:x:y:bob\nend:x:53:bob";

static void finds_users(void **state) {
    static const struct {
        const char *text, *record, *home;
    } good[] = {
        {NULL, "0:0", "/root"},
        {"", "0:0", "/root"},
        {"bob", "1001:1002:50,51,53", "/home/bob"},
        {"bob:extra", "1001:50", "/home/bob"},
        {"1001", "1001:1002:50,51,53", "/home/bob"},
        {"42", "42:0", NULL},
        {"42:43", "42:43", NULL},
        {"bob:", "1001:1002:50,51,53", "/home/bob"},
        {"last", "5:6", NULL},
        {"7", "1007:70", NULL},
        {":50", "0:50", "/root"},
    };
    struct user user;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_null(user_resolve(&user, good[i].text, passwd, group));
        char *record = user_record(&user);
        assert_string_equal(record, good[i].record);
        assert_true(good[i].home ? user.home && strcmp(user.home, good[i].home) == 0 : !user.home);
        free(record);
        free(user.home);
        free(user.groups);
    }
    static const char *const bad[] = {"eve", "bad", "bob:nogroup", "4294967295", "99999999999", "-1", "bob:bad", "#"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *problem = user_resolve(&user, bad[i], passwd, group);
        assert_non_null(problem);
        free(problem);
        free(user.home);
        free(user.groups);
    }
    assert_null(user_resolve(&user, "5:6", NULL, NULL));
    assert_true(user.uid == 5 && user.gid == 6);
    char *problem = user_resolve(&user, "bob", NULL, NULL);
    assert_non_null(problem);
    free(problem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_words),
        cmocka_unit_test(puts_options_over_an_image),
        cmocka_unit_test(reads_what_running_needs),
        cmocka_unit_test(finds_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
