// The smallest useful program, with every C library and kind of executable.
// build: musl musl-pie glibc glibc-pie
// machines: microvm q35
#include <stdio.h>

int main(void)
{
    puts("Hello, world!");
    return 0;
}
