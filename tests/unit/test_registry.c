// link: tools/ship/reference.c tools/ship/credentials.c tools/ship/http.c tools/common.c tools/image/digest.c
// libs: -ljansson
/* What people call things in registries, digests, and the challenges that registries answer with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/image/digest.h"
#include "tools/ship/credentials.h"
#include "tools/ship/reference.h"

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void release(struct reference *r) {
    free(r->host);
    free(r->name);
    free(r->tag);
    free(r->digest);
}

static void expect(const char *text, const char *host, const char *name, const char *tag, const char *digest) {
    struct reference r;

    assert_null(reference_parse(text, &r));
    assert_string_equal(r.host, host);
    assert_string_equal(r.name, name);
    assert_true(tag ? r.tag && strcmp(r.tag, tag) == 0 : !r.tag);
    assert_true(digest ? r.digest && strcmp(r.digest, digest) == 0 : !r.digest);
    release(&r);
}

static void references(void **state) {
    expect("localhost/app", "localhost", "app", "latest", NULL);
    expect("127.0.0.1:5000/team/app:v1.2", "127.0.0.1:5000", "team/app", "v1.2", NULL);
    expect("[::1]:5000/a", "[::1]:5000", "a", "latest", NULL);
    expect("r.example/a__b/c-d.e:X_1", "r.example", "a__b/c-d.e", "X_1", NULL);
    expect("r.example/a@sha256:" HEX, "r.example", "a", NULL, "sha256:" HEX);
    expect("r.example/a:t@sha256:" HEX, "r.example", "a", "t", "sha256:" HEX);
}

static void wrong_references(void **state) {
    static const char *const wrong[] = {
        "",
        "app",
        "app:v1",
        "team/app",
        "r.example/",
        "r.example/A",
        "r.example/a//b",
        "r.example/../a",
        "/a",
        "r.example/a:",
        "r.example/a:.x",
        "r.example/a@sha256:12",
        "r.example/a@md5:" HEX,
        "r.ex ample/a",
        "r.example:/a",
        "r.example:99999999/a",
        "r.example/a b",
        "r.example/a?x=1",
        "[::1/a",
        "r.example/a._b",
        "r.example/-a",
        "u@r.example/a",
        "r.example/a/",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct reference r;
        if (!reference_parse(wrong[i], &r))
            fail_msg("%s was taken", wrong[i]);
        release(&r);
    }
}

static void local(void **state) {
    static const struct {
        const char *host;
        bool local;
    } cases[] = {{"localhost", true},          {"localhost:5000", true}, {"127.0.0.1:1", true}, {"[::1]:1", true},
                 {"localhost.example", false}, {"127.0.0.10", false},    {"r.example", false}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reference r = {.host = (char *)cases[i].host};
        assert_int_equal(reference_is_local(&r), cases[i].local);
    }
}

static void parameter(const char *challenge, const char *name, const char *value) {
    char *got = credentials_parameter(challenge, name);

    assert_true(value ? got && strcmp(got, value) == 0 : !got);
    free(got);
}

static void challenges(void **state) {
    const char *all = "realm=\"https://a.example/t?x=1\",service=\"s, realm=no\", scope=pull";

    parameter(all, "realm", "https://a.example/t?x=1");
    parameter(all, "service", "s, realm=no");
    parameter(all, "SCOPE", "pull");
    parameter(all, "cope", NULL);
    parameter("realm=\"unended", "realm", "unended");
    parameter("", "realm", NULL);
}

static void messages(void **state) {
    const char *body = "{\"errors\":[{\"code\":\"X\",\"message\":\"no\\nway\"}]}";
    char *line = credentials_error_message(body, strlen(body));

    assert_string_equal(line, "no way");
    free(line);
    assert_null(credentials_error_message("<html>", 6));
    assert_null(credentials_error_message(NULL, 0));
    assert_null(credentials_error_message("{\"errors\":3}", 12));
}

static void digests(void **state) {
    struct digest digest = digest_of(NULL, "", 0), parsed;

    assert_string_equal(digest.text, "sha256:" HEX);
    assert_true(digest_parse(digest.text, &parsed));
    assert_string_equal(parsed.text, digest.text);
    digest.text[70] = 'G';
    assert_false(digest_parse(digest.text, &parsed));
    assert_false(digest_parse("sha256:", &parsed));
    assert_false(digest_parse("sha512:" HEX, &parsed));
    assert_false(digest_parse("md5:" HEX, &parsed));
    assert_string_equal(digest_of("sha256", "abc", 3).text,
                        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references), cmocka_unit_test(wrong_references), cmocka_unit_test(local),
        cmocka_unit_test(challenges), cmocka_unit_test(messages),         cmocka_unit_test(digests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
