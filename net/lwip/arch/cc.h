// What lwIP asks of its surroundings (lwip/arch.h): diagnostics, byte order, formats. Found by lwIP as "arch/cc.h".
#ifndef NET_LWIP_ARCH_CC_H
#define NET_LWIP_ARCH_CC_H

#include <stdint.h>

#define BYTE_ORDER LITTLE_ENDIAN
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)
#ifdef KNARR_UNIT_TEST // the C library has htons and the like
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS 1
#endif
typedef long ssize_t;

#define LWIP_NO_CTYPE_H 1
#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_LIMITS_H 1 // it would bring the C library's features, and headers of Linux look at these
#ifndef SSIZE_MAX
#define SSIZE_MAX __LONG_MAX__ // or lwIP defines both
#endif

#define LWIP_NO_INTTYPES_H 1
#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

// net/lwip/core.c. An assertion that fails ends the checked kernel; any other counts, says it once and goes on.
void net_assertion_failed(const char *message, const char *file, int line);
#define LWIP_PLATFORM_DIAG(x) ((void)0)
#define LWIP_PLATFORM_ASSERT(x) net_assertion_failed(x, __FILE__, __LINE__)

uint32_t net_random(void); // net/lwip/core.c
#define LWIP_RAND() net_random()

#endif
