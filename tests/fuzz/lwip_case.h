/* What a fuzzer and a unit test do with lwIP: frames made of an input's bytes come to an interface that has an address of DHCP under way, groups,
 * a listener, and connections that read and write. Whatever they are, nothing is read out of bounds, no assertion fails, and nothing is
 * left when time has passed. */
#ifndef TESTS_FUZZ_LWIP_CASE_H
#define TESTS_FUZZ_LWIP_CASE_H

#include <stddef.h>
#include <stdint.h>

void lwip_case(const uint8_t *data, size_t size);
/* A well-formed frame of some kind to begin with; its length. `kind` below LWIP_FRAMES. */
#define LWIP_FRAMES 18
unsigned lwip_frame(unsigned kind, uint8_t *frame);

#endif
