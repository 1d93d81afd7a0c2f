// Port I/O and accesses to device memory. Device memory is mapped uncached (mmio_map), so its loads and stores reach the
// device in program order; the compiler is held by the volatile accesses.
#ifndef KERNEL_X86_IO_H
#define KERNEL_X86_IO_H

#include "kernel/types.h"

#ifdef KNARR_UNIT_TEST // unit tests on the host provide the ports
uint8_t in8(uint16_t port);
uint16_t in16(uint16_t port);
uint32_t in32(uint16_t port);
void out8(uint16_t port, uint8_t value);
void out16(uint16_t port, uint16_t value);
void out32(uint16_t port, uint32_t value);
void out8_string(uint16_t port, const void *data, size_t n);
#else
static inline uint8_t in8(uint16_t port) {
    uint8_t v;
    __asm__ volatile("inb %w1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t in16(uint16_t port) {
    uint16_t v;
    __asm__ volatile("inw %w1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t in32(uint16_t port) {
    uint32_t v;
    __asm__ volatile("inl %w1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %w1" : : "a"(value), "Nd"(port)); }
static inline void out16(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %w1" : : "a"(value), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port)); }
// n bytes to one port: a single exit under a hypervisor.
static inline void out8_string(uint16_t port, const void *data, size_t n) {
    __asm__ volatile("rep outsb" : "+S"(data), "+c"(n) : "d"(port) : "memory");
}
#endif

static inline uint8_t mmio_read8(const volatile void *p) { return *(const volatile uint8_t *)p; }
static inline uint16_t mmio_read16(const volatile void *p) { return *(const volatile uint16_t *)p; }
static inline uint32_t mmio_read32(const volatile void *p) { return *(const volatile uint32_t *)p; }
static inline void mmio_write8(volatile void *p, uint8_t v) { *(volatile uint8_t *)p = v; }
static inline void mmio_write16(volatile void *p, uint16_t v) { *(volatile uint16_t *)p = v; }
static inline void mmio_write32(volatile void *p, uint32_t v) { *(volatile uint32_t *)p = v; }

// Memory barriers between CPUs and devices that share normal memory (virtqueues). x86 keeps loads in order with loads and
// stores with stores, so those two only hold the compiler; a store may pass a later load of another place.
static inline void barrier_read(void) { __asm__ volatile("" ::: "memory"); }
static inline void barrier_write(void) { __asm__ volatile("" ::: "memory"); }
static inline void barrier_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void cpu_relax(void) { __asm__ volatile("pause" ::: "memory"); }

#endif
