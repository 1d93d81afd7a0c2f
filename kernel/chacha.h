// The ChaCha20 block function of RFC 8439, section 2.3.
#ifndef KERNEL_CHACHA_H
#define KERNEL_CHACHA_H

#include "kernel/types.h"

void chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3], uint8_t out[64]);

#endif
