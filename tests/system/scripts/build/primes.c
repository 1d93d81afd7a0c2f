#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    int limit = argc > 1 ? atoi(argv[1]) : 100, n, d;
    printf("static const int primes[] = {");
    for (n = 2; n < limit; n++) {
        for (d = 2; d * d <= n && n % d; d++)
            ;
        if (d * d > n)
            printf("%d, ", n);
    }
    printf("};\n");
    return 0;
}
